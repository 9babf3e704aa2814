"""JSON Schemas, brought into the form that providers with strict output demand."""

from __future__ import annotations

from typing import Final

from genai_spine.types.json import JsonObject

__all__ = ["closed"]

_MAPS: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_LISTS: Final = frozenset({"anyOf", "allOf", "oneOf", "prefixItems"})
_SCHEMAS: Final = frozenset({"items", "additionalItems", "not", "if", "then", "else", "contains"})


def closed(schema: JsonObject) -> JsonObject:
    """Return a schema whose objects allow no further fields, where it leaves that open."""
    written: JsonObject = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            written[name] = {key: closed(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
        elif name in _LISTS and isinstance(value, list):
            written[name] = [closed(inner) if isinstance(inner, dict) else inner for inner in value]
        elif name in _SCHEMAS and isinstance(value, dict):
            written[name] = closed(value)
        else:
            written[name] = value
    kind = written.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in written:
        written.setdefault("additionalProperties", False)
    return written
