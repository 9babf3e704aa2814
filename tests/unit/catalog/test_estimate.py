"""The guess of input tokens: near the truth for English and code, and everything that a provider reads counts.

``counted.json`` holds texts, written for this purpose, with their true counts in OpenAI's o200k vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.catalog.estimate import (
    TOKENS_PER_COARSE_IMAGE,
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_TOOL,
    estimate_input_tokens,
    estimate_text_tokens,
    upper_estimate,
)
from genai_spine.types.completion import CompletionRequest, OutputSchema
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Message,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.tools import OpaqueTool, Tool
from tests.strategies import requests

OVERHEAD = 2 * TOKENS_PER_MESSAGE


class Counted(msgspec.Struct):
    """A text and its true count."""

    name: str
    tokens: int
    text: str


COUNTED: Final = msgspec.json.decode(Path(__file__).with_name("counted.json").read_bytes(), type=list[Counted])


def asked(*parts: Part) -> CompletionRequest:
    """A request of one turn."""
    return CompletionRequest(messages=(Message(role="user", parts=parts),))


@pytest.mark.parametrize("counted", COUNTED, ids=lambda counted: counted.name)
def test_the_guess_is_near_the_true_count(counted: Counted) -> None:
    """English prose and code are within a fifth of the truth, other writing within two thirds."""
    within = 2 / 3 if counted.name.startswith("other") else 0.2
    assert pytest.approx(counted.tokens, rel=within) == estimate_text_tokens(counted.text)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("a" * 10_000, 1_000, 2_500),
        ("9" * 3_000, 1_000, 1_000),
        (" " * 6_400, 80, 200),
        ("\n" * 800, 50, 100),
        (" \n" * 1_000, 500, 1_000),
        ("-" * 3_200, 100, 200),
        ("\x00" * 500, 500, 500),
        ("🎉" * 500, 500, 1_500),
        ("\ud800" * 500, 500, 1_500),
    ],
)
def test_odd_texts(text: str, least: int, most: int) -> None:
    """One letter, digit, space or sign over and over, and what is no text at all, get a sane guess."""
    assert least <= estimate_text_tokens(text) <= most


@given(st.text(max_size=300), st.integers(1, 4))
def test_the_guess_grows_with_the_text(text: str, times: int) -> None:
    """No guess is above the number of characters, and what is said again counts again, but for where it joins."""
    guess = estimate_text_tokens(text)
    assert guess <= len(text)
    assert times * guess - 2 * times <= estimate_text_tokens(text * times) <= times * guess + 2 * times


def test_a_long_text_counts_as_its_parts() -> None:
    """A text longer than is looked at in one go counts as much as its parts together."""
    text = "The quick brown fox jumps over the lazy dog. " * 100
    assert pytest.approx(100 * estimate_text_tokens(text), rel=0.001) == estimate_text_tokens(text * 100)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Text(text="two words"), 2),
        (Thinking(text="two words"), 2),
        (Refusal(text="no"), 1),
        (ToolCall(id="1", name="look", arguments='{"a":1}'), TOKENS_PER_TOOL + 1 + 5),
        (
            ToolResult(call_id="1", parts=(Text(text="it"), Image(media=Media(url="u")))),
            TOKENS_PER_TOOL + 1 + TOKENS_PER_IMAGE,
        ),
        (Image(media=Media(data="A" * 100_000)), TOKENS_PER_IMAGE),
        (Image(media=Media(data="A" * 100_000), detail="low"), TOKENS_PER_COARSE_IMAGE),
        (Audio(media=Media(data="A" * 1_700)), 10),
        (Audio(media=Media(url="u")), TOKENS_PER_IMAGE),
        (Document(text="two words"), 2),
        (Document(media=Media(data="A" * 6000)), TOKENS_PER_IMAGE + 1000),
        (Document(media=Media(url="u")), TOKENS_PER_IMAGE),
        (Document(), TOKENS_PER_IMAGE),
        (Opaque(dialect="d", data={"a": 1}), 5),
    ],
)
def test_each_kind_of_part(part: Part, expected: int) -> None:
    """Words count by their text, media by flat rates, each turn and the instructions a few tokens more."""
    assert OVERHEAD + expected == estimate_input_tokens(asked(part))


def test_tools_and_schemas_count() -> None:
    """The descriptions of tools and the schema are read by the model too."""
    plain = estimate_input_tokens(asked())
    tool = Tool(name="f", parameters={"type": "object", "properties": {"x" * 900: {}}})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), tools=(tool,)))
    opaque = OpaqueTool(dialect="d", data={"x" * 900: 1})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), tools=(opaque,)))
    schema = OutputSchema(schema={"x" * 900: 1})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), output_schema=schema))


@given(requests())
def test_more_said_is_never_less(request: CompletionRequest) -> None:
    """A further turn raises the guess of any request by its words and the turn's own."""
    turn = Message(role="user", parts=(Text(text="one word, then more"),))
    longer = msgspec.structs.replace(request, messages=(*request.messages, turn))
    assert estimate_input_tokens(request) + TOKENS_PER_MESSAGE + 5 == estimate_input_tokens(longer)


@pytest.mark.parametrize(("tokens", "body", "expected"), [(0, 100, 0), (4, 100, 5), (5, 100, 7), (100, 110, 110)])
def test_what_is_reserved(tokens: int, body: int, expected: int) -> None:
    """A quarter is added, rounded up, but no body has more tokens than bytes."""
    assert expected == upper_estimate(tokens, body)
