"""The strategies that there are, by name, and the hints that stand for one.

Each group of them comes through an entry point, the built-in ones by the same door. A package that brings some names a
function in its ``pyproject.toml``, which takes nothing and returns them::

    [project.entry-points."genai_spine.strategies"]
    mine = "my_package:strategies"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from genai_spine.errors import ConfigurationError, InvalidFieldError
from genai_spine.plugins import plugins_of
from genai_spine.routing.base import Strategy
from genai_spine.routing.strategies.cost_optimized import CostOptimized
from genai_spine.routing.strategies.least_busy import LeastBusy
from genai_spine.routing.strategies.local_first import CloudFirst, LocalFirst
from genai_spine.routing.strategies.quality import Quality
from genai_spine.routing.strategies.round_robin import RoundRobin
from genai_spine.routing.strategies.speed import Speed
from genai_spine.routing.strategies.weighted import Weighted

__all__ = ["GROUP", "Plugin", "Strategies", "builtin", "load_strategies"]

GROUP: Final = "genai_spine.strategies"

Plugin: TypeAlias = Callable[[], Iterable[Strategy]]


class Strategies:
    """Strategies by name.

    Attributes:
        version: Grows with every change, so that what was derived from an older state is known to be stale.
    """

    def __init__(self, strategies: Iterable[Strategy] = ()) -> None:
        self._strategies: dict[str, Strategy] = {}
        self._hints: dict[str, Strategy] = {}
        self.version = 0
        for strategy in strategies:
            self.register(strategy)

    def register(self, strategy: Strategy) -> None:
        """Add a strategy, or put it in the place of one of the same name; its hints stand for it from now on."""
        self._strategies[strategy.name] = strategy
        self._hints.update(dict.fromkeys(strategy.hints, strategy))
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


def builtin() -> tuple[Strategy, ...]:
    """Return the strategies that ship with the package."""
    return (
        LocalFirst(),
        CloudFirst(),
        CostOptimized(),
        Quality(),
        Speed(),
        RoundRobin(),
        Weighted(),
        LeastBusy(),
    )


def load_strategies() -> Strategies:
    """Return the strategies of all plug-ins, the built-in ones first.

    Raises:
        ConfigurationError: A plug-in cannot be imported, or fails.
    """
    found = Strategies()
    for point in plugins_of(GROUP):
        try:
            plugin: Plugin = point.load()
            for strategy in plugin():
                found.register(strategy)
        except Exception as error:  # whatever a foreign package raises, the operator must learn which one it was
            message = f"the strategy plug-in {point.name!r} ({point.value}) failed: {type(error).__name__}: {error}"
            raise ConfigurationError(message) from error
    return found
