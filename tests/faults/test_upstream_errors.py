"""Whatever an upstream answers or fails to answer, each door tells it by SPEC section 12, in its own dialect."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from typing import Final

import aiohttp
import pytest
from msgspec import Struct, field

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, raw_server, reset, streamed, whole

WORDS: Final = "the upstream's own words"


class Row(Struct, frozen=True, kw_only=True):
    """An upstream's failure, and how it is told.

    Attributes:
        upstream: The status that it answers with.
        status: The status by the specification's table, before a door's own words for it.
        kind: What OpenAI's ``type`` is taken from.
        code: The code told; None where it is the upstream's own.
        upstream_code: What the upstream gives as its code.
        headers: The upstream's.
        retry_after: The header to the caller.
        told: The upstream's own words reach the caller.
    """

    upstream: int
    status: int
    kind: str = ""
    code: str | None = None
    upstream_code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: str | None = None
    told: bool = True


DATE: Final = {"date": "Fri, 31 Dec 1999 23:59:30 GMT", "retry-after": "Sat, 01 Jan 2000 00:00:12 GMT"}
TABLE: Final = {
    "bad request": Row(upstream=400, status=400, kind="invalid_request"),
    "refused key": Row(upstream=401, status=502, kind="authentication", told=False),
    "no credit": Row(upstream=402, status=502, kind="quota_exhausted"),
    "not allowed": Row(upstream=403, status=502, kind="permission"),
    "no such model": Row(upstream=404, status=404, kind="not_found"),
    "request timeout": Row(upstream=408, status=504, kind="timeout"),
    "too large": Row(upstream=413, status=413, kind="payload_too_large"),
    "unprocessable": Row(upstream=422, status=422, kind="invalid_request"),
    "limited": Row(upstream=429, status=429, kind="rate_limit"),
    "limited for seconds": Row(
        upstream=429, status=429, kind="rate_limit", headers={"retry-after": "7"}, retry_after="7"
    ),
    "limited for part of a second": Row(
        upstream=429, status=429, kind="rate_limit", headers={"retry-after": "0.5"}, retry_after="1"
    ),
    "limited for milliseconds": Row(
        upstream=429,
        status=429,
        kind="rate_limit",
        headers={"retry-after-ms": "1500", "retry-after": "9"},
        retry_after="2",
    ),
    "limited until a date": Row(upstream=429, status=429, kind="rate_limit", headers=DATE, retry_after="42"),
    "limited until nonsense": Row(upstream=429, status=429, kind="rate_limit", headers={"retry-after": "soon"}),
    "error": Row(upstream=500, status=502),
    "bad gateway": Row(upstream=502, status=502),
    "unavailable": Row(upstream=503, status=503, kind="overloaded", headers={"retry-after": "30"}, retry_after="30"),
    "gateway timeout": Row(upstream=504, status=504, kind="timeout"),
    "overloaded": Row(upstream=529, status=503, kind="overloaded"),
    "unheard of": Row(upstream=599, status=502),
}
CODES: Final = {
    "insufficient_quota": Row(
        upstream=429, status=502, kind="quota_exhausted", upstream_code="insufficient_quota", code="insufficient_quota"
    ),
    "context_length_exceeded": Row(
        upstream=400,
        status=400,
        kind="invalid_request",
        upstream_code="context_length_exceeded",
        code="context_length_exceeded",
    ),
    "model_not_found": Row(
        upstream=400, status=404, kind="not_found", upstream_code="model_not_found", code="model_not_found"
    ),
}


class Bench(Struct):
    """A caller, a gateway and an upstream that plays all providers."""

    session: aiohttp.ClientSession
    gateway: RunningGateway

    async def ask(self, door: Door, provider: Provider, *, stream: bool, headers: dict[str, str] | None = None) -> Ask:
        """Ask at ``door``; that the provider failed before is forgotten."""
        self.gateway.spine.guards.of(self.gateway.spine.registry.get(provider.name)).reset()
        return await ask(self.session, self.gateway, door.path, door.body(provider.model, stream=stream), headers)

    async def each(self, check: Callable[[Door, Provider, bool], Awaitable[None]]) -> None:
        """Check at each door, before each provider, streams and whole answers."""
        for door in DOORS:
            for provider in PROVIDERS:
                for stream in (False, True):
                    await check(door, provider, stream)


def _check(door: Door, answer: Ask, *, status: int, kind: str, place: object) -> tuple[str, str]:
    """Hold status and shape of an error; return its message and code."""
    expected = door.statuses.get(status, status)
    if door.name == "anthropic_messages" and kind == "overloaded":
        expected = 529
    assert expected == answer.status, (place, answer)
    assert "application/json" == answer.headers["content-type"]
    message, told_type, code = door.read_error(answer.json())
    assert message, place
    assert answer.headers["x-request-id"], place
    if door.types:
        assert door.types.get(kind, "") == told_type, place
    else:
        assert _anthropic_type(expected) == told_type, place
    return message, code


def _anthropic_type(status: int) -> str:
    return {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        500: "api_error",
        504: "timeout_error",
        529: "overloaded_error",
    }[status]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as client:
        yield client


async def _check_row(
    row: Row, gateways: Gateways, session: aiohttp.ClientSession, providers: tuple[Provider, ...]
) -> None:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        bench = Bench(session, await gateways.before(upstream))

        async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
            if provider not in providers:
                return
            body = provider.error_body(row.upstream, WORDS, row.upstream_code)
            upstream.enqueue(json_reply(body, row.upstream, row.headers))
            answer = await bench.ask(door, provider, stream=stream)
            place = (door.name, provider.name, stream)
            message, code = _check(door, answer, status=row.status, kind=row.kind, place=place)
            assert row.told == (WORDS in message), place
            assert code == row.code or row.code is None, place
            assert row.retry_after == answer.headers.get("retry-after"), place
            assert ("true" if row.retry_after else "false") == answer.headers["x-should-retry"], place
            assert provider.name == answer.headers["x-spine-provider"], place
            record = bench.gateway.recorder.records[-1]
            assert ("timeout" if row.kind == "timeout" else "error", code) == (record.outcome, record.error), place
            assert row.status == record.status, place

        await bench.each(check)
        assert len(bench.gateway.recorder.records) == len(upstream.received)


@pytest.mark.parametrize("name", TABLE)
async def test_a_status_is_told_by_the_table(name: str, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """Each status of an upstream has one status, type and hint to retry at each door."""
    await _check_row(TABLE[name], gateways, session, PROVIDERS)


@pytest.mark.parametrize("name", CODES)
async def test_a_code_says_more_than_its_status(name: str, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """A code that is known decides: an account that is dry is no limit that passes with time."""
    await _check_row(CODES[name], gateways, session, PROVIDERS[:1])


async def test_an_error_need_not_be_json(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """A proxy's page, nothing at all, or a body cut short: the status speaks, and the page is not shown."""
    page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
    async with aiohttp.ClientSession() as session:
        bench = Bench(session, await gateways.before(upstream))
        for script in (
            Scripted(status=500, headers={"content-type": "text/html"}, chunks=(page,)),
            Scripted(status=500),
            Scripted(status=500, chunks=(b"[" * 100_000,)),
            Scripted(status=500, chunks=(b'{"error": {"message": "cut',), cut=True),
            Scripted(status=500, chunks=(b"\xff\xfe" * 10,)),
            json_reply([1, 2], 500),
            json_reply({"error": 7}, 500),
            Scripted(status=500, chunks=(b"x" * 400_000,)),
        ):

            async def check(door: Door, provider: Provider, stream: bool, script: Scripted = script) -> None:  # noqa: FBT001  # called by `each`
                upstream.enqueue(script)
                answer = await bench.ask(door, provider, stream=stream)
                place = (door.name, provider.name, stream, script.chunks[:1])
                message, _ = _check(door, answer, status=502, kind="", place=place)
                assert "html" not in message, place
                assert "[[[" not in message, place

            await bench.each(check)


