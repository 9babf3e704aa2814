"""What the tests of faults share: the doors and how their answers are read, the dialects of providers, raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import aiohttp
import msgspec
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, json_reply
from genai_spine.types.json import Json, JsonObject

__all__ = [
    "DOORS",
    "PROVIDERS",
    "Ask",
    "Door",
    "Provider",
    "Told",
    "ask",
    "end_quickly",
    "raw_request",
    "raw_server",
    "reset",
    "streamed",
    "whole",
]


class Told(Struct, frozen=True):
    """What a stream told its caller.

    Attributes:
        clean: It came to its dialect's own end.
        error: The error told inside it, if any.
        last: Nothing followed the error.
        text: The model's words in it.
    """

    clean: bool
    error: JsonObject | None
    last: bool
    text: str


class Door(Struct, frozen=True, kw_only=True):
    """A front door.

    Attributes:
        path: Of its route.
        say: Makes a request's body from model and words.
        read_stream: Reads a whole stream; it fails on anything that is not the door's dialect.
        read_error: Returns message, type and code from an error's body, told whole or inside a stream.
        statuses: How the door tells an error's status, where that differs.
        types: The error types by kind of error, ``""`` for all others.
    """

    name: str
    path: str
    say: Callable[[str, str], JsonObject]
    read_stream: Callable[[bytes], Told]
    read_error: Callable[[JsonObject], tuple[str, str, str]]
    statuses: Mapping[int, int]
    types: Mapping[str, str]

    def body(self, model: str, *, stream: bool, words: str = "Say hello.") -> JsonObject:
        """Return a request's body."""
        return {**self.say(model, words), "stream": stream}


class Provider(Struct, frozen=True, kw_only=True):
    """A provider by the dialect that it speaks.

    Attributes:
        events: A whole stream, each event one item; the last one is its end mark.
        whole: Bytes of the stream from which on its end mark has come.
        error_event: An error told inside a stream, with a message.
        answer: A whole answer that is no stream.
        error_body: Makes an error's body from a status, a message and a code.
        content_type: Of its streams.
    """

    name: str
    model: str
    events: tuple[bytes, ...]
    whole: int
    error_event: Callable[[str], bytes]
    answer: JsonObject
    error_body: Callable[[int, str, str], JsonObject]
    content_type: str

    @property
    def stream(self) -> bytes:
        """The whole stream."""
        return b"".join(self.events)


def _object(value: Json) -> JsonObject:
    assert isinstance(value, dict)
    return value


def _text(value: Json) -> str:
    assert isinstance(value, str)
    return value


def _frames(raw: bytes) -> list[tuple[str, str]]:
    """Cut a whole event stream into names and data; a frame that is not whole is a failure."""
    if not raw:
        return []
    assert raw.endswith(b"\n\n"), raw[-200:]
    found: list[tuple[str, str]] = []
    for frame in raw[:-2].split(b"\n\n"):
        name = ""
        for line in frame.decode().split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                found.append((name, value))
    return found


class _Delta(Struct):
    content: str | None = None
    text: str = ""


class _Choice(Struct):
    delta: _Delta


class _Message(Struct):
    content: str = ""


class _Piece(Struct):
    """What words stand in, in any of the dialects."""

    choices: tuple[_Choice, ...] = ()
    delta: _Delta | None = None
    message: _Message | None = None
    response: str = ""


def _words(raw: str | bytes) -> str:
    piece = msgspec.json.decode(raw, type=_Piece)
    found = "".join(choice.delta.content or "" for choice in piece.choices) + piece.response
    found += piece.delta.text if piece.delta else ""
    return found + (piece.message.content if piece.message else "")


def _read_chat(raw: bytes) -> Told:
    clean, error, last, text = False, None, False, ""
    for _, data in _frames(raw):
        last = False
        if data == "[DONE]":
            clean = True
            continue
        chunk = _object(json.loads(data))
        if "error" in chunk:
            assert error is None
            error, last = chunk, True
            continue
        text += _words(data)
    return Told(clean, error, last, text)


def _read_messages(raw: bytes) -> Told:
    clean, error, last, text = False, None, False, ""
    for name, data in _frames(raw):
        last = False
        event = _object(json.loads(data))
        assert name == event["type"]
        if name == "error":
            assert error is None
            error, last = event, True
        elif name == "message_stop":
            clean = True
        elif name == "content_block_delta":
            text += _words(data)
    return Told(clean, error, last, text)


