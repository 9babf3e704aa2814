"""Streams of Anthropic Messages: read, written, passing through; what the official client makes of them; recordings."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Envelope, Quirks, Reply, Watch
from genai_spine.dialects.fields import response_object
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.sse import frame
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import (
    MalformedResponseError,
    OverloadedError,
    ProviderFailedError,
    RateLimitedError,
    SpineError,
    StreamInterruptedError,
)
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Text, ToolCall
from genai_spine.types.stream import (
    Collector,
    Event,
    Extension,
    Failed,
    Finish,
    PartEnd,
    PartStart,
    Start,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
)
from genai_spine.types.usage import Usage

DIALECT = AnthropicMessages()


def sse(*events: JsonObject) -> bytes:
    """The bytes of a stream of ``events``."""
    return b"".join(frame(msgspec.json.encode(event), str(event["type"])) for event in events)


def start(**more: Json) -> JsonObject:
    """A stream's first event."""
    usage: JsonObject = {
        "input_tokens": 4,
        "cache_read_input_tokens": 2,
        "output_tokens": 1,
        "service_tier": "standard",
    }
    message: JsonObject = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    return {
        "type": "message_start",
        "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage, **more},
    }


def opened(index: int, **block: Json) -> JsonObject:
    """The start of a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def piece(index: int, **delta: Json) -> JsonObject:
    """A piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def closed(index: int) -> JsonObject:
    """The end of a block."""
    return {"type": "content_block_stop", "index": index}


def stopped(reason: str | None = "end_turn", *, output: int = 9, **more: Json) -> JsonObject:
    """The event that tells why the model stopped."""
    delta: JsonObject = {"stop_reason": reason, "stop_sequence": None, **more}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}


STOP: JsonObject = {"type": "message_stop"}
PING: JsonObject = {"type": "ping"}
SEARCH: JsonObject = {"type": "server_tool_use", "id": "srv_1", "name": "web_search"}
CITATION: JsonObject = {"type": "char_location", "cited_text": "c"}

FULL = sse(
    start(),
    PING,
    opened(0, type="thinking", thinking="", signature=""),
    piece(0, type="thinking_delta", thinking="Let me "),
    piece(0, type="thinking_delta", thinking="see"),
    piece(0, type="signature_delta", signature="sig"),
    closed(0),
    opened(1, type="redacted_thinking", data="sealed"),
    closed(1),
    {"type": "news", "index": 9},
    opened(2, **SEARCH, input={}),
    piece(2, type="input_json_delta", partial_json='{"query":'),
    piece(2, type="input_json_delta", partial_json='"é"}'),
    closed(2),
    opened(3, type="web_search_tool_result", tool_use_id="srv_1", content=[{"url": "u"}]),
    closed(3),
    opened(4, type="text", text="", citations=[]),
    piece(4, type="text_delta", text="Héllo"),
    piece(4, type="citations_delta", citation=CITATION),
    piece(4, type="text_delta", text=" you"),
    closed(4),
    opened(5, type="tool_use", id="toolu_1", name="f", input={}, caller={"type": "direct"}),
    piece(5, type="input_json_delta", partial_json=""),
    piece(5, type="input_json_delta", partial_json='{"a":'),
    piece(5, type="input_json_delta", partial_json="1}"),
    closed(5),
    opened(6, type="tool_use", id="toolu_2", name="g", input={}),
    closed(6),
    stopped("tool_use", stop_details=None, container={"id": "c"}),
    STOP,
)

WHOLE: JsonObject = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "Let me see", "signature": "sig"},
        {"type": "redacted_thinking", "data": "sealed"},
        {**SEARCH, "input": {"query": "é"}},
        {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"url": "u"}]},
        {"type": "text", "text": "Héllo you", "citations": [CITATION]},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}},
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "stop_details": None,
    "container": {"id": "c"},
    "usage": {"input_tokens": 4, "cache_read_input_tokens": 2, "output_tokens": 9, "service_tier": "standard"},
}


def decode(data: bytes, *cuts: int, quirks: Quirks | None = None) -> list[Event]:
    """The events of a stream that arrives cut at ``cuts``."""
    decoder = DIALECT.stream_decoder(quirks or Quirks())
    events: list[Event] = []
    last = 0
    for cut in [*sorted(cuts), len(data)]:
        events += decoder.feed(data[last:cut])
        last = cut
    return events + decoder.close()


