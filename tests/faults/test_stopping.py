"""A gateway that is told to stop: what is under way ends whole, or is cut with a word; it is recorded either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import aiohttp
import pytest
from starlette.testclient import TestClient

from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing
from genai_spine.server.app import create_app
from genai_spine.server.underway import UnderWay
from genai_spine.settings import Settings
from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Door, Provider, ask, raw_request, raw_server, streamed

CHAT: Final = DOORS[0]
OPENAI: Final = PROVIDERS[0]
SILENT: Final = Scripted(silent_before=True)
STOPPING: Final = "the gateway is stopping"
AT_ONCE: Final = {"GENAI_STOP_SECONDS": "0"}
NEVER: Final = {"GENAI_STOP_SECONDS": "1000"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A caller."""
    async with aiohttp.ClientSession() as session:
        yield session


async def read_until(stream: asyncio.StreamReader | aiohttp.StreamReader, words: str) -> bytes:
    """Read until these words have come."""
    read = b""
    while words.encode() not in read:
        piece = await stream.read(65536) if isinstance(stream, asyncio.StreamReader) else await stream.readany()
        assert piece, read
        read += piece
    return read


def recorded(gateway: RunningGateway) -> list[tuple[str, str, int]]:
    """How requests ended, as it was recorded."""
    return [(record.outcome, record.error, record.status) for record in gateway.recorder.records]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_a_stream_that_takes_too_long(
    session: aiohttp.ClientSession, upstream: ScriptedUpstream, gateways: Gateways, door: Door, provider: Provider
) -> None:
    """It is cut with its dialect's error, last and without an end mark; the upstream is let go of; it is recorded."""
    gateway = await gateways.before(upstream, **AT_ONCE)
    upstream.enqueue(streamed(provider, *provider.events[:-1], silent_after=True))
    body = door.body(provider.model, stream=True)
    async with session.post(gateway.url + door.path, json=body, headers=gateway.headers) as response:
        read = await read_until(response.content, "rld.")
        gateway.server.finish()
        read += await response.content.read()
    told = door.read_stream(read)
    assert (False, True, "Hello, wörld.") == (told.clean, told.last, told.text)
    assert told.error is not None
    assert STOPPING in door.read_error(told.error)[0]
    await upstream.until(lambda: upstream.hung_up == 1)
    assert [("interrupted", "stopping", 200)] == recorded(gateway)
    assert [("interrupted", "stopping")] == [(made.outcome, made.error) for made in gateway.recorder.attempts]
    assert gateway.recorder.attempts[0].usage is not None
    assert {} == gateway.spine.guards.troubles


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_an_answer_that_has_not_begun(
    session: aiohttp.ClientSession, upstream: ScriptedUpstream, gateways: Gateways, door: Door, *, stream: bool
) -> None:
    """It becomes an error in the caller's dialect that says to try again, at another gateway or a little later."""
    gateway = await gateways.before(upstream, **AT_ONCE)
    upstream.enqueue(SILENT)
    asking = asyncio.create_task(ask(session, gateway, door.path, door.body(OPENAI.model, stream=stream)))
    await upstream.until(lambda: len(upstream.received) == 1)
    gateway.server.finish()
    answer = await asking
    assert door.statuses.get(503, 503) == answer.status
    assert STOPPING in door.read_error(answer.json())[0]
    assert ("1", "true") == (answer.headers["retry-after"], answer.headers["x-should-retry"])
    await upstream.until(lambda: upstream.hung_up == 1)
    assert [("error", "stopping", 503)] == recorded(gateway)
    assert [("error", "stopping")] == [(made.outcome, made.error) for made in gateway.recorder.attempts]


async def test_a_route_of_the_control_plane(
    session: aiohttp.ClientSession, upstream: ScriptedUpstream, gateways: Gateways
) -> None:
    """Its answers are cut and recorded like those of the hot routes."""
    gateway = await gateways.before(upstream, **AT_ONCE)
    upstream.enqueue(SILENT)
    asking = asyncio.create_task(ask(session, gateway, "/v1/generate", {"prompt": "Hello!", "provider": "openai"}))
    await upstream.until(lambda: len(upstream.received) == 1)
    gateway.server.finish()
    answer = await asking
    assert 503 == answer.status
    assert STOPPING in str(answer.json()["error"])
    assert [("error", "stopping", 503)] == recorded(gateway)


