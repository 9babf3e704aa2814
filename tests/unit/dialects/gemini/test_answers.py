"""Gemini's answers, whole, read and written."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Quirks
from genai_spine.errors import (
    MalformedResponseError,
    OverloadedError,
    ProviderFailedError,
    ProviderPermissionError,
    RateLimitedError,
)
from genai_spine.testing.dialects import check_response
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Image, Media, Opaque, Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.usage import Usage
from tests.unit.dialects.gemini.wire import (
    GEMINI,
    PLAIN,
    REPLY,
    answer,
    candidate,
    collected,
    fields_of,
    read_answer,
    sse,
)

_CALL: JsonObject = {"functionCall": {"name": "weather", "args": {"city": "Bern"}}}


def _written(response: CompletionResponse) -> JsonObject:
    return fields_of(GEMINI.encode_response(response, REPLY))


def _first(body: JsonObject) -> JsonObject:
    candidates = body["candidates"]
    assert isinstance(candidates, list)
    assert isinstance(candidates[0], dict)
    return candidates[0]


def _parts(body: JsonObject) -> Json:
    content = _first(body)["content"]
    assert isinstance(content, dict)
    return content["parts"]


# Parts.


def test_an_answer_of_all_kinds_of_parts() -> None:
    """T1, T3: words that follow one another are one part, signed ones stand alone, and what nobody knows is kept."""
    body = answer(
        candidate(
            {"text": "Hm", "thought": True},
            {"text": "m", "thought": True},
            {"text": "x", "thought": True, "thoughtSignature": "MA=="},
            {"text": ""},
            {"text": "One"},
            {"text": " two"},
            {"text": " three", "thoughtSignature": "MQ=="},
            {"text": " four"},
            {"functionCall": {"id": "a", "name": "x"}, "thoughtSignature": "Mg=="},
            {"functionCall": {"id": "b", "name": "y", "args": {"c": 1}, "odd": 2}},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}},
            {"executableCode": {"code": "1"}},
            {},
            {"text": "", "thoughtSignature": "Mw=="},
            groundingMetadata={"webSearchQueries": ["a"]},
            finishMessage="Done",
        ),
        usageMetadata={"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
        createTime="2026-05-27T16:53:45.443719Z",
        modelStatus={"stage": "STABLE"},
    )
    read = check_response(GEMINI, body)
    assert (
        Thinking(text="Hmm"),
        Thinking(text="x", signature="MA=="),
        Text(text="One two"),
        Text(text=" three", extras={"thoughtSignature": "MQ=="}),
        Text(text=" four"),
        ToolCall(id="a", name="x", extras={"thoughtSignature": "Mg=="}),
        ToolCall(id="b", name="y", arguments='{"c":1}', extras={"functionCall": {"odd": 2}}),
        Opaque(dialect="gemini", data={"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}),
        Opaque(dialect="gemini", data={"executableCode": {"code": "1"}}),
        Text(text="", extras={"thoughtSignature": "Mw=="}),
    ) == read.parts
    assert ("answer-1", "gemini-x", 1_779_900_825, "tool_calls") == (
        read.id,
        read.model,
        read.created,
        read.finish_reason,
    )
    assert {"groundingMetadata": {"webSearchQueries": ["a"]}, "finishMessage": "Done"} == read.choices[0].extras
    assert {"createTime", "modelStatus"} == set(read.extras)


def test_calls_without_an_id() -> None:
    """Ids are made up, the same each time, whole or streamed, and not the same for the same call in another answer."""
    body = answer(candidate(_CALL, _CALL))
    ids = [call.id for call in check_response(GEMINI, body).tool_calls]
    assert 2 == len(set(ids))
    assert ids == [call.id for call in collected(sse(body)).tool_calls]
    other = GEMINI.decode_response(answer(candidate(_CALL), responseId="answer-2"), PLAIN)
    assert ids[0] != other.tool_calls[0].id


@pytest.mark.parametrize("told", ["yesterday", 5, "2026-05-27T16:53:45"])
def test_times(told: Json) -> None:
    """A time that cannot be read is none; one without a zone is in that of Greenwich."""
    assert (1_779_900_825 if told == "2026-05-27T16:53:45" else 0) == read_answer(candidate(), createTime=told).created


def test_several_candidates() -> None:
    """T1, T3: each is a choice of its own, counted by its index or its place."""
    body = answer(candidate({"text": "a"}), candidate({"text": "b"}, index=1, reason="MAX_TOKENS"))
    assert ["stop", "length"] == [choice.finish_reason for choice in check_response(GEMINI, body).choices]
    bare: list[JsonObject] = [{"finishReason": "STOP"}, {"finishReason": "MAX_TOKENS"}]
    assert ["stop", "length"] == [choice.finish_reason for choice in read_answer(*bare).choices]


# Why it ended.


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("ESCALATION", "content_filter"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons(told: str, reason: FinishReason) -> None:
    """Each has its place, is kept where the vocabulary says less, and an unknown one is no failure."""
    read = check_response(GEMINI, answer(candidate({"text": "a"}, reason=told)))
    assert reason == read.finish_reason
    assert told == _first(_written(read))["finishReason"]


@pytest.mark.parametrize(
    "told",
    [
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "MALFORMED_RESPONSE",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "OTHER",
    ],
)
def test_failures_of_the_model(told: str) -> None:
    """A model that failed while it wrote has not answered."""
    body = answer(candidate(reason=told))
    for read in (GEMINI.decode_response, GEMINI.check_response):
        with pytest.raises(ProviderFailedError, match=told) as caught:
            read(body, PLAIN)
        assert told == caught.value.code


def test_a_limited_account() -> None:
    """It is the key's fault, so that another may serve."""
    with pytest.raises(ProviderPermissionError):
        read_answer(candidate(reason="PUP_LIMITED_DISABLED"))


