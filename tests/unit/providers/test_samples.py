"""Samples: what is made for a schema obeys it."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given

from genai_spine.providers.samples import sample
from genai_spine.types.json import Json, JsonObject
from tests.schemas import faults, schemas
from tests.work import work_of

TREE: Final[JsonObject] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "a": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "b": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "c": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "d": {"$ref": "#/$defs/node"},
            },
            "required": ["name", "a", "c"],
        }
    },
    "$ref": "#/$defs/node",
}


@given(schemas)
def test_a_sample_obeys_its_schema(schema: JsonObject) -> None:
    """Whatever the schema, an independent validator finds nothing wrong with the sample."""
    assert faults(sample(schema, "some words"), schema) == []


@given(schemas)
def test_a_sample_is_the_same_each_time(schema: JsonObject) -> None:
    """Nothing is left to chance."""
    assert sample(schema, "x") == sample(schema, "x")


CASES: Final[list[tuple[Json, Json]]] = [
    ({"type": "string"}, "text"),
    ({}, "text"),
    (True, "text"),
    ({"type": "string", "format": "date"}, "2025-01-01"),
    ({"type": "string", "format": "unheard-of"}, "text"),
    ({"type": "string", "minLength": 6}, "text.."),
    ({"minLength": 6}, "text.."),
    ({"type": "string", "maxLength": 2}, "te"),
    ({"type": "integer"}, 1),
    ({"type": "integer", "minimum": 2.5}, 3),
    ({"type": "integer", "exclusiveMinimum": 2}, 3),
    ({"type": "integer", "exclusiveMinimum": 0.9, "exclusiveMaximum": 1.9}, 1),
    ({"type": "integer", "maximum": -3.5}, -4),
    ({"type": "integer", "exclusiveMaximum": -3}, -4),
    ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
    ({"type": "integer", "maximum": -7, "multipleOf": 5}, -10),
    ({"type": "number", "multipleOf": 5}, 5),
    ({"type": "number"}, 1),
    ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, 0.25),
    ({"type": "number", "exclusiveMinimum": 0}, 1),
    ({"type": "number", "minimum": 2, "exclusiveMinimum": 1}, 2),
    ({"type": "number", "exclusiveMaximum": 1}, 0),
    ({"type": "number", "maximum": -2}, -2),
    ({"type": "number", "minimum": True}, 1),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"type": ["null", "integer"]}, 1),
    ({"type": ["null"]}, None),
    ({"type": "unheard-of"}, "text"),
    ({"const": {"a": 1}}, {"a": 1}),
    ({"enum": ["b", "a"], "type": "string"}, "b"),
    ({"enum": []}, "text"),
    ({"type": "object"}, {}),
    ({"properties": {"a": {"type": "null"}}}, {"a": None}),
    ({"type": "object", "required": ["a"]}, {"a": "text"}),
    ({"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}}, {"a": 1}),
    ({"type": "array"}, ["text"]),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
    ({"type": "array", "maxItems": 0}, []),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 1),
    ({"anyOf": [True]}, "text"),
    ({"type": "object", "properties": {"a": {"const": 1}}, "anyOf": [{"required": ["a"]}]}, {"a": 1}),
    (
        {"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {"const": 2}}}, True]},
        {"a": 1, "b": 2},
    ),
    ({"allOf": [{"required": ["a"]}], "required": ["b"], "type": "object"}, {"b": "text", "a": "text"}),
    ({"$defs": {"a/b~c": {"const": 1}}, "$ref": "#/$defs/a~1b~0c"}, 1),
    ({"$defs": {"a b": {"const": 1}}, "$ref": "#/$defs/a%20b"}, 1),
    ({"$ref": "#/$defs/missing"}, "text"),
    ({"$ref": "https://elsewhere.example/schema"}, "text"),
    ({"$ref": "#"}, "text"),
]


@pytest.mark.parametrize(("schema", "expected"), CASES, ids=[json.dumps(schema) for schema, _ in CASES])
def test_what_is_made(schema: Json, expected: Json) -> None:
    """Each keyword has its say; what is not understood is as if it were not there."""
    assert expected == sample(schema, "text")


def test_a_schema_that_refers_to_itself() -> None:
    """A tree ends, at a size that can be sent, and obeys its schema."""
    tree = sample(TREE, "x")
    assert faults(tree, TREE) == []
    assert len(json.dumps(tree)) < 1_000_000


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 3},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"anyOf": [{"$ref": "#"}]},
        {"type": "array", "minItems": 10**12},
        {"type": "array", "minItems": 2000, "items": {"type": "array", "minItems": 2000}},
        {"type": "string", "minLength": 10**12},
        {"type": "integer", "minimum": float("inf")},
    ],
)
def test_a_schema_that_asks_for_too_much(schema: Json) -> None:
    """A schema that no value of sensible size satisfies still gets one, and it fits into memory."""
    assert len(json.dumps(sample(schema, "x"))) < 1_000_000


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"$ref": "#"}] * 10},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"allOf": [{"$ref": "#"}] * 3, "required": [f"a{number}" for number in range(1000)], "type": "object"},
        {
            "type": "object",
            "properties": {f"a{number}": {"$ref": "#"} for number in range(1000)},
            "allOf": [{"$ref": "#"}, {"$ref": "#"}],
        },
    ],
)
def test_schemas_that_make_work(schema: JsonObject) -> None:
    """Few words that ask for work without end get a value after a bounded number of steps."""
    work = work_of(lambda _: sample(schema, "text"), [b""])
    assert work.calls < 500_000
    assert work.memory < 64 * 1024 * 1024
