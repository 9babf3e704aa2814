"""Answers of OpenAI Responses."""

from __future__ import annotations

import json

import pytest
from openai.types.responses import Response

from genai_spine.dialects.base import Quirks
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import (
    ContentFilterError,
    InvalidRequestError,
    MalformedResponseError,
    ProviderFailedError,
    ProviderTimeoutError,
    RateLimitedError,
    SpineError,
)
from genai_spine.testing.dialects import check_response
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Image, Media, Opaque, Refusal, Text, Thinking, ToolCall
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage
from tests.unit.dialects.openai_responses.wire import (
    PLAIN,
    RESPONSES,
    answer_of,
    call_item,
    message_item,
    written,
)


def foreign(*parts: Text | Refusal | Thinking | ToolCall | Opaque | Image, reason: FinishReason = "stop") -> Choice:
    """Return a choice from another dialect."""
    return Choice(parts=parts, finish_reason=reason)


def test_everything_that_an_answer_holds() -> None:
    """Every kind of item is read, written, streamed and read again as it was."""
    logprob: JsonObject = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    citation: JsonObject = {"type": "url_citation", "url": "https://x", "title": "t", "start_index": 0, "end_index": 1}
    body = answer_of(
        {
            "type": "reasoning",
            "id": "rs_1",
            "content": [{"type": "reasoning_text", "text": "A"}],
            "summary": [{"type": "summary_text", "text": "B"}, {"type": "summary_text", "text": "C", "x": 1}],
            "encrypted_content": "sealed",
        },
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "sealed too"},
        {"type": "reasoning", "id": "rs_3", "summary": []},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        message_item(
            {"type": "output_text", "text": "Hi", "annotations": [citation], "logprobs": [logprob], "x": 1},
            {"type": "output_text", "text": "", "annotations": []},
            {"type": "output_text", "text": " there", "annotations": [], "logprobs": [logprob]},
            {"type": "refusal", "refusal": "no more"},
            phase="commentary",
        ),
        message_item({"type": "refusal", "refusal": "No."}, id="msg_2"),
        message_item({"type": "output_text", "text": ""}, id="msg_3"),
        call_item("a", status="completed", namespace="n"),
        call_item("b", arguments="", id=None),
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "sh", "input": ""},
        usage={
            "input_tokens": 10,
            "input_tokens_details": {
                "cached_tokens": 4,
                "cache_write_tokens": 2,
                "cache_write_tokens_details": {"x": 1},
            },
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 3, "other": 1},
            "total_tokens": 15,
            "cost": 0.1,
        },
        tools=[],
        metadata={"a": "b"},
        temperature=None,
    )
    answer = check_response(RESPONSES, body)
    assert ("resp_1", "m", 7, "openai_responses") == (answer.id, answer.model, answer.created, answer.dialect)
    assert {"tools": [], "metadata": {"a": "b"}} == answer.extras
    [choice] = answer.choices
    assert "tool_calls" == choice.finish_reason
    assert [logprob, logprob] == choice.logprobs
    assert (
        Thinking(text="A", wire_field="content", extras={"item": {"id": "rs_1"}}),
        Thinking(text="B", wire_field="summary"),
        Thinking(text="C", wire_field="summary", signature="sealed", extras={"x": 1}),
        Thinking(redacted="sealed too", extras={"item": {"id": "rs_2"}}),
        Thinking(extras={"item": {"id": "rs_3"}}),
        Opaque(dialect="openai_responses", data={"type": "web_search_call", "id": "ws_1", "status": "completed"}),
        Text(text="Hi", citations=[citation], extras={"item": {"id": "msg_1", "phase": "commentary"}, "x": 1}),
        Text(text=" there"),
        Refusal(text="no more"),
        Text(text="", extras={"item": {"id": "msg_2"}}),
        Refusal(text="No."),
        Text(text="", extras={"item": {"id": "msg_3"}}),
        ToolCall(id="a", name="n__f", extras={"id": "fc_a", "namespace": "n", "name": "f"}),
        ToolCall(id="b", name="f"),
        ToolCall(id="c", name="sh", arguments="", custom=True, extras={"id": "ctc_1"}),
    ) == choice.parts
    assert (
        Usage(
            input_tokens=10,
            output_tokens=5,
            cache_read_tokens=4,
            cache_write_tokens=2,
            reasoning_tokens=3,
            extras={
                "cost": 0.1,
                "input_tokens_details": {"cache_write_tokens_details": {"x": 1}},
                "output_tokens_details": {"other": 1},
            },
        )
        == answer.usage
    )


@pytest.mark.parametrize(
    ("fields", "reason", "extras"),
    [
        ({}, "stop", {}),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length", {}),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter", {}),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_messages"}},
            "length",
            {"incomplete_details": {"reason": "max_messages"}},
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "steered", "by": "x"}},
            "pause",
            {"incomplete_details": {"reason": "steered", "by": "x"}},
        ),
        ({"status": "incomplete"}, "length", {"incomplete_details": {"reason": None}}),
        ({"status": "queued"}, "pause", {"status": "queued"}),
        ({"status": "complete"}, "stop", {"status": "complete"}),
    ],
)
def test_how_answers_end(fields: JsonObject, reason: FinishReason, extras: JsonObject) -> None:
    """The finish reason follows from the status; what it does not say is kept."""
    choice = check_response(RESPONSES, answer_of(message_item(), **fields)).choices[0]
    assert (reason, extras) == (choice.finish_reason, choice.extras)