def test_reasons_of_a_service_of_its_own() -> None:
    """A row may give a reason another meaning."""
    quirks = Quirks(finish_reasons={"FULL": "length"})
    assert "length" == GEMINI.decode_response(answer(candidate(reason="FULL")), quirks).finish_reason


@pytest.mark.parametrize("reason", [None, "FINISH_REASON_UNSPECIFIED"])
def test_no_reason_is_an_error(reason: str | None) -> None:
    """T4: an answer that does not say why it ended may be half of one."""
    body = answer(candidate({"text": "a"}, reason=reason))
    for read in (GEMINI.decode_response, GEMINI.check_response):
        with pytest.raises(MalformedResponseError, match="finishReason"):
            read(body, PLAIN)


def test_calls_cut_short() -> None:
    """A cut counts for more than calls."""
    assert "length" == read_answer(candidate(_CALL, reason="MAX_TOKENS")).finish_reason


def test_a_blocked_prompt() -> None:
    """An answer without candidates whose prompt was blocked is one that a policy ended; it goes on as it came."""
    feedback: JsonObject = {"blockReason": "SAFETY", "safetyRatings": []}
    body = json.dumps({"promptFeedback": feedback, "modelVersion": "gemini-x", "responseId": "a"}).encode()
    read = check_response(GEMINI, body)
    assert (Choice(finish_reason="content_filter"),) == read.choices
    assert "candidates" not in _written(read)


@pytest.mark.parametrize("feedback", [{}, {"safetyRatings": []}])
def test_no_candidates(feedback: JsonObject) -> None:
    """T4: an answer that holds nothing and does not say why is no answer."""
    body = json.dumps({"promptFeedback": feedback}).encode()
    for read in (GEMINI.decode_response, GEMINI.check_response):
        with pytest.raises(MalformedResponseError, match="no candidates"):
            read(body, PLAIN)


