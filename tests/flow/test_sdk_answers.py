"""T2 with the official packages: structured output, how an answer ends and what it took, sampling and thinking."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec.structs import replace
from pydantic import BaseModel

from genai_spine.types.json import JsonObject
from tests.flow.answers import PROVIDERS, Said
from tests.flow.cells import cells
from tests.flow.clients import Ask
from tests.flow.scenes import TWO_ANSWERS, WITH_LOGPROBS, options
from tests.flow.wiring import Wired, answer, ask_stream, ask_whole, asked_for, got, told_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


class City(BaseModel):
    """What a structured answer must be."""

    city: str
    country: str


# Structured output.


def _open(schema: JsonObject | None) -> JsonObject:
    """What a schema says, without what the packages and providers add to it in words or to close it."""
    assert schema is not None
    properties = schema["properties"]
    assert isinstance(properties, dict)
    kinds: JsonObject = {name: value["type"] for name, value in properties.items() if isinstance(value, dict)}
    return {"type": schema["type"], "required": schema["required"], "properties": kinds}


CITY: Final[JsonObject] = {
    "type": "object",
    "required": ["city", "country"],
    "properties": {"city": "string", "country": "string"},
}


@cells("schema")
async def test_structured_output(wired: Wired, client_name: str, provider_name: str) -> None:
    """The schema reaches the provider in its own form; the package parses what comes back."""
    provider = PROVIDERS[provider_name]
    reply, said = answer(provider, "schema", Said(text='{"city": "Lima", "country": "Peru"}'))
    ask = Ask(prompt="Name a city.", shape=City)
    told = await ask_whole(wired, client_name, provider, ask, reply)
    seen = wired.asked(provider)
    assert CITY == _open(seen.schema)
    assert asked_for(provider, ask) == replace(seen, schema=None)
    assert told_of(client_name, said, provider) == got(told)
    assert City.model_validate_json(said.text) == told.parsed


@cells("schema_stream")
async def test_structured_output_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """Structured output may be streamed, and is parsed in the end."""
    provider = PROVIDERS[provider_name]
    said = Said(text='{"city": "Mexico City", "country": "Mexico"}')
    told = await ask_stream(wired, client_name, provider, Ask(shape=City), provider.stream(said))
    seen = wired.asked(provider)
    assert (CITY, True) == (_open(seen.schema), seen.stream)
    assert City(city="Mexico City", country="Mexico") == told.parsed


@cells("json_mode")
async def test_any_json_object(wired: Wired, client_name: str, provider_name: str) -> None:
    """Any JSON object is asked for by the provider's mode; where it has none, in the instructions."""
    provider = PROVIDERS[provider_name]
    said = Said(text='{"city": "Lima"}')
    more: dict[str, dict[str, Any]] = {
        "openai": {"response_format": {"type": "json_object"}},
        "responses": {"text": {"format": {"type": "json_object"}}},
        "gemini": {"response_mime_type": "application/json"},
        "ollama": {"format": "json"},
    }
    ask = Ask(system="Be brief.", more=more[client_name])
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    seen = wired.asked(provider)
    assert told_of(client_name, said, provider) == got(told)
    if provider_name in {"anthropic", "bedrock"}:
        assert seen.schema is None
        assert seen.system.startswith("Be brief.")
        assert "JSON object" in seen.system
    else:
        assert ({}, "Be brief.") == (seen.schema, seen.system)


# How it ends, and what it took.


@cells("length")
async def test_cut_at_the_limit(wired: Wired, client_name: str, provider_name: str) -> None:
    """An answer cut at its limit says so, whole and streamed."""
    provider = PROVIDERS[provider_name]
    said = Said(text="The capital of", finish="length")
    ask = Ask(max_tokens=4)
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert 4 == wired.asked(provider).max_tokens
    assert told_of(client_name, said, provider) == got(told)
    told = await ask_stream(wired, client_name, provider, ask, provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)


@cells("refusal")
async def test_refused_by_the_model(wired: Wired, client_name: str, provider_name: str) -> None:
    """An answer that a filter ended says so, whole and streamed."""
    provider = PROVIDERS[provider_name]
    said = Said(text="I cannot help", finish="content_filter")
    told = await ask_whole(wired, client_name, provider, Ask(), provider.whole(said))
    assert told_of(client_name, said, provider) == got(told)
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)


@cells("stop_sequence")
async def test_stop_sequence(wired: Wired, client_name: str, provider_name: str) -> None:
    """Stop sequences reach the provider; which of them it was only Anthropic tells, and only to its own."""
    provider = PROVIDERS[provider_name]
    stopped_by = "END" if provider_name == "anthropic" else None
    said = Said(text="One, two,", stopped_by=stopped_by)
    ask = Ask(stop=("END", "STOP"))
    told = await ask_whole(wired, client_name, provider, ask, provider.whole(said))
    assert asked_for(provider, ask) == wired.asked(provider)
    if (client_name, provider_name) == ("anthropic", "anthropic"):
        assert ("stop_sequence", "END") == (told.finish, told.raw.stop_sequence)
    else:
        assert told_of(client_name, said, provider) == got(told)


