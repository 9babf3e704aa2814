"""Gemini's streams, read and written, and passing through."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Envelope, Quirks
from genai_spine.dialects.gemini.dialect import GeminiDoor
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import (
    MalformedResponseError,
    OverloadedError,
    ProviderFailedError,
    StreamInterruptedError,
)
from genai_spine.testing.dialects import (
    check_broken_stream,
    check_stream,
    decode_stream,
    encode_stream,
)
from genai_spine.types.completion import Choice, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Text, Thinking, ToolCall
from genai_spine.types.stream import (
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
from tests.unit.dialects.gemini.wire import (
    GEMINI,
    PLAIN,
    REPLY,
    answer,
    candidate,
    collected,
    events_of_stream,
    fields_of,
    read_answer,
    sse,
)

_CALL: JsonObject = {"functionCall": {"name": "weather", "args": {"city": "Bern"}}, "thoughtSignature": "MQ=="}
_OVERLOADED = (
    b'{\n  "error": {\n    "code": 503,\n    "message": "The model is overloaded.",\n'
    b'    "status": "UNAVAILABLE"\n  }\n}\n'
)


def _pieces(body: bytes) -> list[JsonObject]:
    return [fields_of(piece.removeprefix(b"data: ")) for piece in body.split(b"\n\n") if piece]


# Reading.


def test_a_stream_of_all_kinds_of_parts() -> None:
    """T1, T3, T4: pieces of words are one part, calls come whole, the last usage counts, however the bytes are cut."""
    body = sse(
        answer(candidate({"text": "Hm", "thought": True}, reason=None), usageMetadata={"promptTokenCount": 3}),
        answer(candidate({"text": "m", "thought": True}, reason=None), usageMetadata={"promptTokenCount": 3}),
        answer(candidate({"text": "Gr\u00fc\u00dfe", "thoughtSignature": "MA=="}, reason=None)),
        answer(candidate({"text": " an"}, reason=None, groundingMetadata={"a": 1})),
        answer(candidate({"text": " alle"}, reason=None, groundingMetadata={})),
        answer(candidate(_CALL, {"functionCall": {"name": "clock"}}, reason=None)),
        answer(candidate({"executableCode": {"code": "1"}}, reason=None), modelStatus={"stage": "OLD"}),
        answer(
            candidate({"text": "", "thoughtSignature": "Mg=="}, safetyRatings=[]),
            usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7},
        ),
    )
    check_stream(GEMINI, body, cut_everywhere=0, cuts=60)
    read = collected(body)
    assert ["Hmm", "Gr\u00fc\u00dfe", " an alle", ""] == [
        part.text for part in read.parts if isinstance(part, Text | Thinking)
    ]
    assert ["weather", "clock"] == [call.name for call in read.tool_calls]
    assert "tool_calls" == read.finish_reason
    assert Usage(input_tokens=3, output_tokens=4) == read.usage
    assert {"groundingMetadata": {"a": 1}, "safetyRatings": []} == read.choices[0].extras
    assert {"modelStatus": {"stage": "OLD"}} == read.extras


def test_line_ends_and_other_fields() -> None:
    """Lines may end in any way, and names, ids and comments of events say nothing."""
    body = answer(candidate({"text": "Hi"}))
    for stream in (
        b"data: " + body + b"\r\n\r\n",
        b"\xef\xbb\xbfdata:" + body + b"\n\n",
        b": alive\n\nevent: message\nid: 1\nretry: 5\ndata: " + body + b"\n\n",
        b"data: " + body,
        b"data: " + json.dumps(json.loads(body), indent=1).replace("\n", "\ndata: ").encode() + b"\n\n",
    ):
        check_stream(GEMINI, stream)
        assert "Hi" == collected(stream).content
    check_stream(GEMINI, sse(body) + b": bye", quirks=Quirks(end_mark=False))


def test_a_reason_told_with_each_piece() -> None:
    """Older models tell STOP all along: the last word counts, and nothing ends before the stream does."""
    body = sse(answer(candidate({"text": "a"})), answer(candidate({"text": "b"}, reason="MAX_TOKENS")))
    events = check_stream(GEMINI, body, quirks=Quirks(end_mark=False))
    assert [Finish(reason="length")] == [event for event in events if isinstance(event, Finish)]
    assert "ab" == collected(body).content


def test_every_candidate_must_end() -> None:
    """T4: a stream of two answers is whole once both have told why they ended."""
    one = answer(candidate({"text": "a"}), candidate({"text": "b"}, index=1, reason=None))
    check_broken_stream(GEMINI, sse(one))
    body = sse(one, answer(candidate({"text": "c"}, index=1)))
    check_stream(GEMINI, body)
    assert ["a", "bc"] == [
        choice.parts[0].text for choice in collected(body).choices if isinstance(choice.parts[0], Text)
    ]


def test_a_blocked_prompt() -> None:
    """No candidate comes where the prompt is blocked; one that has begun is cut by the policy."""
    feedback: JsonObject = {"blockReason": "PROHIBITED_CONTENT"}
    alone = (
        b'data: {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "m", "responseId": "r"}\n\n'
    )
    check_stream(GEMINI, alone, cut_everywhere=200)
    assert (Choice(finish_reason="content_filter"),) == collected(alone).choices
    late = sse(answer(candidate({"text": "a"}, reason=None)), answer(promptFeedback=feedback))
    check_stream(GEMINI, late)
    assert "content_filter" == collected(late).finish_reason


def test_logprobs_of_a_stream() -> None:
    """Those of tokens that show no words wait for words, or go to those before; without any they are nobody's."""

    def told(text: str) -> JsonObject:
        return {"chosenCandidates": [{"token": text, "logProbability": -1}]}

    body = sse(
        answer(candidate(reason=None, logprobsResult=told("<"))),
        answer(candidate({"text": "a"}, reason=None, logprobsResult=told("a"))),
        answer(candidate(reason=None, logprobsResult=told(">"))),
        answer(candidate({"functionCall": {"name": "x"}}, logprobsResult=told("x"))),
    )
    check_stream(GEMINI, body, cut_everywhere=0)
    records = collected(body).choices[0].logprobs
    assert records is not None
    assert ["<", "a", ">"] == [record["token"] for record in records if isinstance(record, dict)]


