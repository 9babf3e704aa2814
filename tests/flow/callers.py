"""A plain HTTP caller, for tests of what no package shows: bytes, headers, and requests that no package would send."""

from __future__ import annotations

import json
from typing import Any, Final

import aiohttp
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.flow.answers import PROVIDERS

__all__ = ["DOORS", "Answer", "Caller"]

DOORS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "openai": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "anthropic": ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": "Hi"}], "stream": False}),
}
"""Each door's path and the least that it takes."""


class Answer(Struct):
    """What came back; headers are by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:  # Any: each door has its own shape
        """The body, decoded."""
        return json.loads(self.body)


class Caller(Struct):
    """Calls a gateway whose providers are all one scripted service."""

    session: aiohttp.ClientSession
    gateway: RunningGateway
    upstream: ScriptedUpstream

    async def call(self, method: str, path: str, **more: Any) -> Answer:  # Any: whatever the HTTP client takes
        """Send a request; nothing is sent on but what the test gives."""
        async with self.session.request(method, path, **more) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, headers, await response.read())

    async def ask(self, door: str, provider: str, reply: Scripted, headers: Any = None, **fields: Any) -> Answer:
        """Ask at a door for a provider's model; the provider gives ``reply``."""
        path, body = DOORS[door]
        self.upstream.enqueue(reply)
        model = f"{provider}/{PROVIDERS[provider].model}"
        return await self.call("POST", path, json={"model": model, **body, **fields}, headers=headers)
