"""What requests are served by: all that follows from the settings and may be another while the gateway runs.

A setup is made whole, aside, and then takes the place of the former by one assignment. Requests that are under way keep
the providers that they were planned with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from genai_spine.catalog.book import PriceBook
from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices, Rate, own_rates
from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect
from genai_spine.errors import ConfigurationError, InvalidFieldError
from genai_spine.gateway.directory import RoutingWishes
from genai_spine.gateway.guards import Policies
from genai_spine.gateway.planning import Planner
from genai_spine.providers.base import Provider
from genai_spine.providers.plugins import Context, load_providers
from genai_spine.providers.registry import Registry
from genai_spine.resilience.breaker import CircuitPolicy
from genai_spine.resilience.faults import permanent_patterns
from genai_spine.resilience.keys import KeyPolicy
from genai_spine.resilience.retry import RetryPolicy
from genai_spine.routing.base import Snapshot
from genai_spine.routing.registry import Strategies
from genai_spine.routing.shortlist import Alias, Target
from genai_spine.settings import DATABASE, Settings
from genai_spine.transport.base import Transport

__all__ = ["Parts", "Setup", "policies_from", "set_up"]

_VARIABLES: Final = {
    "default_provider": "GENAI_DEFAULT_PROVIDER",
    "generate_default_provider": "GENAI_GENERATE_DEFAULT_PROVIDER",
    "fallback_chain": "GENAI_FALLBACK_CHAIN",
    "routing_strategy": "GENAI_ROUTING_STRATEGY",
}


class Parts(Struct, frozen=True, kw_only=True):
    """What stays while setups change.

    Attributes:
        transport: What carries requests.
        dialects: Those that a provider may speak.
        book: The price list.
        strategies: In which orders providers may be asked.
        snapshot: How they do.
        own: Providers that the program has registered, by name.
    """

    transport: Transport
    dialects: Mapping[str, Dialect]
    book: PriceBook
    strategies: Strategies
    snapshot: Snapshot
    clock: Clock
    own: Mapping[str, Provider]


class Setup(Struct, frozen=True, kw_only=True, eq=False):
    """What requests are served by.

    Attributes:
        settings: What it was made from.
        catalog: What is known of models.
        prices: What they cost.
        registry: The providers.
        planner: Where requests go.
        policies: When keys rest, circuits open and calls are made again.
        warnings: What was found in the settings and should be looked at, a line each.
    """

    settings: Settings
    catalog: ModelCatalog
    prices: Prices
    registry: Registry
    planner: Planner
    policies: Policies
    warnings: tuple[str, ...]


def set_up(settings: Settings, parts: Parts, former: Setup | None = None) -> Setup:
    """Make a setup; what is in it as it was in the former one is that one's own, with all that it has learnt.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    catalog, prices = _knowledge(settings, parts, former)
    registry = _providers(settings, parts, catalog, prices, former)
    planner = _planner(settings, parts, registry, catalog)
    _check(settings, registry, catalog)
    names = [provider.name for provider in registry]
    retired = [
        provider.default_warning
        for provider in registry
        if provider.default_warning and registry.status(provider) == "ready"
    ]
    return Setup(
        settings=settings,
        catalog=catalog,
        prices=prices,
        registry=registry,
        planner=planner,
        policies=policies_from(settings),
        warnings=(*settings.check_names(names), *retired),
    )


def _knowledge(settings: Settings, parts: Parts, former: Setup | None) -> tuple[ModelCatalog, Prices]:
    values = settings.values
    stand_in = (values.unknown_price_input, values.unknown_price_output)
    if former is not None:
        before = former.settings.values
        if (before.models, before.unknown_price_input, before.unknown_price_output) == (values.models, *stand_in):
            return former.catalog, former.prices
    catalog = ModelCatalog(parts.book, own=values.models, clock=parts.clock)
    prices = Prices(
        parts.book,
        overrides=own_rates(values.models),
        stand_in=Rate.per_million(input=stand_in[0], output=stand_in[1]),
        catalog=catalog,
        clock=parts.clock,
    )
    return catalog, prices


