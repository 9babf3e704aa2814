"""Ollama's dialect: answers, streams, errors and lists, at its doors and from a provider."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import ollama
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.dialects.base import Envelope, Quirks, Reply, Target
from genai_spine.dialects.ollama.catalogue import encode_show, encode_version
from genai_spine.dialects.ollama.dialect import Ollama, OllamaGenerate
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import (
    ContextLengthError,
    InvalidFieldError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    ProviderAuthenticationError,
    ProviderFailedError,
    ProviderTimeoutError,
    RateLimitedError,
    SpineError,
    StreamInterruptedError,
)
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Refusal, Text, Thinking, ToolCall
from genai_spine.types.models import Ability, Model
from genai_spine.types.stream import (
    Collector,
    Event,
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

CHAT, GENERATE, OPENAI = Ollama(), OllamaGenerate(), OpenAIChat()
QUIRKS = Quirks()
NOON, NOON_TEXT = 1_761_480_000, "2025-10-26T12:00:00Z"
REPLY = Reply(model="asked", request_id="req_1", now=NOON)
RECORDINGS = Path(os.environ.get("GENAI_TEST_RECORDINGS", "../shared/recordings")) / "pydantic-ai" / "test_ollama"


def dump(value: object) -> bytes:
    """Write JSON."""
    return msgspec.json.encode(value)


def load(body: bytes) -> JsonObject:
    """Read a JSON object."""
    value: JsonObject = msgspec.json.decode(body)
    return value


def line(message: JsonObject, **fields: Json) -> bytes:
    """A line of a stream, or with ``done`` a whole answer."""
    message = {"role": "assistant", "content": "", **message}
    return dump({"model": "m", "created_at": NOON_TEXT, "message": message, "done": False, **fields}) + b"\n"


def last(message: JsonObject | None = None, reason: str = "stop", **fields: Json) -> bytes:
    """The last line of a stream, or a whole answer."""
    return line(message or {}, done=True, done_reason=reason, **fields)


def decoded(*pieces: bytes) -> list[Event]:
    """The events of a stream that arrives in ``pieces``."""
    decoder = CHAT.stream_decoder(QUIRKS)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def collected(events: list[Event]) -> CompletionResponse:
    """What the events make together."""
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


def written(events: list[Event], dialect: Ollama = CHAT, reply: Reply = REPLY) -> bytes:
    """The stream that tells ``events``."""
    encoder = dialect.stream_encoder(reply)
    return b"".join(encoder.encode(event) for event in events) + encoder.end()


# Answers.

CALL_WIRE: JsonObject = {"id": "c", "function": {"name": "f", "arguments": {"x": 1}}}
CALL = ToolCall(id="c", name="f", arguments='{"x":1}')
LOGPROBS: list[Json] = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "a", "logprob": -0.5}]}]

ANSWERS: list[tuple[str, bytes, Choice, Usage | None]] = [
    (
        "words and counters",
        last({"content": "Hi"}, prompt_eval_count=3, eval_count=2),
        Choice(parts=(Text(text="Hi"),)),
        Usage(input_tokens=3, output_tokens=2),
    ),
    ("one counter", last({"content": "Hi"}, eval_count=2), Choice(parts=(Text(text="Hi"),)), Usage(output_tokens=2)),
    ("no words", last(), Choice(), None),
    (
        "thinking, words, calls",
        last({"thinking": "hm", "content": "so", "tool_calls": [CALL_WIRE]}),
        Choice(parts=(Thinking(text="hm"), Text(text="so"), CALL), finish_reason="tool_calls"),
        None,
    ),
    ("cut", last({"content": "H"}, "length"), Choice(parts=(Text(text="H"),), finish_reason="length"), None),
    (
        "a cut counts for more than calls",
        last({"tool_calls": [CALL_WIRE]}, "length"),
        Choice(parts=(CALL,), finish_reason="length"),
        None,
    ),
    ("loaded", last({}, "load"), Choice(), None),
    ("a reason that nobody knows", last({}, "new"), Choice(), None),
    ("logprobs", last({"content": "a"}, logprobs=LOGPROBS), Choice(parts=(Text(text="a"),), logprobs=LOGPROBS), None),
    (
        "unknown fields",
        last({"a": 1, "tool_calls": [{**CALL_WIRE, "b": 2}]}),
        Choice(
            parts=(msgspec.structs.replace(CALL, extras={"b": 2}),),
            finish_reason="tool_calls",
            extras={"message": {"a": 1}},
        ),
        None,
    ),
]


@pytest.mark.parametrize(("body", "choice", "usage"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_answer_is_read(body: bytes, choice: Choice, usage: Usage | None) -> None:
    """An answer means what the table says, whole, as a stream of one line, and when written and read again."""
    response = CHAT.decode_response(body, QUIRKS)

    assert CompletionResponse(model="m", created=NOON, choices=(choice,), usage=usage, dialect="ollama") == response
    assert response == collected(decoded(body))
    assert response == CHAT.decode_response(CHAT.encode_response(response, REPLY), QUIRKS)
    assert response == collected(decoded(written(events_of(response))))
    assert (usage, choice.finish_reason) == CHAT.check_response(body, QUIRKS)


def test_durations_are_kept() -> None:
    """What the vocabulary has no word for stays with the answer and goes out again, in a stream with the last line."""
    body = last({"content": "Hi"}, total_duration=9, remote_model="r")
    first, final = written(decoded(line({"content": "H"}), last({}, total_duration=9))).splitlines()

    assert {"total_duration": 9, "remote_model": "r"} == CHAT.decode_response(body, QUIRKS).extras
    assert load(body) == load(CHAT.encode_response(CHAT.decode_response(body, QUIRKS), REPLY))
    assert "total_duration" not in load(first)
    assert 9 == load(final)["total_duration"]


def test_missing_call_ids_are_made_up() -> None:
    """A call without an id gets one that its position, its arguments and the answer's time decide, streamed or not."""
    call: JsonObject = {"function": {"name": "f", "arguments": {"x": 1}}}
    whole = CHAT.decode_response(last({"tool_calls": [call, call]}), QUIRKS)
    later = CHAT.decode_response(last({"tool_calls": [call]}, created_at="2025-10-26T12:00:01Z"), QUIRKS)

    assert (
        whole.tool_calls
        == collected(decoded(line({"tool_calls": [call]}), line({"tool_calls": [call]}), last())).tool_calls
    )
    assert 3 == len({call.id for call in (*whole.tool_calls, *later.tool_calls)})


