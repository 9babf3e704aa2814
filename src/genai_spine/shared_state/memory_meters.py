"""Meters in the memory of this process; ``shared_state/meters.py`` says what they owe.

Nothing here awaits, so on an event loop each method is one step that no other task sees half done.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, Generic, TypeAlias, TypeVar

from genai_spine.clock import Clock
from genai_spine.shared_state.meters import (
    NEVER,
    Claim,
    Gap,
    Hold,
    Meter,
    Reading,
    Refused,
    Stake,
    Taken,
    Unseeded,
    bounds,
    check_amounts,
)

__all__ = ["MemoryMeters"]

V = TypeVar("V")

KEPT_SECONDS: Final = 7 * 86400.0
"""For so long past its age a hold can still be settled, and one that was settled is known to have been."""

_FEW: Final = 1024


class _Counter:
    """A meter with a window."""

    __slots__ = ("_counted", "_told", "ends_at", "held", "seeded", "starts_at", "used")

    def __init__(self, starts_at: int, ends_at: int, *, seeded: bool) -> None:
        self.starts_at = starts_at
        self.ends_at = ends_at
        self.used = 0
        self.held = 0
        self.seeded = seeded
        # What was settled before it was seeded, and what the seed contained, by ids of holds.
        self._told: dict[str, int] = {}
        self._counted: frozenset[str] = frozenset()

    def set_aside(self, hold_id: str, claim: Claim, until: float) -> Stake:  # noqa: ARG002  # what is in flight needs them
        self.held += claim.amount
        return Stake(claim.meter, claim.amount, self.ends_at)

    def settle(self, hold_id: str, stake: Stake, amount: int, *, known: bool) -> None:
        if stake.ends_at != self.ends_at:
            return
        if known:
            self.held -= stake.amount
        if not self.seeded:
            self._told[hold_id] = self._told.get(hold_id, 0) + amount
        elif hold_id not in self._counted:
            self.used += amount

    def seed(self, used: int, counted: frozenset[str]) -> None:
        self._counted = counted
        self.used = used + sum(amount for hold_id, amount in self._told.items() if hold_id not in counted)
        self._told = {}
        self.seeded = True

    def over(self, now: float) -> bool:
        return now >= self.ends_at

    def reading(self, now: float) -> Reading:
        return Reading(self.used, self.held, None if self.ends_at == NEVER else self.ends_at - now)


class _Flight:
    """A meter of what is held now."""

    __slots__ = ("_until", "ends_at", "held", "seeded", "starts_at", "used")

    def __init__(self) -> None:
        self.starts_at = 0
        self.seeded = True
        self.used = 0
        self.held = 0
        self._until: dict[str, float] = {}
        # When the first of them has had its age, or earlier.
        self.ends_at: float = inf

    def set_aside(self, hold_id: str, claim: Claim, until: float) -> Stake:
        if claim.amount:
            self._until[hold_id] = until
            self.held += claim.amount
            self.ends_at = min(self.ends_at, until)
        return Stake(claim.meter, claim.amount, NEVER)

    def settle(self, hold_id: str, stake: Stake, amount: int, *, known: bool) -> None:  # noqa: ARG002  # counters need them
        if self._until.pop(hold_id, None) is not None:
            self.held -= stake.amount

    def age(self, now: float) -> None:
        self._until = {hold_id: until for hold_id, until in self._until.items() if now < until}
        self.held = len(self._until)
        self.ends_at = min(self._until.values(), default=inf)

    def over(self, now: float) -> bool:
        if now >= self.ends_at:
            self.age(now)
        return not self.held

    def reading(self, now: float) -> Reading:  # noqa: ARG002  # counters need it
        return Reading(0, self.held, None)


_Kind: TypeAlias = _Counter | _Flight


class _Fading(Generic[V]):
    """Values by key, each until a moment; memory stays in proportion to those that are left."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[V, float]] = {}
        self._most = _FEW

    def get(self, key: str, now: float) -> V | None:
        found = self._values.get(key)
        return found[0] if found is not None and now < found[1] else None

    def put(self, key: str, value: V, until: float, now: float) -> None:
        if len(self._values) >= self._most:
            self._values = {key: kept for key, kept in self._values.items() if now < kept[1]}
            self._most = 2 * len(self._values) + _FEW
        self._values[key] = value, until

    def values(self, now: float) -> list[V]:
        return [value for value, until in self._values.values() if now < until]

    def pop(self, key: str, now: float) -> V | None:
        found = self._values.pop(key, None)
        return found[0] if found is not None and now < found[1] else None