def _read_lines(raw: bytes) -> Told:
    clean, error, last, text = False, None, False, ""
    assert not raw or raw.endswith(b"\n")
    for line in raw.splitlines():
        last = False
        found = _object(json.loads(line))
        if "error" in found:
            assert error is None
            error, last = found, True
            continue
        clean = clean or found["done"] is True
        text += _words(line)
    return Told(clean, error, last, text)


def _openai_error(body: JsonObject) -> tuple[str, str, str]:
    inner = _object(body["error"])
    assert {"message", "type", "code", "param", "request_id", "provider"} == set(inner)
    return _text(inner["message"]), _text(inner["type"]), _text(inner["code"])


def _anthropic_error(body: JsonObject) -> tuple[str, str, str]:
    assert "error" == body["type"]
    assert body["request_id"]
    inner = _object(body["error"])
    return _text(inner["message"]), _text(inner["type"]), _text(inner["code"])


def _ollama_error(body: JsonObject) -> tuple[str, str, str]:
    return _text(body["error"]), "", _text(body["code"])


def _turns(words: str) -> Json:
    return [{"role": "user", "content": words}]


_OPENAI_TYPES: Final = {
    "": "api_error",
    "authentication": "authentication_error",
    "content_filter": "invalid_request_error",
    "invalid_request": "invalid_request_error",
    "not_found": "not_found_error",
    "overloaded": "service_unavailable_error",
    "payload_too_large": "invalid_request_error",
    "permission": "permission_error",
    "quota_exhausted": "insufficient_quota",
    "rate_limit": "rate_limit_error",
    "timeout": "timeout_error",
    "unavailable": "service_unavailable_error",
}
_ANTHROPIC_STATUSES: Final = {415: 400, 422: 400, 500: 500, 502: 500, 503: 500}
_OLLAMA_STATUSES: Final = {402: 403, 413: 400, 415: 400, 422: 400, 504: 502}

DOORS: Final = (
    Door(
        name="openai_chat",
        path="/v1/chat/completions",
        say=lambda model, words: {"model": model, "messages": _turns(words)},
        read_stream=_read_chat,
        read_error=_openai_error,
        statuses={},
        types=_OPENAI_TYPES,
    ),
    Door(
        name="anthropic_messages",
        path="/v1/messages",
        say=lambda model, words: {"model": model, "max_tokens": 64, "messages": _turns(words)},
        read_stream=_read_messages,
        read_error=_anthropic_error,
        statuses=_ANTHROPIC_STATUSES,
        types={},
    ),
    Door(
        name="ollama",
        path="/api/chat",
        say=lambda model, words: {"model": model, "messages": _turns(words)},
        read_stream=_read_lines,
        read_error=_ollama_error,
        statuses=_OLLAMA_STATUSES,
        types={"": ""},
    ),
    Door(
        name="ollama_generate",
        path="/api/generate",
        say=lambda model, words: {"model": model, "prompt": words},
        read_stream=_read_lines,
        read_error=_ollama_error,
        statuses=_OLLAMA_STATUSES,
        types={"": ""},
    ),
)


def _data(value: Json) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def _event(value: JsonObject) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (_text(value["type"]).encode(), json.dumps(value).encode())


def _line(value: JsonObject) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _chunk(delta: JsonObject, finish: str | None = None) -> bytes:
    choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({**_CHUNK, "choices": [choice], "usage": None})


_CHUNK: Final[JsonObject] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "gpt-4o-mini-2024-07-18",
}
_OPENAI_EVENTS: Final = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Hello, "}),
    _chunk({"content": "wörld."}),
    _chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    _chunk({}, "tool_calls"),
    _data({**_CHUNK, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}}),
    b"data: [DONE]\n\n",
)
_ANTHROPIC_EVENTS: Final = (
    _event(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 9, "output_tokens": 1},
            },
        }
    ),
    _event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    _event({"type": "ping"}),
    _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello, "}}),
    _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "wörld."}}),
    _event({"type": "content_block_stop", "index": 0}),
    _event(
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        }
    ),
    _event(
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}}
    ),
    _event({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
    _event({"type": "content_block_stop", "index": 1}),
    _event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 7},
        }
    ),
    _event({"type": "message_stop"}),
)
_OLLAMA_LINE: Final[JsonObject] = {"model": "llama3.2", "created_at": "2026-01-01T00:00:00Z"}


