"""Who has the least to do first."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from genai_spine.routing.base import Strategy, View, by_merit
from genai_spine.routing.options import Option
from genai_spine.routing.strategies.round_robin import rotated

__all__ = ["LeastBusy"]


class LeastBusy(Strategy):
    """By the calls under way; those that have as many take turns, so that an idle pool is used evenly too."""

    name = "least_busy"

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        options = rotated(options, view.turn)
        return by_merit(options, view.snapshot.loads([option.name for option in options]))