def collect(events: list[Event]) -> CompletionResponse:
    """The answer that a stream amounts to."""
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


def encode(events: list[Event], reply: Reply | None = None) -> bytes:
    """The bytes of a stream of ``events``."""
    encoder = DIALECT.stream_encoder(reply or Reply(model="asked", request_id="r1"))
    return b"".join(encoder.encode(event) for event in events) + encoder.end()


def watch(quirks: Quirks | None = None) -> Watch:
    """A watch over a stream that passes through."""
    return DIALECT.watch(Envelope(fields={}), quirks or Quirks())


def told(data: bytes) -> list[JsonObject]:
    """The events in a stream's bytes; each must have its name."""
    events: list[JsonObject] = []
    for raw in data.decode().split("\n\n")[:-1]:
        name, _, body = raw.partition("\n")
        event = response_object(body.removeprefix("data: ").encode()).rest()

        assert f"event: {event['type']}" == name
        events.append(event)
    return events


# Reading.


def test_a_stream_is_the_answer_not_streamed() -> None:
    """Pieces collect to exactly what the whole answer decodes to, server tools, citations and extras included."""
    whole = DIALECT.decode_response(msgspec.json.encode(WHOLE), Quirks())

    assert whole == collect(decode(FULL))
    assert WHOLE | {"usage": {**whole_usage(), "cache_creation_input_tokens": None}} == msgspec.json.decode(
        DIALECT.encode_response(whole, Reply())
    )


def whole_usage() -> JsonObject:
    """The usage of the whole answer."""
    usage = WHOLE["usage"]
    assert isinstance(usage, dict)
    return usage


@given(st.lists(st.integers(0, len(FULL)), max_size=12))
def test_cuts_make_no_difference(cuts: list[int]) -> None:
    """Events and what passes through are the same however the bytes arrive."""
    seen = watch()
    out = b"".join(seen.feed(FULL[a:b]) for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), len(FULL)], strict=True))

    assert decode(FULL) == decode(FULL, *cuts)
    assert FULL == out + seen.close()


def test_a_stream_is_written_back_as_it_was() -> None:
    """Events of this dialect come back the same from what they are written as."""
    events = decode(FULL)

    assert events == decode(encode(events))


def test_usage_is_told_as_a_total() -> None:
    """What the end tells replaces what the start told, never adds to it; what it leaves out stays."""
    events = decode(sse(start(), stopped(output=9), stopped(None, output=12), STOP))
    first = Usage(input_tokens=6, output_tokens=1, cache_read_tokens=2, extras={"service_tier": "standard"})

    assert [
        first,
        msgspec.structs.replace(first, output_tokens=9),
        msgspec.structs.replace(first, output_tokens=12),
    ] == [event.usage for event in events if isinstance(event, UsageTold)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sse(start()), StreamInterruptedError),
        (sse(start(), stopped()), StreamInterruptedError),
        (sse(start(), STOP), MalformedResponseError),
        (sse(start(), stopped(None), STOP), MalformedResponseError),
        (sse(opened(0, type="text", text="")), MalformedResponseError),
        (sse(start(), piece(0, type="text_delta", text="x")), MalformedResponseError),
        (sse(start(), opened(0, type="text", text=""), piece(0, type="text_delta", text=1)), MalformedResponseError),
        (sse(start(), opened(0, type="text", text=""), piece(0, type="thinking_delta")), MalformedResponseError),
        (sse(start()) + b"event: content_block_delta\ndata: {\n\n", MalformedResponseError),
        (sse(start(), {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), OverloadedError),
        (sse({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}), RateLimitedError),
        (sse(start(), {"type": "error", "error": {"type": "api_error", "message": "x"}}), ProviderFailedError),
        (sse(start(), {"type": "error"}), MalformedResponseError),
    ],
)
def test_no_failure_is_silent(body: bytes, expected: type[SpineError]) -> None:
    """A stream that ends too early, tells of an error or is malformed ends in one failure, with nothing after it."""
    events = decode(body + sse(start()) if expected is not StreamInterruptedError else body)
    last = events[-1]

    assert isinstance(last, Failed)
    assert expected is type(last.error)
    assert 1 == sum(isinstance(event, Failed) for event in events)


