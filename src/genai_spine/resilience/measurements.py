"""How fast calls have been answered of late, and how many are under way."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Hashable, Iterable
from math import inf
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from msgspec import Struct

from genai_spine.clock import Clock

__all__ = ["PRIOR", "Measured", "Measurements", "Pace", "Speed"]

K = TypeVar("K", bound=Hashable)

WINDOW: Final = 32
"""So many of the latest calls count."""

HORIZON: Final = 900.0
"""Seconds after which a call counts no more: one that was slow once must get another chance."""

MOST_REMEMBERED: Final = 1024

OVERDUE: Final = 2.0
"""So many times the longest wait of late for an answer's first piece is a silence that tells of trouble, ..."""

SHORTEST_OVERDUE: Final = 1.0
"""... if it is as many seconds long."""


class Speed(Struct, frozen=True):
    """How fast an answer comes.

    Attributes:
        first: Seconds to its first piece.
        rate: Tokens a second from then on.
    """

    first: float
    rate: float

    def seconds(self, tokens: int) -> float:
        """Return how long an answer of so many tokens takes."""
        return self.first + tokens / self.rate


PRIOR: Final = Speed(first=1.0, rate=50.0)
"""Taken for true until there is something measured."""


class Pace(Struct, frozen=True):
    """What was measured of late, for people and pages.

    Attributes:
        first_token_seconds: To the first piece of an answer, the median; None where nothing was measured.
        tokens_per_second: From then on; None likewise.
        in_flight: Calls under way.
    """

    first_token_seconds: float | None
    tokens_per_second: float | None
    in_flight: int


