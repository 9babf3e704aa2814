"""What has no end upstream has one here: heads, frames, lines and whole answers grow only so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import aiohttp
import pytest

from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, raw_server

MIB: Final = 1024 * 1024
# What the gateway keeps of a frame or an answer at most, what is on its way besides, and room.
MOST_OF_A_FRAME: Final = 48 * MIB
MOST_OF_AN_ANSWER: Final = 96 * MIB
MOST_OF_A_HEAD: Final = 16 * MIB


class Endless:
    """An upstream that goes on until it is stopped.

    Attributes:
        written: Bytes that it got rid of.
        stopped: The gateway has closed the connection.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]]) -> None:
        self.written = 0
        self.stopped = asyncio.Event()
        self._pieces = pieces

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a request."""
        await reader.readuntil(b"\r\n\r\n")
        self.written = 0
        try:
            for piece in self._pieces():
                writer.write(piece)
                await writer.drain()
                self.written += len(piece)
        finally:
            self.stopped.set()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as client:
        yield client


async def _ask(
    endless: Endless,
    gateways: Gateways,
    session: aiohttp.ClientSession,
    door: Door,
    provider: Provider,
    *,
    stream: bool,
) -> Ask:
    async with raw_server(endless.serve) as url:
        gateway = await gateways.start(
            OPENAI_API_KEY="sk-upstream-0001",
            OPENAI_API_URL=f"{url}/v1",
            ANTHROPIC_API_KEY="sk-upstream-0002",
            ANTHROPIC_API_URL=url,
            OLLAMA_API_URL=url,
        )
        answer = await ask(session, gateway, door.path, door.body(provider.model, stream=stream))
        await endless.stopped.wait()
        assert ["error"] == [record.outcome for record in gateway.recorder.records]
    return answer


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def _head(provider: Provider) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % provider.content_type.encode()


@pytest.mark.parametrize("size", [1 * MIB, 16 * 1024], ids=["large pieces", "small pieces"])
@pytest.mark.parametrize(
    ("door", "provider"),
    [
        pytest.param(DOORS[0], PROVIDERS[0], id="openai, passed through"),
        pytest.param(DOORS[1], PROVIDERS[0], id="openai, translated"),
        pytest.param(DOORS[1], PROVIDERS[1], id="anthropic, passed through"),
        pytest.param(DOORS[0], PROVIDERS[1], id="anthropic, translated"),
        pytest.param(DOORS[2], PROVIDERS[2], id="ollama, passed through"),
        pytest.param(DOORS[0], PROVIDERS[2], id="ollama, translated"),
    ],
)
async def test_a_frame_without_end(
    door: Door, provider: Provider, size: int, gateways: Gateways, session: aiohttp.ClientSession
) -> None:
    """A frame or line that only grows is a failure at a bound, and the upstream is stopped there."""

    def pieces() -> Iterator[bytes]:
        yield _head(provider)
        yield _chunked(b'{"message":{"content":"' if provider.name == "ollama" else b'data: {"choices":"')
        while True:
            yield _chunked(b"x" * size)

    endless = Endless(pieces)
    answer = await _ask(endless, gateways, session, door, provider, stream=True)
    assert door.statuses.get(502, 502) == answer.status
    door.read_error(answer.json())
    assert endless.written < MOST_OF_A_FRAME


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
async def test_an_answer_without_end(provider: Provider, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """A whole answer that only grows is a failure at a bound, with or without a length told."""
    heads = (
        (_head(provider), True),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", False),
    )
    for head, chunks in heads:

        def pieces(head: bytes = head, *, chunks: bool = chunks) -> Iterator[bytes]:
            yield head
            while True:
                yield _chunked(b" " * MIB) if chunks else b" " * MIB

        endless = Endless(pieces)
        answer = await _ask(endless, gateways, session, DOORS[0], provider, stream=False)
        assert 502 == answer.status
        DOORS[0].read_error(answer.json())
        assert endless.written < MOST_OF_AN_ANSWER


async def test_an_error_without_end(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """Of an error's body only so much is read as a message may need."""

    def pieces() -> Iterator[bytes]:
        yield b"HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\n\r\n"
        while True:
            yield b" " * MIB

    endless = Endless(pieces)
    answer = await _ask(endless, gateways, session, DOORS[0], PROVIDERS[0], stream=False)
    assert 502 == answer.status
    assert endless.written < MOST_OF_A_HEAD


@pytest.mark.parametrize(
    "piece",
    [b"x-filler: " + b"x" * 1000 + b"\r\n", b"x" * 1000, b"HTTP/1.1 100 Continue\r\n\r\n" * 40],
    ids=["headers", "one header", "interim answers"],
)
async def test_a_head_without_end(piece: bytes, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """A head that only grows, or is never the last one, is a failure at a bound."""

    def pieces() -> Iterator[bytes]:
        if not piece.startswith(b"HTTP"):
            yield b"HTTP/1.1 200 OK\r\nx-first: "
        while True:
            yield piece

    endless = Endless(pieces)
    answer = await _ask(endless, gateways, session, DOORS[0], PROVIDERS[0], stream=True)
    assert 502 == answer.status
    assert endless.written < MOST_OF_A_HEAD


async def test_many_small_frames_keep_no_memory(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """A stream of comments or empty frames, however long, is passed over; its cut is an error like any other."""
    provider = PROVIDERS[0]

    def pieces() -> Iterator[bytes]:
        yield _head(provider)
        for _ in range(50):
            yield _chunked(b": waiting\n\n\n\n" * 1000)

    endless = Endless(pieces)
    answer = await _ask_interrupted(endless, gateways, session)
    told = DOORS[1].read_stream(answer.body) if answer.status == 200 else None
    assert told is None or (told.error is not None and not told.clean)


async def _ask_interrupted(endless: Endless, gateways: Gateways, session: aiohttp.ClientSession) -> Ask:
    async with raw_server(endless.serve) as url:
        gateway = await gateways.start(OPENAI_API_KEY="sk-upstream-0001", OPENAI_API_URL=f"{url}/v1")
        answer = await ask(session, gateway, DOORS[1].path, DOORS[1].body(PROVIDERS[0].model, stream=True))
        assert ["interrupted"] == [record.outcome for record in gateway.recorder.records]
    return answer
