"""From what a request says and needs to the candidates that may serve it."""

from __future__ import annotations

from genai_spine.catalog.models import ModelCatalog
from genai_spine.gateway.directory import ProviderDirectory, RoutingWishes
from genai_spine.providers.registry import Registry
from genai_spine.routing.base import Snapshot
from genai_spine.routing.registry import Strategies
from genai_spine.routing.router import Ask, Explanation, Plan, Router
from genai_spine.types.models import ModelFacts

__all__ = ["Planner"]


class Planner:
    """Makes plans, by what is known of the providers and how they do at this moment."""

    def __init__(
        self,
        registry: Registry,
        catalog: ModelCatalog,
        strategies: Strategies,
        snapshot: Snapshot,
        wishes: RoutingWishes,
        strategy: str = "local_first",
    ) -> None:
        """Make a planner.

        Args:
            registry: The providers.
            catalog: What is known of models.
            strategies: The orders that there are.
            snapshot: How the providers do.
            wishes: The operator's.
            strategy: The order where a request asks for none.

        Raises:
            InvalidFieldError: There is no such strategy.
        """
        self._catalog = catalog
        self._snapshot = snapshot
        self._directory = ProviderDirectory(registry, catalog, wishes)
        self._router = Router(self._directory, strategies, strategy)

    def plan(self, ask: Ask) -> Plan:
        """Return where a request may go, best first; never nowhere.

        Raises:
            SpineError: Nobody can serve it, or it names what there is not.
        """
        if ask.preferred:
            self._check(ask.preferred)
        return self._router.plan(ask, self._snapshot)

    def explain(self, ask: Ask) -> Explanation:
        """Return the plan that a request would get, with the reasons, and call nobody; raises as ``plan`` does."""
        self._check(ask.preferred)
        return self._router.explain(ask, self._snapshot)

    def facts(self, model: str) -> ModelFacts:
        """Return what is known of a model."""
        return self._catalog.facts(model)

    def _check(self, preferred: tuple[str, ...]) -> None:
        for name in preferred:
            if self._directory.place(name) is None:
                error = self._directory.unknown_provider(name)
                error.param = "routing.preferred_providers"
                raise error