@pytest.mark.parametrize(
    ("text", "created"),
    [
        ("2025-10-26T12:00:00.123456789Z", NOON),
        ("2025-10-26T14:00:00+02:00", NOON),
        ("2025-10-26T12:00:00", NOON),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        (None, 0),
    ],
)
def test_time_is_read(text: str | None, created: int) -> None:
    """Times come to nanoseconds and in any zone; Go's zero time, and what is no time, say nothing."""
    assert created == CHAT.decode_response(last(created_at=text), QUIRKS).created


BROKEN: list[tuple[bytes, type[SpineError]]] = [
    (b"", MalformedResponseError),
    (b"[]", MalformedResponseError),
    (b"{}", MalformedResponseError),
    (line({"content": "H"}), MalformedResponseError),
    (line({"content": "H"}, done=True), MalformedResponseError),
    (line({"content": 1}, done=True, done_reason="stop"), MalformedResponseError),
    (b'{"error":"boom"}', ProviderFailedError),
    (b'{"error":"the input length exceeds the context length"}', ContextLengthError),
]


@pytest.mark.parametrize(("body", "kind"), BROKEN)
def test_broken_answer_is_an_error(body: bytes, kind: type[SpineError]) -> None:
    """Half an answer, a strange one, or one that tells of a failure is never taken for a good one."""
    for read in (CHAT.decode_response, CHAT.check_response):
        with pytest.raises(SpineError) as caught:
            read(body, QUIRKS)

        assert kind is type(caught.value)


def test_row_names_a_fault() -> None:
    """A reason that the provider's row calls a fault is one, whole and in a stream."""
    quirks = Quirks(finish_reasons={"crash": "error"})
    decoder = CHAT.stream_decoder(quirks)
    events = decoder.feed(last({}, "crash"))

    with pytest.raises(ProviderFailedError):
        CHAT.decode_response(last({}, "crash"), quirks)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ProviderFailedError)


