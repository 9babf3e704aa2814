"""The planner: what the rules are told of the providers, and how long what they said is remembered."""

from __future__ import annotations

import pytest

from genai_spine.catalog.models import ModelCatalog
from genai_spine.errors import ModelNotFoundError, UnavailableError, UnknownProviderError
from genai_spine.gateway.planning import MOST_REMEMBERED, Planner
from genai_spine.providers.builtin import providers
from genai_spine.providers.registry import SIMULATOR, Registry
from tests.context import context
from tests.providers import OwnProvider


def made(default: str = "ollama", **environ: str) -> tuple[Planner, Registry]:
    """A planner over the built-in providers, with this environment."""
    registry = Registry()
    for provider in providers(context(environ)):
        registry.add(provider)
    return Planner(registry, ModelCatalog.builtin(), default), registry


def test_a_plan_is_remembered() -> None:
    """The rules are not asked twice for the same names."""
    planner, _ = made()
    assert planner.plan("gpt-4o", None) is planner.plan("gpt-4o", None)
    assert planner.plan("gpt-4o", None) is not planner.plan("gpt-4o", "openai")


def test_a_change_of_providers_takes_effect_at_once() -> None:
    """A provider that is registered, or becomes ready, is in the next plan."""
    planner, registry = made()
    assert [SIMULATOR] == [candidate.provider for candidate in planner.plan(None, None)]
    registry.add(OwnProvider())
    assert ["mine"] == [candidate.provider for candidate in planner.plan(None, None)]
    assert [("mine", "mine-1")] == [(found.provider, found.model) for found in planner.plan("mine/mine-1", None)]
    registry.get("openai").status = "ready"
    registry.changed()
    assert ["openai", "mine"] == [candidate.provider for candidate in planner.plan(None, None)]


def test_callers_cannot_fill_the_memory() -> None:
    """What is remembered of names that callers made up has an end, and the plans stay right."""
    planner, _ = made(OLLAMA_API_URL="http://box")
    first = planner.plan("gpt-4o", None)
    for number in range(MOST_REMEMBERED + 2):
        planner.plan(f"made-up:{number}", None)
    assert planner.plan("gpt-4o", None) is not first
    assert planner.plan("gpt-4o", None) == first


def test_errors_are_not_remembered() -> None:
    """A model that nobody serves is looked for again, and found once somebody does."""
    planner, registry = made()
    with pytest.raises(ModelNotFoundError):
        planner.plan("mine-1", None)
    mine = OwnProvider()
    mine.models = ("mine-1",)
    registry.add(mine)
    assert planner.plan("mine-1", None)[0].provider == "mine"


def test_an_unknown_provider() -> None:
    """The registry's own error, which lists those that there are."""
    with pytest.raises(UnknownProviderError, match="known providers: anthropic"):
        made()[0].plan(None, "nobody")


def test_nobody_at_all() -> None:
    """Without the simulator and without a configured provider nothing can be served; the message says what to set."""
    registry = Registry()
    for provider in providers(context()):
        if provider.name != SIMULATOR:
            registry.add(provider)
    with pytest.raises(UnavailableError, match="OPENAI_API_KEY"):
        Planner(registry, ModelCatalog.builtin(), "ollama").plan(None, None)


def test_what_the_rules_are_told() -> None:
    """Real providers without the simulator; local ones serve more than they list."""
    planner, registry = made(OLLAMA_API_URL="http://box", SCW_SECRET_KEY="k")
    places = {place.name: place for place in planner.places()}
    assert set(places) == {provider.name for provider in registry} - {SIMULATOR}
    assert (True, True) == (places["ollama"].usable, places["ollama"].open_models)
    assert (True, False) == (places["scaleway"].usable, places["scaleway"].open_models)
    assert (False, frozenset()) == (places["openai"].usable, places["openai"].models)
    assert planner.place("nobody") is None
    assert not planner.serves("nobody", "m")
    assert planner.serves("scaleway", "llama-3.3-70b-instruct")
    default, last = planner.default_place(), planner.last_resort()
    assert ("ollama", SIMULATOR) == (default and default.name, last and last.name)
    assert not planner.facts("o3").sampling
