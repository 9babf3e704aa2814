"""Pitfalls of translation that no other test shows; ``tests/house/test_pitfalls.py`` tells where each is tested."""

from __future__ import annotations

import json
from typing import Final

import openai
import pytest

from genai_spine.testing.upstream import Scripted, sse_reply
from tests.flow.answers import PROVIDERS, Said
from tests.flow.clients import Ask
from tests.flow.wiring import Wired, ask_stream, ask_whole

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITED: Final = {"error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "slow_down"}}


async def test_25_a_limit_told_amid_a_stream(wired: Wired) -> None:
    """A 429 after the first words ends the stream, once and for good, and nobody is asked again."""
    provider = PROVIDERS["openai"]
    begun = provider.stream(Said(text="One two three")).chunks[:2]
    wired.upstream.enqueue(sse_reply([*begun, b"data: " + json.dumps(LIMITED).encode() + b"\n\n"]))
    with pytest.raises(openai.APIError) as caught:
        await wired.clients["openai"].stream(f"{provider.asked_as}/{provider.model}", Ask())
    assert "slow down" in str(caught.value)
    assert "slow_down" == caught.value.code
    assert 1 == len(wired.upstream.received)


@pytest.mark.parametrize("client", ["openai", "responses", "anthropic", "gemini"])
async def test_29_thinking_that_ate_the_limit(wired: Wired, client: str) -> None:
    """An answer that ends at its limit before a word was said is no end of its own accord, and no failure."""
    provider = PROVIDERS["ollama"]
    said = Said(thinking="Hmm, let me see", finish="length")
    for ask, reply in ((ask_whole, provider.whole(said)), (ask_stream, provider.stream(said))):
        told = await ask(wired, client, provider, Ask(max_tokens=16), reply)
        expected = {"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}
        assert expected.get(client, "incomplete:max_output_tokens") == told.finish
        assert ("", "Hmm, let me see") == (told.text, told.thinking)


async def test_32_no_limit_is_made_up(wired: Wired) -> None:
    """Some services reserve all that a limit allows: who names none has none named to a provider that needs none."""
    provider = PROVIDERS["openai"]
    client = wired.clients["gemini"]
    reply: Scripted = provider.whole(Said(text="Paris."))
    wired.upstream.enqueue(reply)
    await client.complete(f"{provider.asked_as}/{provider.model}", Ask(max_tokens=None))
    assert wired.asked(provider).max_tokens is None
