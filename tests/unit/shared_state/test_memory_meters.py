"""Meters in memory: what is forgotten, and what is not."""

from __future__ import annotations

import gc
from calendar import timegm
from typing import Final

from genai_spine.shared_state.memory_meters import KEPT_SECONDS, MemoryMeters
from genai_spine.shared_state.meters import Claim, Meter, Refused, Taken
from genai_spine.testing.clock import ManualClock

MANY: Final = 5000
SECONDS: Final = 600.0


def of(number: int) -> Meter:
    """One of many meters."""
    return Meter(f"meter {number}", "minute")


def kept() -> int:
    """How many meters there are in memory, whoever holds them."""
    return sum(type(thing).__name__ in {"_Counter", "_Flight"} for thing in gc.get_objects())


def test_windows_that_are_over_take_no_memory() -> None:
    """Meters of callers who are gone are forgotten, and those in use are not."""
    clock = ManualClock()
    meters = MemoryMeters(clock)
    before = kept()
    stays, flies = Meter("stays", "month"), Meter("flies", "flight")
    meters.take("first", [Claim(stays, 5, 10), Claim(flies, 1, 1)], 10 * MANY)
    for number in range(MANY):
        meters.take(f"hold {number}", [Claim(of(number), 1), Claim(Meter(f"flight {number}", "flight"), 1)], 1)
        clock.advance(1)
    assert kept() - before < MANY / 2
    assert [5, 1] == [reading.held for reading in meters.read([stays, flies])]


def test_a_forgotten_window_is_not_opened_anew() -> None:
    """Where the clock is set back to a window that was forgotten, the meter stays in the one after it."""
    clock = ManualClock(timegm((2026, 11, 21, 10, 0, 30)))
    meters = MemoryMeters(clock)
    assert isinstance(meters.take("first", [Claim(of(0), 1, 1)], SECONDS), Taken)
    clock.advance(60)
    for number in range(1, MANY):
        meters.read([of(number)])
        meters.take(f"hold {number}", [], SECONDS)
    clock.set_now(timegm((2026, 11, 21, 10, 0, 30)))
    assert isinstance(meters.take("again", [Claim(of(0), 1, 1)], SECONDS), Taken)
    assert isinstance(meters.take("once more", [Claim(of(0), 1, 1)], SECONDS), Refused)
    clock.set_now(timegm((2026, 11, 21, 10, 1, 59)))
    assert isinstance(meters.take("still", [Claim(of(0), 1, 1)], SECONDS), Refused)


def test_holds_that_nobody_settles_take_no_memory() -> None:
    """A hold can be settled for a week past its age; then it stands in its counter, and is forgotten otherwise."""
    clock = ManualClock(timegm((2026, 11, 1, 0, 0, 0)))
    meters = MemoryMeters(clock)
    month = Meter("month", "month")
    holds = []
    for hold_id in ("early", "late"):
        found = meters.take(hold_id, [Claim(month, 5)], SECONDS)
        assert isinstance(found, Taken)
        holds.append(found.hold)
    clock.advance(SECONDS + KEPT_SECONDS - 1)
    assert meters.settle(holds[0], [1])
    clock.advance(1)
    assert not meters.settle(holds[1], [1])
    assert (1, 5) == (meters.read([month])[0].used, meters.read([month])[0].held)