def test_failures_told_inside() -> None:
    """A failure in a body of status 200 is one, in an array or not."""
    inner: JsonObject = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
    for body in (json.dumps({"error": inner}), json.dumps([{"error": inner}])):
        for read in (GEMINI.decode_response, GEMINI.check_response):
            with pytest.raises(OverloadedError, match="overloaded"):
                read(body.encode(), PLAIN)
    with pytest.raises(RateLimitedError):
        GEMINI.decode_response(b'{"error": {"status": "RESOURCE_EXHAUSTED", "code": "odd"}}', PLAIN)


def test_what_is_no_answer() -> None:
    """Pages and cut bodies are malformed answers."""
    for body in (b"<html>", b'{"candidates": [', b'{"candidates": 5}', b"[]", b"\xff"):
        for read in (GEMINI.decode_response, GEMINI.check_response):
            with pytest.raises(MalformedResponseError):
                read(body, PLAIN)


# Usage.


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {"promptTokenCount": 18, "candidatesTokenCount": 80, "thoughtsTokenCount": 35, "totalTokenCount": 133},
            Usage(input_tokens=18, output_tokens=115, reasoning_tokens=35),
        ),
        (
            {"promptTokenCount": 18, "candidatesTokenCount": 80, "thoughtsTokenCount": 35, "totalTokenCount": 98},
            Usage(input_tokens=18, output_tokens=80, reasoning_tokens=35),
        ),
        (
            {
                "promptTokenCount": 32,
                "candidatesTokenCount": 25,
                "thoughtsTokenCount": 37,
                "toolUsePromptTokenCount": 4610,
                "cachedContentTokenCount": 12,
                "totalTokenCount": 4704,
                "serviceTier": "standard",
            },
            Usage(
                input_tokens=4642,
                output_tokens=62,
                reasoning_tokens=37,
                cache_read_tokens=12,
                extras={"toolUsePromptTokenCount": 4610, "serviceTier": "standard"},
            ),
        ),
        (
            {"promptTokenCount": 87, "thoughtsTokenCount": 78, "totalTokenCount": 165},
            Usage(input_tokens=87, output_tokens=78, reasoning_tokens=78),
        ),
        ({"trafficType": "ON_DEMAND"}, Usage(extras={"trafficType": "ON_DEMAND"})),
    ],
)
def test_pitfall_20_thoughts_are_counted_once(told: JsonObject, usage: Usage) -> None:
    """Pitfall 20: thoughts stand beside the candidates' tokens or within them; the total tells which."""
    assert usage == check_response(GEMINI, answer(candidate(), usageMetadata=told)).usage


def test_usage_from_elsewhere() -> None:
    """The candidates' tokens leave the thoughts out, and the total is the sum."""
    usage = Usage(input_tokens=10, output_tokens=7, reasoning_tokens=5, cache_read_tokens=4, extras={"odd": 1})
    response = CompletionResponse(choices=(Choice(parts=(Text(text="a"),)),), usage=usage, dialect="openai_chat")
    assert {
        "promptTokenCount": 10,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 17,
    } == _written(response)["usageMetadata"]


# Probabilities.


def test_logprobs() -> None:
    """T1, T3: chosen and top tokens become records as OpenAI writes them; the tokens' numbers are kept."""
    result: JsonObject = {
        "chosenCandidates": [{"token": "2", "tokenId": 5, "logProbability": -0.5}, {"token": "é"}],
        "topCandidates": [{"candidates": [{"token": "2", "tokenId": 5, "logProbability": -0.5}]}],
        "logProbabilitySum": -0.5,
    }
    read = check_response(GEMINI, answer(candidate({"text": "2é"}, logprobsResult=result)))
    two: JsonObject = {"token": "2", "logprob": -0.5, "bytes": [50], "token_id": 5}
    assert [
        {**two, "top_logprobs": [two]},
        {"token": "é", "logprob": 0.0, "bytes": [195, 169], "top_logprobs": []},
    ] == read.choices[0].logprobs
    assert {"logprobsResult": {"logProbabilitySum": -0.5}} == read.choices[0].extras


