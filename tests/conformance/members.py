"""Who takes which suite: a line for each member."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Final

import pytest
from msgspec import Struct, field

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect, Quirks
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.memory import MemoryState
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.testing.clock import ManualClock
from tests.conformance.recordings import Exchange, exchanges
from tests.redis_server import SET_TIME, RedisServer, ServerClock

__all__ = ["DIALECTS", "PROVIDERS", "SHARED_STATES", "DialectMember", "ProviderMember", "SharedStateMember"]


class DialectMember(Struct, frozen=True, kw_only=True):
    """A dialect, and what has been recorded of services that speak it.

    Attributes:
        recorded: Finds the exchanges.
        quirks: Of services, by a pattern of their host names; those of the rest are the default.
        broken: Names of streams that a service broke off or told a failure in, and the kind of failure.
        no_answers: Names of exchanges in which what answered was no such service.
        stream_in_path: Whether a stream is wanted stands in the address, not in the body.
    """

    dialect: Dialect
    recorded: Callable[[], tuple[Exchange, ...]]
    quirks: Mapping[str, Quirks] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    no_answers: frozenset[str] = frozenset()
    stream_in_path: bool = False

    def quirks_of(self, exchange: Exchange) -> Quirks:
        """Return the quirks of the service that an exchange was with."""
        for pattern, quirks in self.quirks.items():
            if fnmatch.fnmatchcase(exchange.host, pattern):
                return quirks
        return Quirks()


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
    DialectMember(
        dialect=OpenAIResponses(),
        recorded=lambda: exchanges("*/responses"),
        # After the dialect's own end mark it sends another.
        quirks={"openrouter.ai": Quirks(end_mark=False)},
    ),
    DialectMember(dialect=AnthropicMessages(), recorded=lambda: exchanges("*/v1/messages")),
    DialectMember(dialect=Ollama(), recorded=lambda: exchanges("*/api/chat")),
    DialectMember(
        dialect=BedrockConverse(),
        # One of the recorded bodies was cut short by the recorder.
        recorded=lambda: tuple(
            exchange
            for operation in ("converse", "converse-stream")
            for exchange in exchanges(f"*/model/*/{operation}")
            if exchange.name != "test_bedrock/test_bedrock_model_other_parameters#0"
        ),
        stream_in_path=True,
    ),
    DialectMember(dialect=Gemini(), recorded=lambda: exchanges("*enerateContent"), stream_in_path=True),
)


class ProviderMember(Struct, frozen=True, kw_only=True):
    """A provider that ships.

    Attributes:
        name: Of its row.
        path: Where its service is asked, given an address without a path; ``{model}`` stands for the model's id.
        stream_path: Where it is asked for a stream, if elsewhere.
        key: The header in which it wants its key, and what stands there before the key; empty for one without keys.
    """

    name: str
    path: str
    stream_path: str = ""
    key: tuple[str, str] = ("authorization", "Bearer ")


_NO_KEY: Final = ("", "")

PROVIDERS: Final = (
    ProviderMember(name="openai", path="/v1/chat/completions"),
    ProviderMember(name="anthropic", path="/v1/messages", key=("x-api-key", "")),
    ProviderMember(name="ollama", path="/api/chat", key=_NO_KEY),
    ProviderMember(
        name="google",
        path="/v1beta/models/{model}:generateContent",
        stream_path="/v1beta/models/{model}:streamGenerateContent?alt=sse",
        key=("x-goog-api-key", ""),
    ),
    ProviderMember(name="groq", path="/openai/v1/chat/completions"),
    ProviderMember(name="together", path="/v1/chat/completions"),
    ProviderMember(name="scaleway", path="/v1/chat/completions"),
    ProviderMember(name="deepseek", path="/chat/completions"),
    ProviderMember(name="mistral", path="/v1/chat/completions"),
    ProviderMember(name="xai", path="/v1/chat/completions"),
    ProviderMember(name="openrouter", path="/api/v1/chat/completions"),
    ProviderMember(name="fireworks", path="/inference/v1/chat/completions"),
    ProviderMember(name="cerebras", path="/v1/chat/completions"),
    ProviderMember(name="azure", path="/openai/v1/chat/completions", key=("api-key", "")),
    ProviderMember(name="minimax", path="/anthropic/v1/messages"),
    ProviderMember(name="vllm", path="/v1/chat/completions", key=_NO_KEY),
    ProviderMember(name="lmstudio", path="/v1/chat/completions", key=_NO_KEY),
    ProviderMember(name="llamacpp", path="/v1/chat/completions", key=_NO_KEY),
)
"""One line for each row of ``builtin.toml``; the simulator, which has no row, is checked beside them."""


class SharedStateMember(Struct, frozen=True):
    """A place that keeps state between requests.

    Attributes:
        make: Makes an empty one, and the clock that it goes by; asks pytest for what it needs.
    """

    name: str
    make: Callable[[pytest.FixtureRequest], tuple[SharedState, ManualClock]]


def _memory(_: pytest.FixtureRequest) -> tuple[SharedState, ManualClock]:
    clock = ManualClock()
    return MemoryState(1024 * 1024, clock), clock


def _redis(request: pytest.FixtureRequest) -> tuple[SharedState, ManualClock]:
    server: RedisServer = request.getfixturevalue("redis_server")
    clock = ServerClock(server)
    # A busy machine is no reason to give the server up.
    patience = Patience(connect=20, command=20)
    return RedisState(server.url, clock, patience=patience, grace_seconds=0, time=SET_TIME), clock


SHARED_STATES: Final = (SharedStateMember("memory", _memory), SharedStateMember("redis", _redis))