@cells("cached_usage")
async def test_cached_input(wired: Wired, client_name: str, provider_name: str) -> None:
    """Tokens from a cache are counted once: among the input towards most clients, apart towards Anthropic's."""
    provider = PROVIDERS[provider_name]
    written = 40 if provider_name == "anthropic" else None
    reply, said = answer(provider, "cached_usage", Said(text="Yes.", input_tokens=1500, cached=1024, written=written))
    told = await ask_whole(wired, client_name, provider, Ask(), reply)
    assert told_of(client_name, said, provider) == got(told)
    assert said.cached
    assert said.cached == told.cached
    if client_name == "gemini":
        assert said.input_tokens + said.output_tokens == told.raw.usage_metadata.total_token_count
    elif client_name != "anthropic":
        assert said.input_tokens + said.output_tokens == told.raw.usage.total_tokens
    else:
        assert said.input_tokens - said.cached - (said.written or 0) == told.raw.usage.input_tokens


@cells("cached_usage_stream")
async def test_cached_input_of_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream counts the same way."""
    provider = PROVIDERS[provider_name]
    written = 40 if provider_name == "anthropic" else None
    said = Said(text="Yes.", input_tokens=1500, cached=1024, written=written)
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(said))
    assert told_of(client_name, said, provider) == got(told)
    assert 1024 == told.cached


# Sampling and thinking.


@cells("sampling")
async def test_sampling(wired: Wired, client_name: str, provider_name: str) -> None:
    """A temperature of 0 is a value, and reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(more=options(client_name, temperature=0))
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    assert asked_for(provider, ask, temperature=0) == wired.asked(provider)


@cells("seed")
async def test_seed(wired: Wired, client_name: str, provider_name: str) -> None:
    """A seed reaches the provider."""
    provider = PROVIDERS[provider_name]
    ask = Ask(more=options(client_name, seed=7))
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    assert asked_for(provider, ask, seed=7) == wired.asked(provider)


@cells("n")
async def test_several_answers(wired: Wired, client_name: str, provider_name: str) -> None:
    """Several answers to one request come back, in their order."""
    provider = PROVIDERS[provider_name]
    said = Said(text="Paris.", others=("It is Paris.",))
    told = await ask_whole(wired, client_name, provider, Ask(more=TWO_ANSWERS[client_name]), provider.whole(said))
    assert 2 == wired.asked(provider).n
    choices = told.raw.candidates if client_name == "gemini" else told.raw.choices
    texts = {
        "openai": lambda choice: choice.message.content,
        "completions": lambda choice: choice.text,
        "gemini": lambda choice: choice.content.parts[0].text,
    }
    assert ["Paris.", "It is Paris."] == [texts[client_name](choice) for choice in choices]
    assert [0, 1] == [choice.index for choice in choices]


LIKELY: Final = Said(text="Paris is", logprobs=(("Paris", -0.125), (" is", -1.5)))


@cells("logprobs")
async def test_logprobs(wired: Wired, client_name: str, provider_name: str) -> None:
    """Each token's probability is told where it is asked for."""
    provider = PROVIDERS[provider_name]
    told = await ask_whole(wired, client_name, provider, Ask(more=WITH_LOGPROBS[client_name]), provider.whole(LIKELY))
    assert wired.asked(provider).logprobs is True
    assert LIKELY.logprobs == told.logprobs


@cells("logprobs_stream")
async def test_logprobs_of_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream tells them with its words."""
    provider = PROVIDERS[provider_name]
    told = await ask_stream(wired, client_name, provider, Ask(more=WITH_LOGPROBS[client_name]), provider.stream(LIKELY))
    assert wired.asked(provider).logprobs is True
    assert LIKELY.logprobs == told.logprobs
    assert "Paris is" == told.text


THINKERS: Final = {"openai": "gpt-5-mini", "responses": "gpt-5-mini", "ollama": "qwen3:8b"}
"""Models that think, where the provider's usual one does not."""


@cells("effort")
async def test_effort(wired: Wired, client_name: str, provider_name: str) -> None:
    """How hard to think is said as the provider takes it; a model that is told a budget gets one below its limit."""
    provider = PROVIDERS[provider_name]
    provider = replace(provider, model=THINKERS.get(provider_name, provider.model))
    ask = Ask(max_tokens=20_000, effort="high")
    await ask_whole(wired, client_name, provider, ask, provider.whole(Said(text="Paris.")))
    passed = (client_name, provider_name) == ("anthropic", "anthropic")
    expected = 16_384 if provider_name in {"anthropic", "bedrock"} and not passed else "high"
    assert asked_for(provider, ask, effort=expected) == wired.asked(provider)


THOUGHT: Final = Said(text="It is Paris.", thinking="The user asks for a capital.")


@cells("thinking")
async def test_thinking(wired: Wired, client_name: str, provider_name: str) -> None:
    """What a model thought is told apart from what it said."""
    provider = PROVIDERS[provider_name]
    told = await ask_whole(wired, client_name, provider, Ask(), provider.whole(THOUGHT))
    assert told_of(client_name, THOUGHT, provider) == got(told)
    assert THOUGHT.thinking == told.thinking


@cells("thinking_stream")
async def test_thinking_in_a_stream(wired: Wired, client_name: str, provider_name: str) -> None:
    """A stream keeps thoughts and words apart too."""
    provider = PROVIDERS[provider_name]
    told = await ask_stream(wired, client_name, provider, Ask(), provider.stream(THOUGHT))
    assert told_of(client_name, THOUGHT, provider) == got(told)
    assert THOUGHT.thinking == told.thinking
