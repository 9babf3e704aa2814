"""Fields are taken once, by their type, and what nobody took is kept."""

from __future__ import annotations

import pytest

from genai_spine.dialects.fields import Fields, dump, dump_text, request_object, response_object
from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError
from genai_spine.types.json import Json


def test_what_nobody_took_is_kept() -> None:
    """The rest holds every field that was not taken; told() leaves the nulls out."""
    fields = Fields({"a": "x", "b": 1, "c": None, "d": [1]})
    assert fields.text("a") == "x"
    assert fields.text("a") is None
    assert {"b": 1, "c": None, "d": [1]} == fields.rest()
    assert {"b": 1, "d": [1]} == fields.told()


def test_null_counts_as_absent() -> None:
    """A field that is null reads as one that is not there."""
    fields = Fields({"a": None})
    assert "a" not in fields
    assert fields.child("a") is None
    assert [] == list(fields.children("a"))


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 1),
        ("need_text", None),
        ("flag", 1),
        ("flag", "true"),
        ("integer", True),
        ("integer", 1.5),
        ("integer", "1"),
        ("number", True),
        ("number", "1"),
        ("items", {}),
        ("texts", [1]),
        ("texts", 1),
        ("object", []),
        ("child", []),
        ("need_child", None),
    ],
)
def test_another_type_is_an_error_that_names_the_path(method: str, value: Json) -> None:
    """A field of another type is refused with its path."""
    fields = Fields({"f": value}, "messages[3]")
    with pytest.raises(InvalidFieldError) as caught:
        getattr(fields, method)("f")
    assert caught.value.param == "messages[3].f"
    assert caught.value.status == 422


def test_children_are_numbered_in_paths() -> None:
    """The path of a field in an array has its place."""
    fields = Fields({"messages": [{"role": "user"}, {"role": 7}]})
    with pytest.raises(InvalidFieldError) as caught:
        [child.text("role") for child in fields.children("messages")]
    assert caught.value.param == "messages[1].role"


def test_numbers() -> None:
    """3.0 is an integer, 3 is a number, true is neither."""
    assert Fields({"f": 3.0}).integer("f") == 3
    assert Fields({"f": 3}).number("f") == 3


def test_one_text_or_many() -> None:
    """One string reads as an array of one."""
    assert Fields({"stop": "x"}).texts("stop") == ("x",)
    assert Fields({"stop": ["x", "y"]}).texts("stop") == ("x", "y")
    assert Fields({}).texts("stop") == ()


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_broken_bodies(body: bytes) -> None:
    """What is not JSON is the caller's fault in a request and the provider's in an answer; nothing else is raised."""
    with pytest.raises(InvalidRequestError):
        request_object(body)
    with pytest.raises(MalformedResponseError):
        response_object(body)


def test_json_that_is_no_object() -> None:
    """An array is JSON, but no body."""
    with pytest.raises(InvalidFieldError):
        request_object(b"[]")
    with pytest.raises(MalformedResponseError):
        response_object(b"[]")


def test_writing_what_is_nested_too_deeply() -> None:
    """Writing meets the same limit of depth as reading, and the same error."""
    value: Json = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidRequestError):
        dump(value)
    while isinstance(value, list) and value:  # taken apart by hand: the interpreter would do it in one deep dive
        value = value[0]


def test_text_is_compact() -> None:
    """JSON text has no spaces and keeps its letters."""
    assert dump_text({"a": [1, "ü"]}) == '{"a":[1,"ü"]}'