@given(st.integers(0, FULL.index(b"event: message_stop") + 20))
def test_any_cut_is_a_failure(cut: int) -> None:
    """A stream cut anywhere before its end mark is a failure, read or passing through."""
    seen = watch()
    seen.feed(FULL[:cut])
    events = decode(FULL[:cut])

    assert isinstance(events[-1], Failed)
    seen.close()
    assert isinstance(seen.failure, StreamInterruptedError)


def test_a_service_without_an_end_mark() -> None:
    """Where its row says so, a reason to stop is enough."""
    body = sse(start(), opened(0, type="text", text="hi"), closed(0), stopped())
    quirks = Quirks(end_mark=False)
    seen = watch(quirks)
    seen.feed(body)

    assert "hi" == collect(decode(body, quirks=quirks)).content
    assert b"" == seen.close()


def test_a_tool_calls_arguments_may_come_at_once() -> None:
    """Some services tell them with the block's start."""
    body = sse(
        start(), opened(0, type="tool_use", id="t", name="f", input={"a": 1}), closed(0), stopped("tool_use"), STOP
    )

    assert (ToolCall(id="t", name="f", arguments='{"a":1}'),) == collect(decode(body)).tool_calls


def test_blocks_that_only_the_dialect_knows_grow() -> None:
    """A piece of an unknown kind adds to the block's own field."""
    body = sse(
        start(),
        opened(0, type="compaction", content=None),
        piece(0, type="compaction_delta", content="so "),
        piece(0, type="compaction_delta", content="far"),
        closed(0),
        stopped("compaction"),
        STOP,
    )

    assert (Opaque(dialect="anthropic_messages", data={"type": "compaction", "content": "so far"}),) == collect(
        decode(body)
    ).parts


# Writing.


def test_a_foreign_stream_is_written_in_the_dialect() -> None:
    """Events of another dialect, usage after the finish, become named events with indexes over all blocks."""
    events: list[Event] = [
        Start(id="chatcmpl-1", model="", dialect="openai_chat", extras={"x": 1}),
        PartStart(index=0, part="thinking"),
        ThinkingDelta(index=0, text="hm", signature="theirs"),
        PartEnd(index=0),
        PartStart(index=1, part="text"),
        PartEnd(index=1),
        PartStart(index=2, part="tool_call", id="a:b", name="f"),
        ToolArguments(index=2, text="{}"),
        PartEnd(index=2),
        PartStart(index=3, part="tool_call", id="c", name="g", custom=True),
        ToolArguments(index=3, text="l"),
        ToolArguments(index=3, text="s"),
        PartEnd(index=3),
        Extension(data={"x": 2}),
        Finish(reason="tool_calls"),
        UsageTold(usage=Usage(input_tokens=5, output_tokens=2, cache_read_tokens=1)),
    ]
    zero: JsonObject = {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }

    call_id = word_characters("a:b")
    final: JsonObject = {**zero, "input_tokens": 4, "cache_read_input_tokens": 1, "output_tokens": 2}
    assert [
        {
            "type": "message_start",
            "message": {
                "id": "msg_r1",
                "type": "message",
                "role": "assistant",
                "model": "asked",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": zero,
            },
        },
        opened(0, type="thinking", thinking="", signature=""),
        piece(0, type="thinking_delta", thinking="hm"),
        closed(0),
        opened(1, type="tool_use", id=call_id, name="f", input={}),
        piece(1, type="input_json_delta", partial_json="{}"),
        closed(1),
        opened(2, type="tool_use", id="c", name="g", input={}),
        piece(2, type="input_json_delta", partial_json='{"raw":"ls"}'),
        closed(2),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": final},
        STOP,
    ] == told(encode(events))


def test_usage_at_the_end_repeats_nothing_of_the_beginning() -> None:
    """What a message begins with, such as the tier that serves it, has no place in the last count."""
    stream = sse(start(), opened(0, type="text", text=""), closed(0), stopped(), STOP)
    begun, *_, ended, _ = told(encode(decode(stream)))
    message, usage = begun["message"], ended["usage"]
    assert isinstance(message, dict)
    assert isinstance(message["usage"], dict)
    assert "standard" == message["usage"]["service_tier"]
    assert isinstance(usage, dict)
    assert "service_tier" not in usage
    assert 9 == usage["output_tokens"]


