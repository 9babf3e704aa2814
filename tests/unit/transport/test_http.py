"""The HTTP client: what it sends, how long it waits, when it uses a connection again, how its failures are named."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import httptools
import pytest

from genai_spine import errors
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply, sse_reply
from genai_spine.transport.base import Incoming, Outgoing, Timeouts
from genai_spine.transport.failures import ERRORS, broken, translate
from genai_spine.transport.http import MOST_REMEMBERED, HttpTransport
from tests.raw import serving

SHORT: Final = Timeouts(connect=5, first_byte=0.05, between_chunks=0.05, total=5)
PATIENT: Final = Timeouts(connect=5, first_byte=5, between_chunks=5, total=5)
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy but a test's own."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


def post(url: str, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Outgoing:
    """A request."""
    return Outgoing(method="POST", url=url, headers=headers or {}, body=body)


async def read(incoming: Incoming) -> bytes:
    """The whole body."""
    return await incoming.read(10**9)


# The exchange.


async def test_a_request_and_its_answer(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Method, path, query, headers and body arrive as given; status, headers and body come back as sent."""
    upstream.enqueue(json_reply(b'{"a": 1}', status=418, headers={"X-Odd": "yes"}))
    outgoing = post(f"{upstream.url}/v1/x%2Fy?k=v&w", b"hello", {"X-Mine": "1", "Authorization": "Bearer k"})
    incoming = await transport.send(outgoing, PATIENT)
    assert (418, "yes") == (incoming.status, incoming.headers["x-odd"])
    assert b'{"a": 1}' == await read(incoming)
    sent = upstream.received[0]
    assert ("POST", "/v1/x%2Fy?k=v&w", b"hello") == (sent.method, sent.path, sent.body)
    assert ("1", "Bearer k", "5") == (
        sent.headers["x-mine"],
        sent.headers["authorization"],
        sent.headers["content-length"],
    )
    assert upstream.url.removeprefix("http://") == sent.headers["host"]


async def test_a_get_has_no_body(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It tells no length, and an address without a path asks for the root."""
    upstream.enqueue(json_reply({}))
    await read(await transport.send(Outgoing(method="GET", url=upstream.url, headers={}), PATIENT))
    assert ("GET", "/", None) == (
        upstream.received[0].method,
        upstream.received[0].path,
        upstream.received[0].headers.get("content-length"),
    )


async def test_a_stream_comes_as_it_is_sent(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Pieces arrive while the answer is still open, and chunked framing does not show."""
    upstream.enqueue(sse_reply([b"data: 1\n\n"], silent_after=True))
    incoming = await transport.send(post(upstream.url), PATIENT)
    assert b"data: 1\n\n" == await anext(aiter(incoming.chunks()))
    incoming.close()
    await upstream.until(lambda: upstream.hung_up == 1)


async def test_a_large_answer_for_a_slow_reader(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Megabytes come whole, though the reader takes his time between pieces."""
    pieces = [bytes([number]) * 100_000 for number in range(30)]
    upstream.enqueue(sse_reply(pieces))
    incoming = await transport.send(post(upstream.url), PATIENT)
    found: list[bytes] = []
    async for piece in incoming.chunks():
        found.append(piece)
        await asyncio.sleep(0)
    assert b"".join(pieces) == b"".join(found)


async def test_an_answer_longer_than_allowed(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Reading stops at the limit, and the connection is closed."""
    upstream.enqueue(sse_reply([b"x" * 1000] * 100))
    incoming = await transport.send(post(upstream.url), PATIENT)
    with pytest.raises(errors.MalformedResponseError, match="longer than 5000 bytes"):
        await incoming.read(5000)
    await upstream.until(lambda: upstream.open_connections == 0)


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "\u20ac"])
async def test_a_header_that_cannot_be_sent(upstream: ScriptedUpstream, transport: HttpTransport, value: str) -> None:
    """Line breaks and characters outside HTTP's are refused before anything is sent; the value is not shown."""
    with pytest.raises(errors.ConnectionFailedError) as caught:
        await transport.send(post(upstream.url, headers={"Authorization": value}), PATIENT)
    assert value not in caught.value.message
    assert [] == upstream.received


