"""Streams made to cost much: the work grows with their length and no faster, and what is kept of them has a bound."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import pytest

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.assembly import PartAssembler
from genai_spine.dialects.base import Dialect, Envelope, Quirks, Reply
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.bedrock_converse.stream import encode_event
from genai_spine.dialects.eventstream import EventMessages, encode_message
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.limits import MAX_CHOICES, MAX_HELD, MAX_REPEATED, MAX_USAGE
from genai_spine.dialects.ndjson import MAX_LINE_BYTES, Lines
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.dialects.sse import MAX_FRAME_BYTES, Frames
from genai_spine.dialects.whole_json import WholeJson
from genai_spine.errors import MalformedResponseError
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.stream import Event, Failed
from tests.work import GROWTH, work_of

_MIB: Final = 1024 * 1024
_REPLY: Final = Reply(model="m", request_id="request-1", now=1_700_000_000)
_DOORS: Final = (OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Gemini(), Ollama(), BedrockConverse())

Stream: TypeAlias = Callable[[int], Iterator[bytes]]
"""Makes a stream of some length, piece by piece."""


def _sse(value: JsonObject) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def _chunk(delta: JsonObject, more: JsonObject | None = None, *, choice: int = 0) -> bytes:
    return _sse({"choices": [{"index": choice, "delta": delta}], **(more or {})})


def _call(text: str, number: int = 0, name: str | None = None) -> JsonObject:
    start: JsonObject = {"id": f"call_{number}"} if name else {}
    function: JsonObject = {"name": name, "arguments": text} if name else {"arguments": text}
    return {"tool_calls": [{"index": number, **start, "function": function}]}


def _lines(end: bytes) -> Stream:
    return lambda count: (b"data: 1" + end for _ in range(count))


def _chat_calls_and_words(count: int) -> Iterator[bytes]:
    yield _chunk(_call("[", 0, "a"))
    for _ in range(count):
        yield _chunk(_call('{"a": "b"}, '))
        yield _chunk({"content": "word"})


def _chat_two_calls(count: int) -> Iterator[bytes]:
    yield _chunk(_call("[", 0, "a")) + _chunk(_call("[", 1, "b"))
    for _ in range(count):
        yield _chunk(_call("[1], ", 0)) + _chunk(_call("[1], ", 1))


def _chat_calls_that_wait(count: int) -> Iterator[bytes]:
    yield _chunk(_call("[", 0, "a"))
    for number in range(count):
        yield _chunk(_call("{}", number + 1, "b"))
    yield _chunk(_call("]"))
    yield _chunk({"content": "word"})


def _chat_same_name(count: int) -> Iterator[bytes]:
    """Without ids and numbers: at each name it is asked whether the call before is whole."""
    for _ in range(count):
        yield _chunk({"tool_calls": [{"function": {"name": "a", "arguments": '{"a": ['}}]})


def _chat_sound(count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield _chunk({"audio": {"data": "QUJD" * 20, "transcript": "word"}})
        yield _chunk({"annotations": [{"type": "url_citation"}]})


def _chat_news(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield _chunk({"content": "a"}, {f"x_{number}": "b"})


def _event(kind: str, **more: Json) -> bytes:
    return _sse({"type": kind, **more})


def _responses_many_at_once(count: int) -> Iterator[bytes]:
    """Every item is announced before the first ends; the last ends first."""
    yield _event("response.created", response={"id": "r", "status": "in_progress"})
    for number in range(count):
        yield _event("response.output_item.added", output_index=number, item={"type": "message", "id": f"m{number}"})
        yield _event("response.output_text.delta", output_index=number, content_index=0, delta="word")
    for number in reversed(range(count)):
        item: JsonObject = {"type": "message", "id": f"m{number}", "content": []}
        yield _event("response.output_item.done", output_index=number, item=item)


def _responses_turn_about(count: int) -> Iterator[bytes]:
    for number in range(2):
        yield _event("response.output_item.added", output_index=number, item={"type": "message", "id": f"m{number}"})
    for number in range(count):
        yield _event("response.output_text.delta", output_index=number % 2, content_index=0, delta="word")


def _messages_start() -> bytes:
    return _event("message_start", message={"id": "m", "usage": {"input_tokens": 1}})


def _messages_unknown(count: int) -> Iterator[bytes]:
    yield _messages_start()
    yield _event("content_block_start", index=0, content_block={"type": "new", "words": ""})
    for _ in range(count):
        yield _event("content_block_delta", index=0, delta={"type": "new_delta", "words": "word " * 10})
    yield _event("content_block_stop", index=0)


def _converse_results(count: int) -> Iterator[bytes]:
    yield encode_event("messageStart", {"role": "assistant"})
    yield encode_event("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolResult": {"toolUseId": "a"}}})
    for _ in range(count):
        delta: JsonObject = {"toolResult": [{"text": "word"}]}
        yield encode_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})
    yield encode_event("contentBlockStop", {"contentBlockIndex": 0})


def _gemini_probabilities(count: int) -> Iterator[bytes]:
    """Of tokens without words, which travel with words that never come."""
    chosen: JsonObject = {"chosenCandidates": [{"token": "a", "logProbability": -1.0}]}
    for _ in range(count):
        yield _sse({"candidates": [{"logprobsResult": chosen}]})


def _parts(*parts: JsonObject) -> bytes:
    return _sse({"candidates": [{"content": {"parts": list(parts)}}]})


def _gemini_calls(count: int) -> Iterator[bytes]:
    call: JsonObject = {"functionCall": {"name": "a", "args": {}}}
    for _ in range(count):
        yield _parts(call, {"text": "word"})


def _ollama_probabilities(count: int) -> Iterator[bytes]:
    for number in range(count):
        line: JsonObject = {"message": {"content": ""}, "logprobs": [{"token": "a", "logprob": -1.0}], "x": number}
        yield json.dumps(line).encode() + b"\n"


_STREAMS: Final[dict[str, tuple[Dialect, Stream]]] = {
    "lines without a blank one": (OpenAIChat(), _lines(b"\n")),
    "lines that end in CR": (OpenAIChat(), _lines(b"\r")),
    "lines in halves of CRLF": (
        AnthropicMessages(),
        lambda count: (b"\r" if number % 2 else b"\na" for number in range(count)),
    ),
    "a line without end": (Ollama(), lambda count: (b"{" for _ in range(count))),
    "a call and words": (OpenAIChat(), _chat_calls_and_words),
    "two calls by turns": (OpenAIChat(), _chat_two_calls),
    "calls that wait": (OpenAIChat(), _chat_calls_that_wait),
    "calls without numbers": (OpenAIChat(), _chat_same_name),
    "sound": (OpenAIChat(), _chat_sound),
    "fields of many names": (OpenAIChat(), _chat_news),
    "many items at once": (OpenAIResponses(), _responses_many_at_once),
    "two items by turns": (OpenAIResponses(), _responses_turn_about),
    "an unknown block": (AnthropicMessages(), _messages_unknown),
    "results of tools": (BedrockConverse(), _converse_results),
    "probabilities without words": (Gemini(), _gemini_probabilities),
    "calls and words": (Gemini(), _gemini_calls),
    "probabilities of nothing": (Ollama(), _ollama_probabilities),
}


def _is_linear(do: Callable[[], Callable[[bytes], object]], stream: Stream, count: int = 150) -> None:
    one, four = work_of(do(), stream(count)), work_of(do(), stream(4 * count))
    assert four.calls <= GROWTH * one.calls, ("calls", one.calls, four.calls)
    assert four.memory <= GROWTH * one.memory, ("bytes", one.memory, four.memory)


@pytest.mark.parametrize("name", _STREAMS)
def test_reading_takes_linear_work(name: str) -> None:
    """A stream four times as long takes about four times the work to read, whatever is in it."""
    dialect, stream = _STREAMS[name]
    _is_linear(lambda: dialect.stream_decoder(Quirks()).feed, stream)


@pytest.mark.parametrize("name", _STREAMS)
def test_passing_through_takes_linear_work(name: str) -> None:
    """The same where it passes through."""
    dialect, stream = _STREAMS[name]
    _is_linear(lambda: dialect.watch(Envelope(fields={}, stream=True), Quirks()).feed, stream)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_an_event_stream_in_small_pieces(size: int) -> None:
    """A long message that comes in small pieces is copied a fixed number of times, not once a piece."""

    def pieces(count: int) -> Iterator[bytes]:
        whole = encode_event("contentBlockDelta", {"delta": {"text": "a" * count * size}})
        return (whole[place : place + size] for place in range(0, len(whole), size))

    def begin() -> Callable[[bytes], object]:
        messages = EventMessages()
        return lambda data: list(messages.feed(data))

    _is_linear(begin, pieces, 400)


def test_json_is_looked_at_once() -> None:
    """However often it is asked whether arguments are whole, each of their pieces is looked at once."""

    def stream(count: int) -> Iterator[bytes]:
        return (b'{"a": [1, "}", ' for _ in range(count))

    def begin() -> Callable[[bytes], object]:
        text = WholeJson()

        def ask(piece: bytes) -> None:
            text.add(piece.decode())
            assert not text.is_whole()

        return ask

    _is_linear(begin, stream)


# Bounds.


@pytest.mark.parametrize(
    ("framing", "piece", "most"),
    [
        (Frames, b"data: " + b"a" * _MIB + b"\n", MAX_FRAME_BYTES),
        (Frames, b"a" * _MIB, MAX_FRAME_BYTES),
        (Lines, b"a" * _MIB, MAX_LINE_BYTES),
    ],
)
def test_a_frame_without_end(framing: type[Frames | Lines], piece: bytes, most: int) -> None:
    """It is refused at the bound that is stated."""
    read = framing()
    for _ in range(most // len(piece)):
        assert [] == read.feed(piece)
    with pytest.raises(MalformedResponseError, match="more than"):
        read.feed(piece)


def _until_it_fails(dialect: Dialect, stream: Iterator[bytes]) -> tuple[int, Event]:
    """Feed a stream until it is over; return how many pieces that took, and the last event."""
    decoder = dialect.stream_decoder(Quirks())
    taken, last = 0, None
    for piece in stream:
        taken += 1
        for event in decoder.feed(piece):
            last = event
        if decoder.over:
            break
    assert last is not None
    return taken, last


def _refused(event: Event) -> str:
    assert isinstance(event, Failed), event
    assert isinstance(event.error, MalformedResponseError), event.error
    return event.error.message


def test_words_that_wait_have_a_bound() -> None:
    """Words behind a tool call that never ends are kept only so far."""

    def stream() -> Iterator[bytes]:
        yield _chunk(_call("{", 0, "a"))
        words = _chunk({"content": "a" * _MIB})
        yield from (words for _ in range(2 * MAX_HELD // _MIB))

    taken, last = _until_it_fails(OpenAIChat(), stream())
    assert f"more than {MAX_HELD}" in _refused(last)
    assert taken <= MAX_HELD // _MIB + 2


def test_pieces_of_nothing_have_a_bound() -> None:
    """What is empty costs its place: many such pieces are refused long before they fill the memory."""
    parts = PartAssembler()
    number, _ = parts.open_call("call_1", "a")
    parts.arguments(number, "{")
    pieces = (parts.words("text", "") for _ in range(MAX_HELD))
    with pytest.raises(MalformedResponseError, match="keep more than"):
        deque(pieces, maxlen=0)


def test_items_that_wait_have_a_bound() -> None:
    """Pieces of an item behind one that never ends are kept only so far."""

    def stream() -> Iterator[bytes]:
        yield _event("response.output_item.added", output_index=0, item={"type": "message", "id": "m"})
        words = _event("response.output_text.delta", output_index=1, content_index=0, delta="a" * _MIB)
        yield from (words for _ in range(2 * MAX_HELD // _MIB))

    taken, last = _until_it_fails(OpenAIResponses(), stream())
    assert f"more than {MAX_HELD}" in _refused(last)
    assert taken <= MAX_HELD // _MIB + 2


@pytest.mark.parametrize(
    ("dialect", "piece"),
    [
        (OpenAIChat(), lambda number: _chunk({"content": "a"}, choice=number)),
        (Gemini(), lambda number: _sse({"candidates": [{"index": number, "content": {"parts": [{"text": "a"}]}}]})),
    ],
)
def test_answers_have_a_bound(dialect: Dialect, piece: Callable[[int], bytes]) -> None:
    """A stream that begins one answer after another is refused, read or passing through."""
    taken, last = _until_it_fails(dialect, map(piece, range(2 * MAX_CHOICES)))
    assert "more than" in _refused(last)
    watch = dialect.watch(Envelope(fields={}, stream=True), Quirks())
    for number in range(taken):
        assert watch.failure is None
        watch.feed(piece(number))
    assert isinstance(watch.failure, MalformedResponseError)


@pytest.mark.parametrize(
    ("dialect", "piece"),
    [
        (OpenAIChat(), lambda number: _chunk({"content": "a"}, {f"x_{number}": "b" * 1000})),
        (Gemini(), lambda number: _sse({"candidates": [{}], f"x_{number}": "b" * 1000})),
        (Ollama(), lambda number: json.dumps({"message": {}, f"x_{number}": "b" * 1000}).encode() + b"\n"),
    ],
)
def test_repeated_fields_have_a_bound(dialect: Dialect, piece: Callable[[int], bytes]) -> None:
    """Fields that would stand in every chunk to the caller grow only so far; the same ones again cost nothing."""
    taken, last = _until_it_fails(dialect, map(piece, range(MAX_REPEATED // 1000 + 1)))
    assert "further fields" in _refused(last)
    assert taken > MAX_REPEATED // 1100
    decoder = dialect.stream_decoder(Quirks())
    for _ in range(2 * taken):
        decoder.feed(piece(0))
    assert not decoder.over


def test_usage_has_a_bound() -> None:
    """Counters that are told one after another are put together only so far."""
    ends = (_event("message_delta", usage={f"x_{number}": 1}) for number in range(MAX_USAGE))
    _, last = _until_it_fails(AnthropicMessages(), itertools.chain([_messages_start()], ends))
    assert "further fields" in _refused(last)


# Depth.


@pytest.mark.parametrize("dialect", _DOORS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("depth", [200, 800, 950, 990, 5000])
def test_streams_nested_deeply(dialect: Dialect, depth: int) -> None:
    """Whatever depth it has, a stream is read and written again, or fails as malformed; nothing else comes of it."""
    deep = '{"a":' * depth + "1" + "}" * depth
    for place, piece in _DEEP[dialect.name].items():
        body = piece.replace(b'"DEEP"', deep.encode())
        if dialect.name == "bedrock_converse":
            body = _as_event(body)
        decoder = dialect.stream_decoder(Quirks())
        events = decoder.feed(body) + decoder.feed(body) + decoder.close()
        assert isinstance(events[-1], Failed), place
        assert events[-1].error.kind in {"malformed_response", "interrupted", "server_error"}, (place, events[-1].error)
        encoder = dialect.stream_encoder(_REPLY)
        for event in events:
            encoder.encode(event)
        watch = dialect.watch(Envelope(fields={}, stream=True), Quirks())
        watch.feed(body)
        watch.close()
        assert watch.failure is not None


def _as_event(body: bytes) -> bytes:
    kind, _, rest = body.partition(b" ")
    return encode_event("messageStart", {"role": "assistant"}) + _raw_event(kind.decode(), rest)


def _raw_event(kind: str, payload: bytes) -> bytes:
    return encode_message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


_DEEP: Final[dict[str, dict[str, bytes]]] = {
    "openai_chat": {
        "top": _chunk({"content": "a"}, {"x": "DEEP"}),
        "delta": _chunk({"x": {"a": "DEEP"}}),
        "usage": _chunk({"content": "a"}, {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "x": "DEEP"}}),
        "error": _sse({"error": {"message": "DEEP"}}),
    },
    "openai_responses": {
        "top": _event("response.in_progress", response={"id": "r", "x": "DEEP"}),
        "unknown": _event("response.new", x="DEEP"),
        "delta": b"event: response.output_text.delta\n" + _event("response.output_text.delta", delta="a", x="DEEP"),
        "item": _event("response.output_item.done", output_index=0, item={"type": "x", "id": "a", "x": "DEEP"}),
    },
    "anthropic_messages": {
        "delta": b"event: content_block_delta\n" + _event("content_block_delta", index=0, delta={}, x="DEEP"),
        "start": _event("message_start", message={"id": "m", "x": "DEEP"}),
        "block": _messages_start() + _event("content_block_start", index=0, content_block={"type": "x", "x": "DEEP"}),
    },
    "gemini": {
        "top": _sse({"candidates": [{}], "x": "DEEP"}),
        "call": _parts({"functionCall": {"name": "a", "args": {"a": "DEEP"}}}),
        "part": _parts({"text": "a", "x": "DEEP"}),
    },
    "ollama": {
        "top": b'{"message": {"content": "a"}, "x": "DEEP"}\n',
        "call": b'{"message": {"tool_calls": [{"function": {"name": "a", "arguments": {"a": "DEEP"}}}]}}\n',
    },
    "bedrock_converse": {
        "delta": b'contentBlockDelta {"contentBlockIndex": 0, "delta": {"text": "a"}, "x": "DEEP"}',
        "unknown": b'contentBlockDelta {"contentBlockIndex": 0, "delta": {"new": {"a": "DEEP"}}}',
        "start": b'contentBlockStart {"contentBlockIndex": 0, "start": {"new": {"a": "DEEP"}}}',
    },
}
