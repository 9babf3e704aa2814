"""Streams of OpenAI Responses, written; read again by the official client."""

from __future__ import annotations

from typing import Final

import httpx2
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from genai_spine.errors import RateLimitedError
from genai_spine.testing.dialects import check_answer, check_events, encode_stream
from genai_spine.types.completion import Choice, CompletionResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Opaque, Refusal, Text, Thinking, ToolCall
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
from tests.unit.dialects.openai_responses.wire import REPLY, RESPONSES, told_in

_EVENT: Final[TypeAdapter[ResponseStreamEvent]] = TypeAdapter(ResponseStreamEvent)
_ANSWER: Final = CompletionResponse(
    id="chatcmpl-1",
    model="m",
    created=7,
    choices=(
        Choice(
            parts=(
                Thinking(text="Well"),
                Text(text="Hi"),
                Refusal(text="no"),
                ToolCall(id="a", name="f", arguments='{"x":1}'),
                ToolCall(id="b", name="g"),
                ToolCall(id="c", name="sh", arguments="ls", custom=True),
                Text(text="Bye"),
            ),
            finish_reason="tool_calls",
        ),
    ),
    usage=Usage(input_tokens=3, output_tokens=4),
    dialect="openai_chat",
)


def kinds(events: list[Event]) -> list[str]:
    """Return the kinds of the events that are told, without their common beginning."""
    return [str(told["type"]).removeprefix("response.") for told in told_in(events)]


def client(body: bytes) -> openai.AsyncOpenAI:
    """Return the official client, whose transport answers with ``body``."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body, request=request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return openai.AsyncOpenAI(api_key="k", base_url="http://gateway.example/v1", http_client=http, max_retries=0)


def test_the_whole_life_of_an_answer() -> None:
    """Each item is announced, written and ended, in order; each event fits the official model."""
    told = told_in(events_of(_ANSWER))
    assert list(range(len(told))) == [event["sequence_number"] for event in told]
    for event in told:
        _EVENT.validate_python(event, strict=True)
    words = ["content_part.added", "output_text.delta", "output_text.done", "content_part.done"]
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
    assert [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        *words,
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
        *call,
        *call,
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        *words,
        "output_item.done",
        "completed",
    ] == kinds(events_of(_ANSWER))
    last = told[-1]["response"]
    response = Response.model_validate(last, strict=True)
    assert [
        "rs_spine_r1_0",
        "msg_spine_r1_1",
        "fc_spine_r1_2",
        "fc_spine_r1_3",
        "ctc_spine_r1_4",
        "msg_spine_r1_5",
    ] == [i.id for i in response.output]
    ends = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert isinstance(last, dict)
    assert last["output"] == ends
    check_events(RESPONSES, events_of(_ANSWER))


def test_events_name_their_place() -> None:
    """Every event of an item bears its id and index, every piece its place in it."""
    told = told_in(events_of(_ANSWER))
    refusal = next(event for event in told if event["type"] == "response.refusal.delta")
    assert ("msg_spine_r1_1", 1, 1) == (refusal["item_id"], refusal["output_index"], refusal["content_index"])
    call = next(event for event in told if event["type"] == "response.function_call_arguments.done")
    assert ("fc_spine_r1_2", 2, '{"x":1}', "f") == (
        call["item_id"],
        call["output_index"],
        call["arguments"],
        call["name"],
    )


async def test_the_official_clients_stream() -> None:
    """The client's own streaming helper takes it, and puts together what was said."""
    body = encode_stream(RESPONSES, events_of(_ANSWER))
    seen: list[str] = []
    async with client(body) as sdk, sdk.responses.stream(model="m", input="hi") as stream:
        seen += [event.type async for event in stream]
        final = await stream.get_final_response()
    assert "response.completed" == seen[-1]
    assert "HiBye" == final.output_text
    assert ["f", "g"] == [item.name for item in final.output if item.type == "function_call"]
    assert final.usage is not None
    assert 7 == final.usage.total_tokens


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_official_client_sees_a_cut(reason: str) -> None:
    """An answer that was cut short ends as an incomplete one, and so does its last item."""
    cut = Choice(parts=(Text(text="Hi"),), finish_reason="length" if reason == "length" else "content_filter")
    body = encode_stream(RESPONSES, events_of(CompletionResponse(choices=(cut,))))
    async with client(body) as sdk:
        stream = await sdk.responses.create(model="m", input="hi", stream=True)
        events = [event async for event in stream]
    last = events[-1]
    assert "response.incomplete" == last.type
    assert "incomplete" == last.response.status
    message = last.response.output[0]
    assert message.type == "message"
    assert "incomplete" == message.status


async def test_the_official_client_raises_on_an_error() -> None:
    """A failure inside the stream is one event, at whose sight the client raises."""
    error = RateLimitedError("slow down")
    encoder = RESPONSES.stream_encoder(REPLY)
    head = b"".join(encoder.encode(event) for event in events_of(_ANSWER)[:4])
    told = encoder.encode(Failed(error=error))
    assert told == RESPONSES.encode_stream_error(error, "r1")
    async with client(head + told) as sdk:
        with pytest.raises(openai.APIError, match="slow down"):
            async with sdk.responses.stream(model="m", input="hi") as stream:
                await stream.until_done()


