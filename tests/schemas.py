"""A small JSON Schema validator, as an oracle, and schemas to try it on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

from hypothesis import strategies as st

from genai_spine.types.json import Json, JsonObject

__all__ = ["faults", "schemas"]


def faults(value: Json, schema: Json, root: JsonObject | None = None, path: str = "$") -> list[str]:
    """Return what of ``value`` breaks ``schema``, a line each; ``format`` and ``pattern`` are not looked at."""
    if not isinstance(schema, dict):
        return [] if schema is True else [f"{path}: nothing is allowed"]
    top = schema if root is None else root
    found: list[str] = []
    if isinstance(reference := schema.get("$ref"), str):
        target: Json = top
        for step in reference.removeprefix("#").strip("/").split("/"):
            target = target[step] if isinstance(target, dict) and step else target
        found += faults(value, target, top, path)
    for part in _schemas(schema, "allOf"):
        found += faults(value, part, top, path)
    if "anyOf" in schema and all(faults(value, part, top, path) for part in _schemas(schema, "anyOf")):
        found.append(f"{path}: fits none of anyOf")
    if "const" in schema and value != schema["const"]:
        found.append(f"{path}: is not the constant")
    if isinstance(options := schema.get("enum"), list) and value not in options:
        found.append(f"{path}: is not of the enum")
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return [*found, f"{path}: {value!r} is not of type {kinds}"]
    return found + _within(value, schema, path) + _inside(value, schema, top, path)


def _schemas(schema: JsonObject, name: str) -> list[Json]:
    parts = schema.get(name, [])
    return parts if isinstance(parts, list) else []


def _is(value: Json, kind: Json) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "null":
            return value is None
        case "integer":
            return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return False


_BOUNDS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
    "multipleOf": lambda value, bound: value % bound == 0,
}


def _within(value: Json, schema: JsonObject, path: str) -> list[str]:
    """Bounds of numbers, and lengths."""
    found: list[str] = []
    if isinstance(value, int | float) and not isinstance(value, bool):
        for name, holds in _BOUNDS.items():
            bound = schema.get(name)
            if isinstance(bound, int | float) and not holds(value, bound):
                found.append(f"{path}: {value} breaks {name} {bound}")
    sizes = {
        "Length": len(value) if isinstance(value, str) else None,
        "Items": len(value) if isinstance(value, list) else None,
    }
    for noun, size in sizes.items():
        least, most = schema.get(f"min{noun}"), schema.get(f"max{noun}")
        if size is not None and isinstance(least, int) and size < least:
            found.append(f"{path}: shorter than {least}")
        if size is not None and isinstance(most, int) and size > most:
            found.append(f"{path}: longer than {most}")
    return found


def _inside(value: Json, schema: JsonObject, top: JsonObject, path: str) -> list[str]:
    """Properties and items."""
    found: list[str] = []
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        known = properties if isinstance(properties, dict) else {}
        found += [f"{path}: lacks {name}" for name in _schemas(schema, "required") if name not in value]
        for name, inner in value.items():
            further = schema.get("additionalProperties", True)
            found += faults(inner, known.get(name, further), top, f"{path}.{name}")
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found += faults(inner, schema.get("items", True), top, f"{path}[{number}]")
    return found


_names: Final = st.from_regex(r"[a-z]{1,6}", fullmatch=True)


@st.composite
def _numbers(draw: st.DrawFn) -> JsonObject:
    """Integers or numbers, with bounds that some value meets."""
    whole = draw(st.booleans())
    schema: JsonObject = {"type": "integer" if whole else "number"}
    low = draw(st.integers(-50, 50) if whole else st.floats(-50, 50))
    span = draw(st.integers(2, 50))
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["minimum", "exclusiveMinimum"]))] = low
    if draw(st.booleans()):
        schema[draw(st.sampled_from(["maximum", "exclusiveMaximum"]))] = low + span
    if whole and not schema.keys() & {"maximum", "exclusiveMaximum"} and draw(st.booleans()):
        schema["multipleOf"] = draw(st.integers(1, 9))
    return schema


@st.composite
def _strings(draw: st.DrawFn) -> JsonObject:
    schema: JsonObject = {"type": "string"}
    least = draw(st.integers(0, 30))
    if draw(st.booleans()):
        schema["minLength"] = least
    if draw(st.booleans()):
        schema["maxLength"] = least + draw(st.integers(0, 30))
    return schema


_leaves: Final[st.SearchStrategy[JsonObject]] = st.one_of(
    _numbers(),
    _strings(),
    st.sampled_from(["boolean", "null"]).map(lambda kind: {"type": kind}),
    st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=3).map(lambda options: {"enum": [*options]}),
    st.integers().map(lambda value: {"const": value}),
    st.just({}),
)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[JsonObject]) -> JsonObject:
    properties = draw(st.dictionaries(_names, inner, max_size=3))
    further = draw(st.lists(_names, max_size=1))
    required = [name for name in properties if draw(st.booleans())] + further
    return {"type": "object", "properties": {**properties}, "required": [*required]}


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[JsonObject]) -> JsonObject:
    schema: JsonObject = {"type": "array", "items": draw(inner)}
    least = draw(st.integers(0, 3))
    if draw(st.booleans()):
        schema["minItems"] = least
    if draw(st.booleans()):
        schema["maxItems"] = least + draw(st.integers(0, 3))
    return schema


@st.composite
def _branches(draw: st.DrawFn, inner: st.SearchStrategy[JsonObject]) -> JsonObject:
    return {"anyOf": [draw(inner), {"type": "null"}]}


schemas: Final[st.SearchStrategy[JsonObject]] = st.recursive(
    _leaves, lambda inner: st.one_of(_objects(inner), _arrays(inner), _branches(inner)), max_leaves=8
)
"""Schemas that some value of a sensible size satisfies."""
