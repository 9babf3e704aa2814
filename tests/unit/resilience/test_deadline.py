"""A request's deadline."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from genai_spine.resilience.deadline import Deadline
from genai_spine.testing.clock import ManualClock
from genai_spine.transport.base import Timeouts


def test_time_runs_out() -> None:
    """What is left shrinks to nothing, and never below."""
    clock = ManualClock()
    deadline = Deadline(clock, 10)
    assert (10, False) == (deadline.left(), deadline.expired)
    clock.advance(4)
    assert (6, True, False) == (deadline.left(), deadline.allows(5.9), deadline.allows(6))
    clock.advance(60)
    assert (0, True, False) == (deadline.left(), deadline.expired, deadline.allows(0))


def test_no_deadline() -> None:
    """It leaves all the time there is, and a provider's own timeouts as they are."""
    deadline = Deadline(ManualClock())
    assert (inf, True, False, True) == (deadline.left(), deadline.endless, deadline.expired, deadline.allows(1e9))
    timeouts = Timeouts()
    assert timeouts is timeouts.within(deadline.left())


def test_a_deadline_in_the_past() -> None:
    """Less than no time is none."""
    assert Deadline(ManualClock(), -1).expired


# Whole seconds: floats would round.
@given(first=st.none() | st.integers(0, 999), second=st.none() | st.integers(0, 999), passed=st.integers(0, 999))
def test_it_only_ever_gets_shorter(first: int | None, second: int | None, passed: int) -> None:
    """Shortened at whatever moment, a deadline comes no later than it did, nor later than asked."""
    clock = ManualClock()
    deadline = Deadline(clock, first)
    clock.advance(passed)
    shorter = deadline.shorten(second)
    assert shorter.left() <= deadline.left()
    assert second is None or shorter.left() <= second
    assert shorter.left() in {deadline.left(), second}