# Connections.


async def test_a_connection_is_used_again(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """Calls one after another share one; calls at the same time have one each."""
    upstream.enqueue(*(json_reply({}) for _ in range(3)))
    for _ in range(3):
        await read(await transport.send(post(upstream.url), PATIENT))
    assert upstream.open_connections == 1
    upstream.enqueue(*(sse_reply([b"x"], silent_after=True) for _ in range(5)))
    answers = await asyncio.gather(*(transport.send(post(upstream.url), PATIENT) for _ in range(5)))
    assert upstream.open_connections == 5
    for answer in answers:
        answer.close()


async def test_a_connection_that_had_gone_stale(transport: HttpTransport) -> None:
    """One that the server closes as it is taken is replaced, and the call made once more, unseen; a new one is not."""
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a connection's first request, and hang up at its second; the third connection hangs up at once."""
        served.append(0)
        number = len(served) - 1
        while await reader.readuntil(b"\r\n\r\n"):
            served[number] += 1
            if served[number] > 1 or number == 2:
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with serving(serve) as port:
        outgoing = Outgoing(method="GET", url=f"http://127.0.0.1:{port}/", headers={})
        assert [b"0", b"1"] == [await read(await transport.send(outgoing, PATIENT)) for _ in range(2)]
        with pytest.raises(errors.ConnectionFailedError):
            await transport.send(outgoing, PATIENT)
    assert [2, 2, 1] == served


async def test_addresses_are_remembered_within_bounds(transport: HttpTransport, deaf_port: int) -> None:
    """Callers choose models, and models can be part of a path: a thousand of them do not stay in memory for ever."""
    for number in range(MOST_REMEMBERED + 2):
        with pytest.raises(errors.ConnectionFailedError):
            await transport.send(post(f"http://127.0.0.1:{deaf_port}/{number}"), PATIENT)
    assert len(transport._addresses) <= MOST_REMEMBERED


async def test_closing_closes_all(upstream: ScriptedUpstream) -> None:
    """Nothing stays open, neither idle connections nor those in use."""
    client = HttpTransport()
    upstream.enqueue(json_reply({}), sse_reply([b"x"], silent_after=True), sse_reply([b"x"], silent_after=True))
    await read(await client.send(post(upstream.url), PATIENT))
    for _ in range(2):
        await client.send(post(upstream.url), PATIENT)
    await client.close()
    await upstream.until(lambda: upstream.open_connections == 0)


# Time.


async def test_an_upstream_that_does_not_answer(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """After the time to the first byte the call has failed, and the upstream sees the connection closed."""
    upstream.enqueue(Scripted(silent_before=True))
    with pytest.raises(errors.ProviderTimeoutError):
        await transport.send(post(upstream.url), SHORT)
    await upstream.until(lambda: upstream.hung_up == 1)


async def test_an_upstream_that_falls_silent(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """What came is there, then the silence is an error, and the connection closed."""
    upstream.enqueue(sse_reply([b"data: 1\n\n"], silent_after=True))
    incoming = await transport.send(post(upstream.url), Timeouts(connect=5, first_byte=5, between_chunks=0.05, total=5))
    chunks = aiter(incoming.chunks())
    assert b"data: 1\n\n" == await anext(chunks)
    with pytest.raises(errors.ProviderTimeoutError):
        await anext(chunks)
    await upstream.until(lambda: upstream.hung_up == 1)


async def test_all_of_it_takes_too_long(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """The total counts even where each piece is in time."""
    upstream.enqueue(sse_reply([b"x"], silent_after=True), Scripted(silent_before=True))
    total = Timeouts(connect=5, first_byte=5, between_chunks=5, total=0.05)
    incoming = await transport.send(post(upstream.url), total)
    with pytest.raises(errors.ProviderTimeoutError):
        await read(incoming)
    with pytest.raises(errors.ProviderTimeoutError):
        await transport.send(post(upstream.url), total)


def test_a_deadline_only_shortens() -> None:
    """No timeout is longer than what is left of the request, and none grows."""
    timeouts = Timeouts(connect=10, first_byte=120, between_chunks=60, total=600)
    assert timeouts == timeouts.within(None) == timeouts.within(600) == timeouts.within(9999)
    assert Timeouts(connect=10, first_byte=30, between_chunks=30, total=30) == timeouts.within(30)
    assert Timeouts(connect=1, first_byte=1, between_chunks=1, total=1) == timeouts.within(1)


# Failures.


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_nobody_listens(transport: HttpTransport, deaf_port: int) -> None:
    """A refused connection is told as that."""
    with pytest.raises(errors.ConnectionFailedError, match="refuse"):
        await transport.send(post(f"http://127.0.0.1:{deaf_port}"), PATIENT)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "http://127.0.0.1:99999/", "nonsense", "http://[::1"])
async def test_what_is_no_address(transport: HttpTransport, url: str) -> None:
    """It is an error of ours, not a foreign one."""
    with pytest.raises(errors.ConnectionFailedError):
        await transport.send(post(url), PATIENT)


async def test_an_answer_that_is_cut(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A body shorter than it said, or a stream without its last chunk, has broken off."""
    upstream.enqueue(Scripted(chunks=(b"half",), cut=True), sse_reply([b"half"], cut=True))
    for _ in range(2):
        incoming = await transport.send(post(upstream.url), PATIENT)
        with pytest.raises(errors.StreamInterruptedError):
            await read(incoming)


def answering(reply: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Send just these bytes, and close."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()

    return answer


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"", errors.ConnectionFailedError),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", errors.MalformedResponseError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", errors.ConnectionFailedError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 300_000, errors.MalformedResponseError),
    ],
    ids=["nothing", "no HTTP", "half a head", "an endless head"],
)
async def test_what_is_no_answer(transport: HttpTransport, reply: bytes, kind: type[errors.SpineError]) -> None:
    """Whatever comes instead of an answer is an error of the provider's."""
    async with serving(answering(reply)) as port:
        with pytest.raises(kind):
            await transport.send(post(f"http://127.0.0.1:{port}/"), PATIENT)


async def test_an_answer_that_ends_with_its_connection(transport: HttpTransport) -> None:
    """HTTP/1.0's way: without a length the close is the end, and the answer whole."""
    reply = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with serving(answering(reply)) as port:
        incoming = await transport.send(post(f"http://127.0.0.1:{port}/"), PATIENT)
        assert b"all of it" == await read(incoming)


async def test_an_interim_answer_is_passed_over(transport: HttpTransport) -> None:
    """The answer is the one behind a 100 or 103."""
    reply = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    async with serving(answering(reply)) as port:
        incoming = await transport.send(post(f"http://127.0.0.1:{port}/"), PATIENT)
        assert (201, b"ok") == (incoming.status, await read(incoming))


def subclasses(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    """A class and all below it."""
    yield cls
    for sub in cls.__subclasses__():
        yield from subclasses(sub)


FOREIGN: Final = sorted({*subclasses(OSError), *subclasses(httptools.HttpParserError), TimeoutError}, key=str)


@pytest.mark.parametrize("cls", FOREIGN, ids=lambda cls: cls.__name__)
def test_every_foreign_error_is_one_of_ours(cls: type[BaseException]) -> None:
    """Whatever socket, TLS or parser raise becomes a provider's failure that has the foreign one as its cause."""
    foreign = cls.__new__(cls)
    ours = translate(foreign)
    assert isinstance(ours, errors.ProviderError)
    assert ours.__cause__ is foreign
    assert issubclass(cls, TimeoutError) == isinstance(ours, errors.ProviderTimeoutError)


def test_the_table_is_of_provider_errors() -> None:
    """Each line leads to a failure that may be tried elsewhere, with a message that ends without a stop."""
    for kind, message in ERRORS.values():
        assert issubclass(kind, errors.ProviderError)
        assert message[0].islower()
        assert not message.endswith(".")


@pytest.mark.parametrize(
    ("begun", "kind"), [(True, errors.StreamInterruptedError), (False, errors.ConnectionFailedError)]
)
def test_a_connection_that_is_gone(kind: type[errors.SpineError], *, begun: bool) -> None:
    """After the head it is the answer that broke off, before it the connection."""
    reason = ConnectionResetError("reset")
    ours = broken(reason, begun=begun)
    assert (kind, reason) == (type(ours), ours.__cause__)


# Proxies.


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
async def test_a_proxy_is_used(upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The proxy is asked for the whole address, with its own credentials."""
    # Python ignores HTTP_PROXY where REQUEST_METHOD tells that a CGI's caller could have set it.
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    monkeypatch.setenv(variable, upstream.url.replace("http://", "http://me:pass%20word@"))
    upstream.enqueue(json_reply({}))
    client = HttpTransport()
    await read(await client.send(post("http://provider.example/v1/chat?x=1"), PATIENT))
    await client.close()
    sent = upstream.received[0]
    assert ("http://provider.example/v1/chat?x=1", "provider.example") == (sent.path, sent.headers["host"])
    assert sent.headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"


async def test_no_proxy_is_obeyed(upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, deaf_port: int) -> None:
    """Hosts that NO_PROXY names are reached directly."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{deaf_port}")
    monkeypatch.setenv("NO_PROXY", "other.example,127.0.0.1")
    upstream.enqueue(json_reply({}))
    client = HttpTransport()
    await read(await client.send(post(upstream.url), PATIENT))
    await client.close()
    assert "proxy-authorization" not in upstream.received[0].headers


async def test_a_tunnel_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """For https the proxy is asked to CONNECT, and its refusal is told."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        await writer.drain()

    async with serving(refuse) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pw@127.0.0.1:{port}")
        client = HttpTransport()
        with pytest.raises(errors.ConnectionFailedError, match="403"):
            await client.send(post("https://provider.example/v1"), PATIENT)
        await client.close()
    assert asked[0].startswith(b"CONNECT provider.example:443 HTTP/1.1\r\nHost: provider.example:443\r\n")
    assert b"Proxy-Authorization: Basic bWU6cHc=\r\n" in asked[0]


async def test_one_address_and_no_other(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A request may demand the address to connect to: the host is not looked up, and yet hears its own name."""
    port = upstream.url.rpartition(":")[2]
    url = f"http://nowhere.invalid:{port}/x"
    for _ in range(2):
        upstream.enqueue(json_reply({}))
        await read(await transport.send(Outgoing(method="GET", url=url, headers={}, peer="127.0.0.1"), PATIENT))
    assert [f"nowhere.invalid:{port}"] * 2 == [received.headers["host"] for received in upstream.received]
    assert 1 == upstream.open_connections
    with pytest.raises(errors.ConnectionFailedError):
        await transport.send(Outgoing(method="GET", url=url, headers={}, peer="127.0.0.2"), PATIENT)


@pytest.mark.parametrize(("peer", "expected"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")])
async def test_one_address_through_a_proxy(monkeypatch: pytest.MonkeyPatch, peer: str, expected: str) -> None:
    """A proxy that forwards would look the host up itself: it is asked for a tunnel to that address instead."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 Yes\r\n\r\n")
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()

    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    async with serving(serve) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pw@127.0.0.1:{port}")
        client = HttpTransport()
        outgoing = Outgoing(method="GET", url="http://files.example/x", headers={}, peer=peer)
        assert b"hi" == await read(await client.send(outgoing, PATIENT))
        await client.close()
    tunnel, request = asked
    assert tunnel.startswith(f"CONNECT {expected} HTTP/1.1\r\n".encode())
    assert request.startswith(b"GET /x HTTP/1.1\r\nHost: files.example\r\n")
    assert b"Proxy-Authorization" not in request


async def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy is told as not supported, rather than passed by."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    client = HttpTransport()
    with pytest.raises(errors.ConnectionFailedError, match="only such proxies"):
        await client.send(post("https://provider.example/v1"), PATIENT)
    await client.close()