REASONS: list[tuple[FinishReason, str]] = [
    ("stop", "stop"),
    ("tool_calls", "stop"),
    ("content_filter", "stop"),
    ("length", "length"),
    ("pause", "length"),
]


@pytest.mark.parametrize(("reason", "wire"), REASONS)
def test_finish_reason_is_written(reason: FinishReason, wire: str) -> None:
    """The dialect tells an end from a cut, whole and streamed."""
    response = CompletionResponse(choices=(Choice(finish_reason=reason),))

    assert wire == load(CHAT.encode_response(response, REPLY))["done_reason"]
    assert wire == load(written(events_of(response)))["done_reason"]


FOREIGN = CompletionResponse(
    id="chatcmpl-1",
    choices=(
        Choice(
            parts=(
                Thinking(text="hm", signature="s"),
                Text(text="a", extras={"x": 1}),
                Refusal(text="No"),
                ToolCall(id="1", name="f", arguments='{"x":1}', extras={"x": 1}),
                ToolCall(id="2", name="g", arguments="half {", extras={"x": 1}),
            ),
            finish_reason="tool_calls",
            extras={"message": {"x": 1}},
        ),
        Choice(parts=(Text(text="another"),)),
    ),
    usage=Usage(input_tokens=3, output_tokens=2, cache_read_tokens=1, extras={"x": 1}),
    dialect="openai_chat",
    extras={"x": 1},
)
FOREIGN_CALLS: list[Json] = [
    {"id": "1", "function": {"index": 0, "name": "f", "arguments": {"x": 1}}},
    {"id": "2", "function": {"index": 1, "name": "g", "arguments": {"raw": "half {"}}},
]


def test_foreign_answer_is_written() -> None:
    """Another dialect's answer is told in Ollama's words, without what belongs to that dialect."""
    head: JsonObject = {"model": "asked", "created_at": NOON_TEXT}
    tail: JsonObject = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}
    message: JsonObject = {"role": "assistant", "content": "aNo", "thinking": "hm", "tool_calls": FOREIGN_CALLS}
    chat, generate = (load(dialect.encode_response(FOREIGN, REPLY)) for dialect in (CHAT, GENERATE))

    assert {**head, "message": message, **tail} == chat
    assert {**head, "response": "aNo", "thinking": "hm", "tool_calls": FOREIGN_CALLS, **tail} == generate
    assert "aNo" == ollama.ChatResponse.model_validate(chat).message.content
    assert "aNo" == ollama.GenerateResponse.model_validate(generate).response


def test_foreign_stream_is_written() -> None:
    """Another dialect's events are lines of its words; calls come whole, the counters with the end."""
    stream = written([*events_of(FOREIGN), Extension(data={"y": 1})])
    prompt = written(events_of(FOREIGN), GENERATE)
    parsed = [ollama.ChatResponse.model_validate_json(text) for text in stream.splitlines()]
    pieces = [ollama.GenerateResponse.model_validate_json(text) for text in prompt.splitlines()]

    assert ["hm", None, None, None, None, None] == [part.message.thinking for part in parsed]
    assert ["", "a", "No", "", "", ""] == [part.message.content for part in parsed]
    assert ["", "a", "No", "", "", ""] == [part.response for part in pieces]
    assert [False] * 5 + [True] == [part.done for part in parsed]
    assert (3, 2, "stop") == (parsed[-1].prompt_eval_count, parsed[-1].eval_count, parsed[-1].done_reason)
    assert FOREIGN.tool_calls[0] == msgspec.structs.replace(collected(decoded(stream)).tool_calls[0], extras={"x": 1})
    assert b'"x"' not in stream.replace(b'{"x":1}', b"")
    assert b'"y"' not in stream


def test_error_ends_a_stream() -> None:
    """A failure inside a stream is a line that the official client raises on."""
    encoder = CHAT.stream_encoder(REPLY)
    text = encoder.encode(Failed(error=StreamInterruptedError("it broke")))

    assert text == CHAT.encode_stream_error(StreamInterruptedError("it broke"), "req_1")
    assert text.endswith(b"}\n")
    assert ("it broke", "req_1") == (load(text)["error"], load(text)["request_id"])


