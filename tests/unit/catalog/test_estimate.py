"""The guess of input tokens: everything that a provider reads counts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from genai_spine.catalog.estimate import TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE, estimate_input_tokens
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


def asked(*parts: Part) -> CompletionRequest:
    """A request of one turn."""
    return CompletionRequest(messages=(Message(role="user", parts=parts),))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Text(text="12345678"), 2),
        (Text(text="123456789"), 3),
        (Thinking(text="1234"), 1),
        (Refusal(text="1234"), 1),
        (ToolCall(id="1", name="1234", arguments='{"a":1}'), 3),
        (ToolResult(call_id="1", parts=(Text(text="1234"), Image(media=Media(url="u")))), 1 + TOKENS_PER_IMAGE),
        (Image(media=Media(data="A" * 100_000)), TOKENS_PER_IMAGE),
        (Audio(media=Media(data="A")), TOKENS_PER_IMAGE),
        (Document(text="12345678"), 2),
        (Document(media=Media(data="A" * 6000)), TOKENS_PER_IMAGE + 1000),
        (Document(media=Media(url="u")), TOKENS_PER_IMAGE),
        (Document(), TOKENS_PER_IMAGE),
        (Opaque(dialect="d", data={"a": 1}), 2),
    ],
)
def test_each_kind_of_part(part: Part, expected: int) -> None:
    """Words count a token for four characters, media flat rates, each turn and the instructions a few tokens more."""
    assert OVERHEAD + expected == estimate_input_tokens(asked(part))


def test_tools_and_schemas_count() -> None:
    """The descriptions of tools and the schema are read by the model too."""
    plain = estimate_input_tokens(asked())
    tool = Tool(name="f", parameters={"type": "object", "properties": {"x" * 400: {}}})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), tools=(tool,)))
    opaque = OpaqueTool(dialect="d", data={"x" * 400: 1})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), tools=(opaque,)))
    schema = OutputSchema(schema={"x" * 400: 1})
    assert plain + 100 < estimate_input_tokens(msgspec.structs.replace(asked(), output_schema=schema))


@given(requests())
def test_more_said_is_never_less(request: CompletionRequest) -> None:
    """A further turn raises the guess of any request by at least its words."""
    turn = Message(role="user", parts=(Text(text="w" * 40),))
    longer = msgspec.structs.replace(request, messages=(*request.messages, turn))
    assert estimate_input_tokens(request) + 10 <= estimate_input_tokens(longer)
