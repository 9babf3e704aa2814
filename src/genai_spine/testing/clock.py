"""A clock that stands still until it is told to go on."""

from __future__ import annotations

__all__ = ["ManualClock"]


class ManualClock:
    """Time as a test sets it; a ``genai_spine.clock.Clock``."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """Make a clock.

        Args:
            now: What it shows at first, in seconds since the Unix epoch.
        """
        self._now = now
        self._monotonic = 0.0

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._monotonic

    def now(self) -> float:
        """Seconds since the Unix epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass.

        Raises:
            ValueError: ``seconds`` is negative; to set a wall clock back is ``set_now``'s affair.
        """
        if seconds < 0:
            message = f"time cannot go back by {-seconds} seconds"
            raise ValueError(message)
        self._monotonic += seconds
        self._now += seconds

    def set_now(self, now: float) -> None:
        """Set the wall clock, back or forth, as an operator or NTP does; ``monotonic`` does not move."""
        self._now = now
