"""Oddities of compatible services, as they were recorded; each is a test of its own."""

from __future__ import annotations

import json

import pytest

from genai_spine.errors import MalformedResponseError
from genai_spine.testing.dialects import check_broken_stream, check_response
from genai_spine.types.stream import (
    Finish,
)
from tests.conformance.recordings import Exchange, exchanges, require
from tests.unit.dialects.openai_chat.wire import (
    CHAT,
    PLAIN,
    collected,
    events_in,
)


def _recorded(path: str, *, stream: bool | None = None, failed: bool | None = None) -> tuple[Exchange, ...]:
    require()
    found = exchanges("*/chat/completions", path=path, stream=stream, failed=failed)
    assert found, f"no recording fits {path}"
    return found


def test_recorded_groq_service_tier() -> None:
    """Groq's ``service_tier: on_demand`` is kept among the extras."""
    answers_of_groq = [
        CHAT.decode_response(exchange.body, PLAIN) for exchange in _recorded("test_groq/*", stream=False, failed=False)
    ]
    assert "on_demand" in {answer.extras.get("service_tier") for answer in answers_of_groq}


def test_recorded_groq_calls_without_content() -> None:
    """Groq leaves ``content`` out beside tool calls."""
    bare = [exchange for exchange in _recorded("*groq*", stream=False) if b'"tool_calls"' in exchange.body]
    silent = [
        exchange for exchange in bare if "content" not in json.loads(exchange.body)["choices"][0].get("message", {})
    ]
    assert silent
    for exchange in silent:
        answer = check_response(CHAT, exchange.body)
        assert answer.tool_calls
        assert answer.finish_reason == "tool_calls"


def test_recorded_groq_failed_stream() -> None:
    """Groq ends a failed stream with an error event and no ``[DONE]``."""
    (exchange,) = _recorded("test_groq/test_tool_use_failed_error_streaming#0")
    assert b"[DONE]" not in exchange.body
    failure = check_broken_stream(CHAT, exchange.body)
    assert (failure.kind, failure.code) == ("server_error", "tool_use_failed")


def test_recorded_mistral_calls() -> None:
    """Mistral leaves a tool call's type or index out."""
    found = [exchange for exchange in _recorded("*mistral*", stream=False) if b'"tool_calls": [{' in exchange.body]
    assert found
    for exchange in found:
        assert check_response(CHAT, exchange.body).finish_reason == "tool_calls"


def test_recorded_mistral_lists() -> None:
    """Mistral sends ``content`` as a list, whole and in deltas: thinking, then words."""
    whole = [exchange for exchange in _recorded("test_mistral/*", failed=False) if b'"thinking"' in exchange.body]
    assert {True, False} == {exchange.is_stream for exchange in whole}
    for exchange in whole:
        answer = collected(exchange.body) if exchange.is_stream else CHAT.decode_response(exchange.body, PLAIN)
        assert answer.thinking
        assert answer.content


def test_recorded_openrouter_repeats() -> None:
    """OpenRouter repeats the finish reason; a failure after it is a failure all the same."""
    (exchange,) = _recorded("test_openrouter/test_openrouter_stream_error#0")
    assert exchange.body.count(b'"finish_reason":"length"') == 2
    failure = check_broken_stream(CHAT, exchange.body)
    assert failure.message == "Token limit reached"
    assert not any(isinstance(event, Finish) for event in events_in(exchange.body))


def test_recorded_openrouter_rate_limit() -> None:
    """OpenRouter's message says nothing; what the provider behind it said is added."""
    exchange = _recorded("test_openrouter/test_openrouter_errors_raised#0", failed=True)[0]
    error = CHAT.decode_error(exchange.status, exchange.headers, exchange.body, PLAIN)
    assert error.kind == "rate_limit"
    assert "temporarily rate-limited upstream" in error.message


def test_recorded_together() -> None:
    """Together's answers, by way of Hugging Face, are read with their reasons."""
    found = exchanges("*/together/v1/chat/completions")
    require()
    assert found
    assert {CHAT.decode_response(exchange.body, PLAIN).finish_reason for exchange in found} <= {"stop", "tool_calls"}


def test_recorded_pages_that_are_no_answers() -> None:
    """A server that echoes something else with status 200 is malformed."""
    for name in ("test_openai/test_invalid_response#0", "test_openai/test_text_response#0"):
        (exchange,) = _recorded(name)
        with pytest.raises(MalformedResponseError):
            CHAT.decode_response(exchange.body, PLAIN)
