"""From what a request names to the candidates that may serve it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from genai_spine.catalog.models import ModelCatalog
from genai_spine.errors import SpineError, UnavailableError
from genai_spine.providers.base import Provider
from genai_spine.providers.registry import SIMULATOR, Registry
from genai_spine.routing.candidates import Place, candidates
from genai_spine.types.candidate import Candidate
from genai_spine.types.models import ModelFacts

__all__ = ["Planner"]

# Callers choose the model names, so what is remembered of them must have an end.
MOST_REMEMBERED: Final = 4096


class Planner:
    """Hands the routing rules a view of the providers, and remembers what they said of each name."""

    def __init__(self, registry: Registry, catalog: ModelCatalog, default_provider: str) -> None:
        self._registry = registry
        self._catalog = catalog
        self._default = default_provider
        self._plans: dict[tuple[str | None, str | None], list[Candidate]] = {}
        self._version = -1

    def plan(self, model: str | None, provider: str | None) -> list[Candidate]:
        """Return where a request may go, best first; never nowhere.

        Raises:
            SpineError: The provider or model is unknown, or nothing is configured.
        """
        if self._version != self._registry.version or len(self._plans) > MOST_REMEMBERED:
            self._plans.clear()
            self._version = self._registry.version
        key = (model, provider)
        found = self._plans.get(key)
        if found is None:
            found = candidates(model, provider, self)
            if not found:
                message = "no provider is configured; set a key, for instance OPENAI_API_KEY"
                raise UnavailableError(message)
            self._plans[key] = found
        return found

    def facts(self, model: str) -> ModelFacts:
        """Return what is known of a model."""
        return self._catalog.facts(model)

    # What the rules ask (routing.candidates.Known).

    def place(self, name: str) -> Place | None:
        """Return a provider as the rules see it."""
        return _place(self._registry.get(name)) if name in self._registry else None

    def places(self) -> Sequence[Place]:
        """Return all real providers."""
        return [_place(provider) for provider in self._registry if provider.name != SIMULATOR]

    def default_place(self) -> Place | None:
        """Return the default provider."""
        return self.place(self._default)

    def last_resort(self) -> Place | None:
        """Return the simulator."""
        return self.place(SIMULATOR)

    def home(self, model: str) -> str | None:
        """Return the provider that an id belongs to by how it begins."""
        return self._catalog.home(model)

    def serves(self, name: str, model: str) -> bool:
        """Return whether a provider is known to serve a model."""
        return name in self._registry and self._registry.get(name).knows(model)

    def unknown_provider(self, name: str) -> SpineError:
        """Return the error for a provider that does not exist."""
        return self._registry.unknown_provider(name)

    def unknown_model(self, model: str) -> SpineError:
        """Return the error for a model that nobody serves."""
        return self._registry.unknown_model(model)


def _place(provider: Provider) -> Place:
    return Place(
        name=provider.name,
        usable=provider.status == "ready",
        models=frozenset(provider.models),
        default_model=provider.default_model,
        open_models=provider.open_models or provider.local,
    )
