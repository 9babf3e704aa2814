"""Looking for local providers at their usual addresses, at start and now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from genai_spine.providers.base import Provider
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.registry import Registry

__all__ = ["LocalProbe"]

INTERVAL_SECONDS: Final = 60.0


class LocalProbe:
    """Asks local providers for their models.

    One whose address nobody set is marked ready if it answers; one without a default model gets the first it lists.
    """

    def __init__(self, registry: Registry) -> None:
        self._candidates: list[HttpProvider] = []
        self._sure: set[str] = set()
        self._hints: dict[str, str] = {}
        self.follow(registry)

    def follow(self, registry: Registry) -> bool:
        """Look at the providers of another registry from now on; return whether there are any that nobody has asked."""
        before = self._candidates
        after = [provider for provider in registry if isinstance(provider, HttpProvider) and provider.local]
        fresh = [
            provider
            for provider in after
            if provider not in before and (provider.status == "not_configured" or not provider.default_model)
        ]
        self._registry = registry
        self._candidates = [provider for provider in after if provider in before or provider in fresh]
        names = {provider.name for provider in fresh}
        self._sure = (self._sure - names) | {provider.name for provider in fresh if provider.status == "ready"}
        self._hints |= {provider.name: provider.hint for provider in fresh}
        return bool(fresh)

    async def look(self) -> Sequence[Provider]:
        """Look once; return those that answer."""
        candidates, registry = self._candidates, self._registry
        answers = await asyncio.gather(*(provider.probe() for provider in candidates))
        changed = False
        found: list[Provider] = []
        for provider, models in zip(candidates, answers, strict=True):
            before = (provider.status, provider.default_model)
            if models is not None:
                found.append(provider)
                if not provider.default_model and models:
                    provider.default_model = models[0].id
            if provider.name not in self._sure:
                if models is None:
                    provider.status, provider.hint = "not_configured", self._hints[provider.name]
                else:
                    provider.status, provider.hint = "ready", f"answers at {provider.address}"
            changed = changed or before != (provider.status, provider.default_model)
        if changed:
            registry.changed()
        return found

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.look()