class MemoryMeters:
    """All meters and holds of a process; its epoch is its own."""

    def __init__(self, clock: Clock) -> None:
        """Make a place without meters.

        Args:
            clock: Whose ``now`` is the calendar.
        """
        self.epoch = secrets.token_hex(8)
        self._clock = clock
        self._began = clock.now()
        self._meters: dict[str, _Kind] = {}
        self._most_meters = _FEW
        self._forgot_at = 0.0
        self._holds: _Fading[Hold] = _Fading()
        # Settled holds of other epochs: those of this one are known by not being among the holds.
        self._settled: _Fading[Hold] = _Fading()

    def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        """See ``SharedState.take``."""
        now = self._clock.now()
        if len(self._meters) >= self._most_meters:
            self._forget(now)
        meters: list[_Kind] = []
        seeded = fits = True
        for claim in claims:
            meter = self._at(claim.meter, now)
            meters.append(meter)
            seeded = seeded and meter.seeded
            fits = fits and (claim.limit is None or meter.used + meter.held + claim.amount <= claim.limit)
        if (known := self._holds.get(hold_id, now)) is not None:
            return Taken(known, _readings(meters, now))
        if not seeded:
            return _unseeded(claims, meters)
        if not fits:
            return Refused(_readings(meters, now))
        until = now + seconds
        stakes: list[Stake] = []
        readings: list[Reading] = []
        for claim, meter in zip(claims, meters, strict=True):
            stakes.append(meter.set_aside(hold_id, claim, until))
            readings.append(meter.reading(now))
        hold = Hold(hold_id, self.epoch, tuple(stakes))
        self._holds.put(hold_id, hold, until + KEPT_SECONDS, now)
        return Taken(hold, tuple(readings))

    def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        """See ``SharedState.settle``."""
        check_amounts(hold, amounts)
        now = self._clock.now()
        known = self._holds.pop(hold.id, now)
        if known is None:
            if hold.epoch == self.epoch or self._settled.get(hold.id, now) is not None:
                return False
            self._settled.put(hold.id, hold, now + KEPT_SECONDS, now)
        for stake, amount in zip(hold.stakes if known is None else known.stakes, amounts, strict=True):
            self._at(stake.meter, now).settle(hold.id, stake, amount, known=known is not None)
        return True

    def abandon(self, owner: str) -> int:
        """See ``SharedState.abandon``."""
        holds = [hold for hold in self._holds.values(self._clock.now()) if hold.id.startswith(f"{owner}-")]
        for hold in holds:
            self.settle(hold, (0,) * len(hold.stakes))
        return len(holds)

    def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        """See ``SharedState.seed``."""
        meter = self._at(gap.meter, self._clock.now())
        if not isinstance(meter, _Counter) or meter.seeded or meter.ends_at != gap.ends_at:
            return False
        meter.seed(used, frozenset(counted))
        return True

    def read(self, meters: Sequence[Meter]) -> tuple[Reading, ...]:
        """See ``SharedState.read``."""
        now = self._clock.now()
        return tuple([self._at(meter, now).reading(now) for meter in meters])

    def _at(self, meter: Meter, now: float) -> _Kind:
        """A meter as it is now, its window the present one."""
        found = self._meters.get(meter.key)
        if found is not None:
            if now < found.ends_at:
                return found
            if isinstance(found, _Flight):
                found.age(now)
                return found
        made: _Kind
        if meter.window == "flight":
            made = _Flight()
        else:
            # A clock set back since must not open a window that was forgotten.
            starts_at, ends_at = bounds(meter.window, max(now, self._forgot_at))
            made = _Counter(starts_at, ends_at, seeded=not meter.accounted or starts_at > self._began)
        self._meters[meter.key] = made
        return made

    def _forget(self, now: float) -> None:
        """Drop the meters whose window is over, or where nothing flies."""
        self._meters = {key: meter for key, meter in self._meters.items() if not meter.over(now)}
        self._most_meters = 2 * len(self._meters) + _FEW
        self._forgot_at = max(now, self._forgot_at)


def _readings(meters: Sequence[_Kind], now: float) -> tuple[Reading, ...]:
    return tuple([meter.reading(now) for meter in meters])


def _unseeded(claims: Sequence[Claim], meters: Sequence[_Kind]) -> Unseeded:
    return Unseeded(
        tuple(
            Gap(claim.meter, meter.starts_at, meter.ends_at)
            for claim, meter in zip(claims, meters, strict=True)
            if isinstance(meter, _Counter) and not meter.seeded
        )
    )
