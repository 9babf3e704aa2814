"""Google's own client, with only base URL and key changed, through the gateway to providers of other dialects."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

import aiohttp
import pytest
from google import genai
from google.genai import errors, types

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.conftest import Gateways

MODEL: Final = "openai/gpt-4o-mini"
PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def _said(message: JsonObject, reason: str = "stop") -> JsonObject:
    usage: JsonObject = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    choice: JsonObject = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def _chunk(delta: JsonObject, reason: str | None = None) -> bytes:
    choice: JsonObject = {"index": 0, "delta": delta, "finish_reason": reason}
    return json_reply({"id": "c-1", "created": 1, "model": "m", "choices": [choice]}).chunks[0]


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway in front of the upstream."""
    return await gateways.before(upstream)


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[genai.client.AsyncClient]:
    """Google's client, pointed at the gateway."""
    options = types.HttpOptions(base_url=gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
    made = genai.Client(api_key=gateway.key, http_options=options).aio
    async with aclosing(made):
        yield made


async def test_text(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """Words, instructions and limits arrive in the provider's dialect; words and usage come back in Gemini's."""
    upstream.enqueue(json_reply(_said({"content": "Hello."})))
    config = types.GenerateContentConfig(system_instruction="Be brief.", max_output_tokens=20, temperature=0.0)
    answer = await client.models.generate_content(model=MODEL, contents="Hi", config=config)
    assert "Hello." == answer.text
    assert answer.candidates is not None
    assert types.FinishReason.STOP == answer.candidates[0].finish_reason
    assert answer.usage_metadata is not None
    assert (9, 4) == (answer.usage_metadata.prompt_token_count, answer.usage_metadata.candidates_token_count)
    asked = upstream.received[0].json()
    expected: list[Json] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert expected == asked["messages"]
    assert ("gpt-4o-mini", 20, 0.0) == (asked["model"], asked["max_completion_tokens"], asked["temperature"])


async def test_stream(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """A stream comes piece by piece, and nothing in it that Google's client would take for a piece."""
    frames = [_chunk({"content": "Hel"}), _chunk({"content": "lo."}), _chunk({}, "stop")]
    upstream.enqueue(sse_reply([*(b"data: %b\n\n" % frame for frame in frames), b"data: [DONE]\n\n"]))
    pieces = [piece.text async for piece in await client.models.generate_content_stream(model=MODEL, contents="Hi")]
    assert "Hello." == "".join(filter(None, pieces))
    assert 2 <= len(pieces)


async def test_tools(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """Parallel calls arrive whole, and their results go back to the calls that they answer."""
    calls: list[Json] = [
        {"id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": f'{{"city":"{city}"}}'}}
        for city in ("Rome", "Oslo")
    ]
    upstream.enqueue(json_reply(_said({"content": None, "tool_calls": calls}, "tool_calls")))
    upstream.enqueue(json_reply(_said({"content": "Warm and cold."})))
    schema: JsonObject = {"type": "object", "properties": {"city": {"type": "string"}}}
    weather = types.FunctionDeclaration(name="weather", description="Tells it.", parameters_json_schema=schema)
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    first = await client.models.generate_content(model=MODEL, contents="Rome and Oslo?", config=config)
    assert first.function_calls is not None
    assert [{"city": "Rome"}, {"city": "Oslo"}] == [call.args for call in first.function_calls]
    assert first.candidates is not None
    assert first.candidates[0].content is not None
    results = [
        types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "fine"}))
        for call in first.function_calls
    ]
    turns = [
        types.Content(role="user", parts=[types.Part(text="Rome and Oslo?")]),
        first.candidates[0].content,
        types.Content(role="user", parts=results),
    ]
    second = await client.models.generate_content(model=MODEL, contents=turns, config=config)
    assert "Warm and cold." == second.text
    asked = upstream.received[1].json()["messages"]
    assert isinstance(asked, list)
    told = [turn["tool_call_id"] for turn in asked if isinstance(turn, dict) and turn["role"] == "tool"]
    assert ["call_Rome", "call_Oslo"] == told


async def test_image(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """A picture's bytes arrive as the provider takes them."""
    upstream.enqueue(json_reply(_said({"content": "A dot."})))
    contents = [types.Part.from_bytes(data=PIXEL, mime_type="image/png"), types.Part(text="What is it?")]
    answer = await client.models.generate_content(model=MODEL, contents=contents)
    assert "A dot." == answer.text
    body = upstream.received[0].body
    assert b"data:image/png;base64," + base64.b64encode(PIXEL) in body


async def test_errors(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """A failure is told with its status, in the shape that Google's client reads."""
    upstream.enqueue(json_reply({"error": {"message": "slow down", "type": "rate_limit_error"}}, status=429))
    with pytest.raises(errors.ClientError) as caught:
        await client.models.generate_content(model=MODEL, contents="Hi")
    assert 429 == caught.value.code
    assert "RESOURCE_EXHAUSTED" == caught.value.status


async def test_an_array_for_whom_asks_for_no_events(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """Without alt=sse a stream is a JSON array, written element by element; the key may stand in the address."""
    frames = [_chunk({"content": "Hello."}), _chunk({}, "stop")]
    upstream.enqueue(sse_reply([*(b"data: %b\n\n" % frame for frame in frames), b"data: [DONE]\n\n"]))
    url = f"{gateway.url}/v1/models/{MODEL}:streamGenerateContent?key={gateway.key}"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        assert 200 == answer.status
        assert "application/json" == answer.content_type
        elements = await answer.json()
    texts = [part["text"] for element in elements for part in element["candidates"][0]["content"].get("parts", [])]
    assert "Hello." == "".join(texts)


async def test_a_model_taken_for_a_whole_resource(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """Clients that take a name with a slash for a whole resource leave out ``models/``; they are served too."""
    upstream.enqueue(json_reply(_said({"content": "Hello."})), json_reply({"data": []}))
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    url = f"{gateway.url}/v1beta/{MODEL}"
    async with aiohttp.ClientSession(headers=gateway.headers) as session:
        async with session.post(f"{url}:generateContent", json=body) as answer:
            told = await answer.json()
        async with session.post(f"{url}:countTokens", json=body) as answer:
            counted = await answer.json()
    assert "Hello." == told["candidates"][0]["content"]["parts"][0]["text"]
    assert "gpt-4o-mini" == upstream.received[0].json()["model"]
    assert 0 < counted["totalTokens"]


async def test_models(client: genai.client.AsyncClient, upstream: ScriptedUpstream) -> None:
    """Models are listed and shown in Gemini's form, and tokens counted, if only by guess."""
    upstream.enqueue(*(json_reply({"data": [{"id": "gpt-4o-mini"}], "models": [{"name": "llama"}]}) for _ in range(4)))
    listed = [model.name async for model in await client.models.list()]
    assert f"models/{MODEL}" in listed
    assert MODEL in str((await client.models.get(model=MODEL)).name)
    counted = await client.models.count_tokens(model=MODEL, contents="Hello you there")
    assert counted.total_tokens
