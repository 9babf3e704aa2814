"""OpenAI's own client over Responses and the older Completions, through the gateway to providers of other dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import openai
import pytest
from openai.types.responses import (
    FunctionToolParam,
    NamespaceToolParam,
    ResponseFunctionToolCall,
    ResponseInputParam,
    WebSearchToolParam,
)

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.conftest import Gateways

# Groq speaks Chat Completions alone.
MODELS: Final = ("groq/llama-3.1-8b-instant", "anthropic/claude-haiku-4-5")
WEATHER: Final = FunctionToolParam(
    type="function",
    name="weather",
    description="Tells it.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
    strict=False,
)


def _chat(message: JsonObject, reason: str = "stop") -> JsonObject:
    usage: JsonObject = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    choice: JsonObject = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _message(content: list[Json], reason: str = "end_turn") -> JsonObject:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 4},
    }


def _words(model: str) -> JsonObject:
    return _chat({"content": "Hello."}) if model.startswith("groq") else _message([{"type": "text", "text": "Hello."}])


def _calls(model: str) -> JsonObject:
    if model.startswith("groq"):
        calls: list[Json] = [
            {
                "id": f"call_{city}",
                "type": "function",
                "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'},
            }
            for city in ("Rome", "Oslo")
        ]
        return _chat({"content": None, "tool_calls": calls}, "tool_calls")
    blocks: list[Json] = [
        {"type": "tool_use", "id": f"call_{city}", "name": "weather", "input": {"city": city}}
        for city in ("Rome", "Oslo")
    ]
    return _message(blocks, "tool_use")


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway in front of the upstream."""
    return await gateways.before(upstream, GROQ_API_KEY="gsk-upstream-0003", GROQ_API_URL=f"{upstream.url}/v1")


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, pointed at the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("model", MODELS)
async def test_text(model: str, client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """Words and instructions go out in the provider's dialect; words and usage come back as Responses has them."""
    upstream.enqueue(json_reply(_words(model)))
    answer = await client.responses.create(model=model, instructions="Be brief.", input="Hi", max_output_tokens=50)
    assert "Hello." == answer.output_text
    assert "completed" == answer.status
    assert answer.usage is not None
    assert (9, 4) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert b"Be brief." in upstream.received[0].body


@pytest.mark.parametrize("model", MODELS)
async def test_tools(model: str, client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """Parallel calls come back as items; sent back with their results, each result finds its call."""
    upstream.enqueue(json_reply(_calls(model)), json_reply(_words(model)))
    first = await client.responses.create(model=model, input="Rome and Oslo?", tools=[WEATHER])
    calls = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
    assert ['{"city":"Rome"}', '{"city":"Oslo"}'] == [call.arguments for call in calls]
    turns: ResponseInputParam = [{"role": "user", "content": "Rome and Oslo?"}]
    turns += [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments}
        for call in calls
    ]
    turns += [{"type": "function_call_output", "call_id": call.call_id, "output": "fine"} for call in calls]
    second = await client.responses.create(model=model, input=turns, tools=[WEATHER])
    assert "Hello." == second.output_text
    asked = upstream.received[1].json()["messages"]
    assert isinstance(asked, list)
    results = str(asked[2:])
    assert results.index("call_Rome") < results.index("call_Oslo")


async def test_stream(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """The client's own helper puts a stream together to the whole answer."""
    choices: list[JsonObject] = [
        {"index": 0, "delta": {"content": "Hel"}, "finish_reason": None},
        {"index": 0, "delta": {"content": "lo."}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]
    frames = [
        json_reply({"id": "c-1", "created": 1, "model": "m", "choices": [choice]}).chunks[0] for choice in choices
    ]
    upstream.enqueue(sse_reply([*(b"data: %b\n\n" % frame for frame in frames), b"data: [DONE]\n\n"]))
    async with client.responses.stream(model=MODELS[0], input="Hi") as stream:
        pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        answer = await stream.get_final_response()
    assert ["Hel", "lo."] == pieces
    assert "Hello." == answer.output_text


async def test_a_stream_cut(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A stream that breaks off is an error to the client, and no answer."""
    frame = json_reply({"id": "c-1", "choices": [{"index": 0, "delta": {"content": "Hel"}}]}).chunks[0]
    upstream.enqueue(sse_reply(b"data: %b\n\n" % frame, cut=True))
    events = await client.responses.create(model=MODELS[0], input="Hi", stream=True)
    with pytest.raises(openai.APIError):
        assert not [event async for event in events if event.type == "response.completed"]


async def test_a_conversation_kept_elsewhere(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A conversation that OpenAI keeps is refused by name where another answers, and nothing is asked."""
    with pytest.raises(openai.APIStatusError) as caught:
        await client.responses.create(model=MODELS[0], input="Hi", conversation="conv_1")
    assert 422 == caught.value.status_code
    assert "conversation" in str(caught.value)
    assert not upstream.received


@pytest.mark.parametrize("model", MODELS)
async def test_completions(model: str, client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A prompt of the older form is a user's message; its answer comes back in the older form."""
    upstream.enqueue(json_reply(_words(model)))
    answer = await client.completions.create(model=model, prompt="Say hello.", max_tokens=20)
    assert "Hello." == answer.choices[0].text
    assert answer.usage is not None
    assert 13 == answer.usage.total_tokens
    assert b"Say hello." in upstream.received[0].body


@pytest.mark.parametrize("model", MODELS)
async def test_tools_in_a_namespace(model: str, client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """Providers that know no namespaces are offered one name of both; a call comes back as its tool was offered."""
    call: JsonObject = {"id": "call_1", "type": "function"}
    called = (
        _chat({"tool_calls": [{**call, "function": {"name": "geo__weather", "arguments": "{}"}}]}, "tool_calls")
        if model.startswith("groq")
        else _message([{"type": "tool_use", "id": "call_1", "name": "geo__weather", "input": {}}], "tool_use")
    )
    upstream.enqueue(json_reply(called), json_reply(_words(model)))
    space = NamespaceToolParam(
        type="namespace",
        name="geo",
        description="The world.",
        tools=[{"type": "function", "name": "weather", "parameters": WEATHER["parameters"], "strict": False}],
    )
    first = await client.responses.create(model=model, input="Rome?", tools=[space])
    (item,) = first.output
    assert isinstance(item, ResponseFunctionToolCall)
    assert ("weather", "geo") == (item.name, item.namespace)
    turns: ResponseInputParam = [
        {"role": "user", "content": "Rome?"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "namespace": "geo", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "fine"},
    ]
    await client.responses.create(model=model, input=turns, tools=[space])
    offered, replayed = (str(received.json()) for received in upstream.received)
    assert "'geo__weather'" in offered
    assert "namespace" not in offered
    assert 2 == replayed.count("'geo__weather'"), "once offered, once called"


@pytest.mark.parametrize("model", MODELS)
async def test_a_search_of_the_providers_own(
    model: str, client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Among the caller's tools it is left out with a warning where the provider has none; alone it is refused."""
    upstream.enqueue(json_reply(_words(model)))
    search: WebSearchToolParam = {"type": "web_search"}
    raw = await client.responses.with_raw_response.create(model=model, input="Rome?", tools=[WEATHER, search])
    assert "tools (web_search): left out" in raw.headers["x-spine-warnings"]
    assert "Hello." == raw.parse().output_text
    assert b"web_search" not in upstream.received[0].body
    with pytest.raises(openai.UnprocessableEntityError, match="web_search"):
        await client.responses.create(model=model, input="Rome?", tools=[search])
