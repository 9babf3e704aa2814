"""Whose a limit is, and where it counts: what budgets and rate limits have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias, TypeVar

from genai_spine.shared_state.meters import Meter, Window
from genai_spine.types.limits import Limit, LimitScope, LimitWindow

__all__ = ["HOLD_SECONDS", "OnStateLost", "Plans", "meter_of", "per", "whose"]

P = TypeVar("P")

OnStateLost: TypeAlias = Literal["refuse", "pass"]
"""What becomes of callers with a limit while the place that counts cannot be reached."""

HOLD_SECONDS: Final = 3600.0
"""The age of what nobody settles; no request takes so long."""

MOST_PLANS: Final = 4096

_WHOSE: Final[dict[LimitScope, str]] = {"global": "the gateway's", "user": "the user's", "key": "this key's"}
_PER: Final[dict[LimitWindow, str]] = {
    "request": " a request",
    "minute": " a minute",
    "hour": " an hour",
    "day": " a day",
    "month": " a month",
    "none": "",
}
_WINDOWS: Final[dict[LimitWindow, Window]] = {"minute": "minute", "hour": "hour", "day": "day", "month": "month"}


def meter_of(limit: Limit) -> Meter:
    """Return the meter that a limit counts on: limits that differ in amount alone share it."""
    window = _WINDOWS.get(limit.window, "flight" if limit.kind == "concurrent" else "ever")
    return Meter(f"{limit.kind}:{window}:{limit.scope}:{limit.subject}", window, accounted=limit.kind == "usd")


def whose(limit: Limit) -> str:
    """Return whose limit it is, for a message."""
    return _WHOSE[limit.scope]


def per(limit: Limit) -> str:
    """Return in what it counts, for a message, a space before it."""
    return _PER[limit.window]


class Plans(dict[tuple[Limit, ...], P]):
    """What is worked out of a caller's limits, once for each set of them: who looks for it finds it, or has it made."""

    def __init__(self, make: Callable[[tuple[Limit, ...]], P]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, limits: tuple[Limit, ...]) -> P:
        if len(self) >= MOST_PLANS:
            # Limits change seldom, and a plan is soon made again.
            self.clear()
        plan = self[limits] = self._make(limits)
        return plan
