"""Bedrock Converse: answers, whole and in pieces, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from genai_spine.dialects.base import Envelope, Quirks
from genai_spine.dialects.eventstream import EventMessages, encode_message
from genai_spine.errors import (
    MalformedResponseError,
    OverloadedError,
    ProviderError,
    ProviderFailedError,
    RateLimitedError,
    StreamInterruptedError,
)
from genai_spine.testing.dialects import check_broken_stream, check_response, check_stream
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Image, Media, Opaque, Refusal, Text, Thinking, ToolCall
from genai_spine.types.models import Model
from genai_spine.types.stream import (
    Extension,
    Failed,
    Finish,
    PartEnd,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
    events_of,
)
from genai_spine.types.usage import Usage
from tests.unit.dialects.bedrock_converse.wire import (
    CONVERSE,
    END,
    REPLY,
    START,
    answer,
    collected,
    delta,
    event,
    events_of_stream,
    stop,
)

CALL: JsonObject = {"toolUse": {"toolUseId": "c", "name": "clock", "input": {"a": 1}, "type": "tool_use"}}
STREAM = Envelope(fields={}, stream=True)


def written(response: CompletionResponse) -> Any:
    """An answer as it is written."""
    return json.loads(CONVERSE.encode_response(response, REPLY))


def streamed(response: CompletionResponse) -> list[tuple[str, Any]]:
    """The events by which an answer is told in pieces."""
    encoder = CONVERSE.stream_encoder(REPLY)
    data = b"".join(map(encoder.encode, events_of(response))) + encoder.end()
    return [(found.text(":event-type"), json.loads(found.payload)) for found in EventMessages().feed(data)]


# Whole.


def test_an_answer() -> None:
    """Reasoning, words and calls are read; a call's ordinary kind is no news."""
    thought: JsonObject = {"reasoningContent": {"reasoningText": {"text": "Well", "signature": "s"}}}
    found = answer(thought, {"text": "Wait"}, CALL, stopReason="tool_use", metrics={"latencyMs": 3})
    expected = (
        Thinking(text="Well", signature="s"),
        Text(text="Wait"),
        ToolCall(id="c", name="clock", arguments='{"a":1}'),
    )
    assert expected == found.parts
    assert ("tool_calls", {"metrics": {"latencyMs": 3}}) == (found.finish_reason, found.extras)


@pytest.mark.parametrize(
    ("told", "reason", "kept"),
    [
        ("end_turn", "stop", {}),
        ("stop_sequence", "stop", {"stopReason": "stop_sequence"}),
        ("max_tokens", "length", {}),
        ("model_context_window_exceeded", "length", {"stopReason": "model_context_window_exceeded"}),
        ("guardrail_intervened", "content_filter", {"stopReason": "guardrail_intervened"}),
        ("content_filtered", "content_filter", {}),
        ("tool_use", "tool_calls", {}),
        ("newly_invented", "stop", {"stopReason": "newly_invented"}),
    ],
)
def test_why_an_answer_ended(told: str, reason: FinishReason, kept: JsonObject) -> None:
    """Each reason has its word; one that the vocabulary has not is kept, and written again."""
    found = answer({"text": "a"}, stopReason=told)
    assert (reason, kept) == (found.finish_reason, found.choices[0].extras)
    assert told == written(found)["stopReason"]


def test_an_answer_with_calls_stopped_for_them() -> None:
    """Whatever the service says of why it stopped."""
    assert "tool_calls" == answer(CALL).finish_reason
    assert "length" == answer(CALL, stopReason="max_tokens").finish_reason


@pytest.mark.parametrize("told", ["malformed_model_output", "malformed_tool_use"])
def test_a_model_that_failed(told: str) -> None:
    """T4: an answer that the model got wrong is a failure."""
    with pytest.raises(ProviderFailedError):
        answer({"text": "a"}, stopReason=told)


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"{}",
        b'{"output": {}, "stopReason": "end_turn"}',
        b'{"output": {"message": {"content": []}}}',
        b'{"output": {"message": {"content": 5}}, "stopReason": "end_turn"}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    """T4: an answer without its message, or without a reason to stop, is none."""
    with pytest.raises(MalformedResponseError):
        CONVERSE.decode_response(body, Quirks())


def test_a_failure_despite_a_good_status() -> None:
    """Some front ends tell failures so."""
    with pytest.raises(RateLimitedError, match="slow down"):
        CONVERSE.decode_response(b'{"__type": "com.amazon#ThrottlingException", "message": "slow down"}', Quirks())


