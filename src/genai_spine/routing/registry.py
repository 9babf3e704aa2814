"""The strategies that there are, by name, and the hints that stand for one."""

from __future__ import annotations

from genai_spine.errors import InvalidFieldError
from genai_spine.routing.base import Strategy
from genai_spine.routing.strategies.cost_optimized import CostOptimized
from genai_spine.routing.strategies.least_busy import LeastBusy
from genai_spine.routing.strategies.local_first import CloudFirst, LocalFirst
from genai_spine.routing.strategies.quality import Quality
from genai_spine.routing.strategies.round_robin import RoundRobin
from genai_spine.routing.strategies.speed import Speed
from genai_spine.routing.strategies.weighted import Weighted

__all__ = ["Strategies"]


class Strategies:
    """Strategies by name.

    Attributes:
        version: Grows with every change, so that what was derived from an older state is known to be stale.
    """

    def __init__(self) -> None:
        self._strategies: dict[str, Strategy] = {}
        self._hints: dict[str, Strategy] = {}
        self.version = 0

    @classmethod
    def builtin(cls) -> Strategies:
        """Return the strategies that ship with the package; others join them by the same ``register``."""
        strategies = cls()
        strategies.register(LocalFirst(), "local_preferred")
        strategies.register(CloudFirst(), "cloud_preferred")
        strategies.register(CostOptimized(), "cheapest")
        strategies.register(Quality(), "best_quality")
        for strategy in (Speed(), RoundRobin(), Weighted(), LeastBusy()):
            strategies.register(strategy)
        return strategies

    def register(self, strategy: Strategy, *hints: str) -> None:
        """Add a strategy, or put it in the place of one of the same name; ``hints`` stand for it from now on."""
        self._strategies[strategy.name] = strategy
        self._hints.update(dict.fromkeys(hints, strategy))
        self.version += 1

    @property
    def names(self) -> list[str]:
        """Those that can be asked for."""
        return sorted(self._strategies)

    @property
    def hints(self) -> list[str]:
        """The hints that are understood."""
        return sorted(self._hints)

    def get(self, name: str) -> Strategy:
        """Return a strategy.

        Raises:
            InvalidFieldError: There is none of the name; the message lists those that there are.
        """
        try:
            return self._strategies[name]
        except KeyError:
            message = f"unknown strategy {name!r}; there are: {', '.join(self.names)}"
            raise InvalidFieldError(message, param="routing.strategy") from None

    def hinted(self, hint: str) -> Strategy:
        """Return the strategy that a hint stands for.

        Raises:
            InvalidFieldError: Nobody knows the hint; the message lists those that there are.
        """
        try:
            return self._hints[hint]
        except KeyError:
            message = f"unknown hint {hint!r}; there are: {', '.join(self.hints)}"
            raise InvalidFieldError(message, param="provider_hint") from None
