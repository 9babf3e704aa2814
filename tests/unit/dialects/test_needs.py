"""What each dialect's envelope tells of a request's needs, without the request being decoded."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.envelope import read_fields, read_wishes
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.ollama.dialect import Ollama, OllamaGenerate
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_completions.dialect import OpenAICompletions
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.routing import NO_WISHES, Wishes

# Written so that every sign that is looked for stands there as words too.
WORDS: Final = 'an "image_url", "input_image", "image", "image/png", "images" or "json_schema"'
SCHEMA: Final = {"type": "object"}

PLAIN: Final[dict[str, tuple[Dialect, dict[str, Any]]]] = {
    "chat": (OpenAIChat(), {"messages": [{"role": "user", "content": WORDS}]}),
    "completions": (OpenAICompletions(), {"prompt": WORDS}),
    "responses": (OpenAIResponses(), {"input": WORDS}),
    "anthropic": (AnthropicMessages(), {"messages": [{"role": "user", "content": WORDS}], "max_tokens": 1}),
    "gemini": (Gemini(), {"contents": [{"parts": [{"text": WORDS}]}]}),
    "ollama": (Ollama(), {"messages": [{"role": "user", "content": WORDS}]}),
    "generate": (OllamaGenerate(), {"prompt": WORDS}),
    "bedrock": (BedrockConverse(), {"messages": [{"role": "user", "content": [{"text": WORDS}]}]}),
}

NEEDY: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}],
        "tools": [{}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        "max_completion_tokens": 7,
    },
    "responses": {
        "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}],
        "tools": [{}],
        "text": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "max_output_tokens": 7,
    },
    "anthropic": {
        "messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}],
        "tools": [{}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "max_tokens": 7,
    },
    "gemini": {
        "contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}],
        "tools": [{}],
        "generationConfig": {"responseJsonSchema": SCHEMA, "maxOutputTokens": 7.0},
    },
    "ollama": {
        "messages": [{"role": "user", "content": "", "images": ["aaaa"]}],
        "tools": [{}],
        "format": SCHEMA,
        "options": {"num_predict": 7.0},
    },
    "generate": {"images": ["aaaa"], "tools": [{}], "format": SCHEMA, "options": {"num_predict": 7}},
    "bedrock": {
        "messages": [{"role": "user", "content": [{"image": {"format": "png"}}]}],
        "toolConfig": {"tools": []},
        "outputConfig": {"textFormat": {"type": "json_schema"}},
        "inferenceConfig": {"maxTokens": 7.0},
    },
}


def needs_of(name: str, **more: Any) -> tuple[bool, bool, bool, int | None]:
    """Tools, images, schema and the limit that a request is seen to have."""
    dialect, body = PLAIN[name]
    envelope = dialect.read_envelope(msgspec.json.encode({**body, **more}), {})
    return envelope.tools, envelope.images, envelope.schema, envelope.max_tokens


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_request_needs_nothing(name: str) -> None:
    """Words about pictures and schemas are words."""
    assert (False, False, False, 1 if name == "anthropic" else None) == needs_of(name)


@pytest.mark.parametrize("name", NEEDY)
def test_what_a_request_needs_is_seen(name: str) -> None:
    """Tools, a picture, a schema and a limit, as each dialect says them."""
    assert (True, True, True, 7) == needs_of(name, **NEEDY[name])


def test_what_only_looks_like_a_need() -> None:
    """A form without a schema, a limit that is none, the older name of a limit, and Anthropic's older field."""
    assert not needs_of("chat", response_format={"type": "json_object"})[2]
    assert not needs_of("ollama", format="json")[2]
    assert needs_of("ollama", options={"num_predict": -1})[3] is None
    assert 5 == needs_of("chat", max_tokens=5)[3]
    assert 5 == needs_of("completions", max_tokens=5)[3]
    assert needs_of("anthropic", output_format={"type": "json_schema", "schema": SCHEMA})[2]
    assert needs_of("gemini", generation_config={"response_schema": SCHEMA})[2]


def wishes(headers: dict[str, str] | None = None, **fields: Any) -> Wishes:
    """What is read of a request's own fields and headers."""
    return read_wishes(read_fields(msgspec.json.encode(fields)), headers or {})


def test_the_wishes_of_a_request() -> None:
    """All that may be said in the body; most requests say nothing, which costs nothing."""
    assert wishes(model="m") is NO_WISHES
    assert Wishes(
        provider="openai",
        strategy="quality",
        hint="cheapest",
        fallback=("groq", "best"),
        preferred=("groq", "openai"),
        max_cost=10_000_000_000,
    ) == wishes(
        provider="openai",
        provider_hint="cheapest",
        fallback=["groq", "best"],
        routing={"strategy": "quality", "max_cost_usd": 0.01, "preferred_providers": ["groq", "openai"]},
    )
    assert 10_000_000_000 == wishes(routing={"max_cost_usd": "0.01"}).max_cost
    assert NO_WISHES == wishes(provider=None, provider_hint=None, routing=None, fallback=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), (" False ", False), ("groq, openai/gpt-4o,", ("groq", "openai/gpt-4o")), (" ", None)],
)
def test_a_fallback_in_a_header(text: str, expected: bool | tuple[str, ...] | None) -> None:  # noqa: FBT001  # a case
    """Yes, no, or names with commas between them; the body's word counts before it."""
    assert expected == wishes({"x-spine-fallback": text}).fallback
    assert wishes({"x-spine-fallback": text}, fallback=False).fallback is False


def test_too_many_names() -> None:
    """Each is looked up: a list of them has an end, in the body and in a header."""
    assert ("x",) * 64 == wishes({"x-spine-fallback": "x," * 64}).fallback
    for field, more in (
        ("fallback", {"fallback": ["x"] * 65}),
        ("routing.preferred_providers", {"routing": {"preferred_providers": ["x"] * 65}}),
    ):
        with pytest.raises(InvalidFieldError) as caught:
            wishes(**more)
        assert field == caught.value.param
    with pytest.raises(InvalidFieldError, match="at most 64 names"):
        wishes({"x-spine-fallback": "x," * 65})


def test_an_amount_finer_than_any_price() -> None:
    """It is a 422 that names the field."""
    with pytest.raises(InvalidFieldError, match="finer than a picodollar") as caught:
        wishes(routing={"max_cost_usd": "0.0000000000001"})
    assert "routing.max_cost_usd" == caught.value.param
