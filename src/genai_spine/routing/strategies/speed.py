"""The quickest first."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from genai_spine.routing.base import Strategy, View, by_merit
from genai_spine.routing.options import Option

__all__ = ["Speed"]


class Speed(Strategy):
    """By how long the whole answer would take, as measured of late."""

    name = "speed"

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        names = [option.name for option in options]
        return by_merit(options, view.snapshot.seconds(names, view.needs.output_tokens))