def test_a_stream_of_another_dialect_is_translated() -> None:
    """A call whose name and arguments come at once, words and late usage arrive whole at an Anthropic client."""
    chunk: JsonObject = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt"}
    call: JsonObject = {"index": 0, "id": "k", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    deltas: list[JsonObject] = [{"role": "assistant", "content": "Hi"}, {"tool_calls": [call]}]
    chunks: list[JsonObject] = [
        {**chunk, "choices": [{"index": 0, "delta": deltas[0], "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": deltas[1], "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
        {**chunk, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    ]
    body = b"".join(frame(msgspec.json.encode(value)) for value in chunks) + b"data: [DONE]\n\n"
    decoder = OpenAIChat().stream_decoder(Quirks())
    answer = collect(decode(encode([*decoder.feed(body), *decoder.close()])))

    assert (Text(text="Hi"), ToolCall(id="k", name="f", arguments='{"a":1}')) == answer.parts
    assert ("gpt", "tool_calls", 3, 2) == (
        answer.model,
        answer.finish_reason,
        answer.input_tokens,
        answer.output_tokens,
    )


def test_a_failure_is_told_in_the_stream() -> None:
    """An error goes out as an event of its own, and nothing ends the message as if it were whole."""
    encoder = DIALECT.stream_encoder(Reply(request_id="r1"))
    body = encoder.encode(Failed(error=OverloadedError("busy")))
    error: JsonObject = {"type": "overloaded_error", "message": "busy", "code": "overloaded"}

    assert [{"type": "error", "error": error, "request_id": "r1"}] == told(body)
    assert body == DIALECT.encode_stream_error(OverloadedError("busy"), "r1")


# Passing through.


def test_what_passes_is_read_from_the_side() -> None:
    """The bytes go on as they came; usage, reason and the number of characters are known afterwards."""
    seen = watch()

    assert FULL == seen.feed(FULL) + seen.close()
    assert collect(decode(FULL)).usage == seen.usage
    assert "tool_calls" == seen.finish_reason
    assert len('Let me seeHéllo you{"query":"é"}{"a":1}') == seen.characters


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (PING, False),
        (opened(0, type="text", text=""), False),
        (piece(0, type="text_delta", text="x"), True),
        (opened(0, type="tool_use", id="t", name="f", input={}), True),
        (opened(0, type="redacted_thinking", data="d"), True),
    ],
)
def test_content_is_what_a_model_wrote(event: JsonObject, content: bool) -> None:  # noqa: FBT001  # a table
    """Until then another provider may still take over unnoticed."""
    seen = watch()
    seen.feed(sse(start(), event))

    assert content == seen.content


def test_events_without_a_name_are_given_theirs() -> None:
    """Clients pass over events without a name, which some services leave out; a reason of their own is told as ours."""
    events = [start(), opened(0, type="text", text=""), piece(0, type="text_delta", text="x")]
    bare = b"".join(frame(msgspec.json.encode(event)) for event in [*events, stopped("done"), STOP])
    seen = watch(Quirks(finish_reasons={"done": "length"}))

    assert [*events, stopped("max_tokens"), STOP] == told(seen.feed(bare))
    assert ("length", 1) == (seen.finish_reason, seen.characters)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (sse({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}), OverloadedError),
        (frame(b'{"type":"error","error":{"type":"rate_limit_error"}}', "content_block_delta"), RateLimitedError),
        (sse({"type": "error"}), MalformedResponseError),
        (sse(STOP), MalformedResponseError),
        (sse(piece(0, type="text_delta", text=3)), MalformedResponseError),
        (frame(b"{", "ping"), MalformedResponseError),
    ],
)
def test_failures_do_not_pass(body: bytes, expected: type[SpineError]) -> None:
    """An error in the stream is a failure instead of being handed on; what came before it is."""
    seen = watch()
    assert sse(start()) == seen.feed(sse(start()) + body)
    assert expected is type(seen.failure)
