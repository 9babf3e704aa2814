"""A provider to be scripted: a real HTTP server on loopback that answers as told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct, field

from genai_spine.types.json import Json, JsonObject

__all__ = ["Received", "Scripted", "ScriptedUpstream", "json_reply", "sse_reply"]


class Received(Struct, frozen=True, kw_only=True):
    """A request that came in. ``headers`` are by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> JsonObject:
        """Return the body, decoded."""
        fields: JsonObject = msgspec.json.decode(self.body)
        return fields


class Scripted(Struct, frozen=True, kw_only=True):
    """An answer.

    Attributes:
        chunks: The body, each chunk one write.
        streamed: The body is of unknown length: sent with chunked framing, whose end mark tells that it is whole.
        cut: The connection is broken off after the chunks, without an end.
        silent_before: Nothing at all is sent until the caller hangs up.
        silent_after: Nothing more is sent after the chunks until the caller hangs up.
        after: It is kept back until this path was asked for; empty: it is not.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] = ()
    streamed: bool = False
    cut: bool = False
    silent_before: bool = False
    silent_after: bool = False
    after: str = ""


def json_reply(body: Json | bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Scripted:
    """Return an answer with a JSON body, given decoded or as it is to be sent."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Scripted(status=status, headers={"content-type": "application/json", **(headers or {})}, chunks=(raw,))


def sse_reply(chunks: Sequence[bytes] | bytes, *, cut: bool = False, silent_after: bool = False) -> Scripted:
    """Return an answer that is an event stream, given as the writes that it is to be sent in."""
    pieces = (chunks,) if isinstance(chunks, bytes) else tuple(chunks)
    return Scripted(
        headers={"content-type": "text/event-stream"}, chunks=pieces, streamed=True, cut=cut, silent_after=silent_after
    )


_NOTHING_LEFT: Final = json_reply({"error": {"message": "the script holds no further answer"}}, status=599)


class ScriptedUpstream:
    """The server. Use it in an ``async with``; answers are given in the order in which they were enqueued.

    Attributes:
        url: Its address, without a path.
        received: What came in, oldest first.
        hung_up: How many callers left before their answer was whole.
    """

    def __init__(self, answer: Callable[[Received], Scripted] | None = None) -> None:
        """Make a server.

        Args:
            answer: Finds the answer to a request when none is enqueued.
        """
        self.url = ""
        self.received: list[Received] = []
        self.hung_up = 0
        self._answer = answer
        self._queue: deque[Scripted] = deque()
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def enqueue(self, *answers: Scripted) -> None:
        """Give these answers next."""
        self._queue.extend(answers)

    @property
    def open_connections(self) -> int:
        """How many connections are open now, idle ones too."""
        return len(self._writers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is looked at whenever something has happened here."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=2048)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Callers are let in one after another: when our own call is in, so are all that came before, and can be closed.
        _, last = await asyncio.open_connection(*self._server.sockets[0].getsockname())
        name = last.get_extra_info("sockname")
        await self.until(lambda: any(writer.get_extra_info("peername") == name for writer in self._writers))
        last.transport.abort()
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self.until(lambda: not self._writers)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writers.add(writer)
        self._changed.set()
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                self.received.append(request)
                self._changed.set()
                if not await self._respond(self._next(request), reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up += 1
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._changed.set()

    def _next(self, request: Received) -> Scripted:
        if self._queue:
            return self._queue.popleft()
        return self._answer(request) if self._answer else _NOTHING_LEFT

    async def _respond(self, reply: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send an answer; return whether the connection can take another request."""
        if reply.silent_before:
            await self._wait_for_hang_up(reader)
            return False
        if reply.after:
            await self.until(lambda: any(reply.after == received.path for received in self.received))
        body = b"".join(reply.chunks)
        head = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
        head += [f"{name}: {value}" for name, value in reply.headers.items()]
        head.append("transfer-encoding: chunked" if reply.streamed else f"content-length: {len(body) + reply.cut}")
        start = "\r\n".join([*head, "", ""]).encode()
        if reply.streamed:
            writer.write(start)
            for chunk in reply.chunks:
                if chunk:
                    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    await writer.drain()
        else:
            writer.write(start + body)
        await writer.drain()
        if reply.silent_after:
            await self._wait_for_hang_up(reader)
            return False
        if reply.cut:
            # A turn of the loop lets what was written leave; then the connection goes, without an end.
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return False
        if reply.streamed:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return True

    async def _wait_for_hang_up(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass
        self.hung_up += 1


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Scripted"


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method=method, path=path, headers=headers, body=body)
