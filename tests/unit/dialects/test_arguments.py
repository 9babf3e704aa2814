"""A tool call's arguments, said as an object."""

from __future__ import annotations

import pytest

from genai_spine.dialects.arguments import arguments_object
from genai_spine.types.json import JsonObject


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", {}),
        (" {} ", {}),
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("[1]", {"raw": "[1]"}),
        ('{"a"', {"raw": '{"a"'}),
        ('"word"', {"raw": '"word"'}),
    ],
)
def test_arguments_are_an_object(text: str, meaning: JsonObject) -> None:
    """Whatever a model wrote as arguments is said as an object, nothing of it lost."""
    assert meaning == arguments_object(text)
