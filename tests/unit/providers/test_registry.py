"""The registry: providers by name, and the errors that name near misses."""

from __future__ import annotations

import pytest

from genai_spine.errors import ModelNotFoundError, UnknownProviderError
from genai_spine.providers.builtin import providers
from genai_spine.providers.registry import SIMULATOR, Registry
from tests.context import context


def registry(**environ: str) -> Registry:
    """The built-in providers, with this environment."""
    found = Registry()
    for provider in providers(context(environ)):
        found.add(provider)
    return found


def test_providers_by_name() -> None:
    """What was added is found, in the order in which it was added; nothing else is."""
    found = registry()
    assert "openai" in found
    assert "nobody" not in found
    assert found.get("openai").name == "openai"
    names = [provider.name for provider in found]
    assert names[:3] == ["openai", "anthropic", "google"]
    assert names[-1] == SIMULATOR


def test_an_unknown_provider_is_told_with_the_known_ones() -> None:
    """The error is a 400 that lists what there is, in order."""
    with pytest.raises(
        UnknownProviderError, match="unknown provider 'opnai'; known providers: anthropic, azure"
    ) as caught:
        registry().get("opnai")
    assert (400, "provider", None) == (caught.value.status, caught.value.param, caught.value.__cause__)


def test_the_same_name_takes_the_place() -> None:
    """A provider registered again replaces the older one, in its place, and whoever looked before learns of it."""
    found = registry()
    before, names = found.version, [provider.name for provider in found]
    again = registry(OPENAI_API_KEY="k").get("openai")
    found.add(again)
    assert found.get("openai") is again
    assert names == [provider.name for provider in found]
    assert found.version > before
    before = found.version
    found.changed()
    assert found.version > before


def test_the_simulator_is_no_real_provider() -> None:
    """It is ready, and still not counted among those configured."""
    assert [] == registry().configured()
    assert ["groq"] == [provider.name for provider in registry(GROQ_API_KEY="k").configured()]


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("gpt-4o-mni", "gpt-4o-mini"),
        ("llama-3.1-8b-instrukt", "llama-3.1-8b-instruct"),
        ("opnai/gpt-4o-mini", "openai/gpt-4o-mini"),
    ],
)
def test_an_unknown_model_is_told_with_its_neighbours(model: str, near: str) -> None:
    """The error is a 404 that names what is spelt alike and how to name a provider."""
    error = registry().unknown_model(model)
    assert isinstance(error, ModelNotFoundError)
    assert "did you mean" in error.message
    assert near in error.message
    assert "provider/model" in error.message


def test_an_unknown_model_that_resembles_nothing() -> None:
    """No neighbour is made up, and the sentence is whole."""
    error = registry().unknown_model("zzzzzzzzzzzz")
    assert "did you mean" not in error.message
    assert "serves the model 'zzzzzzzzzzzz'" in error.message
    assert "'zzzzzzzzzzzz' To" not in error.message


async def test_closing_closes_all() -> None:
    """Each provider is let go of once."""
    closed: list[str] = []
    found = registry()
    for name in ("openai", "groq"):
        provider = found.get(name)

        async def close(name: str = name) -> None:
            closed.append(name)

        provider.close = close  # type: ignore[method-assign]  # the built-in ones hold nothing that could be seen closed
    await found.close()
    assert ["groq", "openai"] == sorted(closed)