def test_pitfall_19_cached_tokens_are_counted_once() -> None:
    """The service counts what the cache gave and took apart; here it is part of the input, and written apart again."""
    told = {
        "inputTokens": 3,
        "outputTokens": 5,
        "totalTokens": 1108,
        "cacheReadInputTokens": 1000,
        "cacheWriteInputTokens": 100,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 60}, {"ttl": "1h", "inputTokens": 40}],
        "serverToolUsage": {},
    }
    found = answer({"text": "a"}, usage=told)
    usage = found.usage
    assert usage is not None
    assert (1103, 5, 1000, 100, 40) == (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_1h_tokens,
    )
    assert 1108 == usage.total_tokens
    assert told == written(found)["usage"]


def test_usage_of_others() -> None:
    """It is taken apart as the service would; an answer without any tells none used."""
    usage = Usage(
        input_tokens=100,
        output_tokens=2,
        cache_read_tokens=50,
        cache_write_tokens=30,
        cache_write_1h_tokens=10,
        extras={"x": 1},
    )
    assert {
        "inputTokens": 20,
        "outputTokens": 2,
        "totalTokens": 102,
        "cacheReadInputTokens": 50,
        "cacheWriteInputTokens": 30,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 20}, {"ttl": "1h", "inputTokens": 10}],
    } == written(CompletionResponse(usage=usage, choices=(Choice(),)))["usage"]
    assert 0 == written(CompletionResponse())["usage"]["totalTokens"]
    assert "malformed_model_output" == written(CompletionResponse())["stopReason"]


def test_an_answer_of_others() -> None:
    """What the dialect can say of it is said; seals of others, and pictures, are not."""
    parts = (
        Thinking(text="Well", signature="theirs"),
        Thinking(redacted="theirs"),
        Text(text=""),
        Refusal(text="No."),
        Refusal(text=""),
        ToolCall(id="functions.Bash:0 ", name="bash"),
        Image(media=Media(url="https://pictures.example/cat.png")),
        Opaque(dialect="gemini", data={"x": 1}),
    )
    choice = Choice(parts=parts, finish_reason="stop", stop_sequence="END", extras={"x": 1})
    body = written(CompletionResponse(choices=(choice,), dialect="gemini", extras={"y": 2}))
    thought, refused, call = body["output"]["message"]["content"]
    assert {"reasoningContent": {"reasoningText": {"text": "Well"}}} == thought
    assert {"text": "No."} == refused
    assert call["toolUse"]["toolUseId"].startswith("call_")
    assert ("stop_sequence", {"output", "stopReason", "usage"}) == (body["stopReason"], set(body))


def test_blocks_of_the_services_own_tools_are_kept_whole() -> None:
    """T3: calls of its own tools, their results and pictures are read the same in pieces, and written again."""
    blocks: list[JsonObject] = [
        {"toolUse": {"toolUseId": "c", "name": "code", "input": {"x": 1}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "c", "content": [{"json": {"y": 2}}, {"text": "z"}], "type": "code_result"}},
        {"image": {"format": "png", "source": {"bytes": "AAAA"}}},
        {"video": {"format": "mp4"}},
        {"text": ""},
        {"reasoningContent": {"reasoningText": {"text": ""}}},
        {"citationsContent": {"content": [{"text": "a"}], "citations": [{"title": "t"}]}},
        {"toolUse": {"toolUseId": "d", "name": "clock", "input": {}, "extra": 1}},
    ]
    body: JsonObject = {
        "output": {"message": {"role": "assistant", "content": list(blocks), "u": 1}},
        "stopReason": "stop_sequence",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 9},
        "additionalModelResponseFields": {"stop_sequence": "END"},
        "trace": {"v": 2},
    }
    found = check_response(CONVERSE, json.dumps(body).encode())
    assert [Opaque(dialect="bedrock_converse", data=block) for block in blocks[:4]] == list(found.parts[:4])


# In pieces.


def test_pitfall_35_words_have_no_start_and_usage_comes_last() -> None:
    """Blocks of words and reasoning begin with their first piece; usage is read behind the reason to stop."""
    stream = (
        START
        + delta(0, reasoningContent={"text": "We"})
        + delta(0, reasoningContent={"text": "ll"})
        + delta(0, reasoningContent={"signature": "s"})
        + stop(0)
        + delta(1, text="Yes")
        + stop(1)
        + END
    )
    assert [
        Start(dialect="bedrock_converse"),
        PartStart(index=0, part="thinking"),
        ThinkingDelta(index=0, text="We"),
        ThinkingDelta(index=0, text="ll"),
        ThinkingDelta(index=0, signature="s"),
        PartEnd(index=0),
        PartStart(index=1, part="text"),
        TextDelta(index=1, text="Yes"),
        PartEnd(index=1),
        Finish(reason="stop"),
        Extension(data={"metrics": {"latencyMs": 7}}),
        UsageTold(usage=Usage(input_tokens=3, output_tokens=2)),
    ] == events_of_stream(stream)
    check_stream(CONVERSE, stream)


