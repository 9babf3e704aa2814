"""When a request must be over."""

from __future__ import annotations

from math import inf
from typing import Final

from genai_spine.clock import Clock

__all__ = ["Deadline"]

ENDLESS: Final = inf


class Deadline:
    """A moment on a clock, past which nothing is begun and nothing waited for. It never moves."""

    __slots__ = ("_at", "_clock")

    def __init__(self, clock: Clock, seconds: float | None = None) -> None:
        """Set a deadline.

        Args:
            clock: Whose time counts.
            seconds: From now; None for no deadline.
        """
        self._clock = clock
        self._at = ENDLESS if seconds is None else clock.monotonic() + max(0.0, seconds)

    @property
    def endless(self) -> bool:
        """Whether there is none."""
        return self._at == ENDLESS

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self.left() <= 0.0

    def left(self) -> float:
        """Return the seconds until then: never negative, infinite where there is no deadline."""
        return self._at if self.endless else max(0.0, self._at - self._clock.monotonic())

    def allows(self, seconds: float) -> bool:
        """Return whether so many seconds may pass and leave time to do something."""
        return seconds < self.left()

    def shorten(self, seconds: float | None) -> Deadline:
        """Return a deadline so many seconds from now, or this one if it comes sooner."""
        if seconds is None or seconds >= self.left():
            return self
        return Deadline(self._clock, seconds)