def test_a_call_that_was_cut_off() -> None:
    """An answer cut at its limit is cut, with tool calls too; a service's own names count."""
    cut = answer_of(
        call_item("a", arguments='{"a'), status="incomplete", incomplete_details={"reason": "max_output_tokens"}
    )
    assert "length" == check_response(RESPONSES, cut).finish_reason
    quirks = Quirks(finish_reasons={"done": "length", "budget": "content_filter"})
    assert "length" == RESPONSES.decode_response(answer_of(status="done"), quirks).finish_reason
    told = answer_of(status="incomplete", incomplete_details={"reason": "budget"})
    assert "content_filter" == RESPONSES.decode_response(told, quirks).finish_reason
    assert (None, "content_filter") == RESPONSES.check_response(told, quirks)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "broken"}}, ProviderFailedError),
        ({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}, RateLimitedError),
        ({"status": "failed", "error": {"code": "invalid_prompt", "message": "bad"}}, ContentFilterError),
        ({"status": "failed", "error": {"code": "bio_policy", "message": "bad"}}, ContentFilterError),
        ({"status": "failed", "error": {"code": "invalid_image_url", "message": "bad"}}, InvalidRequestError),
        ({"status": "failed", "error": {"code": "vector_store_timeout", "message": "slow"}}, ProviderTimeoutError),
        ({"status": "failed"}, ProviderFailedError),
        ({"status": "cancelled"}, ProviderFailedError),
        ({"status": None}, MalformedResponseError),
        ({"status": 5}, MalformedResponseError),
        ({"output": {}}, MalformedResponseError),
    ],
)
def test_answers_that_are_none(fields: JsonObject, kind: type[SpineError]) -> None:
    """A failure told with status 200, or no word of how the answer ended, is an error, read from the side too."""
    body = answer_of(**fields)
    for read in (RESPONSES.decode_response, RESPONSES.check_response):
        with pytest.raises(SpineError) as caught:
            read(body, PLAIN)
        assert kind is type(caught.value)


def test_bodies_that_are_no_answer() -> None:
    """What is not of the dialect is malformed."""
    for body in (b"", b"[]", b"\xff", b'{"object": "error", "message": "x"}'):
        with pytest.raises(SpineError):
            RESPONSES.check_response(body, PLAIN)
    with pytest.raises(MalformedResponseError):
        RESPONSES.decode_token_count(b"{}")


def test_arguments_as_an_object() -> None:
    """Some services send a call's arguments as the object itself, and give a call one id only."""
    call = answer_of({"type": "function_call", "id": "a", "name": "f", "arguments": {"b": 1}})
    assert (ToolCall(id="a", name="f", arguments='{"b":1}'),) == RESPONSES.decode_response(call, PLAIN).tool_calls


def test_an_answer_from_elsewhere() -> None:
    """It has all that the official client's model demands; ids come from the request's own."""
    answer = CompletionResponse(
        id="chatcmpl-1",
        choices=(
            foreign(
                Thinking(text="", signature="theirs"),
                Thinking(text="Well", signature="theirs", wire_field="content"),
                Text(text=""),
                Text(text="a", citations=[{"x": 1}], extras={"item": {"id": "no"}}),
                Text(text="b"),
                Refusal(text="c"),
                Opaque(dialect="gemini", data={}),
                Image(media=Media(url="https://x")),
                ToolCall(id="t", name="f", extras={"id": "no"}),
                Text(text="d"),
                reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=3, output_tokens=4, extras={"no": 1}),
        dialect="openai_chat",
        extras={"no": 1},
    )
    told = written(answer)
    response = Response.model_validate(told, strict=True)
    assert ("resp_r1", "m", 9, "completed") == (response.id, response.model, response.created_at, response.status)
    assert ["rs_spine_r1_0", "msg_spine_r1_1", "fc_spine_r1_2", "msg_spine_r1_3"] == [
        item.id for item in response.output
    ]
    assert "abd" == response.output_text
    assert '"no"' not in json.dumps(told)
    assert "theirs" not in json.dumps(told)
    assert response.usage is not None
    assert (3, 4, 7) == (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens)
    assert 0 == response.usage.output_tokens_details.reasoning_tokens


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("pause", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_finish_reasons_from_elsewhere(reason: FinishReason, status: str, why: str | None) -> None:
    """A reason is said as a status, and the last item shares it."""
    answer = CompletionResponse(choices=(foreign(Text(text="a"), reason=reason),))
    response = Response.model_validate(written(answer), strict=True)
    assert status == response.status
    assert why == (response.incomplete_details.reason if response.incomplete_details else None)
    assert status == getattr(response.output[0], "status", None)


def test_an_answer_that_failed() -> None:
    """An answer without a choice, or with a fault, is written as a failed one, and read as such."""
    for answer in (CompletionResponse(), CompletionResponse(choices=(foreign(reason="error"),))):
        told = written(answer)
        assert "failed" == told["status"]
        with pytest.raises(ProviderFailedError):
            RESPONSES.decode_response(json.dumps(told).encode(), PLAIN)


def test_a_queued_answer_passes() -> None:
    """A background answer that has not begun is none that failed: it is to be fetched later."""
    assert (None, "pause") == RESPONSES.check_response(answer_of(status="queued"), PLAIN)


def test_the_list_of_models() -> None:
    """It is the same as in OpenAI's other dialect."""
    models = [Model(id="m", created=3, owned_by="x")]
    assert OpenAIChat().encode_models(models) == RESPONSES.encode_models(models)
    assert models == RESPONSES.decode_models(RESPONSES.encode_models(models))
