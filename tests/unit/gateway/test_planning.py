"""The planner: what routing is told of the providers, and how long what it said is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from genai_spine.catalog.models import ModelCatalog
from genai_spine.errors import InvalidFieldError, ModelNotFoundError, UnavailableError, UnknownProviderError
from genai_spine.gateway.directory import ProviderDirectory, RoutingWishes
from genai_spine.gateway.guards import Guards
from genai_spine.gateway.planning import Planner
from genai_spine.providers.builtin import providers
from genai_spine.providers.registry import SIMULATOR, Registry
from genai_spine.routing.registry import Strategies, builtin
from genai_spine.routing.router import Ask
from genai_spine.routing.shortlist import Alias, Target
from genai_spine.testing.clock import ManualClock
from tests.context import context
from tests.providers import OwnProvider


def registry_of(environ: Mapping[str, str], *, simulator: bool = True) -> Registry:
    """The built-in providers, with this environment."""
    registry = Registry()
    for provider in providers(context(environ)):
        if simulator or provider.name != SIMULATOR:
            registry.add(provider)
    return registry


def made(registry: Registry, **wishes: Any) -> Planner:  # Any: the fields of RoutingWishes
    """A planner over providers that do well."""
    guards = Guards(ManualClock())
    return Planner(registry, ModelCatalog.builtin(), Strategies(builtin()), guards, RoutingWishes(**wishes))


def names(planner: Planner, model: str | None = None, provider: str | None = None) -> list[str]:
    """The providers of a plan."""
    return [one.provider for one in planner.plan(Ask(model=model, provider=provider)).candidates]


def test_a_plan_is_remembered() -> None:
    """The rules are not asked twice for the same names."""
    planner = made(registry_of({}))
    asked = Ask(model="gpt-4o")
    assert planner.plan(asked) is planner.plan(asked)
    assert planner.plan(asked) is not planner.plan(Ask(model="gpt-4o", provider="openai"))


def test_a_change_of_providers_takes_effect_at_once() -> None:
    """A provider that is registered, or becomes ready, is in the next plan."""
    registry = registry_of({})
    planner = made(registry)
    assert [SIMULATOR] == names(planner)
    registry.add(OwnProvider())
    assert ["mine"] == names(planner)
    assert [("mine", "mine-1")] == [
        (found.provider, found.model) for found in planner.plan(Ask(model="mine/mine-1")).candidates
    ]
    registry.get("openai").status = "ready"
    registry.changed()
    assert ["openai", "mine"] == names(planner)


def test_errors_are_not_remembered() -> None:
    """A model that nobody serves is looked for again, and found once somebody does."""
    registry = registry_of({})
    planner = made(registry)
    with pytest.raises(ModelNotFoundError):
        planner.plan(Ask(model="mine-1"))
    mine = OwnProvider()
    mine.models = ("mine-1",)
    registry.add(mine)
    assert ["mine"] == names(planner, "mine-1")


def test_an_unknown_provider() -> None:
    """The registry's own error, which lists those that there are; it names the field where one was preferred."""
    planner = made(registry_of({}))
    with pytest.raises(UnknownProviderError, match="known providers: anthropic"):
        planner.plan(Ask(provider="nobody"))
    with pytest.raises(UnknownProviderError, match="known providers: anthropic") as caught:
        planner.plan(Ask(preferred=("openai", "nobody")))
    assert "routing.preferred_providers" == caught.value.param


def test_an_unknown_strategy() -> None:
    """A planner is not made with it."""
    guards, strategies = Guards(ManualClock()), Strategies(builtin())
    with pytest.raises(InvalidFieldError, match="unknown strategy 'best'"):
        Planner(registry_of({}), ModelCatalog.builtin(), strategies, guards, RoutingWishes(), "best")


def test_nobody_at_all() -> None:
    """Without the simulator and without a configured provider nothing can be served; the message says what to set."""
    with pytest.raises(UnavailableError, match="OPENAI_API_KEY"):
        made(registry_of({}, simulator=False)).plan(Ask())


def directory(registry: Registry, **wishes: Any) -> ProviderDirectory:  # Any: the fields of RoutingWishes
    """What routing is told."""
    return ProviderDirectory(registry, ModelCatalog.builtin(), RoutingWishes(**wishes))


def test_what_is_told_of_providers() -> None:
    """Real providers without the simulator; local ones serve more than they list."""
    registry = registry_of({"OLLAMA_API_URL": "http://box", "SCW_SECRET_KEY": "k"})
    told = directory(registry)
    places = {place.name: place for place in told.places()}
    assert set(places) == {provider.name for provider in registry} - {SIMULATOR}
    ollama, scaleway = places["ollama"], places["scaleway"]
    assert (True, True, True) == (ollama.usable, ollama.open_models, ollama.local)
    assert (True, False, False) == (scaleway.usable, scaleway.open_models, scaleway.local)
    assert (False, frozenset()) == (places["openai"].usable, places["openai"].models)
    assert told.place("nobody") is None
    assert not told.serves("nobody", "m")
    assert told.serves("scaleway", "llama-3.3-70b-instruct")
    default, last = told.default_place(), told.last_resort()
    assert ("ollama", SIMULATOR) == (default and default.name, last and last.name)


def test_what_is_told_of_the_operators_wishes() -> None:
    """Aliases by name, the chain, and a weight of 1 where none is set."""
    fast = Alias("fast", (Target("groq/llama-3.1-8b-instant"),))
    told = directory(registry_of({}), aliases=(fast,), chain=("ollama", "openai"), weights={"openai": 3.0})
    assert (fast, None) == (told.alias("fast"), told.alias("slow"))
    assert ("ollama", "openai") == told.chain()
    assert (3.0, 1.0) == (told.traits("openai", "gpt-4o").weight, told.traits("azure", "gpt-4o").weight)


def test_what_is_told_of_a_model() -> None:
    """The catalogue's facts and the provider's prices, in picodollars for a million tokens."""
    told = directory(registry_of({}))
    mini = told.traits("openai", "gpt-4o-mini")
    assert (150_000_000_000, 600_000_000_000) == (mini.input_price, mini.output_price)
    assert (128_000, frozenset()) == (mini.context, mini.lacks)
    assert mini.rank is not None
    local = told.traits("ollama", "llama3.2:latest")
    assert (0, 0, frozenset({"vision"})) == (local.input_price, local.output_price, local.lacks)
    unknown = told.traits("openai", "made-up")
    assert (None, None, None) == (unknown.input_price, unknown.context, unknown.rank)
    assert frozenset() == unknown.lacks


def test_one_model_at_several_providers() -> None:
    """Those that the registry has are told, by the catalogue's own name and from one place to the others."""
    told = directory(registry_of({}))
    others = dict(told.elsewhere("openai", "gpt-4o"))
    assert "openrouter" in others
    assert "openai" not in others
    name = ModelCatalog.builtin().family("openai", "gpt-4o")
    assert {"openai", *others} == {provider for provider, _ in told.named(name or "")}
    assert [] == told.named("made-up")
    assert [] == told.elsewhere("openai", "made-up")