# Failures.


@pytest.mark.parametrize(
    "failure",
    [
        _OVERLOADED,
        b"[" + _OVERLOADED + b"]",
        b",\r\n" + _OVERLOADED.replace(b"\n", b"\r\n") + b"]\r\n",
        _OVERLOADED + b"\n",
        b"data: " + json.dumps(json.loads(_OVERLOADED)).encode() + b"\n\n",
        b"data: [" + json.dumps(json.loads(_OVERLOADED)).encode() + b"]\n\n",
    ],
)
def test_failures_amid_a_stream(failure: bytes) -> None:
    """T4: a failure may come as bare lines without ``data:``, in an array or not, after words or before any."""
    words = sse(answer(candidate({"text": "a"}, reason=None)))
    for body in (words + failure, failure, words[:-1] + failure if failure.startswith(b"{") else failure):
        found = check_broken_stream(GEMINI, body)
        assert isinstance(found, OverloadedError)
        assert "The model is overloaded." == found.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        sse(answer(candidate({"text": "a"}, reason=None))),
        sse(answer(candidate({"text": "a"}, reason="FINISH_REASON_UNSPECIFIED"))),
        sse(answer(candidate({"text": "a"}))) + b'data: {"candidates": [',
        sse(b'{"modelVersion": "m"}'),
        sse(answer(candidate({"text": "a"}))) + b"dat",
        b"{ no JSON",
        b"<html></html>\n\n",
        b'{"other": 1}\n\n',
    ],
)
def test_streams_that_break_off(body: bytes) -> None:
    """T4: nothing that ends before an answer is whole is taken for one."""
    assert isinstance(check_broken_stream(GEMINI, body), StreamInterruptedError)


@pytest.mark.parametrize(
    "data", [b"{", b'"word"', b'{"candidates": 5}', b"[1, 2]", b'{"candidates": [{"content": 5}]}']
)
def test_pieces_that_are_none(data: bytes) -> None:
    """What is not of the dialect is malformed."""
    assert isinstance(check_broken_stream(GEMINI, sse(data)), MalformedResponseError)


def test_a_model_that_fails() -> None:
    """T4: a call that the model got wrong ends the stream in a failure."""
    found = check_broken_stream(GEMINI, sse(answer(candidate(reason="MALFORMED_FUNCTION_CALL"))))
    assert isinstance(found, ProviderFailedError)


def test_nothing_follows_the_end() -> None:
    """After a failure, and after the close, nothing is said."""
    decoder = GEMINI.stream_decoder(PLAIN)
    assert isinstance(decoder.feed(b"data: {\n\n")[-1], Failed)
    assert decoder.over
    assert [] == decoder.feed(sse(answer(candidate())))
    assert [] == decoder.close()


def test_a_failure_in_the_last_line() -> None:
    """One that comes without its line's end is told at the close."""
    decoder = GEMINI.stream_decoder(PLAIN)
    decoder.feed(sse(answer(candidate({"text": "a"}, reason=None))) + b'data: {"error": {"code": 429}}')
    events = decoder.close()
    assert isinstance(events[-1], Failed)
    assert "rate_limit" == events[-1].error.kind


