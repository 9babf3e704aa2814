"""Over Responses an earlier answer is gone on from by its id, also where the provider keeps none."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall

from genai_spine.gateway.answers import SECONDS
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Call, Said

OTHER_KEY: Final = "another-gateway-key"
WEATHER: Final = FunctionToolParam(
    type="function",
    name="weather",
    description="Tells it.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
    strict=False,
)
CALLS: Final = Said(calls=(Call("call_1", "weather", {"city": "Rome"}),), finish="tool_calls")
WARM: Final = Said(text="It is warm.")
MODELS: Final = {
    "anthropic": "anthropic/claude-haiku-4-5",
    "ollama": "ollama/llama3.2:latest",
    "google": "google/gemini-2.5-flash",
}


def _gemini(said: Said, *, stream: bool) -> Scripted:
    parts: list[Json] = [{"text": said.text}] if said.text else []
    parts += [{"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}} for call in said.calls]
    body: JsonObject = {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
        "responseId": "g-1",
        "modelVersion": "gemini-2.5-flash",
    }
    return sse_reply(b"data: %b\n\n" % json.dumps(body).encode()) if stream else json_reply(body)


def reply(provider: str, said: Said, *, stream: bool = False) -> Scripted:
    """An answer of the provider's."""
    if provider == "google":
        return _gemini(said, stream=stream)
    return (PROVIDERS[provider].stream if stream else PROVIDERS[provider].whole)(said)


def _conversation(provider: str, body: JsonObject) -> list[str]:
    """What a provider was told, turn by turn: who spoke, and the bare words, calls and results."""
    turns: Any = body["contents" if provider == "google" else "messages"]
    return [f"{turn['role']}: {_words(turn)}" for turn in turns]


