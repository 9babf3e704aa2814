"""Each its share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from typing_extensions import override

from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Option

__all__ = ["Weighted"]

# The golden section: its multiples fall into the unit interval as evenly as any, after however many steps.
STEP: Final = 0.6180339887498949


class Weighted(Strategy):
    """The first by weight, each as often as its share is; then the others, the heaviest first.

    Not by chance: successive requests are spread evenly, so that the shares hold over few of them too. A weight of 0
    takes a place out of the spread, and leaves it as a last resort.
    """

    name = "weighted"

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        weights = [option.traits.weight for option in options]
        reached = list(accumulate(weights))
        total = reached[-1]
        # Rounding may carry the point to the very end.
        first = min(bisect_right(reached, view.turn * STEP % 1.0 * total), len(options) - 1) if total else 0
        places = sorted(range(len(options)), key=weights.__getitem__, reverse=True)
        places.remove(first)
        return [options[first], *(options[place] for place in places)]