def _ollama_line(message: JsonObject) -> bytes:
    return _line({**_OLLAMA_LINE, "message": {"role": "assistant", **message}, "done": False})


_OLLAMA_USAGE: Final[JsonObject] = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 7}
_OLLAMA_EVENTS: Final = (
    _ollama_line({"content": "Hello, "}),
    _ollama_line({"content": "wörld."}),
    _ollama_line({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}),
    _line({**_OLLAMA_LINE, "message": {"role": "assistant", "content": ""}, **_OLLAMA_USAGE}),
)


def _end(events: tuple[bytes, ...], last: bytes) -> int:
    return len(b"".join(events)) - len(events[-1]) + len(last)


PROVIDERS: Final = (
    Provider(
        name="openai",
        model="openai/gpt-4o-mini",
        events=_OPENAI_EVENTS,
        whole=_end(_OPENAI_EVENTS, b"data: [DONE]"),
        error_event=lambda message: _data({"error": {"message": message, "type": "server_error", "code": None}}),
        answer={
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "Hello, world."}, "finish_reason": "stop"}
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16},
        },
        error_body=lambda _, message, code: {
            "error": {"message": message, "type": "an_error", "param": None, "code": code or None}
        },
        content_type="text/event-stream",
    ),
    Provider(
        name="anthropic",
        model="anthropic/claude-sonnet-4-5",
        events=_ANTHROPIC_EVENTS,
        whole=_end(_ANTHROPIC_EVENTS, _ANTHROPIC_EVENTS[-1]),
        error_event=lambda message: _event({"type": "error", "error": {"type": "api_error", "message": message}}),
        answer={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": "Hello, world."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 7},
        },
        error_body=lambda _, message, code: {
            "type": "error",
            "error": {"type": code or "an_error", "message": message},
            "request_id": "req_upstream",
        },
        content_type="text/event-stream",
    ),
    Provider(
        name="ollama",
        model="ollama/llama3.2",
        events=_OLLAMA_EVENTS,
        whole=_end(_OLLAMA_EVENTS, _OLLAMA_EVENTS[-1].rstrip()),
        error_event=lambda message: _line({"error": message}),
        answer={
            **_OLLAMA_LINE,
            "message": {"role": "assistant", "content": "Hello, world."},
            **_OLLAMA_USAGE,
        },
        error_body=lambda _, message, __: {"error": message},
        content_type="application/x-ndjson",
    ),
)


def streamed(provider: Provider, *pieces: bytes, cut: bool = False, silent_after: bool = False) -> Scripted:
    """Return a stream of the provider's, each piece one write."""
    headers = {"content-type": provider.content_type}
    return Scripted(headers=headers, chunks=pieces, streamed=True, cut=cut, silent_after=silent_after)


def whole(provider: Provider) -> Scripted:
    """Return the provider's whole answer."""
    return json_reply(provider.answer)


class Ask(Struct, frozen=True):
    """An answer as the caller got it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> JsonObject:
        """Return the body, decoded."""
        return _object(json.loads(self.body))


async def ask(
    session: aiohttp.ClientSession,
    gateway: RunningGateway,
    path: str,
    body: JsonObject | bytes,
    headers: Mapping[str, str] | None = None,
) -> Ask:
    """Post a body, by default with the gateway's key, and return what came back, read to its end."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **gateway.headers, **(headers or {})}
    async with session.post(gateway.url + path, data=raw, headers=sent) as response:
        told = {name.lower(): value for name, value in response.headers.items()}
        return Ask(response.status, told, await response.read())


def raw_request(path: str, body: JsonObject | bytes, key: str, *extra: str) -> bytes:
    """Return the bytes of a POST, for callers on a raw socket."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "host: gateway",
        f"authorization: Bearer {key}",
        "content-type: application/json",
        f"content-length: {len(raw)}",
        *extra,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + raw


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off with a reset, as a process that is killed does."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


def end_quickly(writer: asyncio.StreamWriter) -> None:
    """Let the kernel send each write at once."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextlib.asynccontextmanager
async def raw_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """Run a server that does with each connection whatever ``serve`` does; yield its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        end_quickly(writer)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=2048)
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()