def test_pitfall_35_a_stream_without_its_usage_is_not_whole() -> None:
    """T4: the reason to stop is not the end; a service that tells no more after it needs a quirk."""
    stream = START + delta(0, text="a") + stop(0) + event("messageStop", stopReason="end_turn")
    assert isinstance(check_broken_stream(CONVERSE, stream), StreamInterruptedError)
    lax = Quirks(end_mark=False)
    assert isinstance(events_of_stream(stream, quirks=lax)[-1], Finish)
    watch = CONVERSE.watch(STREAM, lax)
    assert stream == watch.feed(stream) + watch.close()
    assert isinstance(check_broken_stream(CONVERSE, START + delta(0, text="a"), lax), StreamInterruptedError)


def test_calls_in_pieces() -> None:
    """Arguments come in fragments; a call without any has none to tell but an empty object."""
    first = {"toolUse": {"toolUseId": "c", "name": "clock", "type": "tool_use"}}
    second = {"toolUse": {"toolUseId": "d", "name": "clock", "x": 1}}
    stream = (
        START
        + event("contentBlockStart", contentBlockIndex=0, start=first)
        + delta(0, toolUse={"input": ""})
        + delta(0, toolUse={"input": '{"a"'})
        + delta(0, toolUse={"input": ":1}"})
        + stop(0)
        + event("contentBlockStart", contentBlockIndex=1, start=second)
        + stop(1)
        + event("messageStop", stopReason="end_turn", additionalModelResponseFields={"y": 2})
        + event("metadata", usage={"inputTokens": 1, "outputTokens": 1, "totalTokens": 2})
    )
    found = collected(stream)
    assert ('{"a":1}', "{}") == tuple(call.arguments for call in found.tool_calls)
    assert ("tool_calls", {"additionalModelResponseFields": {"y": 2}}) == (found.finish_reason, found.extras)
    assert ToolArguments(index=1, text="{}") in events_of_stream(stream)
    check_stream(CONVERSE, stream)


def test_redacted_reasoning_and_citations_in_pieces() -> None:
    """They are told as they are whole."""
    stream = (
        START
        + delta(0, reasoningContent={"redactedContent": "blob"})
        + stop(0)
        + delta(1, text="a")
        + delta(1, citation={"title": "t"})
        + stop(1)
        + END
    )
    assert (Thinking(redacted="blob"), Text(text="a", citations=[{"title": "t"}])) == collected(stream).parts
    check_stream(CONVERSE, stream)


def test_a_piece_of_another_kind_begins_another_part() -> None:
    """Where a service leaves out the end of a block, the next one ends it."""
    stream = START + delta(0, reasoningContent={"text": "a"}) + delta(0, text="b") + delta(1, text="c") + END
    assert (Thinking(text="a"), Text(text="b"), Text(text="c")) == collected(stream).parts


def test_what_later_versions_may_add_is_passed_over() -> None:
    """Unknown events, and pieces that say nothing, are no fault."""
    stream = START + event("ping") + delta(0) + delta(0, text="b") + delta(0, news={"x": 1}) + stop(0) + stop(0) + END
    assert (Text(text="b"),) == collected(stream + event("more")).parts


def test_blocks_of_unknown_kinds_in_pieces() -> None:
    """They are put together and kept: pieces of lists and objects join, anything else is replaced."""
    stream = (
        START
        + event("contentBlockStart", contentBlockIndex=0, start={"image": {"format": "png"}})
        + delta(0, image={"source": {"bytes": "AA"}})
        + stop(0)
        + event("contentBlockStart", contentBlockIndex=1, start={"toolResult": {"toolUseId": "c"}})
        + delta(1, toolResult=[{"text": "a"}])
        + delta(1, toolResult=[{"text": "b"}])
        + stop(1)
        + delta(2, news=1)
        + delta(2, news=2)
        + stop(2)
        + END
    )
    assert [
        {"image": {"format": "png", "source": {"bytes": "AA"}}},
        {"toolResult": {"toolUseId": "c", "content": [{"text": "a"}, {"text": "b"}]}},
        {"news": 2},
    ] == [part.data for part in collected(stream).parts if isinstance(part, Opaque)]


@pytest.mark.parametrize(
    "pieces",
    [
        delta(0, text="before the start"),
        START + delta(0, toolUse={"input": "{}"}),
        START
        + event("contentBlockStart", contentBlockIndex=0, start={"toolUse": {"toolUseId": "c", "name": "n"}})
        + delta(0, text="in a call"),
        START + delta(0, text=5),
        START + event("messageStop"),
        START + event("metadata", usage={}),
        START + b"\0" * 12,
    ],
)
def test_streams_that_are_not_of_the_dialect(pieces: bytes) -> None:
    """T4: they end in a failure that says so, decoded."""
    last = events_of_stream(pieces, END)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, MalformedResponseError)