def _providers(
    settings: Settings, parts: Parts, catalog: ModelCatalog, prices: Prices, former: Setup | None
) -> Registry:
    values = settings.values
    off = {name for name, file in values.providers.items() if not file.is_enabled}
    off |= {name for name, file in values.models.items() if not file.is_enabled}
    registry = Registry(frozenset(off))
    context = Context(
        settings=settings,
        transport=parts.transport,
        dialects=parts.dialects,
        catalog=catalog,
        prices=prices,
        clock=parts.clock,
    )
    before = {} if former is None else {provider.name: provider for provider in former.registry}
    for provider in (*load_providers(context), *parts.own.values()):
        known = before.get(provider.name)
        registry.add(known if known is not None and known.is_same(provider) else provider)
    return registry


def _planner(settings: Settings, parts: Parts, registry: Registry, catalog: ModelCatalog) -> Planner:
    values = settings.values
    wishes = RoutingWishes(
        default_provider=values.default_provider,
        aliases=tuple(
            Alias(name, tuple(Target(target.model, target.weight) for target in targets))
            for name, targets in values.aliases.items()
        ),
        chain=values.fallback_chain,
        weights={name: file.weight for name, file in values.providers.items()},
    )
    try:
        return Planner(registry, catalog, parts.strategies, parts.snapshot, wishes, values.routing_strategy)
    except InvalidFieldError as error:
        message = f"{_place(settings, 'routing_strategy')}: {error.message}"
        raise ConfigurationError(message) from error


def _check(settings: Settings, registry: Registry, catalog: ModelCatalog) -> None:
    values = settings.values
    for field, name in (
        ("default_provider", values.default_provider),
        ("generate_default_provider", values.generate_default_provider),
        *(("fallback_chain", name) for name in values.fallback_chain),
    ):
        if name not in registry:
            message = f"{_place(settings, field)}: {registry.unknown_provider(name).message}"
            raise ConfigurationError(message)
    for alias, targets in values.aliases.items():
        for target in targets:
            _check_target(alias, target.model, registry, catalog)


def _check_target(alias: str, model: str, registry: Registry, catalog: ModelCatalog) -> None:
    """Find the misspelt provider of an alias' target. A name with a slash may also be that of a model."""
    name, slash, _ = model.partition("/")
    known = not slash or name in registry or any(provider.knows(model) for provider in registry)
    if not (known or catalog.home(model) or catalog.home_by_form(model)):
        message = f"aliases.{alias}: {model!r}: {registry.unknown_provider(name).message}"
        raise ConfigurationError(message)


def _place(settings: Settings, field: str) -> str:
    """Where a setting is set, or may be."""
    if settings.origins.get(field) == DATABASE:
        return field
    return f"{_VARIABLES[field]} (or {field} in spine.toml)"


def policies_from(settings: Settings) -> Policies:
    """Return when keys rest, circuits open and calls are made again."""
    values = settings.values
    patterns = permanent_patterns(*values.permanent_error_patterns)
    return Policies(
        keys=KeyPolicy(
            max_failures_before_cooldown=values.max_failures_before_cooldown,
            default_cooldown=values.default_cooldown,
            max_cooldown=values.max_cooldown_seconds,
            max_key_attempts=values.max_key_attempts,
            patterns=patterns,
        ),
        circuit=CircuitPolicy(
            failures=values.circuit_failures, open_seconds=values.circuit_open_seconds, patterns=patterns
        ),
        retry=RetryPolicy(
            attempts=values.retry_attempts,
            first_wait=values.retry_first_wait,
            longest_wait=values.retry_longest_wait,
            patience=values.retry_patience,
            longest_silence=values.retry_longest_silence,
            patterns=patterns,
        ),
        retry_share=values.retry_share,
    )
