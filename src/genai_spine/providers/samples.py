"""Values that a JSON Schema accepts, made without chance: the simulator's answers."""

from __future__ import annotations

import math
from typing import Final

from genai_spine.types.json import Json, JsonObject

__all__ = ["sample"]

_FORMATS: Final = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "email": "someone@example.com",
    "ipv4": "192.0.2.1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_MAX_DEPTH: Final = 12


def sample(schema: Json, text: str) -> Json:
    """Return a value that ``schema`` accepts, with ``text`` where any string will do.

    Known are the keywords that providers accept for structured output: types, ``enum``, ``const``, ``properties``,
    ``required``, ``items``, bounds, ``format``, ``anyOf``, ``oneOf``, ``allOf`` and local ``$ref``. ``pattern`` is not.
    """
    return _Sampler(schema if isinstance(schema, dict) else {}, text).value(schema, 0)


class _Sampler:
    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text = text

    def value(self, schema: Json, depth: int) -> Json:
        if not isinstance(schema, dict):
            return self._text
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(options := schema.get("enum"), list) and options:
            return options[0]
        for keyword in ("anyOf", "oneOf"):
            if isinstance(branches := schema.get(keyword), list) and branches:
                # Deep down the shortest way out: a branch that holds nothing.
                return self.value(branches[-1 if depth > _MAX_DEPTH else 0], depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return math.ceil(self._number(schema))
            case "number":
                return self._number(schema)
            case "boolean":
                return True
            case "null":
                return None
            case "string":
                return self._string(schema)
        return self._object(schema, depth) if "properties" in schema else self._text

    def _resolve(self, schema: JsonObject) -> JsonObject:
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            found: Json = self._root
            for step in filter(None, reference[1:].split("/")):
                found = found.get(step) if isinstance(found, dict) else None
            schema = found if isinstance(found, dict) else {}
        if isinstance(parts := schema.get("allOf"), list):
            merged: JsonObject = {name: value for name, value in schema.items() if name != "allOf"}
            for part in parts:
                if isinstance(part, dict):
                    merged = _merge(merged, self._resolve(part))
            return merged
        return schema

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        wanted = list(properties)
        if depth > _MAX_DEPTH:
            wanted = [name for name in properties if isinstance(required, list) and name in required]
        return {name: self.value(properties[name], depth + 1) for name in wanted}

    def _array(self, schema: JsonObject, depth: int) -> list[Json]:
        least, most = schema.get("minItems"), schema.get("maxItems")
        count = least if isinstance(least, int) else 1
        if isinstance(most, int):
            count = min(count, most)
        if depth > _MAX_DEPTH:
            count = least if isinstance(least, int) else 0
        return [self.value(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _number(self, schema: JsonObject) -> float:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if isinstance(low, int | float):
            return low
        if isinstance(above, int | float):
            return above + 1 if not isinstance(below, int | float) else (above + below) / 2
        if isinstance(high, int | float):
            return min(1, high)
        if isinstance(below, int | float):
            return min(1, below - 1)
        return 1

    def _string(self, schema: JsonObject) -> str:
        form = schema.get("format")
        text = _FORMATS.get(form, self._text) if isinstance(form, str) else self._text
        least, most = schema.get("minLength"), schema.get("maxLength")
        if isinstance(least, int):
            text = text.ljust(least, ".")
        return text[:most] if isinstance(most, int) else text


def _merge(one: JsonObject, other: JsonObject) -> JsonObject:
    merged = one | other
    for name in ("properties", "required"):
        first, second = one.get(name), other.get(name)
        if isinstance(first, dict) and isinstance(second, dict):
            merged[name] = first | second
        elif isinstance(first, list) and isinstance(second, list):
            merged[name] = first + second
    return merged
