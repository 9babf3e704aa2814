"""A conversation with tools goes on with any provider, and back: seals find their way to who made them alone."""

from __future__ import annotations

import json
from typing import Any, Final

import anthropic
import openai
import pytest

from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from tests.flow.agents import AGENTS, ChatAgent
from tests.flow.strict import MODELS, STAND_IN, StrictServices, environ, sealed_by

CROSSING: Final = (
    ("anthropic", "google"),
    ("google", "anthropic"),
    ("openai", "google"),
    ("anthropic", "openai"),
    ("deepseek", "anthropic"),
    ("deepseek", "openai"),
    ("google", "deepseek"),
)
STAYING: Final = tuple((name, name) for name in MODELS)
WAYS: Final = [
    (door, *way, stream)
    for door in sorted(AGENTS)
    for ways, forms in ((CROSSING, (False, True)), (STAYING, (True,)))
    for way in ways
    for stream in forms
    # OpenAI keeps its own answers, and nobody else knows them.
    if (door, way[0]) != ("stored", "openai")
]


@pytest.mark.parametrize(("door", "first", "then", "stream"), WAYS)
async def test_there_and_back(
    door: str, first: str, then: str, *, stream: bool, services: StrictServices, strict: ScriptedUpstream
) -> None:
    """A conversation begun with one provider goes on with another and back with the first, who sees its own seals."""
    agent = AGENTS[door]()
    async with running_gateway(environ(strict.url)) as gateway:
        for provider in (first, then):
            assert "" == await agent.turn(gateway, MODELS[provider], stream=stream)
        assert "Done." == await agent.turn(gateway, MODELS[first], stream=stream)
    assert [] == services.refusals
    assert [first, then, first] == [provider for provider, _ in services.shown]
    shown = services.shown[2][1]
    expected = ['Calling {"city": "Rome"}'] if first == "google" else [sealed_by(0)]
    if first == then:
        expected.append('Calling {"city": "Bern"}' if first == "google" else sealed_by(1))
    assert expected == [seal for seal in shown if first != "deepseek" or seal in expected]


@pytest.mark.parametrize(
    ("door", "maker"),
    [
        ("anthropic", "google"),
        ("anthropic", "openai"),
        ("gemini", "anthropic"),
        ("gemini", "openai"),
        ("responses", "anthropic"),
        ("responses", "google"),
    ],
)
async def test_another_account(door: str, maker: str, services: StrictServices, strict: ScriptedUpstream) -> None:
    """Seals made for one key are not shown with another: that is another account; they are with the first again."""
    agent = AGENTS[door]()
    async with running_gateway(environ(strict.url)) as one, running_gateway(environ(strict.url, "second")) as other:
        for gateway in (one, other, one):
            await agent.turn(gateway, MODELS[maker], stream=False)
    assert [] == services.refusals
    assert [0, 0, 1] == [len(shown) for _, shown in services.shown]


@pytest.mark.parametrize(("first", "then"), [*CROSSING, *STAYING])
@pytest.mark.parametrize("door", ["chat", "ollama"])
async def test_what_was_kept_is_lost(
    door: str, first: str, then: str, services: StrictServices, strict: ScriptedUpstream
) -> None:
    """Where the seals of callers who cannot carry them are kept no longer, the conversation goes on without them."""
    agent = AGENTS[door]()
    words = ""
    async with running_gateway({**environ(strict.url), "GENAI_STATE_MAX_BYTES": "0"}) as gateway:
        for provider in (first, then, first):
            words = await agent.turn(gateway, MODELS[provider], stream=True)
    assert "Done." == words
    assert [] == services.refusals
    assert [] == services.shown[2][1]


async def test_what_is_kept_is_the_callers_own(services: StrictServices, strict: ScriptedUpstream) -> None:
    """What was sealed for one caller is put back for no other, though he names the same call."""
    agent = ChatAgent()
    async with running_gateway(environ(strict.url), other_keys=("another-gateway-key",)) as gateway:
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
        gateway.key = "another-gateway-key"
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
    assert [("anthropic", []), ("anthropic", [])] == services.shown


async def test_own_seals_pass_through(services: StrictServices, strict: ScriptedUpstream) -> None:
    """Where caller and provider speak one dialect, seals go their way in bodies that nobody looks into."""
    async with running_gateway(environ(strict.url)) as gateway:
        for door, provider in (("anthropic", "anthropic"), ("gemini", "google"), ("responses", "openai")):
            agent = AGENTS[door]()
            for _ in range(3):
                await agent.turn(gateway, MODELS[provider], stream=True)
        await gateway.recorder.until(9)
        assert [True] * 9 == [record.passthrough for record in gateway.recorder.records]
    assert [2, 2, 2] == [len(services.shown[number][1]) for number in (2, 5, 8)]


async def test_pitfall_7_the_first_of_parallel_calls_is_signed(
    services: StrictServices, strict: ScriptedUpstream
) -> None:
    """Gemini signs the first of two calls: through OpenAI's client it comes back on that one, and on no other."""
    agent = ChatAgent()
    async with running_gateway(environ(strict.url)) as gateway:
        for _ in range(2):
            await agent.turn(gateway, MODELS["google"], stream=True)
    told: Any = strict.received[1].json()["contents"]
    calls = [part for part in told[1]["parts"] if "functionCall" in part]
    assert [True, False] == ["thoughtSignature" in call for call in calls]
    assert STAND_IN != calls[0]["thoughtSignature"]
    assert ['Calling {"city": "Rome"}'] == services.shown[1][1]


