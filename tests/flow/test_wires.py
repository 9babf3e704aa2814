"""A provider that speaks several dialects: which of them it is spoken to in, and what happens if it has not got it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import openai
import pytest

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply, sse_reply
from genai_spine.types.json import JsonObject
from tests.conftest import Gateways

THINKER: Final = "openai/gpt-5.5"
TOOLS: Final[list[Any]] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]
WORDS: Final[JsonObject] = {"type": "output_text", "text": "Hello.", "annotations": []}
MESSAGE: Final[JsonObject] = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [WORDS],
}
CALL: Final[JsonObject] = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": "{}",
    "status": "completed",
}
CHAT: Final[JsonObject] = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5.5",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}
NO_SUCH_PATH: Final = json_reply(
    {"error": {"message": "Invalid URL (POST /v1/responses)", "type": "invalid_request_error", "code": None}}, 404
)


def response(*output: JsonObject) -> JsonObject:
    """A whole answer over Responses."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-5.5-2026-04-01",
        "output": [*output],
        "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
        "error": None,
        "incomplete_details": None,
    }


def stream() -> Scripted:
    """The same as a stream."""
    events: list[JsonObject] = [
        {"type": "response.created", "response": response() | {"status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE | {"content": []}},
        {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": WORDS | {"text": ""}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello."},
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hello."},
        {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": WORDS},
        {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
        {"type": "response.completed", "response": response(MESSAGE)},
    ]
    frames = [
        b"event: %b\ndata: %b\n\n"
        % (str(event["type"]).encode(), json_reply({**event, "sequence_number": n}).chunks[0])
        for n, event in enumerate(events)
    ]
    return sse_reply(frames)


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway in front of the upstream."""
    return await gateways.before(upstream)


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, pointed at the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def paths(upstream: ScriptedUpstream) -> list[str]:
    """Where the upstream was asked."""
    return [received.path for received in upstream.received]


@pytest.mark.parametrize(
    ("model", "more", "path"),
    [
        ("openai/gpt-5.5", {"tools": TOOLS}, "/v1/responses"),
        ("openai/gpt-5.5", {"tools": TOOLS, "reasoning_effort": "low"}, "/v1/responses"),
        ("openai/gpt-5.5", {"tools": TOOLS, "reasoning_effort": "none"}, "/v1/chat/completions"),
        ("openai/gpt-5.5", {}, "/v1/chat/completions"),
        ("openai/gpt-5.4", {"tools": TOOLS}, "/v1/chat/completions"),
        ("openai/gpt-5.4", {"tools": TOOLS, "reasoning_effort": "high"}, "/v1/responses"),
        ("openai/gpt-4o", {"tools": TOOLS}, "/v1/chat/completions"),
    ],
)
async def test_tools_while_thinking(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, model: str, more: dict[str, Any], path: str
) -> None:
    """Models that refuse tools in Chat Completions while they think are asked over Responses; the caller sees chat."""
    over_chat = path.endswith("completions")
    upstream.enqueue(json_reply(CHAT if over_chat else response(MESSAGE)))
    answer = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}], **more)
    assert [path] == paths(upstream)
    assert "Hello." == answer.choices[0].message.content
    assert answer.usage is not None
    assert 13 == answer.usage.total_tokens


async def test_a_round_of_tools_over_responses(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A call made over Responses is a call in chat; sent back with its result, both go out as items."""
    upstream.enqueue(json_reply(response(CALL)), json_reply(response(MESSAGE)))
    messages: list[Any] = [{"role": "user", "content": "How is it?"}]
    first = await client.chat.completions.create(model=THINKER, messages=messages, tools=TOOLS)
    assert "tool_calls" == first.choices[0].finish_reason
    calls = first.choices[0].message.tool_calls
    assert calls is not None
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": calls[0].id, "content": "fine"}]
    second = await client.chat.completions.create(model=THINKER, messages=messages, tools=TOOLS)
    assert "Hello." == second.choices[0].message.content
    asked = upstream.received[1].json()["input"]
    assert isinstance(asked, list)
    told = [item for item in asked if isinstance(item, dict)]
    assert ["function_call", "function_call_output"] == [item["type"] for item in told[-2:]]
    assert ["call_1", "call_1"] == [item["call_id"] for item in told[-2:]]
    assert False is upstream.received[1].json()["store"]


async def test_a_stream_over_responses(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A stream of Responses is one of chunks to a caller of chat."""
    upstream.enqueue(stream())
    chunks = await client.chat.completions.create(
        model=THINKER, messages=[{"role": "user", "content": "Hi"}], tools=TOOLS, stream=True
    )
    found = [chunk async for chunk in chunks]
    assert "Hello." == "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)
    assert "stop" == found[-1].choices[0].finish_reason
    assert ["/v1/responses"] == paths(upstream)


async def test_the_caller_s_own_dialect(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A caller of Responses is served over Responses, his body and the answer as they come."""
    upstream.enqueue(json_reply(response(MESSAGE)), stream())
    answer = await client.responses.create(model="openai/gpt-4o-mini", input="Hi", metadata={"a": "b"})
    assert "Hello." == answer.output_text
    assert {"model": "gpt-4o-mini", "input": "Hi", "metadata": {"a": "b"}} == upstream.received[0].json()
    async with client.responses.stream(model="openai/gpt-4o-mini", input="Hi") as events:
        final = await events.get_final_response()
    assert "Hello." == final.output_text
    assert ["/v1/responses", "/v1/responses"] == paths(upstream)


async def test_a_service_without_it(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """A service that has no Responses after all is asked over Chat Completions, from then on without asking again."""
    upstream.enqueue(NO_SUCH_PATH, json_reply(CHAT), json_reply(CHAT))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        for _ in range(2):
            answer = await client.responses.create(model="openai/gpt-4o-mini", input="Hi")
            assert "Hello." == answer.output_text
    assert ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"] == paths(upstream)
    await gateway.recorder.until(2)
    assert [2, 1] == [record.attempts for record in gateway.recorder.records]


async def test_a_stream_from_a_service_without_it(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """The same for a stream, and for a model that demands Responses: then the service itself has the last word."""
    chunk: JsonObject = {
        "id": "c-1",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "Hi."}}],
    }
    last: JsonObject = chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    frames = [b"data: %b\n\n" % json_reply(each).chunks[0] for each in (chunk, last)]
    upstream.enqueue(NO_SUCH_PATH, sse_reply([*frames, b"data: [DONE]\n\n"]), json_reply(CHAT))
    async with client.responses.stream(model="openai/gpt-4o-mini", input="Hi") as events:
        final = await events.get_final_response()
    assert "Hi." == final.output_text
    await client.chat.completions.create(model=THINKER, messages=[{"role": "user", "content": "Hi"}], tools=TOOLS)
    assert ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"] == paths(upstream)


async def test_a_model_that_is_missing_is_no_missing_path(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """A 404 that speaks of the model is told as it is, and the dialect stays."""
    missing: JsonObject = {"error": {"message": "The model `gpt-4o-mini` does not exist", "code": "model_not_found"}}
    upstream.enqueue(json_reply(missing, 404), json_reply(response(MESSAGE)))
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="openai/gpt-4o-mini", input="Hi")
    await client.responses.create(model="openai/gpt-4o-mini", input="Hi")
    assert ["/v1/responses", "/v1/responses"] == paths(upstream)
