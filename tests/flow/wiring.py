"""What the tests of the matrix share: the gateway between packages and providers, and what both ends must show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import anthropic
import ollama
import openai
from google.genai import errors as genai_errors
from msgspec import Struct
from msgspec.structs import replace

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.flow.answers import RECORDED, Call, Provider, Said, recorded
from tests.flow.clients import Ask, Client, Told
from tests.flow.wire import READERS, Result, Seen, Turn

__all__ = [
    "RAISED",
    "WORDS",
    "Wired",
    "answer",
    "ask_stream",
    "ask_whole",
    "asked_for",
    "check_ids",
    "environ_of",
    "got",
    "history",
    "status_of",
    "told_of",
]

WORDS: Final = {
    "openai": {name: name for name in ("stop", "length", "tool_calls", "content_filter")},
    "responses": {
        "stop": "completed",
        "length": "incomplete:max_output_tokens",
        "tool_calls": "completed",
        "content_filter": "incomplete:content_filter",
    },
    "completions": {name: name for name in ("stop", "length", "content_filter")},
    "anthropic": {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
    },
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"},
    "ollama": {"stop": "stop", "length": "length", "tool_calls": "stop", "content_filter": "stop"},
}
"""How each client dialect says why an answer ended."""


RAISED: Final = (openai.APIError, anthropic.APIError, genai_errors.APIError, ollama.ResponseError)
"""What the packages raise when they are told of a failure."""

ROWS: Final = """\
[providers.chat]
dialect = "openai_chat"
url = "https://api.openai.com/v1"
default_model = "gpt-4o-mini"
quirks = { developer_role = true, reasoning_field = "" }

[providers.responses]
dialect = "openai_responses"
url = "https://api.openai.com/v1"
default_model = "gpt-4o-mini"
"""
"""Providers of one's own, each of which speaks one of OpenAI's dialects and no other."""


def environ_of(upstream: ScriptedUpstream, folder: Path) -> dict[str, str]:
    """The environment of a gateway all of whose providers are ``upstream``; its file is written into ``folder``."""
    config = folder / "spine.toml"
    config.write_text(ROWS, encoding="utf-8")
    return {
        "GENAI_CONFIG": str(config),
        "GENAI_FETCH_HOSTS": "127.0.0.1",
        "CHAT_API_KEY": "sk-upstream-openai-0001",
        "CHAT_API_URL": f"{upstream.url}/v1",
        "RESPONSES_API_KEY": "sk-upstream-openai-0001",
        "RESPONSES_API_URL": f"{upstream.url}/v1",
        "ANTHROPIC_API_KEY": "sk-ant-upstream-0002",
        "ANTHROPIC_API_URL": upstream.url,
        "GOOGLE_API_KEY": "sk-upstream-google-0003",
        "GOOGLE_API_URL": upstream.url,
        "BEDROCK_API_KEY": "sk-upstream-bedrock-0004",
        "BEDROCK_API_URL": upstream.url,
        "OLLAMA_API_URL": upstream.url,
    }


class Wired(Struct):
    """A gateway between the packages and one scripted service that plays all the providers."""

    upstream: ScriptedUpstream
    gateway: RunningGateway
    clients: dict[str, Client]

    def asked(self, provider: Provider) -> Seen:
        """What the provider was asked last."""
        received = self.upstream.received[-1]
        assert "POST" == received.method
        seen = READERS[provider.name](json.loads(received.body))
        if not provider.stream_path:
            assert provider.path == received.path
            return seen
        assert received.path in {provider.path, provider.stream_path}
        return replace(seen, model=provider.model, stream=received.path == provider.stream_path)


def status_of(error: BaseException) -> int | None:
    """The status that a package's error bears."""
    status: int | None = getattr(error, "status_code", None) or getattr(error, "code", None)
    return status


def told_of(client: str, said: Said, provider: Provider) -> dict[str, Any]:
    """What the package must hand over of an answer, but for the ids of calls."""
    return {
        "text": said.text,
        "calls": [(call.name, call.arguments) for call in said.calls],
        "finish": WORDS[client][said.finish],
        "model": said.model or provider.answered,
        "input_tokens": said.input_tokens,
        "output_tokens": said.output_tokens,
    }


def got(told: Told) -> dict[str, Any]:
    """The same of what it did hand over."""
    return {
        "text": told.text,
        "calls": [(call.name, call.arguments) for call in told.calls],
        "finish": told.finish,
        "model": told.model,
        "input_tokens": told.input_tokens,
        "output_tokens": told.output_tokens,
    }


def check_ids(client: str, said: Said, told: Told) -> None:
    """The ids of calls are the provider's own; where it gives none, they are made, each another."""
    if client == "ollama":
        return  # the package knows no ids
    ids = [call.id for call in told.calls]
    assert len(ids) == len({*ids} - {""})
    assert [call.id or made for call, made in zip(said.calls, ids, strict=True)] == ids


def asked_for(provider: Provider, ask: Ask, **more: Any) -> Seen:
    """What the provider must be asked for a plain request."""
    return Seen(
        **{
            "model": provider.model,
            "system": ask.system,
            "turns": (Turn(role="user", text=ask.prompt),),
            "tools": ask.tools,
            "max_tokens": ask.max_tokens,
            "stop": ask.stop,
            **more,
        }
    )


def history(client: str, provider: Provider, ask: Ask) -> tuple[Turn, ...]:
    """The turns that the provider must be shown of a conversation with tools."""
    turns = [Turn(role="user", text=ask.prompt)]
    for round_ in ask.rounds:
        calls, results = [], []
        for number, (call, result) in enumerate(zip(round_.told.calls, round_.results, strict=True)):
            # Ollama's package tells no ids: towards those who need them they are made of the call's place.
            made = "" if provider.name == "ollama" else f"call_{number}"
            ident = made if client == "ollama" else call.id
            calls.append(Call(ident, call.name, call.arguments))
            results.append(Result(ident, result, call.name if provider.name in {"google", "ollama"} else ""))
        turns.append(Turn(role="assistant", text=round_.told.text, calls=tuple(calls)))
        turns.append(Turn(role="tool", results=tuple(results)))
    return tuple(turns)


def answer(provider: Provider, scene: str, said: Said, *, stream: bool = False) -> tuple[Scripted, Said]:
    """A recorded answer for the scene, if there is one; else ``said``, written in the provider's dialect."""
    if (provider.name, scene) in RECORDED:
        return recorded(provider, scene)
    return (provider.stream if stream else provider.whole)(said), said


async def ask_whole(wired: Wired, client: str, provider: Provider, ask: Ask, reply: Scripted) -> Told:
    """Ask for a whole answer; the provider gives ``reply``."""
    wired.upstream.enqueue(reply)
    return await wired.clients[client].complete(f"{provider.asked_as}/{provider.model}", ask)


async def ask_stream(wired: Wired, client: str, provider: Provider, ask: Ask, reply: Scripted) -> Told:
    """Ask for a stream; the provider gives ``reply``."""
    wired.upstream.enqueue(reply)
    return await wired.clients[client].stream(f"{provider.asked_as}/{provider.model}", ask)
