"""One after another."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Option

__all__ = ["RoundRobin", "rotated"]


class RoundRobin(Strategy):
    """Each request begins one further than the last."""

    name = "round_robin"

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return rotated(options, view.turn)


def rotated(options: Sequence[Option], turn: int) -> list[Option]:
    """Return the options beginning with a later one."""
    start = turn % len(options)
    return [*options[start:], *options[:start]]