async def test_a_body_that_does_not_come_whole(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """A request of which a part is missing is refused and recorded as well."""
    gateway = await gateways.before(upstream, **AT_ONCE)
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = CHAT.body(OPENAI.model, stream=False)
    writer.write(raw_request(CHAT.path, body, gateway.key, "expect: 100-continue")[:-5])
    await reader.readuntil(b"100 Continue\r\n\r\n")
    gateway.server.finish()
    assert b"HTTP/1.1 503 " in await reader.read()
    writer.close()
    assert [("error", "stopping", 503)] == recorded(gateway)
    assert [] == upstream.received


async def test_a_caller_who_reads_no_more(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """Nothing can be told to who does not read: the gateway ends all the same, and what he used is recorded."""
    gateway = await gateways.before(upstream, **AT_ONCE)
    long = OPENAI.events[1] * 100_000
    upstream.enqueue(streamed(OPENAI, OPENAI.events[0], long, silent_after=True))
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(raw_request(CHAT.path, CHAT.body(OPENAI.model, stream=True), gateway.key))
    await reader.readuntil(b"Hello, ")
    gateway.server.finish()
    await gateway.recorder.until(1)
    assert [("interrupted", "stopping", 200)] == recorded(gateway)
    assert [("interrupted", "stopping")] == [(made.outcome, made.error) for made in gateway.recorder.attempts]
    writer.transport.abort()


async def test_a_stream_that_ends_in_time(session: aiohttp.ClientSession, gateways: Gateways) -> None:
    """It ends whole, while nobody is let in any more and idle connections are closed; what was used is recorded."""
    go_on = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(b"".join(OPENAI.events[:2]))
        await go_on.wait()
        writer.write(b"".join(OPENAI.events[2:]))
        await writer.drain()

    async with raw_server(serve) as url:
        gateway = await gateways.start(OPENAI_API_KEY="sk-upstream-openai-0001", OPENAI_API_URL=f"{url}/v1", **NEVER)
        host, port = gateway.url.removeprefix("http://").split(":")
        idle, keeper = await asyncio.open_connection(host, int(port))
        body = CHAT.body(OPENAI.model, stream=True)
        async with session.post(gateway.url + CHAT.path, json=body, headers=gateway.headers) as response:
            read = await read_until(response.content, "Hello, ")
            gateway.server.finish()
            assert b"" == await idle.read()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))
            go_on.set()
            read += await response.content.read()
        keeper.close()
    told = CHAT.read_stream(read)
    assert (True, None, "Hello, wörld.") == (told.clean, told.error, told.text)
    assert [("success", "", 200)] == recorded(gateway)


async def test_a_gateway_that_is_told_again(
    session: aiohttp.ClientSession, upstream: ScriptedUpstream, gateways: Gateways
) -> None:
    """Told a second time to stop, it cuts what is under way at once; to be told once more what it knows is no haste."""
    gateway = await gateways.before(upstream, **NEVER)
    host, port = gateway.url.removeprefix("http://").split(":")
    idle, keeper = await asyncio.open_connection(host, int(port))
    upstream.enqueue(SILENT)
    asking = asyncio.create_task(ask(session, gateway, CHAT.path, CHAT.body(OPENAI.model, stream=False)))
    await upstream.until(lambda: len(upstream.received) == 1)
    gateway.server.stop()
    gateway.server.finish()
    assert b"" == await idle.read()
    assert not asking.done()
    keeper.close()
    gateway.server.stop()
    assert 503 == (await asking).status


async def test_nothing_is_under_way_when_nothing_is_asked(upstream: ScriptedUpstream) -> None:
    """A gateway with nothing to wait for ends, and its engine is closed."""
    async with AsyncExitStack() as stack:
        gateway = await Gateways(stack).before(upstream, **NEVER)
        assert gateway.spine.open
    assert not gateway.spine.open


def test_readiness() -> None:
    """As soon as it is told to stop, it is not ready, while it still answers."""
    under_way = UnderWay()
    spine = Spine(Settings({"GENAI_PROBE_LOCAL": "false"}))
    with TestClient(create_app(spine, KeyRing(()), under_way)) as client:
        assert (200, "ready") == (client.get("/ready").status_code, client.get("/ready").json()["status"])
        under_way.stopping = True
        assert (503, "stopping") == (client.get("/ready").status_code, client.get("/ready").json()["status"])
        assert 200 == client.get("/health").status_code
