"""Gemini: its own kind of schema, a subset of OpenAPI's, brought into JSON Schema for everybody else.

It is only read: what is written is JSON Schema, which the service takes under names of its own.

Source: https://ai.google.dev/api/caching#Schema
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.schemas import Into, rewritten
from genai_spine.types.json import Json, JsonObject

__all__ = ["json_schema"]

_NAMES: Final = {
    "any_of": "anyOf",
    "additional_properties": "additionalProperties",
    "defs": "$defs",
    "max_items": "maxItems",
    "max_length": "maxLength",
    "max_properties": "maxProperties",
    "min_items": "minItems",
    "min_length": "minLength",
    "min_properties": "minProperties",
    "ref": "$ref",
}
_COUNTS: Final = frozenset({"maxItems", "maxLength", "maxProperties", "minItems", "minLength", "minProperties"})
_MAPS: Final = frozenset({"properties", "$defs"})
# Of no meaning to JSON Schema; `nullable` is told by the type.
_OWN: Final = frozenset({"example", "nullable", "propertyOrdering", "property_ordering"})


def json_schema(schema: JsonObject) -> JsonObject:
    """Return the JSON Schema that says what ``schema`` does."""
    return rewritten(schema, _json_schema)


def _json_schema(schema: JsonObject, put: Into) -> JsonObject:
    written: JsonObject = {}
    for told, value in schema.items():
        name = _NAMES.get(told, told)
        if name in _OWN:
            continue
        if name in _MAPS and isinstance(value, dict):
            members: JsonObject = {}
            written[name] = members
            for key, inner in value.items():
                put(members, key, inner)
        elif name == "anyOf" and isinstance(value, list):
            options: list[Json] = [None] * len(value)
            written[name] = options
            for number, inner in enumerate(value):
                put(options, number, inner)
        elif name in {"items", "additionalProperties"}:
            put(written, name, value)
        elif name == "type" and isinstance(value, str):
            written[name] = value.lower()
        elif name in _COUNTS and isinstance(value, str) and value.isdecimal():
            # Integers of 64 bits are strings in the protocol's JSON.
            written[name] = int(value)
        else:
            written[name] = value
    return _nullable(written) if schema.get("nullable") is True else written


def _nullable(schema: JsonObject) -> JsonObject:
    options = schema.get("enum")
    if isinstance(options, list) and None not in options:
        schema["enum"] = [*options, None]
    if isinstance(kind := schema.get("type"), str):
        schema["type"] = [kind, "null"]
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
