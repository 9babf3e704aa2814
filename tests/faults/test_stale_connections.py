"""Connections that are kept alive: one may be closed in the instant it is reused, and none may hold old bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeAlias

import aiohttp
import msgspec
import pytest

from genai_spine.testing.gateway import RunningGateway
from genai_spine.types.json import JsonObject
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, ask, end_quickly, raw_server, reset

DOOR: Final = DOORS[0]
PROVIDER: Final = PROVIDERS[0]


# Bytes to be sent, after which the connection is kept or not, or what is done without any.
Step: TypeAlias = bytes | str | tuple[bytes, str]


def _reply(content: str, *, headers: str = "") -> bytes:
    """A good answer with these words."""
    body = msgspec.json.encode(
        {**PROVIDER.answer, "choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]}
    )
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Upstream:
    """Answers the n-th request of the m-th connection by a script of bytes, or of what to do instead.

    Attributes:
        seen: (connection, request) of each request that came, both from 0.
    """

    def __init__(self, script: Callable[[int, int], Step]) -> None:
        self.seen: list[tuple[int, int]] = []
        self.connections = 0
        self._script = script

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        end_quickly(writer)
        connection = self.connections
        self.connections += 1
        request = 0
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            self.seen.append((connection, request))
            done = self._script(connection, request)
            request += 1
            if isinstance(done, tuple):
                writer.write(done[0])
                await writer.drain()
                done = done[1]
            if isinstance(done, bytes):
                writer.write(done)
                await writer.drain()
            elif done == "reset":
                reset(writer)
                return
            elif done == "close":
                return
            else:
                await reader.read()


class Bench:
    """A gateway before such an upstream, and a caller."""

    def __init__(self, stack: AsyncExitStack, gateways: Gateways) -> None:
        self._stack = stack
        self._gateways = gateways
        self.gateway: RunningGateway

    async def before(self, script: Callable[[int, int], Step], **environ: str) -> Upstream:
        """Start both."""
        upstream = Upstream(script)
        url = await self._stack.enter_async_context(raw_server(upstream.serve))
        self.gateway = await self._gateways.start(
            OPENAI_API_KEY="sk-upstream-0001", OPENAI_API_URL=f"{url}/v1", **environ
        )
        self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
        return upstream

    async def ask(self) -> Ask:
        """Ask the gateway."""
        body: JsonObject = DOOR.body(PROVIDER.model, stream=False)
        return await ask(self._session, self.gateway, DOOR.path, body)


@pytest.fixture
async def bench(gateways: Gateways) -> AsyncIterator[Bench]:
    """What each test here needs."""
    async with AsyncExitStack() as stack:
        yield Bench(stack, gateways)


async def test_connections_are_kept(bench: Bench) -> None:
    """One connection carries one request after another."""
    upstream = await bench.before(lambda _, request: _reply(f"answer {request}"))
    for number in range(5):
        assert f"answer {number}".encode() in (await bench.ask()).body
    assert [(0, number) for number in range(5)] == upstream.seen


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_stale_connection_is_replaced_once(how: str, bench: Bench) -> None:
    """A kept connection that is closed as it is reused costs the caller nothing: the call goes over a new one, once."""
    upstream = await bench.before(lambda connection, request: how if connection == 0 and request == 1 else _reply("ok"))
    for number in range(3):
        answer = await bench.ask()
        assert 200 == answer.status, answer
        assert "1" == answer.headers["x-spine-attempts"], number
    assert [(0, 0), (0, 1), (1, 0), (1, 1)] == upstream.seen
    assert ["success"] * 3 == [record.outcome for record in bench.gateway.recorder.records]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_stale_connection_is_replaced_no_more_than_once(how: str, bench: Bench) -> None:
    """If the new connection breaks too, the call has failed."""
    upstream = await bench.before(lambda connection, request: _reply("ok") if (connection, request) == (0, 0) else how)
    assert 200 == (await bench.ask()).status
    assert 502 == (await bench.ask()).status
    assert [(0, 0), (0, 1), (1, 0)] == upstream.seen


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_new_connection_that_breaks_is_not_replaced(how: str, bench: Bench) -> None:
    """A connection that has never carried anything cannot have gone stale: the upstream may have begun to work."""
    upstream = await bench.before(lambda _connection, _request: how)
    assert 502 == (await bench.ask()).status
    assert [(0, 0)] == upstream.seen


@pytest.mark.parametrize("cut", [1, 20, -5], ids=["first byte", "head", "body"])
async def test_a_kept_connection_that_breaks_within_its_answer(cut: int, bench: Bench) -> None:
    """Once a byte of the answer has come the connection was not stale: the call is not made again."""
    upstream = await bench.before(lambda _, request: (_reply("ok")[:cut], "close") if request else _reply("ok"))
    assert 200 == (await bench.ask()).status
    assert 502 == (await bench.ask()).status
    assert [(0, 0), (0, 1)] == upstream.seen


async def test_silence_on_a_kept_connection_is_not_staleness(bench: Bench) -> None:
    """An upstream that does not answer in time has the call in hand: it is not made again."""
    upstream = await bench.before(
        lambda _, request: "silence" if request else _reply("ok"), GENAI_OPENAI_TIMEOUT_FIRST_BYTE="0.05"
    )
    assert 200 == (await bench.ask()).status
    assert 504 == (await bench.ask()).status
    assert [(0, 0), (0, 1)] == upstream.seen


async def test_a_connection_that_says_it_closes_is_not_kept(bench: Bench) -> None:
    """``Connection: close`` is believed."""
    upstream = await bench.before(lambda _connection, _request: _reply("ok", headers="connection: close\r\n"))
    for _ in range(3):
        assert 200 == (await bench.ask()).status
    assert [(0, 0), (1, 0), (2, 0)] == upstream.seen


@pytest.mark.parametrize("extra", [1, 2, 3])
async def test_an_answer_too_many_is_nobody_s(extra: int, bench: Bench) -> None:
    """Answers that nobody asked for, sent along with a good one, never become the answer to another's question."""

    def script(connection: int, request: int) -> bytes:
        good = _reply(f"connection {connection} request {request}")
        return good + _reply("smuggled") * extra if connection == 0 else good

    await bench.before(script)
    assert b"connection 0 request 0" in (await bench.ask()).body
    answers = await asyncio.gather(*(bench.ask() for _ in range(4)))
    bodies = [answer.body for answer in answers if answer.status == 200]
    assert 4 == len(bodies)
    assert 4 == len(set(bodies))
    assert all(b"smuggled" not in body for body in bodies)


@pytest.mark.parametrize("junk", [b"x", b"H", b"HTTP/1.1 200 OK\r\n", b"\x00"])
async def test_bytes_between_answers_end_the_connection(junk: bytes, bench: Bench) -> None:
    """Bytes after an answer, before the next question, spoil the connection and no answer."""
    upstream = await bench.before(lambda connection, _: _reply("ok") + (junk if connection == 0 else b""))
    for _ in range(3):
        answer = await bench.ask()
        assert 200 == answer.status, answer
        assert b'"ok"' in answer.body
    assert (0, 1) not in upstream.seen


async def test_callers_at_once_share_no_connection(bench: Bench) -> None:
    """Each of many callers at once gets the answer to his own question."""
    upstream = await bench.before(lambda connection, request: _reply(f"connection {connection} request {request}"))
    for _ in range(3):
        answers = await asyncio.gather(*(bench.ask() for _ in range(20)))
        assert 20 == len({answer.body for answer in answers})
    assert 60 == len(set(upstream.seen)) == len(upstream.seen)
