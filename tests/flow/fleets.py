"""A gateway before one scripted service for each provider, for tests of what it does when some of them fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import aiohttp
from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.telemetry.base import Observer
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.databases import fresh_address
from tests.flow.answers import PROVIDERS, Said
from tests.flow.callers import DOORS, Answer

__all__ = ["HELLO", "Fleet", "answer_of", "failure", "fleet", "told"]

_PATHS: Final = {"openai": "/v1", "groq": "/openai/v1", "cerebras": "/v1", "anthropic": "", "ollama": ""}
HELLO: Final = "Hello from afar."


def _dialect(provider: str) -> str:
    return provider if provider in PROVIDERS else "openai"


def answer_of(provider: str, *, stream: bool = False) -> Scripted:
    """What a provider answers when all is well."""
    said = Said(text=HELLO)
    spoken = PROVIDERS[_dialect(provider)]
    return spoken.stream(said) if stream else spoken.whole(said)


def failure(status: int, code: str | None = None, headers: dict[str, str] | None = None) -> Scripted:
    """An error as services of OpenAI's dialect tell it."""
    fault: JsonObject = {"message": "It failed.", "type": code or "error", "param": None, "code": code}
    return json_reply({"error": fault}, status, headers)


class Fleet(Struct):
    """The gateway and, by provider, the services."""

    gateway: RunningGateway
    session: aiohttp.ClientSession
    services: dict[str, ScriptedUpstream]

    @property
    def called(self) -> dict[str, int]:
        """How many calls each provider got; those that got none are left out."""
        return {name: len(service.received) for name, service in self.services.items() if service.received}

    @property
    def keys(self) -> list[str]:
        """The keys with which OpenAI was called, in order."""
        received = self.services["openai"].received
        return [one.headers["authorization"].removeprefix("Bearer ") for one in received]

    @property
    def attempts(self) -> list[tuple[int, str, str, str]]:
        """Of each call to a provider its number, the provider, how it ended and the error."""
        return [(one.number, one.provider, one.outcome, one.error) for one in self.gateway.recorder.attempts]

    def script(self, provider: str, *replies: Scripted) -> None:
        """Let a provider give these answers next; after them all is well with it."""
        self.services[provider].enqueue(*replies)

    async def call(self, method: str, path: str, **more: Any) -> Answer:  # Any: whatever the HTTP client takes
        """Send a request."""
        async with self.session.request(method, path, **more) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.read())

    async def ask(
        self, model: str = "openai/gpt-4o-mini", *, door: str = "openai", headers: Any = None, **fields: Any
    ) -> Answer:
        """Ask at a door."""
        path, body = DOORS[door]
        return await self.call("POST", path, json={"model": model, **body, **fields}, headers=headers)


def told(answer: Answer) -> tuple[int, str, str, str]:
    """The status of an answer, who gave it, after how many calls, and whether it was the first choice."""
    names = ("x-spine-provider", "x-spine-attempts", "x-spine-fallback")
    provider, attempts, moved = (answer.headers.get(name, "") for name in names)
    return answer.status, provider, attempts, moved


def _well(provider: str, request: Received) -> Scripted:
    return answer_of(provider, stream=request.json().get("stream", False) is True)


@asynccontextmanager
async def fleet(
    *providers: str,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    observers: Sequence[Observer] = (),
) -> AsyncIterator[Fleet]:
    """Run a gateway before these providers; it waits for nothing before it tries again."""
    services: dict[str, ScriptedUpstream] = {}
    settings = {"GENAI_RETRY_FIRST_WAIT": "0", "GENAI_DATABASE_URL": await fresh_address("sqlite")}
    for provider in providers:
        service = services[provider] = ScriptedUpstream(partial(_well, provider))
        await service.__aenter__()
        settings[f"{provider.upper()}_API_URL"] = service.url + _PATHS[provider]
        if provider != "ollama":
            settings[f"{provider.upper()}_API_KEY"] = f"sk-{provider}-canary-0001"
    try:
        async with (
            running_gateway({**settings, **(environ or {})}, clock=clock, observers=observers) as gateway,
            aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session,
        ):
            yield Fleet(gateway, session, services)
    finally:
        for service in services.values():
            await service.__aexit__(None, None, None)