def test_logprobs_beside_signed_words() -> None:
    """T3: they travel with whatever words there are."""
    result: JsonObject = {"chosenCandidates": [{"token": "a", "logProbability": -1}]}
    body = answer(candidate({"text": "a", "thoughtSignature": "MQ=="}, logprobsResult=result))
    assert check_response(GEMINI, body).choices[0].logprobs


def test_logprobs_from_elsewhere() -> None:
    """OpenAI's records become the dialect's; junk in them is passed over."""
    top: JsonObject = {"token": "a", "logprob": -1}
    records: list[Json] = [{"token": "a", "logprob": -1, "top_logprobs": [top, 1]}, {"token": "b", "logprob": -2}, 5]
    response = CompletionResponse(choices=(Choice(parts=(Text(text="ab"),), logprobs=records),))
    a: JsonObject = {"token": "a", "logProbability": -1}
    assert {
        "chosenCandidates": [a, {"token": "b", "logProbability": -2}],
        "topCandidates": [{"candidates": [a]}, {"candidates": []}],
    } == _first(_written(response))["logprobsResult"]


# Answers from elsewhere.


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("pause", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("error", "OTHER"),
    ],
)
def test_an_answer_from_elsewhere(reason: FinishReason, told: str) -> None:
    """Words, thoughts and calls are said; what the caller could not use, and foreign seals, are not."""
    parts: tuple[Part, ...] = (
        Thinking(text="Hm", signature="theirs", extras={"odd": 1}),
        Thinking(redacted="sealed"),
        Text(text="Yes", extras={"odd": 1}),
        Text(text=""),
        Refusal(text=" but no"),
        ToolCall(id="toolu_1", name="x", arguments="", extras={"odd": 1}),
        Opaque(dialect="anthropic_messages", data={"type": "server_tool_use"}),
        Image(media=Media(data="AAAA")),
    )
    choices = (Choice(parts=parts, finish_reason=reason, extras={"odd": 1}),)
    response = CompletionResponse(choices=choices, dialect="anthropic_messages", extras={"odd": 1})
    assert {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {"text": "Hm", "thought": True},
                        {"text": "Yes"},
                        {"text": " but no"},
                        {"functionCall": {"id": "toolu_1", "name": "x", "args": {}}},
                    ],
                    "role": "model",
                },
                "index": 0,
                "finishReason": told,
            }
        ],
        "modelVersion": "gemini-x",
        "responseId": "request-1",
    } == _written(response)


def test_an_answer_without_choices() -> None:
    """It is not taken for a good one."""
    assert "OTHER" == _first(_written(CompletionResponse()))["finishReason"]


def test_parts_are_written_as_they_came() -> None:
    """Signed parts of an answer go back part by part."""
    parts: list[JsonObject] = [
        {"text": "a", "thoughtSignature": "MQ=="},
        {"text": "b"},
        {"text": "c", "thought": True, "thoughtSignature": "Mg=="},
        {"functionCall": {"id": "1", "name": "x", "args": {}}, "thoughtSignature": "Mw=="},
    ]
    assert [*parts] == _parts(_written(read_answer(candidate(*parts))))


def test_what_stands_beside_the_parts() -> None:
    """T1, T3: a field of the content that nobody knows is kept."""
    content: JsonObject = {"parts": [{"text": "a"}], "role": "model", "odd": 1}
    read = check_response(GEMINI, answer(candidate(content=content)))
    assert {"content": {"odd": 1}} == read.choices[0].extras


def test_an_answer_in_an_array() -> None:
    """Some front ends wrap it in one."""
    assert (None, "stop") == GEMINI.check_response(b"[" + answer(candidate({"text": "a"})) + b"]", PLAIN)
