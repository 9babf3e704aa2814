"""Meters in the memory of this process; ``shared_state/meters.py`` says what they owe.

Nothing here awaits, so on an event loop each method is one step that no other task sees half done. A request with
limits takes and settles twice: these two make no more calls and objects than they must.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, Literal, TypeAlias

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
    check_claims,
)
from genai_spine.types.limits import MOST

__all__ = ["MemoryMeters"]

KEPT_SECONDS: Final = 7 * 86400.0
"""For so long past its age a hold can still be settled, and one that was settled is known to have been."""

_FEW: Final = 1024


class _Counter:
    """A meter with a window. Unless it is ``watched``, it is nobody's affair which hold is settled."""

    __slots__ = (
        "_counted",
        "_told",
        "ends_at",
        "flies",
        "held",
        "seeded",
        "stale_at",
        "starts_at",
        "used",
        "watched",
    )

    def __init__(self, starts_at: int, ends_at: int, *, seeded: bool) -> None:
        self.starts_at = starts_at
        self.ends_at = ends_at
        self.stale_at = float(ends_at)
        self.flies: Literal[False] = False
        self.used = 0
        self.held = 0
        self.seeded = seeded
        self.watched = not seeded
        # What was settled before it was seeded, and what the seed contained, by ids of holds.
        self._told: dict[str, int] = {}
        self._counted: frozenset[str] = frozenset()

    def give_back(self, hold_id: str, held: int) -> None:  # noqa: ARG002  # those in flight are known by it
        self.held -= held

    def settle(self, hold_id: str, held: int, amount: int) -> None:
        self.held -= held
        if not self.seeded:
            self._told[hold_id] = self._told.get(hold_id, 0) + amount
        elif hold_id not in self._counted:
            self.used += amount

    def seed(self, used: int, counted: frozenset[str]) -> None:
        self._counted = counted
        self.used = used + sum(amount for hold_id, amount in self._told.items() if hold_id not in counted)
        self._told = {}
        self.seeded = True
        self.watched = bool(counted)

    def over(self, now: float) -> bool:
        return now >= self.stale_at


class _Flight:
    """A meter of what is held now; it counts nothing, and has no window that ends."""

    __slots__ = ("_until", "ends_at", "flies", "held", "seeded", "stale_at", "used", "watched")

    def __init__(self) -> None:
        self.ends_at = NEVER
        # When the first of them has had its age, or earlier.
        self.stale_at = inf
        self.flies: Literal[True] = True
        self.used = 0
        self.held = 0
        self.seeded = self.watched = True
        self._until: dict[str, float] = {}

    def fly(self, hold_id: str, until: float) -> None:
        self._until[hold_id] = until
        self.stale_at = min(self.stale_at, until)

    def give_back(self, hold_id: str, held: int) -> None:
        if self._until.pop(hold_id, None) is not None:
            self.held -= held

    def settle(self, hold_id: str, held: int, amount: int) -> None:  # noqa: ARG002  # counters count it
        self.give_back(hold_id, held)

    def age(self, now: float) -> None:
        self._until = {hold_id: until for hold_id, until in self._until.items() if now < until}
        self.held = len(self._until)
        self.stale_at = min(self._until.values(), default=inf)

    def over(self, now: float) -> bool:
        if now >= self.stale_at:
            self.age(now)
        return not self.held


_Kind: TypeAlias = _Counter | _Flight


_Holds: TypeAlias = dict[str, tuple[Hold, float]]
"""By id, each with the moment until which it is known."""


