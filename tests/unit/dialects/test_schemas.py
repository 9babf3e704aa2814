"""Schemas are walked whole, however deep or wide, and without a step for what they refer to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from genai_spine.dialects.gemini.schema import json_schema
from genai_spine.dialects.schemas import closed
from genai_spine.types.json import Json, JsonObject
from tests.work import GROWTH, work_of

_DEEP: Final = 20_000


def _nested(depth: int, keyword: str = "items", leaf: JsonObject | None = None) -> JsonObject:
    schema: JsonObject = leaf or {"type": "object"}
    for _ in range(depth):
        schema = {keyword: schema}
    return schema


def _innermost(schema: Json, keyword: str = "items") -> Json:
    while isinstance(schema, dict) and keyword in schema:
        schema = schema[keyword]
    return schema


def test_objects_are_closed() -> None:
    """Wherever a schema may stand objects are closed that leave it open; what only looks like a schema stays."""
    open_one: JsonObject = {"type": "object", "properties": {"a": {"type": "string"}}}
    shut: JsonObject = {**open_one, "additionalProperties": False}
    written = closed(
        {
            "properties": {"type": open_one, "b": True},
            "anyOf": [open_one, False],
            "items": open_one,
            "$defs": {"x": {"type": ["object", "null"], "additionalProperties": {"type": "string"}}},
            "const": open_one,
            "default": {"type": "object"},
        }
    )
    assert {
        "properties": {"type": shut, "b": True},
        "anyOf": [shut, False],
        "items": shut,
        "$defs": {"x": {"type": ["object", "null"], "additionalProperties": {"type": "string"}}},
        "const": open_one,
        "default": {"type": "object"},
        "additionalProperties": False,
    } == written
    assert ["properties", "anyOf", "items", "$defs", "const", "default", "additionalProperties"] == list(written)


def test_a_list_that_may_be_null() -> None:
    """What may be null keeps what it holds, rewritten too."""
    own: JsonObject = {"type": "ARRAY", "nullable": True, "items": {"type": "STRING", "nullable": True}}
    assert {"type": ["array", "null"], "items": {"type": ["string", "null"]}} == json_schema(own)
    either: JsonObject = {"anyOf": [{"type": "STRING"}, own], "nullable": True}
    assert {"anyOf": [{"anyOf": [{"type": "string"}, json_schema(own)]}, {"type": "null"}]} == json_schema(either)


@pytest.mark.parametrize(("walk", "leaf"), [(closed, {"type": "object"}), (json_schema, {"type": "OBJECT"})])
def test_any_depth(walk: Callable[[JsonObject], JsonObject], leaf: JsonObject) -> None:
    """A schema nested deeper than any stack is rewritten to its innermost."""
    inner = _innermost(walk(_nested(_DEEP, leaf=leaf)))
    assert isinstance(inner, dict)
    assert "object" == inner["type"]


def test_a_schema_that_refers_to_itself() -> None:
    """A reference is not followed, so that a circle is no matter."""
    tree: JsonObject = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    assert tree == closed(tree) == json_schema(tree)


@pytest.mark.parametrize("walk", [closed, json_schema])
@pytest.mark.parametrize(
    "make",
    [
        _nested,
        lambda size: {"properties": {f"a{number}": {"type": "object"} for number in range(size)}},
        lambda size: {"anyOf": [{"type": "object"}] * size},
    ],
    ids=["deep", "wide", "many branches"],
)
def test_walking_takes_linear_work(walk: Callable[[JsonObject], JsonObject], make: Callable[[int], JsonObject]) -> None:
    """Four times the schema, about four times the work: tables and lists are given room in steps."""

    def work(size: int) -> tuple[int, int]:
        schema = make(size)
        done = work_of(lambda _: walk(schema), [b""])
        return done.calls, done.memory

    (calls, memory), (more_calls, more_memory) = work(1000), work(4000)
    assert more_calls <= GROWTH * calls
    assert more_memory <= 1.5 * GROWTH * memory