def _words(turn: dict[str, Any]) -> str:
    found: list[str] = []
    content = turn.get("content")
    blocks = [content] if isinstance(content, str) else content or []
    for piece in [*blocks, *(turn.get("parts") or []), *(turn.get("tool_calls") or [])]:
        text = json.dumps(piece)
        call = '"tool_use"' in text or "functionCall" in text or '"arguments"' in text
        said = any(result in text for result in ('"tool_result"', '"functionResponse"'))
        words = next((word for word in ("Rome?", "Sunny", "It is warm.", "And Oslo?") if word in text), "")
        found.append("call" if call else "Sunny" if said else words)
    return ", ".join(filter(None, found))


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway in front of the upstream, open to two callers."""
    return await gateways.before(
        upstream, GOOGLE_API_KEY="g-key-upstream-0003", GOOGLE_API_URL=f"{upstream.url}/v1beta"
    )


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, pointed at the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


async def ask(client: openai.AsyncOpenAI, *, stream: bool, **fields: Any) -> Response:
    """Ask, and return the whole answer, put together by the client where it comes as a stream."""
    if not stream:
        answer: Response = await client.responses.create(tools=[WEATHER], **fields)
        return answer
    async with client.responses.stream(tools=[WEATHER], **fields) as events:
        async for _ in events:
            pass
        return await events.get_final_response()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", sorted(MODELS))
async def test_turns_with_tools(
    provider: str, *, stream: bool, client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """Each turn sends only what is new, and the provider is told the conversation from its beginning."""
    said = (CALLS, WARM, WARM)
    upstream.enqueue(*(reply(provider, one, stream=stream) for one in said))
    model = MODELS[provider]
    first = await ask(client, stream=stream, model=model, input="Rome?", instructions="Be brief.")
    (call,) = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    second = await ask(client, stream=stream, model=model, input=[result], previous_response_id=first.id)
    assert "It is warm." == second.output_text
    await ask(client, stream=stream, model=model, input="And Oslo?", previous_response_id=second.id)

    told = upstream.received[2].json()
    expected = ["user: Rome?", "assistant: call", "user: Sunny", "assistant: It is warm.", "user: And Oslo?"]
    if provider == "ollama":
        expected[2] = "tool: Sunny"
    if provider == "google":
        expected = [turn.replace("assistant", "model") for turn in expected]
    assert expected == _conversation(provider, told)
    assert b"Be brief." in upstream.received[0].body
    assert b"Be brief." not in upstream.received[1].body, "instructions are those of their own request alone"


async def test_a_conversation_may_branch(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """An answer may be gone on from twice, with another provider too, and a branch knows nothing of the other."""
    upstream.enqueue(reply("anthropic", WARM), reply("anthropic", WARM), reply("ollama", WARM))
    first = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
    for provider in ("anthropic", "ollama"):
        await client.responses.create(model=MODELS[provider], input="And Oslo?", previous_response_id=first.id)
        told = _conversation(provider, upstream.received[-1].json())
        assert ["user: Rome?", "assistant: It is warm.", "user: And Oslo?"] == told


async def test_items_told_by_their_ids(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """An item of a kept answer is put in the place of its id; one that is not kept is refused, and nothing is asked."""
    upstream.enqueue(reply("anthropic", WARM), reply("anthropic", WARM), reply("ollama", WARM))
    first = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
    turns: list[Any] = [
        {"role": "user", "content": "Rome?"},
        {"type": "item_reference", "id": first.output[0].id},
        {"role": "user", "content": "And Oslo?"},
    ]
    second = await client.responses.create(model=MODELS["anthropic"], input=turns)
    expected = ["user: Rome?", "assistant: It is warm.", "user: And Oslo?"]
    assert expected == _conversation("anthropic", upstream.received[1].json())
    await client.responses.create(model=MODELS["ollama"], input=turns, previous_response_id=second.id)
    assert [*expected, "assistant: It is warm.", *expected] == _conversation("ollama", upstream.received[2].json())

    await client.responses.delete(first.id)
    with pytest.raises(openai.UnprocessableEntityError, match="item_reference"):
        await client.responses.create(model=MODELS["anthropic"], input=turns)
    assert 3 == len(upstream.received)


async def _refused(client: openai.AsyncOpenAI, answer_id: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model=MODELS["anthropic"], input="Hi", previous_response_id=answer_id)
    assert ("previous_response_not_found", "previous_response_id") == (caught.value.code, caught.value.param)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(answer_id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.input_items.list(answer_id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.delete(answer_id)


async def test_an_unknown_answer(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """An id that nobody knows is refused as OpenAI refuses it, and nothing is asked."""
    await _refused(client, "resp_1")
    assert [] == upstream.received


async def test_another_callers_answer(upstream: ScriptedUpstream) -> None:
    """Nobody goes on from, reads or deletes what was answered to another; to him it is like an id that is unknown."""
    upstream.enqueue(reply("anthropic", WARM), reply("anthropic", WARM))
    environ = {"ANTHROPIC_API_KEY": "sk-ant-upstream-0002", "ANTHROPIC_API_URL": upstream.url}
    async with running_gateway(environ, other_keys=(OTHER_KEY,)) as gateway:
        base = f"{gateway.url}/v1"
        async with (
            openai.AsyncOpenAI(base_url=base, api_key=gateway.key, max_retries=0) as owner,
            openai.AsyncOpenAI(base_url=base, api_key=OTHER_KEY, max_retries=0) as other,
        ):
            answer = await owner.responses.create(model=MODELS["anthropic"], input="Rome?")
            await _refused(other, answer.id)
            assert answer.id == (await owner.responses.retrieve(answer.id)).id
            await owner.responses.create(model=MODELS["anthropic"], input="Hi", previous_response_id=answer.id)


async def test_what_is_not_to_be_stored(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """With ``store: false`` nothing is kept."""
    upstream.enqueue(reply("anthropic", WARM))
    answer = await client.responses.create(model=MODELS["anthropic"], input="Rome?", store=False)
    await _refused(client, answer.id)


async def test_a_broken_answer(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """An answer that broke off is not kept."""
    whole = PROVIDERS["anthropic"].stream(WARM)
    upstream.enqueue(sse_reply(whole.chunks[:-2], cut=True))
    begun = ""
    with pytest.raises(openai.APIError):  # noqa: PT012  # the stream fails where it is read
        async for event in await client.responses.create(model=MODELS["anthropic"], input="Rome?", stream=True):
            begun = event.response.id if event.type == "response.created" else begun
    assert begun
    await _refused(client, begun)


async def test_kept_answers_are_shown_and_forgotten(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """An answer is shown as it was given, with all that was read for it; forgotten, it leaves later ones alone."""
    upstream.enqueue(reply("anthropic", CALLS), reply("anthropic", WARM), reply("anthropic", WARM))
    model = MODELS["anthropic"]
    first = await client.responses.create(model=model, input="Rome?", tools=[WEATHER])
    result = {"type": "function_call_output", "call_id": "call_1", "output": "Sunny"}
    turn: Any = [result]
    second = await client.responses.create(model=model, input=turn, tools=[WEATHER], previous_response_id=first.id)

    assert second.output == (await client.responses.retrieve(second.id)).output
    items = [item async for item in client.responses.input_items.list(second.id, order="asc", limit=2)]
    assert ["message", "function_call", "function_call_output"] == [item.type for item in items]
    newest = (await client.responses.input_items.list(second.id, limit=1)).data
    assert ["function_call_output"] == [item.type for item in newest]
    assert 3 == len({item.id for item in items})

    await client.responses.delete(first.id)
    await _refused(client, first.id)
    await client.responses.create(model=model, input="And Oslo?", tools=[WEATHER], previous_response_id=second.id)
    assert 5 == len(_conversation("anthropic", upstream.received[2].json()))


async def test_lists_asked_for_wrongly(
    gateway: RunningGateway, client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """An order, a limit or a beginning that there is not is a 422 that names it."""
    upstream.enqueue(reply("anthropic", WARM))
    answer = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        for name, value in (("order", "up"), ("limit", "0"), ("limit", "101"), ("after", "msg_no")):
            async with session.get(f"/v1/responses/{answer.id}/input_items?{name}={value}") as refused:
                body = await refused.json()
                assert (422, name) == (refused.status, body["error"]["param"])


async def test_one_request_id_for_two_requests(
    gateway: RunningGateway, client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    """A caller who gives two requests one id of his own gets two answers, each to be gone on from."""
    upstream.enqueue(*[reply("anthropic", WARM)] * 2)
    model, same = MODELS["anthropic"], {"x-request-id": "mine"}
    first = await client.responses.create(model=model, input="Rome?", extra_headers=same)
    second = await client.responses.create(model=model, input="And Oslo?", extra_headers=same)
    assert first.id != second.id
    assert ["mine", "mine"] == [record.request_id for record in gateway.recorder.records]


async def test_answers_are_kept_for_a_time(upstream: ScriptedUpstream) -> None:
    """What was answered longer ago than answers are kept is unknown."""
    clock = ManualClock()
    upstream.enqueue(reply("anthropic", WARM))
    environ = {"ANTHROPIC_API_KEY": "sk-ant-upstream-0002", "ANTHROPIC_API_URL": upstream.url}
    async with (
        running_gateway(environ, clock=clock) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client,
    ):
        answer = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
        clock.advance(SECONDS - 1)
        assert answer.id == (await client.responses.retrieve(answer.id)).id
        clock.advance(1)
        await _refused(client, answer.id)


async def test_tokens_of_what_goes_on(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """A count of the tokens counts the earlier conversation too."""
    upstream.enqueue(reply("anthropic", WARM), json_reply({"input_tokens": 42}))
    answer = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
    counted = await client.responses.input_tokens.count(
        model=MODELS["anthropic"], input="And Oslo?", previous_response_id=answer.id
    )
    assert 42 == counted.input_tokens
    assert 3 == len(_conversation("anthropic", upstream.received[1].json()))


async def test_a_provider_that_keeps_its_own(gateways: Gateways, upstream: ScriptedUpstream, tmp_path: Any) -> None:
    """A provider that speaks Responses is handed an id that the gateway does not know; what it knows is told whole."""
    config = tmp_path / "spine.toml"
    config.write_text(
        f'[providers.native]\ndialect = "openai_responses"\nurl = "{upstream.url}/v1"\napi_key = "native-key-0004"\n'
        'models = ["m"]\n'
    )
    gateway = await gateways.before(upstream, GENAI_CONFIG=str(config))
    own: JsonObject = {
        "id": "resp_native",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "output": [],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    }
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        upstream.enqueue(json_reply(own), reply("anthropic", WARM), json_reply(own))
        passed = await client.responses.create(model="native/m", input="Hi", previous_response_id="resp_before")
        assert "resp_native" == passed.id
        assert "resp_before" == upstream.received[0].json()["previous_response_id"]
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_native")

        known = await client.responses.create(model=MODELS["anthropic"], input="Rome?")
        await client.responses.create(model="native/m", input="And Oslo?", previous_response_id=known.id)
        told = upstream.received[2].json()
        assert "previous_response_id" not in told
        words = json.dumps(told["input"])
        assert words.index("Rome?") < words.index("It is warm.") < words.index("And Oslo?")