async def test_a_redirect_is_not_followed(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """The gateway's key goes to the address that was set and to no other: a redirect is a failure."""
    async with aiohttp.ClientSession() as session, ScriptedUpstream() as elsewhere:
        bench = Bench(session, await gateways.before(upstream))

        async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
            upstream.enqueue(Scripted(status=302, headers={"location": f"{elsewhere.url}/v1/chat/completions"}))
            answer = await bench.ask(door, provider, stream=stream)
            _check(door, answer, status=502, kind="", place=(door.name, provider.name))

        await bench.each(check)
        assert [] == elsewhere.received


def _environment(url: str) -> dict[str, str]:
    return {
        "OPENAI_API_KEY": "sk-upstream-openai-0001",
        "OPENAI_API_URL": f"{url}/v1",
        "ANTHROPIC_API_KEY": "sk-ant-upstream-0002",
        "ANTHROPIC_API_URL": url,
        "OLLAMA_API_URL": url,
    }


def _timeouts(kind: str, seconds: float) -> dict[str, str]:
    suffix = f"_{kind}" if kind else ""
    return {f"GENAI_{provider.name.upper()}_TIMEOUT{suffix}": str(seconds) for provider in PROVIDERS}


async def _fails(bench: Bench, *, status: int, kind: str, code: str, headers: dict[str, str] | None = None) -> None:
    """Hold that every request fails in just this way before it has begun."""

    async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
        answer = await bench.ask(door, provider, stream=stream, headers=headers)
        place = (door.name, provider.name, stream)
        _, told = _check(door, answer, status=status, kind=kind, place=place)
        assert code == told, place
        assert "false" == answer.headers["x-should-retry"], place
        outcome = "timeout" if kind == "timeout" else "error"
        assert outcome == bench.gateway.recorder.records[-1].outcome, place

    await bench.each(check)
    assert len(DOORS) * len(PROVIDERS) * 2 == len(bench.gateway.recorder.records)


async def test_a_refused_connection(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """Nobody listens: 502."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gateway = await gateways.start(**_environment(f"http://127.0.0.1:{port}"))
    await _fails(Bench(session, gateway), status=502, kind="", code="connection_failed")


@pytest.mark.parametrize("host", ["no-such-host.invalid", f"{'a' * 70}.example", "two..dots.example"])
async def test_a_name_that_does_not_resolve(host: str, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """The address is of nobody, or not even a name: 502."""
    bench = Bench(session, await gateways.start(**_environment(f"http://{host}")))
    for door in DOORS:
        answer = await bench.ask(door, PROVIDERS[0], stream=True)
        _, code = _check(door, answer, status=502, kind="", place=door.name)
        assert "connection_failed" == code


async def test_a_reset_before_the_head(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """The upstream breaks off where its answer should begin, with a reset or an orderly close: 502."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        calls.append(1)
        if len(calls) % 2:
            reset(writer)

    calls: list[int] = []
    async with raw_server(serve) as url:
        gateway = await gateways.start(**_environment(url))
        await _fails(Bench(session, gateway), status=502, kind="", code="connection_failed")
    assert len(DOORS) * len(PROVIDERS) * 2 == len(calls)


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nconte",
    ],
    ids=["other protocol", "no status", "tls alert", "cut head"],
)
async def test_an_answer_that_is_not_http(head: bytes, gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """What comes is not HTTP, or its head is cut: 502."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        await writer.drain()

    async with raw_server(serve) as url:
        bench = Bench(session, await gateways.start(**_environment(url)))

        async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
            answer = await bench.ask(door, provider, stream=stream)
            _check(door, answer, status=502, kind="", place=(door.name, provider.name, stream))

        await bench.each(check)


async def test_a_connection_that_takes_too_long(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """The queue of those who wait to be accepted is full, so that no connection comes about: 504."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        loop = asyncio.get_running_loop()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            task = asyncio.ensure_future(loop.sock_connect(waiting, full.getsockname()))
            stack.callback(task.cancel)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        gateway = await gateways.start(**_environment(url), **_timeouts("CONNECT", 0.02))
        await _fails(Bench(session, gateway), status=504, kind="timeout", code="timeout")


async def test_no_first_byte(gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """The upstream takes the request and says nothing: 504, and its connection is let go."""
    count = len(DOORS) * len(PROVIDERS) * 2
    upstream.enqueue(*[Scripted(silent_before=True)] * count)
    gateway = await gateways.before(upstream, **_timeouts("FIRST_BYTE", 0.03))
    await _fails(Bench(session, gateway), status=504, kind="timeout", code="timeout")
    await upstream.until(lambda: upstream.hung_up == count)
    assert 0 == upstream.open_connections


@pytest.mark.parametrize("kind", ["BETWEEN_CHUNKS", ""], ids=["between chunks", "total"])
async def test_silence_in_the_middle(
    kind: str, gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """The upstream falls silent within its answer: a timeout, told as one whether the answer had begun or not."""
    bench = Bench(session, await gateways.before(upstream, **_timeouts(kind, 0.05)))

    async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
        if stream:
            words = [event for event in provider.events if b"Hello" in event]
            script = streamed(provider, *provider.events[: provider.events.index(words[0]) + 1], silent_after=True)
        else:
            body = whole(provider).chunks[0]
            script = streamed(provider, body[: len(body) // 2], silent_after=True)
        upstream.enqueue(script)
        answer = await bench.ask(door, provider, stream=stream)
        place = (door.name, provider.name, stream)
        if stream:
            told = door.read_stream(answer.body)
            assert "Hello, " == told.text, place
            assert not told.clean, place
            assert told.error is not None, place
            assert "timeout" == door.read_error(told.error)[2], place
        else:
            _check(door, answer, status=504, kind="timeout", place=place)
        record = bench.gateway.recorder.records[-1]
        assert ("timeout", "timeout") == (record.outcome, record.error), place

    await bench.each(check)
    await upstream.until(lambda: upstream.open_connections == 0)


async def test_drops_that_never_end(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """An upstream that says a word now and then for ever is stopped at the total, whatever its pace."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        provider = next(one for one in PROVIDERS if _spoken_to(head) == one.name)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n" % provider.content_type.encode())
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        place = next(number for number, event in enumerate(provider.events) if b"Hello" in event)
        pieces = list(provider.events[:place])
        while True:
            pieces.append(provider.events[place])
            for piece in pieces:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            pieces.clear()
            # Slow, but far faster than what is allowed between two chunks.
            await asyncio.wait({asyncio.ensure_future(reader.read(65536))}, timeout=0.005)

    async with raw_server(serve) as url:
        bench = Bench(session, await gateways.start(**_environment(url), **_timeouts("", 0.06)))

        async def check(door: Door, provider: Provider, stream: bool) -> None:  # noqa: FBT001  # called by `each`
            if not stream:
                return
            answer = await bench.ask(door, provider, stream=True)
            told = door.read_stream(answer.body)
            assert not told.clean
            assert told.error is not None
            assert "timeout" == door.read_error(told.error)[2]

        await bench.each(check)


def _spoken_to(head: bytes) -> str:
    path = head.split(b" ", 2)[1]
    return {b"/v1/messages": "anthropic", b"/api/chat": "ollama", b"/api/generate": "ollama"}.get(path, "openai")


async def test_the_caller_s_own_limit(
    gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """``x-spine-timeout`` shortens all of a provider's timeouts: 504."""
    upstream.enqueue(*[Scripted(silent_before=True)] * len(DOORS) * len(PROVIDERS) * 2)
    bench = Bench(session, await gateways.before(upstream))
    await _fails(bench, status=504, kind="timeout", code="timeout", headers={"x-spine-timeout": "0.03"})


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", ""])
async def test_a_limit_that_is_none(
    text: str, gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """``x-spine-timeout`` that is no positive number: 400, and nothing is sent."""
    bench = Bench(session, await gateways.before(upstream))
    for door in DOORS:
        answer = await bench.ask(door, PROVIDERS[0], stream=False, headers={"x-spine-timeout": text})
        _check(door, answer, status=400, kind="invalid_request", place=door.name)
    assert [] == upstream.received


async def test_retry_after_is_never_shortened(
    gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """Retry-After is whole seconds to the caller, rounded up, whatever its form was; without it none is made up."""
    bench = Bench(session, await gateways.before(upstream))
    for told in ("0", "0.001", "1", "59.5", "3600", "1e3"):
        upstream.enqueue(json_reply({}, 429, {"retry-after": told}))
        answer = await bench.ask(DOORS[0], PROVIDERS[0], stream=False)
        assert str(math.ceil(float(told))) == answer.headers["retry-after"]
        assert "true" == answer.headers["x-should-retry"]
    for none in ("-", "nan", "inf", "Fri, 99 Zzz"):
        upstream.enqueue(json_reply({}, 429, {"retry-after": none}))
        answer = await bench.ask(DOORS[0], PROVIDERS[0], stream=False)
        assert "retry-after" not in answer.headers
        assert "false" == answer.headers["x-should-retry"]
