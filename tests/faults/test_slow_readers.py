"""A caller who does not read makes the upstream wait; nothing piles up in between."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from typing import Final

import pytest
from yarl import URL

from genai_spine.types.json import JsonObject
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Door, Provider, raw_request, raw_server

PIECE: Final = 32 * 1024
PIECES: Final = 1900
# What the sockets' buffers on the way may hold, as large as the kernel lets them grow, and what the gateway does.
HELD_BY_KERNEL: Final = 24 * 1024 * 1024
HELD_BY_GATEWAY: Final = 4 * 1024 * 1024
ROUTES: Final = [
    pytest.param(DOORS[0], PROVIDERS[0], id="openai to openai, passed through"),
    pytest.param(DOORS[1], PROVIDERS[1], id="anthropic to anthropic, passed through"),
    pytest.param(DOORS[2], PROVIDERS[2], id="ollama to ollama, passed through"),
    pytest.param(DOORS[1], PROVIDERS[0], id="anthropic to openai, translated"),
    pytest.param(DOORS[0], PROVIDERS[2], id="openai to ollama, translated"),
]


def _long(provider: Provider) -> Iterator[bytes]:
    """The provider's stream with its first words said very often, in large pieces."""
    words = next(place for place, event in enumerate(provider.events) if b"Hello" in event)
    yield from provider.events[:words]
    large = provider.events[words].replace(b"Hello, ", b"x" * PIECE)
    for _ in range(PIECES):
        yield large
    yield from provider.events[words:]


class Pushing:
    """An upstream that writes as fast as it may, and knows when it may not.

    Attributes:
        stalled: It has been made to wait.
        written: Bytes that it could write.
        over: The connection has ended, with all written or not.
    """

    def __init__(self, provider: Provider) -> None:
        self.stalled = asyncio.Event()
        self.over = asyncio.Event()
        self.written = 0
        self._provider = provider

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request, whatever it says."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n" % self._provider.content_type.encode())
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        try:
            for event in _long(self._provider):
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
                room = asyncio.ensure_future(writer.drain())
                # Half a second without room is no hiccup: whoever reads, reads megabytes in it.
                await asyncio.wait({room}, timeout=0.5)
                if not room.done():
                    self.stalled.set()
                await room
                self.written += len(event)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        finally:
            self.over.set()


async def _ask(url: str, door: Door, body: JsonObject, key: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=PIECE)
    writer.write(raw_request(door.path, json.dumps(body).encode(), key, "connection: close"))
    return reader, writer


def _environment(url: str) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "sk-upstream-openai-0001",
        "OPENAI_API_URL": f"{url}/v1",
        "ANTHROPIC_API_KEY": "sk-ant-upstream-0002",
        "ANTHROPIC_API_URL": url,
        "OLLAMA_API_URL": url,
    }


@pytest.mark.parametrize(("door", "provider"), ROUTES)
async def test_the_upstream_waits(door: Door, provider: Provider, gateways: Gateways) -> None:
    """While the caller does not read, the upstream cannot write; when he goes on, he gets all of it."""
    upstream = Pushing(provider)
    async with raw_server(upstream.serve) as url:
        gateway = await gateways.start(**_environment(url))
        tracemalloc.start()
        try:
            reader, writer = await _ask(gateway.url, door, door.body(provider.model, stream=True), gateway.key)
            await reader.readuntil(b"\r\n\r\n")
            await upstream.stalled.wait()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert upstream.written < HELD_BY_KERNEL
        assert held < HELD_BY_GATEWAY
        seen = 0
        tail = b""
        while data := await reader.read(1024 * 1024):
            seen += data.count(b"x")
            tail = (tail + data)[-4096:]
        writer.close()
        await upstream.over.wait()
        assert seen >= PIECE * PIECES
        end = {"openai_chat": b"[DONE]", "anthropic_messages": b"message_stop", "ollama": b'"done":true'}[door.name]
        assert end in tail.replace(b'"done": true', b'"done":true')
        assert "success" == gateway.recorder.records[0].outcome


@pytest.mark.parametrize(("door", "provider"), ROUTES)
async def test_a_slow_reader_who_leaves(door: Door, provider: Provider, gateways: Gateways) -> None:
    """A caller who hangs up while the upstream waits for him sets it free."""
    upstream = Pushing(provider)
    async with raw_server(upstream.serve) as url:
        gateway = await gateways.start(**_environment(url))
        reader, writer = await _ask(gateway.url, door, door.body(provider.model, stream=True), gateway.key)
        await reader.readuntil(b"\r\n\r\n")
        await upstream.stalled.wait()
        writer.transport.abort()
        async with asyncio.timeout(20):
            await upstream.over.wait()
            await gateway.recorder.until(1)
        record = gateway.recorder.records[0]
        assert "cancelled" == record.outcome
        assert record.output_tokens > 0