# Writing.


def test_pitfall_8_calls_keep_their_arguments() -> None:
    """Pitfall 8: a call that comes whole has its arguments in every dialect's stream, those without any too."""
    body = sse(answer(candidate(_CALL, {"functionCall": {"name": "clock"}})))
    events = events_of_stream(body)
    assert ['{"city":"Bern"}', "{}"] == [event.text for event in events if isinstance(event, ToolArguments)]
    for door in (AnthropicMessages(), OpenAIChat(), GEMINI):
        read = [event for event in decode_stream(door, encode_stream(door, events)) if isinstance(event, ToolArguments)]
        told: list[Json] = [json.loads(event.text) for event in read if event.text not in {"", "{}"}]
        assert [{"city": "Bern"}] == told


def test_pitfall_8_the_other_way() -> None:
    """Pitfall 8: a call that comes in pieces is told whole, for callers know it no other way."""
    events: list[Event] = [
        Start(id="a", model="m"),
        PartStart(index=0, part="tool_call", id="toolu_1", name="weather"),
        ToolArguments(index=0, text='{"ci'),
        ToolArguments(index=0, text='ty": "Bern"}'),
        PartEnd(index=0),
        Finish(reason="tool_calls"),
    ]
    first, last = _pieces(encode_stream(GEMINI, events))
    call = {"functionCall": {"id": "toolu_1", "name": "weather", "args": {"city": "Bern"}}}
    assert [{"content": {"parts": [call], "role": "model"}, "index": 0}] == first["candidates"]
    assert [{"content": {"parts": [], "role": "model"}, "index": 0, "finishReason": "STOP"}] == last["candidates"]


def test_signatures_survive_a_stream() -> None:
    """Pitfall 7: signatures stay on their parts when a stream is written again, the empty last part's too."""
    parts: list[JsonObject] = [
        {"text": "Hm", "thought": True, "thoughtSignature": "MA=="},
        {"functionCall": {"id": "1", "name": "x", "args": {}}, "thoughtSignature": "MQ=="},
        {"text": "a", "thoughtSignature": "Mg=="},
        {"text": "", "thoughtSignature": "Mw=="},
        {"text": "b", "thought": True, "partMetadata": {"x": 1}, "thoughtSignature": "NA=="},
    ]
    body = encode_stream(GEMINI, events_of(read_answer(candidate(*parts))))
    told: list[Json] = []
    for piece in _pieces(body):
        candidates = piece["candidates"]
        assert isinstance(candidates, list)
        for one in candidates:
            assert isinstance(one, dict)
            content = one["content"]
            assert isinstance(content, dict)
            assert isinstance(content["parts"], list)
            told += content["parts"]
    assert [*parts] == told


def test_a_stream_from_elsewhere() -> None:
    """Words go on as they come; foreign seals, extras and unknown parts do not; the last piece tells all the rest."""
    events: list[Event] = [
        Start(id="a", model="m", dialect="anthropic_messages", extras={"odd": 1}),
        PartStart(index=0, part="thinking", extras={"odd": 1}),
        ThinkingDelta(index=0, text="Hm"),
        ThinkingDelta(index=0, signature="theirs"),
        PartEnd(index=0),
        PartStart(index=1, part="text", extras={"odd": 1}),
        TextDelta(index=1),
        TextDelta(index=1, text="Yes"),
        PartEnd(index=1),
        PartStart(index=2, part="opaque", data=Opaque(dialect="anthropic_messages", data={"type": "server_tool_use"})),
        PartEnd(index=2),
        PartStart(index=3, part="refusal"),
        TextDelta(index=3, text="No"),
        PartEnd(index=3),
        Extension(data={"odd": 2}),
        UsageTold(usage=Usage(input_tokens=1, output_tokens=2)),
        Finish(reason="stop", extras={"odd": 1}),
    ]
    head: JsonObject = {"modelVersion": "m", "responseId": "a"}
    usage: JsonObject = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    assert [
        fields_of(answer(candidate({"text": "Hm", "thought": True}, reason=None), **head)),
        fields_of(answer(candidate({"text": "Yes"}, reason=None), **head)),
        fields_of(answer(candidate({"text": "No"}, reason=None), **head)),
        fields_of(answer(candidate(), usageMetadata=usage, **head)),
    ] == _pieces(encode_stream(GEMINI, events))


