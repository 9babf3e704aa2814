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
        self._registry = registry
        self._candidates = [
            provider
            for provider in registry
            if isinstance(provider, HttpProvider)
            and provider.local
            and (provider.status == "not_configured" or not provider.default_model)
        ]
        self._sure = {provider.name for provider in self._candidates if provider.status == "ready"}
        self._hints = {provider.name: provider.hint for provider in self._candidates}

    async def look(self) -> Sequence[Provider]:
        """Look once; return those that answer."""
        answers = await asyncio.gather(*(provider.probe() for provider in self._candidates))
        changed = False
        found: list[Provider] = []
        for provider, models in zip(self._candidates, answers, strict=True):
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
            self._registry.changed()
        return found

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while self._candidates:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self.look()
