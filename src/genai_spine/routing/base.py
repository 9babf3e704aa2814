"""What a strategy is: it puts the places that could serve a request in order.

One of your own derives from ``Strategy`` and is handed to ``Spine.register_strategy``, or comes by an entry point.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from msgspec import Struct

from genai_spine.routing.options import Needs, Option

__all__ = ["Snapshot", "Strategy", "View", "by_merit"]


class Snapshot(Protocol):
    """How things stand at this moment."""

    @property
    def ill(self) -> frozenset[str]:
        """Each provider, and ``provider/model``, that cannot be used now; the very same set while that is so."""
        ...

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why each of them cannot be used, for people to read: its circuit is open, its keys rest."""
        ...

    def seconds(self, names: Sequence[str], tokens: int) -> Sequence[float]:
        """How long an answer of so many tokens takes at each ``provider/model``, by what was measured of late."""
        ...

    def loads(self, names: Sequence[str]) -> Sequence[int]:
        """How many calls are under way at each ``provider/model``."""
        ...


class View(Struct, frozen=True):
    """What a strategy may look at besides the options.

    Attributes:
        turn: Grows by one with each request for the same options.
    """

    needs: Needs
    snapshot: Snapshot
    turn: int


class Strategy(ABC):
    """An order of preference.

    Attributes:
        name: By which it is asked for.
        hints: What callers may also ask for it by.
        fixed: The order follows from the options alone, so it need not be found out for each request.
        weighs: It looks at how much is read, which is then estimated closely.
    """

    name: str
    hints: ClassVar[tuple[str, ...]] = ()
    fixed: ClassVar[bool] = False
    weighs: ClassVar[bool] = False

    @abstractmethod
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        """Return the options, all of them, best first; those that are equally good in the order in which they came."""


def by_merit(options: Sequence[Option], merits: Sequence[float]) -> list[Option]:
    """Return options in the order of their merits, the least first; equals stay as they stand."""
    return [options[place] for place in sorted(range(len(options)), key=merits.__getitem__)]