class _Median:
    """The median of the latest values that are not too old, kept in order so that it is read without sorting."""

    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, float]] = deque()
        self._sorted: list[float] = []

    def add(self, now: float, value: float) -> None:
        if len(self._arrived) >= WINDOW:
            self._drop()
        self._arrived.append((now, value))
        insort(self._sorted, value)

    def value(self, now: float) -> float | None:
        """The median, the lower of the two in the middle; None where nothing is left."""
        while self._arrived and self._arrived[0][0] + HORIZON <= now:
            self._drop()
        return self._sorted[(len(self._sorted) - 1) // 2] if self._sorted else None

    def stale_at(self) -> float:
        """When the oldest value will be too old."""
        return self._arrived[0][0] + HORIZON if self._arrived else inf

    def _drop(self) -> None:
        _, value = self._arrived.popleft()
        del self._sorted[bisect_left(self._sorted, value)]


class _Pace:
    """The speed of one key, worked out anew only when something has changed.

    Attributes:
        last: The speed as it was worked out last.
        stale_at: From when on that no longer holds.
    """

    __slots__ = ("_first", "_prior", "_rate", "_slowest", "_slowest_at", "last", "stale_at")

    def __init__(self, prior: Speed) -> None:
        self._prior = prior
        self._first = _Median()
        self._rate = _Median()
        self._slowest = 0.0
        self._slowest_at = -inf
        self.last = prior
        self.stale_at = 0.0

    def tell(self, now: float, first: float | None = None, rate: float | None = None) -> None:
        if first is not None:
            self._first.add(now, first)
        if rate is not None:
            self._rate.add(now, rate)
        self.stale_at = now

    def answered(self, now: float, first: float) -> None:
        self.tell(now, first=first)
        if first >= self._slowest or self.slowest(now) is None:
            self._slowest, self._slowest_at = first, now

    def slowest(self, now: float) -> float | None:
        return self._slowest if now < self._slowest_at + HORIZON else None

    def measured(self, now: float) -> tuple[float | None, float | None]:
        return self._first.value(now), self._rate.value(now)

    def speed(self, now: float) -> Speed:
        if now >= self.stale_at:
            first, rate = self.measured(now)
            self.last = Speed(self._prior.first if first is None else first, self._prior.rate if rate is None else rate)
            self.stale_at = min(self._first.stale_at(), self._rate.stale_at())
        return self.last


class Measured(Generic[K]):
    """A call that is being measured: a ``with`` block, left when the call is over, whatever its end."""

    __slots__ = ("_clock", "_first_at", "_key", "_measurements", "_started_at", "_tokens")

    def __init__(self, measurements: Measurements[K], key: K, clock: Clock) -> None:
        self._measurements = measurements
        self._key = key
        self._clock = clock
        self._started_at = clock.monotonic()
        self._first_at: float | None = None
        self._tokens = 0

    def first(self, at: float | None = None) -> None:
        """Note that the answer's first piece is there, or was ``at`` a moment; only the first time counts."""
        if self._first_at is None:
            self._first_at = self._clock.monotonic() if at is None else at

    def wrote(self, tokens: int) -> None:
        """Note how many tokens the answer has."""
        self._tokens = tokens

    def overdue(self, tokens: int = 0) -> bool:
        """Return whether nothing has come for much longer than any answer of late took to begin; False where none was.

        Args:
            tokens: How many an answer may have that comes all at once, which is given the time to be written.
        """
        if self._first_at is not None or (slowest := self._measurements.slowest(self._key)) is None:
            return False
        written = slowest + tokens / self._measurements.speed(self._key).rate
        return self._clock.monotonic() - self._started_at >= max(SHORTEST_OVERDUE, OVERDUE * slowest, written)

    def __enter__(self) -> Self:
        self._measurements.begun(self._key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._measurements.ended(self._key)
        now = self._clock.monotonic()
        if self._first_at is not None:
            self._measurements.told_first(self._key, self._first_at - self._started_at)
            if error is None and self._tokens:
                self._measurements.told_rate(self._key, self._tokens, now - self._first_at)
        elif error is not None and now - self._started_at > self._measurements.speed(self._key).first:
            # It would have taken at least so long: who answers nobody must not pass for fast.
            self._measurements.told_silence(self._key, now - self._started_at)


class Measurements(Generic[K]):
    """Speeds and calls under way, by whatever key: a provider and model, say."""

    def __init__(self, clock: Clock, prior: Speed = PRIOR) -> None:
        """Make measurements, empty.

        Args:
            clock: Whose time counts.
            prior: The speed of what has not been measured.
        """
        self._clock = clock
        self._prior = prior
        self._in_flight: dict[K, int] = {}
        # In the order of their last use, so that the memory's end is found at its front.
        self._paces: dict[K, _Pace] = {}

    def measure(self, key: K) -> Measured[K]:
        """Return the block in which a call is made."""
        return Measured(self, key, self._clock)

    def in_flight(self, key: K) -> int:
        """Return how many calls are under way."""
        return self._in_flight.get(key, 0)

    def speed(self, key: K) -> Speed:
        """Return the median speed of the latest calls; the prior for what they do not tell."""
        pace = self._paces.get(key)
        return self._prior if pace is None else pace.speed(self._clock.monotonic())

    def seconds(self, keys: Iterable[K], tokens: int) -> list[float]:
        """Return for each key how long an answer of so many tokens takes."""
        now, paces, prior = self._clock.monotonic(), self._paces, self._prior
        # Most are still known, for which a call apiece would take longer than all the rest.
        speeds = [
            prior if (pace := paces.get(key)) is None else pace.last if now < pace.stale_at else pace.speed(now)
            for key in keys
        ]
        return [speed.first + tokens / speed.rate for speed in speeds]

    def loads(self, keys: Iterable[K]) -> list[int]:
        """Return for each key how many calls are under way."""
        in_flight = self._in_flight
        return [in_flight.get(key, 0) for key in keys]

    def paces(self) -> dict[K, Pace]:
        """Return what was measured, by key; of what is not known any more only the calls under way."""
        now, nothing = self._clock.monotonic(), (None, None)
        found: dict[K, Pace] = {}
        for key in {**self._paces, **self._in_flight}:
            first, rate = self._paces[key].measured(now) if key in self._paces else nothing
            in_flight = self.in_flight(key)
            if in_flight or first is not None or rate is not None:
                found[key] = Pace(first, rate, in_flight)
        return found

    def begun(self, key: K) -> None:
        """Note that a call is under way."""
        self._in_flight[key] = self._in_flight.get(key, 0) + 1

    def ended(self, key: K) -> None:
        """Note that a call is over."""
        left = self._in_flight[key] - 1
        if left:
            self._in_flight[key] = left
        else:
            del self._in_flight[key]

    def slowest(self, key: K) -> float | None:
        """Return the longest that an answer's first piece took of late; None where there was none."""
        pace = self._paces.get(key)
        return None if pace is None else pace.slowest(self._clock.monotonic())

    def told_first(self, key: K, seconds: float) -> None:
        """Note how long the first piece of an answer took."""
        self._pace(key).answered(self._clock.monotonic(), seconds)

    def told_silence(self, key: K, seconds: float) -> None:
        """Note for how long there was none, of a call that came to nothing."""
        self._pace(key).tell(self._clock.monotonic(), first=seconds)

    def told_rate(self, key: K, tokens: int, seconds: float) -> None:
        """Note how many tokens came in how many seconds; an answer that came all at once tells no rate."""
        if seconds > 0:
            self._pace(key).tell(self._clock.monotonic(), rate=tokens / seconds)

    def _pace(self, key: K) -> _Pace:
        pace = self._paces.pop(key, None) or _Pace(self._prior)
        if len(self._paces) >= MOST_REMEMBERED:
            del self._paces[next(iter(self._paces))]
        self._paces[key] = pace
        return pace
