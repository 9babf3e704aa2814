"""Who takes which suite: a line for each member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, field

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect, Quirks
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from tests.conformance.recordings import Exchange, exchanges

__all__ = ["DIALECTS", "DialectMember"]


class DialectMember(Struct, frozen=True, kw_only=True):
    """A dialect, and what has been recorded of services that speak it.

    Attributes:
        recorded: Finds the exchanges.
        quirks: Of services, by a pattern of their host names; those of the rest are the default.
        broken: Names of streams that a service broke off or told a failure in, and the kind of failure.
        no_answers: Names of exchanges in which what answered was no such service.
    """

    dialect: Dialect
    recorded: Callable[[], tuple[Exchange, ...]]
    quirks: Mapping[str, Quirks] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    no_answers: frozenset[str] = frozenset()


_OPENAI_BROKEN: Final = {
    "test_groq/test_tool_use_failed_error_streaming#0": "server_error",
    "test_groq/test_tool_use_failed_error_streaming_with_text#0": "server_error",
    "test_openrouter/test_openrouter_stream_error#0": "invalid_request",
}
_OPENAI_NO_ANSWERS: Final = frozenset({"test_openai/test_invalid_response#0", "test_openai/test_text_response#0"})

DIALECTS: Final = (
    DialectMember(
        dialect=OpenAIChat(),
        recorded=lambda: exchanges("*/chat/completions"),
        broken=_OPENAI_BROKEN,
        no_answers=_OPENAI_NO_ANSWERS,
    ),
    DialectMember(dialect=AnthropicMessages(), recorded=lambda: exchanges("*/v1/messages")),
    DialectMember(dialect=Ollama(), recorded=lambda: exchanges("*/api/chat")),
)
