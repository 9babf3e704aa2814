"""Services to be played behind the gateway: each answers by what it is asked, in its own dialect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from genai_spine.testing.upstream import Received, Scripted
from tests.clients import gemini
from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.wire import READERS, Seen

__all__ = ["SERVICES", "Played", "Service"]


class Service(Struct, frozen=True, kw_only=True):
    """A service that speaks one dialect.

    Attributes:
        model: One of its models, as callers of the gateway name it.
        read: Reads a request, strictly.
        whole: Writes an answer.
        stream: Writes an answer as a stream.
    """

    model: str
    read: Callable[[Received], Seen]
    whole: Callable[[Said], Scripted]
    stream: Callable[[Said], Scripted]


def _service(name: str, model: str = "") -> Service:
    provider = PROVIDERS[name]

    def read(received: Received) -> Seen:
        # Whom an answer is for is the agents' to tell, and no part of what the reader compares.
        asked = {field: value for field, value in received.json().items() if field not in {"user", "metadata"}}
        return READERS[name](asked)

    return Service(
        model=model or f"{name}/{provider.model}",
        read=read,
        whole=provider.whole,
        stream=provider.stream,
    )


SERVICES: Final = {
    "openai": _service("openai"),
    # It speaks Chat Completions alone, whereas OpenAI is asked over Responses by who speaks that.
    "groq": _service("openai", "groq/llama-3.1-8b-instant"),
    "anthropic": _service("anthropic"),
    "google": Service(model="google/gemini-3.1-flash-lite", read=gemini.read, whole=gemini.whole, stream=gemini.stream),
}
"""The services, each by the name of the provider that it plays."""


class Played:
    """Says one turn after another: the next one as soon as the tools that were called in the one before have answered.

    Attributes:
        seen: The requests, oldest first.
    """

    def __init__(self, service: Service, turns: Sequence[Said]) -> None:
        self._service = service
        self._turns = turns
        self.seen: list[Seen] = []

    def __call__(self, received: Received) -> Scripted:
        """Return the answer to a request."""
        seen = self._service.read(received)
        self.seen.append(seen)
        said = self._turns[sum(bool(turn.calls) for turn in seen.turns)]
        if said.text.startswith("{") and seen.schema is None:
            # Who asks for an object without saying so wants a tool called that takes it.
            (tool,) = seen.tools
            said = Said(calls=(Call("call_object", tool.name, msgspec.json.decode(said.text)),), finish="tool_calls")
        return (self._service.stream if seen.stream else self._service.whole)(said)
