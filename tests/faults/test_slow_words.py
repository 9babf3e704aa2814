"""A model that thinks for long before its first words: the caller's connection is kept alive meanwhile, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import pytest
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Door, Provider, raw_server

HOLD: Final = 0.02
SECONDS: Final = 20
SIGN: Final = b": keep-alive"
EVENTS: Final = [door for door in DOORS if not door.name.startswith("ollama")]
LINES: Final = [door for door in DOORS if door.name.startswith("ollama")]


class Thinker:
    """A service whose answer has begun, and whose words come when they are asked for."""

    def __init__(self, provider: Provider) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._provider = provider

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which carries one request."""
        await reader.readuntil(b"\r\n\r\n")
        raw = self._provider.stream
        words = raw.find(raw[: raw.find(b"Hello, ")].splitlines(keepends=True)[-1])
        head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {self._provider.content_type}\r\n\r\n"
        writer.write(head.encode() + raw[:words])
        self.begun.set()
        await self.go.wait()
        writer.write(raw[words:])
        writer.write_eof()
        await reader.read()


class Bench(Struct):
    """A caller, a gateway that holds nothing back for long, and the service behind it."""

    session: aiohttp.ClientSession
    gateway: RunningGateway
    thinker: Thinker
    provider: Provider

    async def open(self, door: Door) -> aiohttp.ClientResponse:
        """Ask for a stream; return once its head is there."""
        body = door.body(self.provider.model, stream=True)
        return await self.session.post(self.gateway.url + door.path, json=body, headers=self.gateway.headers)

    async def read_until_words(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a stream to its end; the words come once there were three signs of life."""
        lines: list[bytes] = []
        async for line in response.content:
            lines.append(line)
            if [one.strip() for one in lines].count(SIGN) == 3:
                self.thinker.go.set()
        return b"".join(lines)


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.name)
async def bench(
    request: pytest.FixtureRequest, gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    """One before each kind of provider."""
    monkeypatch.setattr("genai_spine.gateway.failover.HOLD_SECONDS", HOLD)
    thinker = Thinker(request.param)
    async with raw_server(thinker.serve) as url, aiohttp.ClientSession() as session, asyncio.timeout(SECONDS):
        gateway = await gateways.start(
            OPENAI_API_KEY="sk-upstream-openai-0001",
            OPENAI_API_URL=f"{url}/v1",
            ANTHROPIC_API_KEY="sk-ant-upstream-0002",
            ANTHROPIC_API_URL=url,
            OLLAMA_API_URL=url,
        )
        yield Bench(session, gateway, thinker, request.param)


@pytest.mark.parametrize("door", EVENTS, ids=lambda door: door.name)
async def test_comments_until_the_first_words(bench: Bench, door: Door) -> None:
    """Comments come for as long as the words do not; the stream is whole, and a reader of events sees none of them."""
    body = await bench.read_until_words(await bench.open(door))
    assert b"Hello" not in body[: body.rfind(SIGN)]
    told = door.read_stream(body)
    assert (True, None, "Hello, wörld.") == (told.clean, told.error, told.text)


@pytest.mark.parametrize("door", LINES, ids=lambda door: door.name)
async def test_no_comments_where_there_are_none(bench: Bench, door: Door) -> None:
    """Lines of JSON know no comments: their reader waits as long as another gets three, then has the whole stream."""
    opening = asyncio.create_task(bench.open(door))
    await bench.thinker.begun.wait()
    await bench.read_until_words(await bench.open(EVENTS[0]))
    body = await (await opening).read()
    assert SIGN not in body
    assert "Hello, wörld." == door.read_stream(body).text