def test_a_stream_that_says_nothing() -> None:
    """It ends all the same, and not as a good one."""
    encoder = GEMINI.stream_encoder(REPLY)
    (piece,) = _pieces(encoder.end())
    assert fields_of(answer(candidate(reason="OTHER"), responseId="request-1")) == piece


def test_a_choice_that_never_finishes() -> None:
    """What was begun and not ended is told as a failure of the model."""
    encoder = GEMINI.stream_encoder(REPLY)
    encoder.encode(PartStart(index=0, part="text"))
    encoder.encode(TextDelta(index=0, text="a"))
    assert b'"finishReason":"OTHER"' in encoder.end()


# At the door.


def _answer() -> CompletionResponse:
    parts = (Text(text="Gr\u00fc\u00dfe"), ToolCall(id="1", name="x"))
    return CompletionResponse(id="a", model="m", choices=(Choice(parts=parts, finish_reason="tool_calls"),))


def test_an_array_element_by_element() -> None:
    """Without ``alt=sse`` a stream is one JSON array, each element of which says what an event would."""
    door = GeminiDoor(model="m", stream=True)
    assert "application/json" == door.stream_content_type
    body = encode_stream(door, events_of(_answer()))
    elements: list[Json] = json.loads(body)
    assert _pieces(encode_stream(GEMINI, events_of(_answer()))) == elements
    assert body.startswith(b"[{")
    assert 1 + len(elements) == body.count(b"\n")


def test_a_failure_in_an_array() -> None:
    """It is the array's last element, so that the whole can be read."""
    door = GeminiDoor(model="m", stream=True)
    error = OverloadedError("no capacity")
    encoder = door.stream_encoder(REPLY)
    head = b"".join(encoder.encode(event) for event in events_of(_answer())[:3])
    told = door.encode_stream_error(error, "request-1")
    assert told == encoder.encode(Failed(error=error))
    first, last = json.loads(head + told)
    assert ("candidates" in first, 503) == (True, last["error"]["code"])


def test_events_at_the_door() -> None:
    """With ``alt=sse`` a stream is one of events."""
    door = GeminiDoor(model="m", stream=True, sse=True)
    assert "text/event-stream" == door.stream_content_type
    assert encode_stream(GEMINI, events_of(_answer())) == encode_stream(door, events_of(_answer()))
    error = OverloadedError("no capacity")
    assert GEMINI.encode_stream_error(error, "r") == door.encode_stream_error(error, "r")


@pytest.mark.parametrize(
    ("stream", "sse_asked", "translate"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_what_must_be_translated(stream: bool, sse_asked: bool, translate: bool) -> None:  # noqa: FBT001  # a table of cases
    """Upstream is always asked for events: a caller who wants an array cannot be handed them as they come."""
    assert translate == GeminiDoor(stream=stream, sse=sse_asked).must_translate(b"{}", PLAIN)


# Passing through.


def test_only_events_pass() -> None:
    """The official client takes any other line for JSON, so comments and names go no further; words are counted."""
    watch = GEMINI.watch(Envelope(fields={}, stream=True), PLAIN)
    piece = answer(candidate({"text": "abc"}, _CALL, reason=None), usageMetadata={"promptTokenCount": 1})
    passed = watch.feed(b": alive\n\n" + b"event: x\n" + sse(piece) + b"odd\n\n")
    assert sse(piece) == passed
    assert (True, False) == (watch.content, watch.over)
    assert watch.characters > 3
    watch.close()
    assert isinstance(watch.failure, StreamInterruptedError)


def test_a_watch_reads_the_end() -> None:
    """Usage, reason and end are known once the stream is closed; a last line without its end passes."""
    watch = GEMINI.watch(Envelope(fields={}, stream=True), PLAIN)
    last = answer(candidate(_CALL, index=0), usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 2})
    assert b"" == watch.feed(b"data: " + last)
    assert sse(last) == watch.close()
    assert (True, "tool_calls", Usage(input_tokens=1, output_tokens=2)) == (
        watch.over,
        watch.finish_reason,
        watch.usage,
    )


def test_a_watch_fails_with_what_it_is_told() -> None:
    """Errors in events and in bare lines are failures."""
    for body in (b'data: {"error": {"code": 503, "message": "x"}}\n\n', _OVERLOADED + b"\n"):
        watch = GEMINI.watch(Envelope(fields={}, stream=True), PLAIN)
        watch.feed(body)
        assert watch.failure is not None
        assert "overloaded" == watch.failure.kind


def test_a_null_for_usage() -> None:
    """It says nothing."""
    watch = GEMINI.watch(Envelope(fields={}, stream=True), PLAIN)
    watch.feed(sse(answer(candidate(), usageMetadata=None)))
    assert watch.usage is None