async def test_the_official_client_parses_a_whole_answer() -> None:
    """An answer that is not streamed is read by the client too."""
    body = RESPONSES.encode_response(_ANSWER, REPLY)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body, request=request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with openai.AsyncOpenAI(api_key="k", base_url="http://gateway.example/v1", http_client=http) as sdk:
        response = await sdk.responses.create(model="m", input="hi")
    assert "HiBye" == response.output_text


def test_a_fault_of_the_models() -> None:
    """An answer that ended in a fault, or never, is told as failed; without a start it still has one."""
    assert ["created", "in_progress", "failed"] == kinds([])
    assert "failed" == kinds([Start(), Finish(reason="error")])[-1]


def test_thinking_from_elsewhere() -> None:
    """Its words are a summary; its seal and what has no words are not shown."""
    answer = CompletionResponse(
        choices=(
            Choice(
                parts=(
                    Thinking(redacted="sealed"),
                    Thinking(text="a", signature="sealed", wire_field="content", extras={"item": {"id": "no"}}),
                    Thinking(text="b"),
                    Text(text=""),
                    Text(text="Hi", citations=[{"no": 1}]),
                    Opaque(dialect="gemini", data={"no": 1}),
                )
            ),
        ),
    )
    told = told_in(events_of(answer))
    response = told[-1]["response"]
    assert isinstance(response, dict)
    assert [
        {
            "id": "rs_spine_r1_0",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
        },
        {
            "id": "msg_spine_r1_1",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}],
            "status": "completed",
        },
    ] == response["output"]
    check_answer(RESPONSES, answer)


def test_our_own_parts_keep_all() -> None:
    """Ids, phases, seals, logprobs and citations go on; a call without an id stays so."""
    logprob: JsonObject = {"token": "Hi", "logprob": -1}
    events: list[Event] = [
        Start(id="resp_9", dialect="openai_responses", extras={"a": 1}),
        Extension(data={"b": 2}),
        PartStart(index=0, part="thinking", wire_field="content", extras={"item": {"id": "rs_1"}}),
        ThinkingDelta(index=0, text="A", signature="sea"),
        ThinkingDelta(index=0, signature="led"),
        PartEnd(index=0),
        PartStart(index=1, part="thinking"),
        ThinkingDelta(index=1, text="B"),
        PartEnd(index=1),
        PartStart(index=2, part="text", extras={"item": {"id": "msg_1", "phase": "x"}}),
        TextDelta(index=2, text="Hi", logprobs=[logprob]),
        TextDelta(index=2, citations=[{"c": 1}]),
        PartEnd(index=2),
        PartStart(index=3, part="refusal"),
        TextDelta(index=3, text="no"),
        TextDelta(index=3, citations=[{"c": 1}]),
        PartEnd(index=3),
        PartStart(index=4, part="text", extras={"y": 1}),
        PartEnd(index=4),
        PartStart(index=5, part="tool_call", id="a", name="n__f", extras={"namespace": "n", "name": "f"}),
        ToolArguments(index=5, text="{}"),
        PartEnd(index=5),
        PartStart(index=6, part="opaque", data=Opaque(dialect="openai_responses", data={"type": "x"})),
        PartEnd(index=6),
        Finish(reason="tool_calls"),
        UsageTold(usage=Usage(input_tokens=1)),
    ]
    check_events(RESPONSES, events)
    told = told_in(events)[-1]["response"]
    assert isinstance(told, dict)
    assert ("resp_9", 1, 2) == (told["id"], told["a"], told["b"])
    text: JsonObject = {"type": "output_text", "text": "Hi", "annotations": [{"c": 1}], "logprobs": [logprob]}
    empty: JsonObject = {"type": "output_text", "text": "", "annotations": [], "logprobs": [], "y": 1}
    assert [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "B"}],
            "content": [{"type": "reasoning_text", "text": "A"}],
            "encrypted_content": "sealed",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "phase": "x",
            "status": "completed",
            "content": [text, {"type": "refusal", "refusal": "no"}, empty],
        },
        {
            "type": "function_call",
            "call_id": "a",
            "name": "f",
            "arguments": "{}",
            "namespace": "n",
            "status": "completed",
        },
        {"type": "x"},
    ] == told["output"]


def test_further_choices_are_left_out() -> None:
    """There is one answer here; nor is there a word for what no part holds."""
    first = Choice(parts=(Text(text="a"),))
    second = Choice(parts=(Thinking(text="x"), Text(text="b"), ToolCall(id="c", name="f")), finish_reason="length")
    told = told_in(events_of(CompletionResponse(choices=(first, second))))
    response = Response.model_validate(told[-1]["response"])
    assert ("completed", "a") == (response.status, response.output_text)
    encoder = RESPONSES.stream_encoder(REPLY)
    stray = (TextDelta(index=0, text="x"), ThinkingDelta(index=0, text="x"), ToolArguments(index=0, text="x"))
    assert b"" == b"".join(encoder.encode(event) for event in (*stray, Extension(data={"x": 1})))


def test_each_event_is_one_frame() -> None:
    """A frame's name is the kind of its event, as the client's decoder expects it."""
    for frame in encode_stream(RESPONSES, events_of(_ANSWER)).decode().split("\n\n")[:-1]:
        name, _, rest = frame.partition("\n")
        assert rest.startswith(f'data: {{"type":"{name.removeprefix("event: ")}",')