# Streams.

STREAM = (
    line({"thinking": "h"}, remote_model="r")
    + line({"thinking": "m"}, remote_model="r")
    + line({"content": "Sö"}, logprobs=LOGPROBS)
    + line({"content": ""}, logprobs=LOGPROBS)
    + line({"tool_calls": [CALL_WIRE]}, new=1)
    + line({"tool_calls": [{"id": "d", "function": {"name": "g", "arguments": {}}}], "a": 1})
    + last({}, prompt_eval_count=3, eval_count=2, total_duration=9)
)
EVENTS: list[Event] = [
    Start(model="m", created=NOON, dialect="ollama", extras={"remote_model": "r"}),
    PartStart(index=0, part="thinking"),
    ThinkingDelta(index=0, text="h"),
    ThinkingDelta(index=0, text="m"),
    PartEnd(index=0),
    PartStart(index=1, part="text"),
    TextDelta(index=1, text="Sö", logprobs=LOGPROBS),
    TextDelta(index=1, text="", logprobs=LOGPROBS),
    PartEnd(index=1),
    PartStart(index=2, part="tool_call", id="c", name="f"),
    ToolArguments(index=2, text='{"x":1}'),
    PartEnd(index=2),
    Extension(data={"new": 1}),
    PartStart(index=3, part="tool_call", id="d", name="g"),
    ToolArguments(index=3, text="{}"),
    PartEnd(index=3),
    UsageTold(usage=Usage(input_tokens=3, output_tokens=2)),
    Finish(reason="tool_calls", extras={"message": {"a": 1}}),
    Extension(data={"total_duration": 9}),
]
WHOLE = last(
    {
        "thinking": "hm",
        "content": "Sö",
        "tool_calls": [CALL_WIRE, {"id": "d", "function": {"name": "g", "arguments": {}}}],
        "a": 1,
    },
    logprobs=LOGPROBS * 2,
    prompt_eval_count=3,
    eval_count=2,
    total_duration=9,
    remote_model="r",
    new=1,
)


def test_stream_is_read() -> None:
    """A stream is the events of the table, which collect to the same answer, not streamed."""
    assert EVENTS == decoded(STREAM)
    assert CHAT.decode_response(WHOLE, QUIRKS) == collected(EVENTS)


def test_stream_round_trip() -> None:
    """Events written and read again are the same."""
    assert EVENTS == decoded(written(EVENTS))


@given(st.lists(st.integers(0, len(STREAM))))
def test_cuts_make_no_difference(cuts: list[int]) -> None:
    """A stream reads and passes the same however its bytes are cut."""
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]
    watch = CHAT.watch(Envelope(fields={}), QUIRKS)

    assert EVENTS == decoded(*pieces)
    assert STREAM == b"".join(watch.feed(piece) for piece in pieces) + watch.close()


def test_cut_stream_is_an_error() -> None:
    """A stream cut at any byte before its last line is whole has failed, read or passed on; only whole lines go on."""
    for size in range(len(STREAM) - 1):
        events = decoded(STREAM[:size])
        watch = CHAT.watch(Envelope(fields={}), QUIRKS)
        passed = watch.feed(STREAM[:size])

        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, StreamInterruptedError)
        watch.close()
        assert isinstance(watch.failure, StreamInterruptedError)
        assert passed == b"" or passed.endswith(b"}\n")


def test_last_newline_may_be_missing() -> None:
    """The last line counts once it is whole JSON."""
    watch = CHAT.watch(Envelope(fields={}), QUIRKS)

    assert EVENTS == decoded(STREAM.rstrip())
    assert STREAM == watch.feed(STREAM.rstrip()) + watch.close()


def test_nothing_follows_the_end() -> None:
    """What comes after the last line is not looked at."""
    watch = CHAT.watch(Envelope(fields={}), QUIRKS)

    assert EVENTS == decoded(STREAM, b"{", b'{"error":"late"}\n')
    assert STREAM == watch.feed(STREAM) + watch.feed(b'{"error":"late"}\n') + watch.close()


