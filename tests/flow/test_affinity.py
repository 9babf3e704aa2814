"""A conversation goes on at the place, and under the key, that may still hold its beginning in a prompt cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import openai
import pytest

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.conftest import Gateways

ANSWER: Final[JsonObject] = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
}
FIRST: Final[list[Any]] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
SECOND: Final[list[Any]] = [
    *FIRST,
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And you?"},
]
OTHER: Final[list[Any]] = [{"role": "user", "content": "Something else"}]


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway whose services are all the upstream: two of them serve one model, and one has three keys."""
    return await gateways.start(
        GROQ_API_KEYS="gsk-one-0001,gsk-two-0002,gsk-three-0003",
        GROQ_API_URL=f"{upstream.url}/groq",
        CEREBRAS_API_KEY="csk-0004",
        CEREBRAS_API_URL=f"{upstream.url}/cerebras",
        GENAI_ROUTING_STRATEGY="round_robin",
    )


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, pointed at the gateway."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


async def _ask(client: openai.AsyncOpenAI, upstream: ScriptedUpstream, model: str, messages: list[Any]) -> str:
    """Ask, and return the key that the service was shown."""
    upstream.enqueue(json_reply(ANSWER))
    await client.chat.completions.create(model=model, messages=messages)
    return upstream.received[-1].headers["authorization"]


async def test_a_conversation_keeps_its_key(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    """What goes on is asked under the key that it began with; what begins takes the next key in turn."""
    model = "groq/llama-3.1-8b-instant"
    began = await _ask(client, upstream, model, FIRST)
    others = [await _ask(client, upstream, model, OTHER) for _ in range(3)]
    assert 3 == len({*others})
    assert [began] * 3 == [await _ask(client, upstream, model, SECOND) for _ in range(3)]


async def test_a_conversation_keeps_its_place(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, gateway: RunningGateway
) -> None:
    """Where several services take turns, a conversation stays with the one that began it; new ones go round."""
    model = "gpt-oss-120b"
    upstream.enqueue(*[json_reply(ANSWER)] * 9)

    async def place(messages: list[Any]) -> str:
        raw = await client.chat.completions.with_raw_response.create(model=model, messages=messages)
        return raw.headers["x-spine-provider"]

    fresh = [await place(FIRST) for _ in range(4)]
    assert {"groq", "cerebras"} == {*fresh}
    began = await place(FIRST)
    assert [began] * 4 == [await place(SECOND) for _ in range(4)]
    records = gateway.recorder.records
    assert [(False, False)] * 5 + [(True, False)] * 4 == [(one.affinity, one.fallback) for one in records]
    assert {"round_robin"} == {one.strategy for one in records}


async def test_a_conversation_that_must_leave(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, gateway: RunningGateway
) -> None:
    """Where its place fails another serves it, and the record does not say that its beginning was there."""
    model = "gpt-oss-120b"
    upstream.enqueue(
        json_reply(ANSWER), json_reply({"error": {"message": "no", "code": None}}, 500), json_reply(ANSWER)
    )
    for messages in (FIRST, SECOND):
        await client.chat.completions.create(model=model, messages=messages)
    records = gateway.recorder.records
    assert [(False, False), (False, True)] == [(one.affinity, one.fallback) for one in records]
    assert records[0].provider != records[1].provider
