"""The best model first."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import ClassVar

from typing_extensions import override

from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Option

__all__ = ["Quality"]


class Quality(Strategy):
    """By the catalogue's rank; a model without one comes after those that have."""

    name = "quality"
    hints: ClassVar[tuple[str, ...]] = ("best_quality",)
    fixed: ClassVar[bool] = True

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return sorted(options, key=lambda option: inf if option.traits.rank is None else option.traits.rank)
