"""Which provider and model a request means: each rule in its order, and what is refused."""

from __future__ import annotations

from typing import Final

import pytest

from genai_spine.errors import InvalidRequestError, ModelNotFoundError, UnknownProviderError
from genai_spine.routing.candidates import candidates
from tests.routing import World, place

ALL: Final = World(
    place("openai", default="gpt-4o-mini"),
    place("anthropic", default="claude-sonnet-5-5"),
    place("ollama", default="llama3.2:latest", open_models=True),
    place("groq", default="llama-3.1-8b-instant"),
    place("deepseek", default="deepseek-chat"),
    place("google", default="gemini-flash"),
    place("minimax", default="MiniMax-M3"),
    place("bedrock", default="anthropic.claude-3-sonnet-20240229-v1:0"),
    place("scaleway", "llama-3.1-8b-instruct", "qwen3", default="llama-3.1-8b-instruct"),
    place("router", default="openai/gpt-4o-mini", open_models=True),
    place("off", "off-model", default="off-model", usable=False),
    price_list=frozenset({("groq", "openai/gpt-oss-120b"), ("router", "google/gemini-flash")}),
)

RULES: Final = [
    # 1. The provider is named: that one, the model verbatim.
    ("gpt-4o", "openai", [("openai", "gpt-4o")]),
    ("claude-3-opus", "openai", [("openai", "claude-3-opus")]),
    (None, "openai", [("openai", "gpt-4o-mini")]),
    ("auto", "openai", [("openai", "gpt-4o-mini")]),
    ("openai/gpt-4o", "openai", [("openai", "gpt-4o")]),
    ("no-such/model", "openai", [("openai", "no-such/model")]),
    ("openai/gpt-oss-120b", "groq", [("groq", "openai/gpt-oss-120b")]),
    ("anthropic/claude-3-opus", "router", [("router", "anthropic/claude-3-opus")]),
    ("off-model", "off", [("off", "off-model")]),
    ("echo", "simulator", [("simulator", "echo")]),
    # 3. provider/model, split at the first slash.
    ("openai/gpt-4o-mini", None, [("openai", "gpt-4o-mini")]),
    ("scaleway/qwen3", None, [("scaleway", "qwen3")]),
    ("groq/openai/gpt-oss-120b", None, [("groq", "openai/gpt-oss-120b")]),
    ("simulator/echo", None, [("simulator", "echo")]),
    ("off/off-model", None, [("off", "off-model")]),
    # 4. An exact id, slashes in it or not; failing that, 3 with a model not known there.
    ("qwen3", None, [("scaleway", "qwen3")]),
    ("llama-3.1-8b-instruct", None, [("scaleway", "llama-3.1-8b-instruct")]),
    ("openai/gpt-oss-120b", None, [("groq", "openai/gpt-oss-120b")]),
    ("google/gemini-flash", None, [("google", "gemini-flash")]),
    ("openai/gpt-99", None, [("openai", "gpt-99")]),
    ("simulator/no-such", None, [("simulator", "no-such")]),
    # 5. Bedrock's forms, then fine-tuned models, then tags.
    ("anthropic.claude-3-sonnet-20240229-v1:0", None, [("bedrock", "anthropic.claude-3-sonnet-20240229-v1:0")]),
    ("us.anthropic.claude-3-haiku-v1:0", None, [("bedrock", "us.anthropic.claude-3-haiku-v1:0")]),
    ("amazon.nova-lite-v1:0", None, [("bedrock", "amazon.nova-lite-v1:0")]),
    ("us-gov.anthropic.claude-3-haiku-v1:0", None, [("bedrock", "us-gov.anthropic.claude-3-haiku-v1:0")]),
    ("deepseek.r1-v1:0", None, [("bedrock", "deepseek.r1-v1:0")]),
    ("openai.gpt-oss-120b-1:0", None, [("bedrock", "openai.gpt-oss-120b-1:0")]),
    ("meta.llama3-70b", None, [("bedrock", "meta.llama3-70b")]),
    ("arn:aws:bedrock:us-east-1::model/x", None, [("bedrock", "arn:aws:bedrock:us-east-1::model/x")]),
    ("ft:gpt-4o-mini:me::1", None, [("openai", "ft:gpt-4o-mini:me::1")]),
    ("llama3.2:3b", None, [("ollama", "llama3.2:3b")]),
    ("gpt-oss:20b", None, [("ollama", "gpt-oss:20b")]),
    # 6. How the id begins; the longest rule decides.
    ("deepseek-reasoner", None, [("deepseek", "deepseek-reasoner")]),
    ("llama-9", None, [("groq", "llama-9")]),
    ("mixtral-8x7b", None, [("groq", "mixtral-8x7b")]),
    ("gemma2-9b", None, [("groq", "gemma2-9b")]),
    ("gemini-2.5-pro", None, [("google", "gemini-2.5-pro")]),
    ("claude-opus-4", None, [("anthropic", "claude-opus-4")]),
    ("MiniMax-M2", None, [("minimax", "MiniMax-M2")]),
    ("abab6.5s-chat", None, [("minimax", "abab6.5s-chat")]),
    ("gpt-4o", None, [("openai", "gpt-4o")]),
    ("GPT-4o", None, [("openai", "GPT-4o")]),
    ("o3-mini", None, [("openai", "o3-mini")]),
    # A model listed only by one that is not configured: that it is not is then the answer.
    ("off-model", None, [("off", "off-model")]),
    # 7. The default provider, if it may serve anything.
    ("my-own-model", None, [("ollama", "my-own-model")]),
]


