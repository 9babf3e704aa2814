"""Values that a JSON Schema accepts, and vectors of texts, made without chance: the simulator's answers."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Final
from urllib.parse import unquote

from genai_spine.types.json import Json, JsonObject

__all__ = ["sample", "unit_vector"]

_FORMATS: Final = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "email": "someone@example.com",
    "ipv4": "192.0.2.1",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_SCHEMA_DEPTH: Final = 12
# Callers write the schemas: a small one may ask for a value without end, or one that fills the memory.
_MAX_DEPTH: Final = 64
_MAX_VALUES: Final = 2000
_MAX_LENGTH: Final = 10_000
# Fields looked at in all: references and `allOf` make much work of few words.
_MAX_LOOKS: Final = 200_000
_MERGE: Final = 20


def sample(schema: Json, text: str) -> Json:
    """Return a value that ``schema`` accepts, with ``text`` where any string will do.

    Known are the keywords that providers accept for structured output: types, ``enum``, ``const``, ``properties``,
    ``required``, ``items``, bounds, a whole ``multipleOf``, ``format``, ``anyOf``, ``oneOf``, ``allOf`` and local
    ``$ref``. ``pattern`` is not. What is optional is left out of a value that grows large; a schema that no value of
    sensible size satisfies gets one that breaks it.
    """
    return _Sampler(schema if isinstance(schema, dict) else {}, text).value(schema, 0)


def unit_vector(text: str, length: int) -> tuple[float, ...]:
    """Return a vector of length 1, the same for the same text; those of different texts are nearly at right angles."""
    noise = hashlib.shake_256(text.encode(errors="surrogatepass")).digest(2 * length)
    # Odd numbers: none is zero, so not even the shortest vector is.
    numbers = [2 * number + 1 for number in struct.unpack(f"<{length}h", noise)]
    norm = math.hypot(*numbers)
    return tuple(number / norm for number in numbers)


class _Sampler:
    def __init__(self, root: JsonObject, text: str) -> None:
        self._root = root
        self._text = text
        self._made = 0
        self._looked = 0

    def _short(self, depth: int) -> bool:
        """Whether it is time to take the shortest way out."""
        return depth > _SCHEMA_DEPTH or self._made > _MAX_VALUES

    def _is_tired(self) -> bool:
        """Whether so much has been made or looked at that the rest is not worth it."""
        return self._made > 2 * _MAX_VALUES or self._looked > _MAX_LOOKS

    def value(self, schema: Json, depth: int) -> Json:
        self._made += 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._is_tired():
            return self._text
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(options := schema.get("enum"), list) and options:
            return options[0]
        for keyword in ("anyOf", "oneOf"):
            if isinstance(branches := schema.get(keyword), list) and branches:
                # Deep down the shortest way out: most often the last branch is null.
                branch = branches[-1 if self._short(depth) else 0]
                rest: JsonObject = {name: value for name, value in schema.items() if name != keyword}
                return self.value(
                    self._merged(rest, self._resolve(branch)) if isinstance(branch, dict) else rest, depth + 1
                )
        return self._typed(schema, depth)

    def _typed(self, schema: JsonObject, depth: int) -> Json:
        kind = schema.get("type")
        if isinstance(kind, list):
            named = [name for name in kind if name != "null"]
            kind = "null" if not named or (self._short(depth) and "null" in kind) else named[0]
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer":
                return _integer(schema)
            case "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
        return self._object(schema, depth) if kind is None and "properties" in schema else self._string(schema)

    def _resolve(self, schema: JsonObject, depth: int = 0) -> JsonObject:
        for _ in range(_SCHEMA_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            self._looked += len(reference)
            schema = self._merged(
                {name: value for name, value in schema.items() if name != "$ref"}, self._found(reference)
            )
        if not isinstance(parts := schema.get("allOf"), list):
            return schema
        merged: JsonObject = {name: value for name, value in schema.items() if name != "allOf"}
        for part in parts if depth < _SCHEMA_DEPTH else ():
            if isinstance(part, dict) and not self._is_tired():
                merged = self._merged(merged, self._resolve(part, depth + 1))
        return merged

    def _found(self, reference: str) -> JsonObject:
        found: Json = self._root
        for step in filter(None, unquote(reference[1:]).split("/")):
            # RFC 6901: `~1` is a slash, `~0` a tilde.
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        required = [name for name in _list(schema, "required") if isinstance(name, str)]
        further = schema.get("additionalProperties", True)
        self._looked += len(properties) + len(required)
        wanted = required if self._short(depth) else dict.fromkeys((*properties, *required))
        return {name: self.value(properties.get(name, further), depth + 1) for name in wanted}

    def _array(self, schema: JsonObject, depth: int) -> list[Json]:
        least, most = _whole(schema, "minItems"), _whole(schema, "maxItems")
        count = least if least is not None else 0 if self._short(depth) else 1
        if most is not None:
            count = min(count, most)
        return [self.value(schema.get("items", True), depth + 1) for _ in range(min(count, _MAX_VALUES))]

    def _string(self, schema: JsonObject) -> str:
        form = schema.get("format")
        text = _FORMATS.get(form, self._text) if isinstance(form, str) else self._text
        least, most = _whole(schema, "minLength"), _whole(schema, "maxLength")
        if least is not None:
            text = text.ljust(min(least, _MAX_LENGTH), ".")
        return text if most is None else text[:most]

    def _merged(self, one: JsonObject, other: JsonObject) -> JsonObject:
        merged = one | other
        self._looked += _MERGE + len(merged)
        for name in ("properties", "required"):
            first, second = one.get(name), other.get(name)
            if isinstance(first, dict) and isinstance(second, dict):
                merged[name] = first | second
                self._looked += len(first) + len(second)
            elif isinstance(first, list) and isinstance(second, list):
                merged[name] = first + second
                self._looked += len(first) + len(second)
        return merged


def _integer(schema: JsonObject) -> int:
    """The least that the bounds allow; without a lower one 1, if that is allowed."""
    step = max(1, math.ceil(_bound(schema, "multipleOf") or 1))
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    lows = [*([math.ceil(low)] if low is not None else []), *([math.floor(above) + 1] if above is not None else [])]
    highs = [*([math.floor(high)] if high is not None else []), *([math.ceil(below) - 1] if below is not None else [])]
    if lows:
        return -(-max(lows) // step) * step
    return min([step, *(most // step * step for most in highs)])


def _number(schema: JsonObject) -> float:
    if _bound(schema, "multipleOf") is not None:
        return _integer(schema)
    low, above = _bound(schema, "minimum"), _bound(schema, "exclusiveMinimum")
    high, below = _bound(schema, "maximum"), _bound(schema, "exclusiveMaximum")
    if above is not None and (low is None or low <= above):
        ends = [end for end in (high, below) if end is not None]
        return (above + min(ends)) / 2 if ends else above + 1
    if low is not None:
        return low
    return min([1, *([high] if high is not None else []), *([below - 1] if below is not None else [])])


def _bound(schema: JsonObject, name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _whole(schema: JsonObject, name: str) -> int | None:
    value = _bound(schema, name)
    return None if value is None else max(0, int(value))


def _list(schema: JsonObject, name: str) -> list[Json]:
    value = schema.get(name)
    return value if isinstance(value, list) else []
