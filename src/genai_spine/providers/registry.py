"""The providers that there are, and which of them can be used."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterator

from genai_spine.errors import (
    ModelNotFoundError,
    ProviderNotConfiguredError,
    SpineError,
    SwitchedOffError,
    UnknownProviderError,
)
from genai_spine.providers.base import Provider, Status

__all__ = ["SIMULATOR", "Registry"]

SIMULATOR = "simulator"
"""Answers where nothing else is configured, and is otherwise never chosen unless it is named."""


class Registry:
    """Providers by name, in the order in which they were added.

    Attributes:
        version: Grows with every change, so that what was derived from an older state is known to be stale.
    """

    def __init__(self, off: frozenset[str] = frozenset()) -> None:
        """Begin without any; ``off`` are those, and each ``provider/model``, that the operator has switched off."""
        self._providers: dict[str, Provider] = {}
        self._off = off
        self.version = 0

    def add(self, provider: Provider) -> None:
        """Add a provider, or put it in the place of one of the same name."""
        self._providers[provider.name] = provider
        self.version += 1

    def changed(self) -> None:
        """Note that a provider has changed, for instance that a local one was found."""
        self.version += 1

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def __contains__(self, name: str) -> bool:
        return name in self._providers

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            UnknownProviderError: There is none of the name; the message lists those that there are.
        """
        try:
            return self._providers[name]
        except KeyError:
            raise self.unknown_provider(name) from None

    def unknown_provider(self, name: str) -> UnknownProviderError:
        """Return the error for a provider that does not exist, listing those that do."""
        known = ", ".join(sorted(self._providers))
        return UnknownProviderError(f"unknown provider {name!r}; known providers: {known}", param="provider")

    def status(self, provider: Provider) -> Status:
        """Return whether a provider can be used."""
        return "disabled" if provider.name in self._off else provider.status

    def is_off(self, provider: str, model: str) -> bool:
        """Return whether a model is switched off at a provider."""
        return bool(self._off) and f"{provider}/{model}" in self._off

    def obstacle(self, name: str, model: str) -> SpineError | None:
        """Return why a model cannot be asked of a provider that there is; None where it can."""
        provider = self._providers[name]
        if name in self._off:
            return SwitchedOffError(f"{name} is switched off", provider=name)
        if provider.status == "not_configured":
            return ProviderNotConfiguredError(f"{name} is not configured: {provider.hint}", provider=name)
        if self.is_off(name, model):
            return SwitchedOffError(f"{name}'s model {model} is switched off", provider=name)
        return None

    def configured(self) -> list[Provider]:
        """Return the real providers that can be used."""
        return [
            provider
            for provider in self._providers.values()
            if self.status(provider) == "ready" and provider.name != SIMULATOR
        ]

    def unknown_model(self, model: str) -> ModelNotFoundError:
        """Return the error for a model that nobody serves, naming those that are spelt alike."""
        known = {
            f"{provider.name}/{known}": known
            for provider in self._providers.values()
            for known in (*provider.models, provider.default_model)
            if known
        }
        near = difflib.get_close_matches(model, [*known, *known.values()], n=3, cutoff=0.6)
        hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "."
        return ModelNotFoundError(
            f"no configured provider serves the model {model!r}{hint} "
            "To choose a provider by name, write provider/model.",
            param="model",
        )

    async def close(self) -> None:
        """Close every provider."""
        await asyncio.gather(*(provider.close() for provider in self._providers.values()))