def test_logprobs_travel_with_words() -> None:
    """Those of tokens that show no words yet wait for the words."""
    events = decoded(line({}, logprobs=LOGPROBS), line({"content": "a"}, logprobs=LOGPROBS), last())

    assert TextDelta(index=0, text="a", logprobs=LOGPROBS * 2) in events
    assert events == decoded(written(events))


FAILING: list[tuple[bytes, type[SpineError]]] = [
    (b'{"error":"an error was encountered while running the model"}\n', ProviderFailedError),
    (b'{"error":"the input length exceeds the context length"}\n', ContextLengthError),
    (b"<html>\n", MalformedResponseError),
    (line({"content": 1}), MalformedResponseError),
    (line({}, done=True), MalformedResponseError),
]


@pytest.mark.parametrize(("text", "kind"), FAILING)
def test_failure_inside_a_stream(text: bytes, kind: type[SpineError]) -> None:
    """A failure that a stream tells of ends it, read or passed on, and nothing of it goes on."""
    events = decoded(line({"content": "a"}), text, last())
    watch = CHAT.watch(Envelope(fields={}), QUIRKS)
    passed = watch.feed(line({"content": "a"}) + text + last())

    assert isinstance(events[-1], Failed)
    assert (kind, 1) == (type(events[-1].error), sum(isinstance(event, Failed) for event in events))
    assert line({"content": "a"}) == passed
    assert kind is type(watch.failure)
    assert b"" == watch.feed(last()) + watch.close()


def test_watch_reads_from_the_side() -> None:
    """A stream that passes through tells its usage, its end and how much was written, from either route."""
    watch = CHAT.watch(Envelope(fields={}), QUIRKS)
    watch.feed(line({}))
    before = watch.content
    watch.feed(STREAM)
    prompt = GENERATE.watch(Envelope(fields={}), QUIRKS)
    prompt.feed(b'{"response":"abc","done":false}\n{"response":"","done":true,"done_reason":"length","eval_count":3}\n')

    assert (False, True, "tool_calls") == (before, watch.content, watch.finish_reason)
    assert Usage(input_tokens=3, output_tokens=2) == watch.usage
    assert watch.characters >= len("hmSö")
    assert (3, "length", Usage(output_tokens=3)) == (prompt.characters, prompt.finish_reason, prompt.usage)


def test_answer_to_a_prompt_passes() -> None:
    """The answer of ``/api/generate`` is read from the side as well."""
    body = b'{"response":"Hi","done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}'

    assert (Usage(input_tokens=1, output_tokens=2), "stop") == GENERATE.check_response(body, QUIRKS)


# Errors.