@pytest.mark.parametrize(("model", "provider", "expected"), RULES, ids=[f"{rule[1]}-{rule[0]}" for rule in RULES])
def test_a_rule(model: str | None, provider: str | None, expected: list[tuple[str, str]]) -> None:
    """What a request names goes where the rules send it, with a reason for people to read."""
    found = candidates(model, provider, ALL)
    assert expected == [(candidate.provider, candidate.model) for candidate in found]
    assert all(candidate.reason for candidate in found)


@pytest.mark.parametrize("model", [None, "auto"])
def test_no_model_named(model: str | None) -> None:
    """8: every configured provider with its default model, the default provider first, never the simulator."""
    found = [(candidate.provider, candidate.model) for candidate in candidates(model, None, ALL)]
    assert found[0] == ("ollama", "llama3.2:latest")
    assert found[1] == ("openai", "gpt-4o-mini")
    assert "off" not in {provider for provider, _ in found}
    assert "simulator" not in {provider for provider, _ in found}
    assert len(found) == len(set(found)) == 10


def test_a_default_provider_that_is_not_usable() -> None:
    """It does not lead the list; the others do, in their order."""
    world = World(place("openai", default="a"), place("ollama", default="b", usable=False), place("groq", default="c"))
    assert ["openai", "groq"] == [candidate.provider for candidate in candidates(None, None, world)]


def test_providers_without_a_default_are_passed_over() -> None:
    """Who has no default model cannot answer a request that names none."""
    world = World(place("vllm", open_models=True), place("groq", default="c"))
    assert ["groq"] == [candidate.provider for candidate in candidates(None, None, world)]


def test_nothing_configured() -> None:
    """With no real provider the simulator answers a request that names no model."""
    world = World(place("openai", default="gpt-4o-mini", usable=False))
    assert [("simulator", "echo")] == [(found.provider, found.model) for found in candidates(None, None, world)]


def test_several_list_the_model() -> None:
    """All that are configured and list it are candidates, in their order; who is not configured is none."""
    world = World(place("a", "m"), place("b", "m", usable=False), place("c", "m"), place("d", "n"))
    assert ["a", "c"] == [found.provider for found in candidates("m", None, world)]


def test_an_unknown_provider() -> None:
    """A provider that does not exist is a 400."""
    with pytest.raises(UnknownProviderError):
        candidates("gpt-4o", "nobody", ALL)


@pytest.mark.parametrize(("model", "provider"), [("anthropic/claude-3-opus", "openai"), ("openai/gpt-4o", "scaleway")])
def test_provider_and_prefix_contradict(model: str, provider: str) -> None:
    """A provider beside a model with another's prefix is a 400 that names both."""
    with pytest.raises(InvalidRequestError, match=f"{provider}.*{model}") as caught:
        candidates(model, provider, ALL)
    assert caught.value.param == "provider"


@pytest.mark.parametrize("model", ["my-own-model", "no-such/model", "/", "x/", "/x"])
def test_nobody_serves_it(model: str) -> None:
    """Without an open default provider an unknown model is a 404."""
    world = World(place("openai", default="gpt-4o-mini"), place("ollama", open_models=True, usable=False))
    with pytest.raises(ModelNotFoundError):
        candidates(model, None, world)
    with pytest.raises(ModelNotFoundError):
        candidates(model, None, World(place("openai"), default="nobody"))


def test_a_form_whose_home_is_not_there() -> None:
    """An id of Bedrock's form, with no such provider, goes by how it begins or by its tag."""
    world = World(place("ollama", open_models=True))
    assert ["ollama"] == [found.provider for found in candidates("amazon.nova-lite-v1:0", None, world)]


def test_a_home_that_is_not_configured() -> None:
    """Where an id belongs is told even if that provider is not configured: what to configure is then the answer."""
    world = World(place("openai", usable=False), place("ollama", open_models=True))
    assert ["openai"] == [found.provider for found in candidates("gpt-4o", None, world)]
