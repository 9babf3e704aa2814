"""The scripted upstream: one cheap process that speaks just enough of the OpenAI chat dialect.

Each piece is one write on a socket with TCP_NODELAY: a whole answer is one write, a stream's headers and first chunk
are one write, every later chunk one more. It prints its port as its first line and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import sys
from typing import TYPE_CHECKING, cast

import httptools
import msgspec
import uvloop
from typing_extensions import override

from bench.workloads import REPLY_WORDS, WORD

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Exchange", "main"]

_SCRIPT = re.compile(rb"chunks=(\d{1,4}) pace=(\d{1,5})")
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_PATH = b"/v1/chat/completions"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_USAGE: dict[str, object] = {"prompt_tokens": 200, "completion_tokens": REPLY_WORDS, "total_tokens": 200 + REPLY_WORDS}


def _answer() -> bytes:
    """The whole response to a request that does not stream: headers and about 1 KB of JSON."""
    body = msgspec.json.encode(
        {
            "id": "chatcmpl-bench0000000000000000000",
            "object": "chat.completion",
            "created": 1760000000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": " ".join([WORD] * REPLY_WORDS), "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "system_fingerprint": "fp_bench",
        }
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(choices: list[object], usage: dict[str, object] | None = None) -> bytes:
    chunk = {
        "id": "chatcmpl-bench0000000000000000000",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_bench",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _framed(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _choice(delta: dict[str, str], finish: str | None = None) -> list[object]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


_ANSWER = _answer()
_FIRST = _STREAM_HEAD + _framed(_event(_choice({"role": "assistant", "content": f"{WORD} "})))
_NEXT = _framed(_event(_choice({"content": f"{WORD} "})))
_LAST = _framed(_event(_choice({}, "stop")) + _event([], _USAGE) + b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Exchange(asyncio.Protocol):
    """One kept-alive connection; httptools calls the ``on_`` methods."""

    def __init__(self, phases: Iterator[int]) -> None:
        """``phases`` numbers the streams, so that their chunks do not all fall on the same instant."""
        self._phases = phases
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._url = b""
        self._body = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport and turns Nagle's algorithm off."""
        self._transport = cast("asyncio.Transport", transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The caller hung up: its stream ends here."""
        del exc
        if self._timer is not None:
            self._timer.cancel()

    @override
    def data_received(self, data: bytes) -> None:
        """Feeds the parser; a caller that does not speak HTTP is hung up on."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        """A new request on this connection."""
        self._url = self._body = b""

    def on_url(self, url: bytes) -> None:
        """The request's path, perhaps in pieces."""
        self._url += url

    def on_body(self, body: bytes) -> None:
        """The request's body, perhaps in pieces."""
        self._body += body

    def on_message_complete(self) -> None:
        """Answers as the request's own script says."""
        if self._url != _PATH:
            self._transport.write(_NOT_FOUND)
        elif _STREAM.search(self._body) is None:
            self._transport.write(_ANSWER)
        else:
            script = _SCRIPT.search(self._body)
            chunks, pace_ms = (int(script[1]), int(script[2])) if script else (1, 0)
            self._begin_stream(max(1, chunks), pace_ms / 1000)

    def _begin_stream(self, chunks: int, pace: float) -> None:
        if pace == 0:
            self._transport.write(_FIRST + _NEXT * (chunks - 1) + _LAST)
            return
        self._transport.write(_FIRST)
        phase = (next(self._phases) * 0.618 % 1) * pace
        self._wait(self._loop.time() + phase + pace, pace, chunks - 1)

    def _wait(self, due: float, pace: float, left: int) -> None:
        self._timer = self._loop.call_at(due, self._continue_stream, due, pace, left)

    def _continue_stream(self, due: float, pace: float, left: int) -> None:
        if left == 0:
            self._transport.write(_LAST)
            return
        self._transport.write(_NEXT)
        self._wait(due + pace, pace, left - 1)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    phases = itertools.count()
    server = await loop.create_server(lambda: Exchange(phases), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    loop.remove_reader(sys.stdin.fileno())
    server.close()


def main() -> None:
    """Serves on a free loopback port until standard input says something or ends."""
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
