"""Time, handed in rather than looked up, so that tests set it."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; for durations and deadlines."""
        ...

    def now(self) -> float:
        """Seconds since the Unix epoch; for what a person reads."""
        ...


class SystemClock:
    """The machine's own clocks; its functions themselves, for a request asks them a dozen times."""

    monotonic = staticmethod(time.monotonic)
    now = staticmethod(time.time)