ERRORS: list[tuple[int, bytes, type[SpineError]]] = [
    (400, b'{"error":"the input length exceeds the context length"}', ContextLengthError),
    (400, b'{"error":"\\"m\\" does not support thinking"}', InvalidRequestError),
    (400, b'{"error":"registry.ollama.ai/library/m does not support tools"}', InvalidRequestError),
    (401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect"}', ProviderAuthenticationError),
    (404, b'{"error":"model \'m\' not found"}', ModelNotFoundError),
    (404, b"404 page not found", ModelNotFoundError),
    (429, b'{"error":"too many concurrent requests"}', RateLimitedError),
    (500, b'{"error":"llama runner process has terminated"}', ProviderFailedError),
    (502, b'{"error":"upstream error"}', ProviderFailedError),
    (503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}', OverloadedError),
]


@pytest.mark.parametrize(("status", "body", "kind"), ERRORS)
def test_error_is_classified(status: int, body: bytes, kind: type[SpineError]) -> None:
    """Each status and text is the error of the table, with the provider's status kept."""
    error = CHAT.decode_error(status, {}, body, QUIRKS)

    assert (kind, status) == (type(error), error.upstream_status)


STATUSES: list[tuple[SpineError, int]] = [
    (InvalidFieldError("x"), 400),
    (PayloadTooLargeError("x"), 400),
    (ModelNotFoundError("x"), 404),
    (RateLimitedError("x"), 429),
    (SpineError("x"), 500),
    (ProviderFailedError("x"), 502),
    (ProviderTimeoutError("x"), 502),
    (OverloadedError("x"), 503),
]


@pytest.mark.parametrize(("error", "status"), STATUSES)
def test_error_is_written_with_a_status_that_ollama_has(error: SpineError, status: int) -> None:
    """Callers get the text where they look for it, beside it what only the gateway knows."""
    answer = CHAT.encode_error(error, "req_1")
    caught = ollama.ResponseError(answer.body.decode(), answer.status)

    assert ("x", status) == (caught.error, caught.status_code)
    assert ("req_1", error.code) == (load(answer.body)["request_id"], load(answer.body)["code"])


# Lists and details.


def test_lists_parse_in_the_official_client() -> None:
    """Models, details and version have the fields, of the types, that the client declares."""
    can: frozenset[Ability] = frozenset({"tools", "streaming"})
    model = Model(id="gpt-6", provider="openai", created=1_761_480_000, max_input_tokens=9, abilities=can)
    listed = ollama.ListResponse.model_validate(load(CHAT.encode_models([model, Model(id="llama3.2:latest")]))).models
    shown = ollama.ShowResponse.model_validate(load(encode_show(model)))

    assert ["gpt-6", "llama3.2:latest"] == [entry.model for entry in listed]
    assert "openai" == (listed[0].details or ollama._types.ModelDetails()).family
    assert 64 == len(listed[0].digest or "")
    assert listed[0].digest != listed[1].digest
    assert ["completion", "tools"] == shown.capabilities
    assert 9 == (shown.modelinfo or {})["openai.context_length"]
    assert {"version": "0.30.0"} == load(encode_version("0.30.0"))


def test_list_is_read() -> None:
    """A provider's list tells ids and times; what was written reads the same."""
    body = dump({"models": [{"name": "a:1b", "modified_at": "2025-10-26T12:00:00.123456789+00:00"}, {"model": "b"}]})
    models = CHAT.decode_models(body)

    assert [Model(id="a:1b", created=1_761_480_000), Model(id="b")] == models
    assert models == CHAT.decode_models(CHAT.encode_models(models))


# What real providers once answered: the folder holds what Ollama said at its OpenAI-compatible door.


def exchanges() -> Iterator[tuple[bytes, bytes]]:
    """Each recorded request and answer."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}: set GENAI_TEST_RECORDINGS to their folder")
    for path in sorted(RECORDINGS.glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text())["interactions"]:
            yield dump(entry["request"]["parsed_body"]), dump(entry["response"]["parsed_body"])


def test_recorded_requests_can_be_said() -> None:
    """What callers of OpenAI's dialect asked is asked of an Ollama, and means the same there."""
    for body, _ in exchanges():
        asked_first = OPENAI.decode_request(body)
        encoded = CHAT.encode_request(asked_first, Target(model=asked_first.model or ""))
        asked_again = CHAT.decode_request(encoded.body)

        assert () == encoded.warnings
        assert [message.role for message in asked_first.messages] == [message.role for message in asked_again.messages]
        assert [message.parts[-1:] for message in asked_first.messages] == [
            message.parts[-1:] for message in asked_again.messages
        ]
        assert asked_first.tools == asked_again.tools
        assert (asked_first.output_schema is None) == (asked_again.output_schema is None)


def test_recorded_answers_can_be_told() -> None:
    """What models answered reads in the official client, whole and streamed, and means the same when read back."""
    for _, body in exchanges():
        answer = OPENAI.decode_response(body, QUIRKS)
        whole = CHAT.encode_response(answer, Reply(now=1))
        parsed = ollama.ChatResponse.model_validate(load(whole))
        back = CHAT.decode_response(whole, QUIRKS)
        encoder = CHAT.stream_encoder(Reply(now=1))
        stream = b"".join(encoder.encode(event) for event in events_of(answer)) + encoder.end()

        assert (answer.content, answer.thinking) == (parsed.message.content, parsed.message.thinking)
        assert (answer.tool_calls, answer.finish_reason) == (back.tool_calls, back.finish_reason)
        assert (answer.input_tokens, answer.output_tokens) == (back.input_tokens, back.output_tokens)
        assert answer.content == "".join(
            ollama.ChatResponse.model_validate(load(line)).message.content or "" for line in stream.splitlines()
        )
