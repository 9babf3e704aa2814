"""Answers of OpenAI Chat Completions, and of services that speak it each in its own way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.errors import MalformedResponseError, ProviderError, SpineError
from genai_spine.testing.dialects import check_response, check_stream
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.stream import (
    Finish,
)
from tests.strategies import answers
from tests.unit.dialects.openai_chat.wire import (
    CHAT,
    DONE,
    PLAIN,
    answer_of,
    call_of,
    chunk_of,
    failure_of,
)


@settings(deadline=None, max_examples=60)
@given(answer=answers())
def test_nothing_of_an_answer_is_lost(answer: CompletionResponse) -> None:
    """Parts, ids, usage and reason arrive on the other side as they were."""
    read = check_response(CHAT, CHAT.encode_response(answer, Reply()))
    assert (answer.id, answer.model, answer.created) == (read.id, read.model, read.created)
    assert answer.content == read.content
    assert answer.thinking == read.thinking
    assert answer.tool_calls == read.tool_calls
    assert answer.finish_reason == read.finish_reason
    assert answer.usage == read.usage


@pytest.mark.parametrize(
    "body",
    [
        answer_of({"content": ""}),
        answer_of({"content": None, "refusal": "no"}, "content_filter"),
        answer_of({"content": "a", "annotations": [{"type": "url_citation"}], "audio": {"id": "x", "data": "AA"}}),
        answer_of({"content": "a", "reasoning_content": "", "reasoning": None}),
        answer_of({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}),
        answer_of({"content": "a"}, service_tier="on_demand", x_groq={"id": "r"}, odd=None),
        answer_of({"content": "a"}, usage={"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.1, "odd": None}),
        answer_of({"content": "a"}, citations=["https://a.example"]),
    ],
)
def test_round_trip_of_odd_answers(body: bytes) -> None:
    """T1, T3: forms that only some services send are kept, whole and streamed."""
    check_response(CHAT, body)


def test_mistral_lists_and_their_parts() -> None:
    """An unknown piece of a list of content is kept for those who know it, in its place (T1)."""
    pieces: Json = [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}]
    first = CHAT.decode_response(answer_of({"content": pieces}), PLAIN)
    written = json.loads(CHAT.encode_response(first, Reply()))
    assert pieces == written["choices"][0]["message"]["content"]
    assert first.content == "a"


def test_22_no_finish_reason_is_no_answer() -> None:
    """An answer that does not say why it ended is an error, never ``stop`` (WIRE 9, 22)."""
    body = answer_of({"content": "half"}, None)
    for read in (CHAT.decode_response, CHAT.check_response):
        with pytest.raises(MalformedResponseError):
            read(body, PLAIN)


@pytest.mark.parametrize(
    ("told", "calls", "expected"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("length", True, "length"),
        ("function_call", True, "tool_calls"),
        ("eos", False, "stop"),
        ("model_length", False, "length"),
        ("", True, "tool_calls"),
        ("", False, "stop"),
        ("invented_yesterday", False, "stop"),
    ],
)
def test_finish_reasons(told: str, calls: bool, expected: str) -> None:  # noqa: FBT001 - a column of the table
    """Calls count for more than ``stop``, a limit for more than calls; services' own words are understood."""
    call = call_of(0, "c", "f", "{}")
    message: JsonObject = {"content": "x", "tool_calls": [call]} if calls else {"content": "x"}
    body = answer_of(message, told)
    assert expected == CHAT.decode_response(body, PLAIN).finish_reason
    assert expected == CHAT.check_response(body, PLAIN)[1]
    events = check_stream(CHAT, chunk_of(message) + chunk_of({}, told) + DONE, cuts=0, cut_everywhere=0)
    assert expected == next(event.reason for event in events if isinstance(event, Finish))


@pytest.mark.parametrize(
    ("told", "kind"),
    [("error", "server_error"), ("abort", "server_error"), ("insufficient_system_resource", "overloaded")],
)
def test_reasons_that_are_failures(told: str, kind: str) -> None:
    """A model that failed while it wrote is an error, whole, streamed and passing through."""
    with pytest.raises(ProviderError) as caught:
        CHAT.decode_response(answer_of({"content": "half"}, told), PLAIN)
    assert kind == caught.value.kind
    with pytest.raises(ProviderError):
        CHAT.check_response(answer_of({"content": "half"}, told), PLAIN)
    assert kind == failure_of(chunk_of({"content": "half"}), chunk_of({}, told), DONE).kind


def test_20_reasoning_counted_apart() -> None:
    """Perplexity and xAI leave reasoning (and citations) out of the output: it is added once (WIRE 9, 20)."""
    apart = Quirks(reasoning_apart=True)
    xai: Json = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
    }
    answer = check_response(CHAT, answer_of({"content": "a"}, usage=xai), apart)
    assert answer.usage is not None
    assert (10, 105, 100) == (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.reasoning_tokens)
    perplexity: Json = {"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 30, "citation_tokens": 7}
    assert check_response(CHAT, answer_of({"content": "a"}, usage=perplexity), apart).output_tokens == 42
    openai = check_response(CHAT, answer_of({"content": "a"}, usage=xai))
    assert openai.output_tokens == 5


def test_cached_tokens_by_deepseeks_name() -> None:
    """``prompt_cache_hit_tokens`` counts as read from the cache."""
    usage: Json = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}
    answer = check_response(CHAT, answer_of({"content": "a"}, usage=usage))
    assert answer.usage is not None
    assert answer.usage.cache_read_tokens == 8


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"code": 429, "message": "x"}}, "rate_limit"),
        ({"error": {"code": "502", "message": "x"}}, "server_error"),
        ({"error": "plain words"}, "server_error"),
        ({"object": "error", "message": "x", "code": 400}, "invalid_request"),
        ({"base_resp": {"status_code": 1002, "status_msg": "x"}}, "rate_limit"),
        ({"base_resp": {"status_code": 1008, "status_msg": "x"}}, "quota_exhausted"),
        ({"base_resp": {"status_code": 1027, "status_msg": "x"}}, "content_filter"),
        (
            {"choices": [{"error": {"code": 429, "message": "x"}, "finish_reason": "error", "message": {}}]},
            "rate_limit",
        ),
    ],
)
def test_failures_told_with_status_200(body: JsonObject, kind: str) -> None:
    """What tells of a failure with status 200 is that failure: whole, streamed, or bare where a stream was due."""
    raw = json.dumps(body).encode()
    for read in (CHAT.decode_response, CHAT.check_response):
        with pytest.raises(SpineError) as caught:
            read(raw, PLAIN)
        assert kind == caught.value.kind
    assert kind == failure_of(b"data: " + raw + b"\n\n" + DONE).kind
    if "choices" not in body:
        assert kind == failure_of(raw).kind


def test_minimax_success_is_no_failure() -> None:
    """``base_resp.status_code`` 0 is a good answer."""
    ok: Json = {"status_code": 0, "status_msg": ""}
    assert check_response(CHAT, answer_of({"content": "a"}, base_resp=ok)).content == "a"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"\xff"])
def test_what_is_no_answer(body: bytes) -> None:
    """A proxy's page with status 200 is malformed, not empty."""
    for read in (CHAT.decode_response, CHAT.check_response):
        with pytest.raises(MalformedResponseError):
            read(body, PLAIN)
