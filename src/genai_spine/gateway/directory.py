"""What routing is told of providers, models and the operator's wishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, get_args

from msgspec import Struct

from genai_spine.catalog.models import ModelCatalog
from genai_spine.errors import ProviderNotConfiguredError, SpineError
from genai_spine.providers.base import Provider
from genai_spine.providers.registry import SIMULATOR, Registry
from genai_spine.routing.candidates import Place
from genai_spine.routing.options import MILLION, Ability, Traits
from genai_spine.routing.shortlist import Alias
from genai_spine.types.usage import Usage

__all__ = ["ProviderDirectory", "RoutingWishes"]

_ABILITIES: Final[frozenset[Ability]] = frozenset(get_args(Ability))
# Prices are asked for a prompt of a usual length: that of a million tokens may be dearer by the token.
_SAMPLE: Final = 1000
_NOT_CONFIGURED: Final = ProviderNotConfiguredError.default_code


class RoutingWishes(Struct, frozen=True, kw_only=True):
    """The operator's wishes.

    Attributes:
        default_provider: Serves models that nothing else places.
        aliases: Names of his own for models.
        chain: The providers to which a request may move on, in this order.
        weights: What share of the requests a provider gets where they are spread; 1 where it is not named.
    """

    default_provider: str = "ollama"
    aliases: tuple[Alias, ...] = ()
    chain: tuple[str, ...] = ()
    weights: Mapping[str, float] = {}


class ProviderDirectory:
    """The providers of a registry, with what the catalogue knows of their models (``routing.shortlist.Directory``)."""

    def __init__(self, registry: Registry, catalog: ModelCatalog, wishes: RoutingWishes) -> None:
        self._registry = registry
        self._catalog = catalog
        self._wishes = wishes
        self._aliases = {alias.name: alias for alias in wishes.aliases}

    @property
    def version(self) -> int:
        """Grows with every change of the providers."""
        return self._registry.version

    # Providers.

    def place(self, name: str) -> Place | None:
        """Return a provider as the rules see it."""
        return self._place(self._registry.get(name)) if name in self._registry else None

    def places(self) -> Sequence[Place]:
        """Return all real providers."""
        return [self._place(provider) for provider in self._registry if provider.name != SIMULATOR]

    def default_place(self) -> Place | None:
        """Return the default provider."""
        return self.place(self._wishes.default_provider)

    def last_resort(self) -> Place | None:
        """Return the simulator."""
        return self.place(SIMULATOR)

    def serves(self, name: str, model: str) -> bool:
        """Return whether a provider is known to serve a model, switched off or not."""
        return name in self._registry and self._registry.get(name).knows(model)

    def obstacle(self, name: str, model: str) -> str | None:
        """Return why a model cannot be asked of a provider; None where it can."""
        if name not in self._registry:
            return "no such provider"
        found = self._registry.obstacle(name, model)
        return None if found is None else "it is not configured" if found.code == _NOT_CONFIGURED else found.message

    def unknown_provider(self, name: str) -> SpineError:
        """Return the error for a provider that does not exist."""
        return self._registry.unknown_provider(name)

    def unknown_model(self, model: str) -> SpineError:
        """Return the error for a model that nobody serves."""
        return self._registry.unknown_model(model)

    # The operator's wishes.

    def alias(self, name: str) -> Alias | None:
        """Return the alias of a name."""
        return self._aliases.get(name)

    def chain(self) -> Sequence[str]:
        """Return the fallback chain."""
        return self._wishes.chain

    # Models.

    def home(self, model: str) -> str | None:
        """Return the provider that an id belongs to by how it begins."""
        return self._catalog.home(model)

    def named(self, model: str) -> Sequence[tuple[str, str]]:
        """Return the places of a model by the catalogue's own name for it."""
        return [place for place in self._catalog.places(model).items() if place[0] in self._registry]

    def elsewhere(self, provider: str, model: str) -> Sequence[tuple[str, str]]:
        """Return the other places of a model."""
        return [place for place in self._catalog.elsewhere(provider, model) if place[0] in self._registry]

    def traits(self, provider: str, model: str) -> Traits:
        """Return what is known of a model at a provider."""
        if provider not in self._registry:
            return Traits()
        known = self._catalog.describe(provider, model)
        owner = self._registry.get(provider)
        return Traits(
            context=known.max_input_tokens,
            lacks=frozenset() if known.abilities is None else _ABILITIES - known.abilities,
            rank=known.quality_rank,
            input_price=_price(owner, model, Usage(input_tokens=_SAMPLE)),
            output_price=_price(owner, model, Usage(output_tokens=_SAMPLE)),
            weight=self._wishes.weights.get(provider, 1.0),
        )

    def _place(self, provider: Provider) -> Place:
        name, registry = provider.name, self._registry
        return Place(
            name=name,
            usable=registry.status(provider) == "ready",
            models=frozenset(
                model for model in (*provider.models, *provider.stated) if not registry.is_off(name, model)
            ),
            default_model=provider.default_model,
            open_models=provider.open_models or provider.local,
            local=provider.local,
        )


def _price(provider: Provider, model: str, sample: Usage) -> int | None:
    """What a million tokens cost, in picodollars; None where nobody knows."""
    cost = provider.cost_of(model, sample)
    return cost.picodollars * (MILLION // _SAMPLE) if cost.known else None