class MemoryMeters:
    """All meters and holds of a process; its epoch is its own."""

    def __init__(self, clock: Clock) -> None:
        """Make a place without meters.

        Args:
            clock: Whose ``now`` is the calendar.
        """
        self.epoch = secrets.token_hex(8)
        self._now = clock.now
        self._began = clock.now()
        self._meters: dict[str, _Kind] = {}
        self._most_meters = _FEW
        self._forgot_at = 0.0
        self._holds: _Holds = {}
        self._most_holds = _FEW
        # Settled holds of other epochs: those of this one are known by not being among the holds.
        self._settled: _Holds = {}
        self._most_settled = _FEW

    def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        """See ``SharedState.take``. All is set aside at first, and given back where anything does not fit."""
        time = self._now  # called by its name, for an attribute that is called is looked for among methods first
        now = time()
        known = self._holds.get(hold_id)
        if known is not None and now < known[1]:
            readings = self.read([claim.meter for claim in claims])
            return Taken(known[0], [reading.used + reading.held for reading in readings], now)
        meters, until = self._meters, now + seconds
        stakes: list[Stake] = []
        stands: list[int] = []
        granted = True
        for claim in claims:
            meter = meters.get(claim.meter.key)
            if meter is None or now >= meter.stale_at:
                meter = self._at(claim.meter, now)
            amount, limit = claim.amount, claim.limit
            stood = meter.used + meter.held + amount
            # No limit is more than can be counted.
            if amount < 0 or not meter.seeded or (amount > MOST if limit is None else stood > limit):
                granted = False
            meter.held += amount
            if meter.flies and amount:
                meter.fly(hold_id, until)
                granted = granted and amount == 1
            stakes.append(Stake(claim.meter, amount, meter.ends_at))
            stands.append(stood)
        if not granted:
            for stake in stakes:
                if (meter := meters.get(stake.meter.key)) is not None:
                    meter.give_back(hold_id, stake.amount)
            return self._declined(claims, now)
        hold = Hold(hold_id, self.epoch, tuple(stakes))
        if len(self._holds) >= self._most_holds:
            self._most_holds = _make_room(self._holds, now)
        self._holds[hold_id] = hold, until + KEPT_SECONDS
        return Taken(hold, stands, now)

    def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        """See ``SharedState.settle``; who asks sees to it that the amounts can be counted."""
        time, hold_id = self._now, hold.id
        now = time()
        known = self._holds.pop(hold_id, None)
        if known is None or now >= known[1]:
            return self._settle_elder(hold, amounts, now)
        meters, place = self._meters, 0
        for stake in known[0].stakes:
            meter = meters.get(stake.meter.key)
            # Where its window is over, what it was used for is nobody's burden any more.
            if meter is None or meter.ends_at != stake.ends_at:
                pass
            elif meter.watched:
                meter.settle(hold_id, stake.amount, amounts[place])
            else:
                meter.held -= stake.amount
                meter.used += amounts[place]
            place += 1  # noqa: SIM113  # there are one or two, and enumerate() costs more
        return True

    def abandon(self, owner: str) -> int:
        """See ``SharedState.abandon``."""
        now, beginning = self._now(), f"{owner}-"
        holds = [hold for hold, until in self._holds.values() if now < until and hold.id.startswith(beginning)]
        for hold in holds:
            self.settle(hold, (0,) * len(hold.stakes))
        return len(holds)

    def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        """See ``SharedState.seed``."""
        meter = self._at(gap.meter, self._now())
        if not isinstance(meter, _Counter) or meter.seeded or meter.ends_at != gap.ends_at:
            return False
        meter.seed(used, frozenset(counted))
        return True

    def read(self, meters: Sequence[Meter]) -> tuple[Reading, ...]:
        """See ``SharedState.read``."""
        now = self._now()
        return tuple([_reading(self._at(meter, now), now) for meter in meters])

    def _declined(self, claims: Sequence[Claim], now: float) -> Refused | Unseeded:
        """Why nothing was granted."""
        check_claims(claims)
        meters = [self._at(claim.meter, now) for claim in claims]
        gaps = tuple(
            Gap(claim.meter, meter.starts_at, meter.ends_at)
            for claim, meter in zip(claims, meters, strict=True)
            if isinstance(meter, _Counter) and not meter.seeded
        )
        return Unseeded(gaps) if gaps else Refused(tuple([_reading(meter, now) for meter in meters]))

    def _settle_elder(self, hold: Hold, amounts: Sequence[int], now: float) -> bool:
        """Settle what is not held here: it was settled before, or taken in another epoch."""
        found = self._settled.get(hold.id)
        if hold.epoch == self.epoch or (found is not None and now < found[1]):
            return False
        if len(self._settled) >= self._most_settled:
            self._most_settled = _make_room(self._settled, now)
        self._settled[hold.id] = hold, now + KEPT_SECONDS
        for stake, amount in zip(hold.stakes, amounts, strict=True):
            meter = self._at(stake.meter, now)
            if isinstance(meter, _Counter) and meter.ends_at == stake.ends_at:
                meter.settle(hold.id, 0, amount)
        return True

    def _at(self, meter: Meter, now: float) -> _Kind:
        """A meter as it is now, its window the present one."""
        found = self._meters.get(meter.key)
        if found is not None:
            if now < found.stale_at:
                return found
            if isinstance(found, _Flight):
                found.age(now)
                return found
        if len(self._meters) >= self._most_meters:
            self._forget(now)
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
        for key in [key for key, meter in self._meters.items() if meter.over(now)]:
            del self._meters[key]
        self._most_meters = 2 * len(self._meters) + _FEW
        self._forgot_at = max(now, self._forgot_at)


def _make_room(holds: _Holds, now: float) -> int:
    """Drop those that are known no more; return how many there may be until it is done again."""
    for hold_id in [hold_id for hold_id, (_, until) in holds.items() if now >= until]:
        del holds[hold_id]
    return 2 * len(holds) + _FEW


def _reading(meter: _Kind, now: float) -> Reading:
    return Reading(meter.used, meter.held, None if meter.ends_at == NEVER else meter.ends_at - now)
