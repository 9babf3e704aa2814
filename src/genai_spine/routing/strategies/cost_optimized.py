"""The cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar

from typing_extensions import override

from genai_spine.routing.base import Strategy, View, by_merit
from genai_spine.routing.options import Option

__all__ = ["CostOptimized"]


class CostOptimized(Strategy):
    """By what the request's tokens would cost; a price that nobody knows is no bargain, and comes last."""

    name = "cost_optimized"
    hints: ClassVar[tuple[str, ...]] = ("cheapest",)
    weighs: ClassVar[bool] = True

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        read, written = view.needs.input_tokens, view.needs.output_tokens
        # To compare, no rounding is needed; `Traits.cost` would take twice as long.
        return by_merit(
            options,
            [
                inf
                if (traits := option.traits).input_price is None or traits.output_price is None
                else read * traits.input_price + written * traits.output_price
                for option in options
            ],
        )