@pytest.mark.parametrize("extra", [delta(1, text="more"), event("messageStop", stopReason="end_turn")])
def test_nothing_follows_the_reason_to_stop(extra: bytes) -> None:
    """T4: a block or a second reason behind it is not of the dialect."""
    stream = START + delta(0, text="a") + event("messageStop", stopReason="end_turn") + extra
    last = events_of_stream(stream)[-1]
    assert isinstance(last, Failed)


@pytest.mark.parametrize("pieces", [START + event("metadata"), START + delta(0, text=5), START + event("messageStop")])
def test_a_watch_sees_what_is_not_of_the_dialect(pieces: bytes) -> None:
    """T4: passing through too."""
    watch = CONVERSE.watch(STREAM, Quirks())
    watch.feed(pieces)
    assert isinstance(watch.failure, MalformedResponseError)


def test_a_watch_sees_a_reason_that_is_no_text() -> None:
    """T4: it is none."""
    watch = CONVERSE.watch(STREAM, Quirks())
    watch.feed(event("messageStop", stopReason=5))
    assert isinstance(watch.failure, MalformedResponseError)
    assert "no text" in watch.failure.message


def test_a_watch_tells_reasons_in_the_dialects_words() -> None:
    """A service's own name for why a model stopped is written anew for the caller."""
    stream = START + delta(0, text="a") + stop(0) + event("messageStop", stopReason="eos") + event("metadata")
    watch = CONVERSE.watch(STREAM, Quirks(finish_reasons={"eos": "length"}))
    out = watch.feed(stream) + watch.close() + watch.feed(END)
    assert "length" == watch.finish_reason
    assert "length" == collected(out).finish_reason


def test_a_stream_of_others() -> None:
    """Further choices are not told, nor seals and parts of others; free text of a call goes into an object."""
    parts = (
        Thinking(text="Well", signature="theirs", redacted="theirs"),
        Text(text=""),
        Opaque(dialect="gemini", data={}),
        ToolCall(id="c.1", name="bash", arguments="ls", custom=True),
        Text(text="ok", citations=[{"theirs": 1}]),
    )
    choices = (Choice(parts=parts, finish_reason="tool_calls"), Choice(parts=(Text(text="second"),)))
    told = streamed(CompletionResponse(choices=choices, dialect="gemini", extras={"x": 1}))
    kinds = [kind for kind, _ in told]
    assert ["messageStart", "contentBlockDelta", "contentBlockStop", "contentBlockStart"] == kinds[:4]
    assert '{"raw":"ls"}' == told[4][1]["delta"]["toolUse"]["input"]
    assert {"stopReason": "tool_use"} == told[-2][1]
    assert {"usage"} == set(told[-1][1])
    assert "second" not in str(told)


def test_a_stream_that_never_began() -> None:
    """An encoder that is told nothing still writes a stream, which says that the model failed."""
    encoder = CONVERSE.stream_encoder(REPLY)
    last = events_of_stream(encoder.encode(ToolArguments(index=0, text="")) + encoder.end())[-1]
    assert isinstance(last, Failed)


# Failures within a stream.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("internalServerException", "server_error"),
        ("modelStreamErrorException", "server_error"),
        ("serviceUnavailableException", "overloaded"),
        ("throttlingException", "rate_limit"),
        ("validationException", "invalid_request"),
    ],
)
def test_exceptions_within_a_stream(name: str, kind: str) -> None:
    """T4: each is a failure of its kind, whatever came before; the watch raises it."""
    headers = {":message-type": "exception", ":exception-type": name}
    stream = START + delta(0, text="a") + encode_message(headers, b'{"message": "no more"}')
    error = check_broken_stream(CONVERSE, stream + END)
    assert (kind, "no more") == (error.kind, error.message)


def test_an_exception_without_words() -> None:
    """One that cannot be read is a failure all the same."""
    headers = {":message-type": "exception", ":exception-type": "unheardException"}
    assert isinstance(check_broken_stream(CONVERSE, encode_message(headers, b"?")), ProviderError)


def test_an_error_message_within_a_stream() -> None:
    """Faults of the framing itself are told in headers."""
    headers = {":message-type": "error", ":error-code": "ServiceUnavailableException", ":error-message": "gone"}
    error = check_broken_stream(CONVERSE, START + encode_message(headers, b""))
    assert isinstance(error, OverloadedError)
    assert "gone" == error.message


def test_models() -> None:
    """The list of the service's administration is read and written."""
    models = [
        Model(id="amazon.nova-lite-v1:0", display_name="Nova Lite", owned_by="Amazon"),
        Model(id="old", display_name="old", lifecycle="deprecated"),
    ]
    assert models == CONVERSE.decode_models(CONVERSE.encode_models(models))
    assert [Model(id="bare")] == CONVERSE.decode_models(b'{"modelSummaries": [{"modelId": "bare"}]}')
