"""JSON Schemas: walking them, and the form that providers with strict output demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from genai_spine.types.json import Json, JsonObject

__all__ = ["Into", "closed", "rewritten"]

_MAPS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS: Final = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalItems", "not", "if", "then", "else", "contains"})

Into: TypeAlias = Callable[[JsonObject | list[Json], str | int, Json], None]
"""Puts a value into an object or an array at its place; a schema as it is rewritten."""


def rewritten(schema: JsonObject, rewrite: Callable[[JsonObject, Into], JsonObject]) -> JsonObject:
    """Return ``schema`` with ``rewrite`` applied to it and to each schema within that it hands on, however deep."""
    root: JsonObject = {}
    todo: list[tuple[JsonObject | list[Json], str | int, JsonObject]] = []

    def put(into: JsonObject | list[Json], place: str | int, value: Json) -> None:
        if isinstance(value, dict):
            todo.append((into, place, value))
            value = None  # its place is kept, so that the order stays
        into[place] = value  # type: ignore[index]  # a name for an object, a number for an array

    put(root, "", schema)
    while todo:
        into, place, inner = todo.pop()
        into[place] = rewrite(inner, put)  # type: ignore[index]  # as above
    whole = root[""]
    return whole if isinstance(whole, dict) else {}


def closed(schema: JsonObject) -> JsonObject:
    """Return a schema whose objects allow no further fields, where it leaves that open."""
    return rewritten(schema, _closed)


def _closed(schema: JsonObject, put: Into) -> JsonObject:
    written: JsonObject = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            members: JsonObject = {}
            written[name] = members
            for key, inner in value.items():
                put(members, key, inner)
        elif name in _LISTS and isinstance(value, list):
            items: list[Json] = [None] * len(value)
            written[name] = items
            for number, inner in enumerate(value):
                put(items, number, inner)
        elif name in _SCHEMAS:
            put(written, name, value)
        else:
            written[name] = value
    kind = written.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in written:
        written.setdefault("additionalProperties", False)
    return written
