"""A request is made to fit its model where it is translated; where it passes through, it goes on as it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anthropic
import openai
import pytest

from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.upstream import ScriptedUpstream
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Said

HELLO: Final = Said(text="Hello.")
LOWERED: Final = "max_tokens: lowered to 16384, gpt-4o-mini writes no more"
THOUGHTLESS: Final = "reasoning: left out, gpt-4o-mini does not think"


async def told(upstream: ScriptedUpstream, url: str, key: str, model: str, **more: Any) -> tuple[Any, list[str]]:
    """What the provider is told of a request through Anthropic's client, and the warnings that come back."""
    upstream.enqueue(PROVIDERS["openai"].whole(HELLO))
    async with anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as client:
        answer = await client.messages.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], timeout=60, **more
        )
    warnings = answer.headers.get("x-spine-warnings", "")
    return upstream.received[-1].json(), [line for line in warnings.split("; ") if line]


async def test_what_a_model_cannot_take(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """Claude Code's limit and thinking, before a model that writes less and does not think."""
    gateway = await gateways.before(upstream)
    thinking = {"type": "enabled", "budget_tokens": 16_000}
    model = "openai/gpt-4o-mini"
    body, warnings = await told(upstream, gateway.url, gateway.key, model, max_tokens=32_000, thinking=thinking)
    assert 16_384 == body["max_completion_tokens"]
    assert "reasoning_effort" not in body
    assert [LOWERED, THOUGHTLESS] == warnings


async def test_what_a_model_can_take(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """A limit that it keeps, and to be told not to think, need no word; nor does a model of which nothing is known."""
    gateway = await gateways.before(upstream)
    off = {"type": "disabled"}
    body, warnings = await told(
        upstream, gateway.url, gateway.key, "openai/gpt-4o-mini", max_tokens=16_384, thinking=off
    )
    assert (16_384, []) == (body["max_completion_tokens"], warnings)
    assert "reasoning_effort" not in body
    thinking = {"type": "enabled", "budget_tokens": 16_000}
    body, warnings = await told(
        upstream, gateway.url, gateway.key, "openai/unheard-of", max_tokens=10**6, thinking=thinking
    )
    assert (10**6, "high", []) == (body["max_completion_tokens"], body["reasoning_effort"], warnings)


async def test_bodies_that_pass(gateways: Gateways, upstream: ScriptedUpstream) -> None:
    """A caller who speaks his provider's own dialect is not put right."""
    gateway = await gateways.before(upstream)
    upstream.enqueue(PROVIDERS["openai"].whole(HELLO))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        await client.chat.completions.create(
            model="openai/gpt-4o-mini",
            messages=[{"role": "user", "content": "Hi"}],
            max_completion_tokens=32_000,
            reasoning_effort="low",
        )
    body: Any = upstream.received[0].json()
    assert (32_000, "low") == (body["max_completion_tokens"], body["reasoning_effort"])


@pytest.mark.parametrize(
    ("more", "limit"), [("max_output_tokens = 20_000", 20_000), ('abilities = ["thinking"]', 16_384)]
)
async def test_the_users_word_is_the_last(upstream: ScriptedUpstream, tmp_path: Path, more: str, limit: int) -> None:
    """What the user's table says of a model is what its requests are made to fit."""
    config = tmp_path / "spine.toml"
    config.write_text(f'[models."gpt-4o-mini"]\n{more}\n', encoding="utf-8")
    environ = {"GENAI_CONFIG": str(config), "OPENAI_API_KEY": "sk-1", "OPENAI_API_URL": f"{upstream.url}/v1"}
    thinking = {"type": "enabled", "budget_tokens": 16_000}
    async with running_gateway(environ) as gateway:
        body, _ = await told(
            upstream, gateway.url, gateway.key, "openai/gpt-4o-mini", max_tokens=32_000, thinking=thinking
        )
    assert limit == body["max_completion_tokens"]
    assert ("abilities" in more) == ("reasoning_effort" in body)