async def test_calls_of_another_model_stand_in(services: StrictServices, strict: ScriptedUpstream) -> None:
    """A call that Gemini did not make goes to it with the signature that Google documents for such."""
    agent = ChatAgent()
    async with running_gateway(environ(strict.url)) as gateway:
        for provider in ("anthropic", "google"):
            await agent.turn(gateway, MODELS[provider], stream=False)
    told: Any = strict.received[1].json()["contents"]
    assert [STAND_IN, None] == [part.get("thoughtSignature") for part in told[1]["parts"]]
    assert [] == services.refusals


async def test_pitfall_5_a_stream_made_here_bears_signatures(strict: ScriptedUpstream) -> None:
    """To Anthropic's client another provider's stream tells a signature before the call that it is of."""
    async with (
        running_gateway(environ(strict.url)) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client,
    ):
        events: list[str] = []
        async for event in await client.messages.create(
            model=MODELS["google"],
            max_tokens=100,
            messages=[{"role": "user", "content": "Hi"}],
            tools=[{"name": "weather", "input_schema": {"type": "object", "properties": {}}}],
            stream=True,
        ):
            if event.type == "content_block_delta":
                events.append(event.delta.type)
            elif event.type == "content_block_start":
                events.append(event.content_block.type)
    expected = ["thinking", "thinking_delta", "thinking", "signature_delta"]
    assert [*expected, *["tool_use", "input_json_delta"] * 2] == events


@pytest.mark.parametrize("door", ["chat", "gemini", "ollama", "responses", "stored"])
async def test_pitfall_4_a_signature_alone(door: str, upstream: ScriptedUpstream) -> None:
    """Thinking of which Anthropic shows no word but the signature goes back as it came, before the call."""
    sealed: Any = {"type": "thinking", "thinking": "", "signature": "c2lnbmVk"}
    redacted: Any = {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="}
    call: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    answer: Any = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [sealed, redacted, call],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 4},
    }
    upstream.enqueue(*[json_reply(answer)] * 2)
    agent = AGENTS[door]()
    async with running_gateway(environ(upstream.url)) as gateway:
        for _ in range(2):
            await agent.turn(gateway, MODELS["anthropic"], stream=False)
    told: Any = upstream.received[1].json()["messages"]
    *before, called = told[1]["content"]
    assert [sealed, redacted] == before
    assert {**call, "id": called["id"]} == called


async def test_pitfall_6_thinking_that_was_not_begun(services: StrictServices, strict: ScriptedUpstream) -> None:
    """In a tool loop that another provider began Anthropic is not asked to think, nor shown a block of the other's."""
    agent = AGENTS["anthropic"]()
    async with running_gateway(environ(strict.url)) as gateway:
        for provider in ("google", "anthropic"):
            await agent.turn(gateway, MODELS[provider], stream=False)
    told: Any = strict.received[1].json()
    assert "thinking" not in told
    assert ["tool_use", "tool_use"] == [block["type"] for block in told["messages"][1]["content"]]
    assert [] == services.refusals


async def test_pitfall_30_deepseek_is_shown_its_reasoning(services: StrictServices, strict: ScriptedUpstream) -> None:
    """DeepSeek's reasoning comes back in a turn with calls, though OpenAI's client does not keep it."""
    agent = ChatAgent()
    async with running_gateway(environ(strict.url)) as gateway:
        for _ in range(3):
            await agent.turn(gateway, MODELS["deepseek"], stream=True)
    told: Any = strict.received[2].json()["messages"]
    shown = [turn["reasoning_content"] for turn in told if turn.get("tool_calls")]
    assert [sealed_by(0), sealed_by(1)] == shown
    assert "reasoning_content" not in json.dumps(agent.turns)
    assert [] == services.refusals


async def test_words_shown_instead_of_what_is_sealed(services: StrictServices, strict: ScriptedUpstream) -> None:
    """A caller who hands back reasoning as words gets what was sealed put in their place, not beside them."""
    agent = ChatAgent()
    async with running_gateway(environ(strict.url)) as gateway:
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
        agent.turns[1]["reasoning_content"] = "What the caller made of it."
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
    told: Any = strict.received[1].json()["messages"]
    assert ["thinking", "tool_use", "tool_use"] == [block["type"] for block in told[1]["content"]]
    assert [sealed_by(0)] == services.shown[1][1]


async def test_a_damaged_tag(services: StrictServices, strict: ScriptedUpstream) -> None:
    """A seal that a client has damaged is left out; the conversation goes on."""
    agent = AGENTS["responses"]()
    async with running_gateway(environ(strict.url)) as gateway:
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
        for item in agent.turns:
            if item.get("type") == "reasoning":
                item["encrypted_content"] = item["encrypted_content"][:-9]
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
    assert [] == services.refusals
    assert [] == services.shown[1][1]


async def test_tokens_of_sealed_turns_are_counted(services: StrictServices, strict: ScriptedUpstream) -> None:
    """A count of tokens shows a provider its own seals, and no tag."""
    agent = AGENTS["responses"]()
    async with running_gateway(environ(strict.url)) as gateway:
        await agent.turn(gateway, MODELS["anthropic"], stream=False)
        strict.enqueue(json_reply({"input_tokens": 42}))
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
            counted = await client.responses.input_tokens.count(model=MODELS["anthropic"], input=agent.turns)
    assert 42 == counted.input_tokens
    told: Any = strict.received[1].json()["messages"]
    assert sealed_by(0) == told[1]["content"][0]["thinking"]
    assert "SpineSeal" not in json.dumps(told)
    assert 1 == len(services.shown)
