"""Clocks: the machine's, and the one that tests set."""

from __future__ import annotations

import time

import pytest

from genai_spine.clock import Clock, SystemClock
from genai_spine.testing.clock import ManualClock


def test_the_system_clock_is_the_machine() -> None:
    """Both readings lie between two readings of the machine's own clocks."""
    clock: Clock = SystemClock()
    before = (time.monotonic(), time.time())
    read = (clock.monotonic(), clock.now())
    after = (time.monotonic(), time.time())
    assert before[0] <= read[0] <= after[0]
    assert before[1] <= read[1] <= after[1]


def test_a_manual_clock_stands_still() -> None:
    """It shows the same until it is advanced, and then just so much more, on both dials."""
    clock: Clock = (manual := ManualClock(now=1000.0))
    assert (0.0, 1000.0) == (clock.monotonic(), clock.now())
    manual.advance(2.5)
    assert (2.5, 1002.5) == (clock.monotonic(), clock.now())


def test_a_manual_clock_does_not_run_backwards() -> None:
    """Durations never shrink: a negative advance is refused, and setting the wall clock leaves them alone."""
    clock = ManualClock(now=1000.0)
    clock.advance(1)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-0.5)
    clock.set_now(10.0)
    assert (1.0, 10.0) == (clock.monotonic(), clock.now())
