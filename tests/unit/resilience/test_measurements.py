"""Medians of the latest calls, calls under way, and a memory that has an end."""

from __future__ import annotations

from statistics import median_low

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.errors import ProviderTimeoutError
from genai_spine.resilience.measurements import HORIZON, MOST_REMEMBERED, PRIOR, WINDOW, Measurements, Pace, Speed
from genai_spine.testing.clock import ManualClock

KEY = ("openai", "gpt-4o")


def made() -> tuple[Measurements[tuple[str, str]], ManualClock]:
    """Measurements, and their clock."""
    clock = ManualClock()
    return Measurements(clock), clock


def call(
    measurements: Measurements[tuple[str, str]], clock: ManualClock, first: float, tokens: int, rest: float
) -> None:
    """One call that goes well."""
    with measurements.measure(KEY) as measured:
        clock.advance(first)
        measured.first()
        measured.first()
        clock.advance(rest)
        measured.wrote(tokens)


def test_a_call_is_measured() -> None:
    """The time to the first piece, and the tokens a second from then on; until then the prior holds."""
    measurements, clock = made()
    assert PRIOR == measurements.speed(KEY)
    call(measurements, clock, first=0.5, tokens=80, rest=2)
    assert Speed(0.5, 40) == measurements.speed(KEY)
    assert measurements.speed(KEY).seconds(100) == 3
    assert PRIOR == measurements.speed(("openai", "another"))
    assert [3, PRIOR.seconds(100)] == measurements.seconds([KEY, ("openai", "another")], 100)


def test_an_answer_at_once() -> None:
    """Without a time between first and last piece there is no rate to be told."""
    measurements, clock = made()
    call(measurements, clock, first=0.5, tokens=80, rest=0)
    assert Speed(0.5, PRIOR.rate) == measurements.speed(KEY)


def test_a_call_that_breaks_off() -> None:
    """The first piece counts, the rate does not."""
    measurements, clock = made()

    def broken() -> None:
        with measurements.measure(KEY) as measured:
            clock.advance(3)
            measured.first()
            measured.wrote(10)
            clock.advance(1)
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()
    assert Speed(3, PRIOR.rate) == measurements.speed(KEY)
    assert measurements.in_flight(KEY) == 0


@pytest.mark.parametrize(("waited", "expected"), [(30.0, 30.0), (0.1, PRIOR.first)])
def test_a_call_without_an_answer(waited: float, expected: float) -> None:
    """Who answers nobody is as slow as was waited for him; who fails at once is not fast for that."""
    measurements, clock = made()

    def silent() -> None:
        with measurements.measure(KEY):
            clock.advance(waited)
            message = "late"
            raise ProviderTimeoutError(message)

    with pytest.raises(ProviderTimeoutError):
        silent()
    assert expected == measurements.speed(KEY).first


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 100)), min_size=1, max_size=3 * WINDOW))
def test_the_median_is_that_of_the_latest(calls: list[tuple[float, float]]) -> None:
    """Whatever came, the median is that of the last calls that are not too old."""
    measurements, clock = made()
    told: list[tuple[float, float]] = []
    for first, pause in calls:
        clock.advance(pause)
        measurements.told_first(KEY, first)
        told.append((clock.monotonic(), first))
        fresh = [value for at, value in told[-WINDOW:] if at + HORIZON > clock.monotonic()]
        assert median_low(fresh) == measurements.speed(KEY).first


def test_old_calls_count_no_more() -> None:
    """A provider that was slow once gets another chance."""
    measurements, clock = made()
    call(measurements, clock, first=20, tokens=1, rest=1)
    clock.advance(HORIZON - 1.5)
    assert Speed(20, 1) == measurements.speed(KEY)
    clock.advance(2)
    assert PRIOR == measurements.speed(KEY)


def test_calls_under_way() -> None:
    """They are counted from the block's begin to its end, whatever that is."""
    measurements, _ = made()
    assert measurements.in_flight(KEY) == 0
    with measurements.measure(KEY), measurements.measure(KEY):
        assert measurements.in_flight(KEY) == 2
        assert measurements.in_flight(("openai", "another")) == 0
        assert [2, 0] == measurements.loads([KEY, ("openai", "another")])
    assert measurements.in_flight(KEY) == 0


def test_what_is_shown() -> None:
    """What was measured, and no prior; what is neither measured of late nor under way is not shown."""
    measurements, clock = made()
    assert {} == measurements.paces()
    call(measurements, clock, first=2, tokens=30, rest=3)
    other = ("openai", "another")
    with measurements.measure(other):
        assert {KEY: Pace(2, 10, 0), other: Pace(None, None, 1)} == measurements.paces()
    assert {KEY: Pace(2, 10, 0)} == measurements.paces()
    clock.advance(HORIZON)
    assert {} == measurements.paces()


def test_the_memory_has_an_end() -> None:
    """What was used longest ago is forgotten first."""
    measurements, _ = made()
    for number in range(MOST_REMEMBERED):
        measurements.told_first(("p", str(number)), 9)
    measurements.told_first(("p", "0"), 9)
    measurements.told_first(("p", "new"), 9)
    assert (9, PRIOR.first, 9) == tuple(measurements.speed(("p", model)).first for model in ("0", "1", "new"))


@pytest.mark.parametrize(
    ("slowest", "silence", "tokens", "expected"),
    [
        (None, 500.0, 0, False),
        (3.0, 5.9, 0, False),
        (3.0, 6.0, 0, True),
        (0.1, 0.9, 0, False),
        (0.1, 1.0, 0, True),
        (3.0, 6.0, 500, False),
        (3.0, 13.0, 500, True),
    ],
)
def test_a_silence_that_tells_of_trouble(slowest: float | None, silence: float, tokens: int, *, expected: bool) -> None:
    """Twice the longest wait of late, a second at least; an answer that comes whole is given the time of its tokens."""
    measurements, clock = made()
    for first in () if slowest is None else (slowest, slowest / 3, slowest):
        call(measurements, clock, first=first, tokens=0, rest=0)
    with measurements.measure(KEY) as measured:
        clock.advance(silence)
        assert expected is measured.overdue(tokens)
        measured.first()
        assert not measured.overdue(tokens)


def test_what_was_slow_long_ago() -> None:
    """Answers that are too old to count do not, and calls without an answer never did."""
    measurements, clock = made()
    call(measurements, clock, first=9, tokens=0, rest=0)
    clock.advance(1)
    call(measurements, clock, first=2, tokens=0, rest=0)
    measurements.told_silence(KEY, 60)
    assert 9 == measurements.slowest(KEY)
    clock.advance(HORIZON)
    assert measurements.slowest(KEY) is None
    call(measurements, clock, first=2, tokens=0, rest=0)
    assert 2 == measurements.slowest(KEY)
