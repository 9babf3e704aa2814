"""Meters: counters with a limit, under money, rates and things in flight.

A *meter* counts in a window. A *hold* sets an amount aside on several meters at once, on all or on none; later it is
settled with what was really used. ``used + held + amount > limit`` refuses, so what was let in never passes a limit,
however many ask at the same time.

::

    take ──▶ held ──settle──▶ used, by what was really used; once, whoever repeats it
               │───release──▶ gone
               └─── never settled: in a counter it stands until the window ends, in flight until its age; or until its
                    owner is known to be gone, and it is abandoned

**Windows** go by the calendar in UTC and by the clock of the place that counts. What was taken in a window that is over
burdens no later one. A clock that is set back opens no window anew: the meter stays in the later one.

**Loss of memory.** Each life of a place has an *epoch*: a process, or a Redis server between restarts and flushes. Of
what was used before it, a place knows nothing. So a meter that is *accounted* (the ledger knows its truth: money),
whose window began before the epoch, admits nothing until it was told by ``seed`` what the ledger counts; a window that
began later was seen whole, and needs none. What is settled before is kept apart with its id until then, and ids that
the ledger's figure contains count no second time, however late they are settled.

A hold outlives the epoch in which it was taken: settled in a later one it counts there, once, unless the ledger's
figure contains it. Of an id that its own epoch does not know, there is nothing left to settle.

Several processes that share a place each hold again, at a new epoch, what they had set aside, and settle again what
they settled shortly before, for the ledger may not have it yet. For that an accounted meter admits nothing in the first
moments of an epoch.

What remains: a process that cannot reach the place in those moments holds again later, so a limit may be passed by
what it had in flight; what a process settled, and lost together with the place's memory, counts when its journal
reaches the ledger or is settled from there; a rate limit, which no ledger knows, begins anew with the epoch.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from genai_spine.types.limits import MOST

__all__ = [
    "NEVER",
    "Claim",
    "Gap",
    "Hold",
    "Meter",
    "Reading",
    "Refused",
    "Stake",
    "Taken",
    "Unseeded",
    "Window",
    "bounds",
    "check_amounts",
    "check_claims",
]

Window: TypeAlias = Literal["minute", "hour", "day", "month", "ever", "flight"]
"""Of a meter: a window of the calendar; one without an end; or none, for what is held now and leaves nothing behind."""

NEVER: Final = MOST
"""The end of a window without one, in seconds since the Unix epoch."""

_LENGTHS: Final[dict[Window, int]] = {"minute": 60, "hour": 3600, "day": 86400}


class Meter(Struct, frozen=True, array_like=True, gc=False):
    """What counts.

    Attributes:
        key: Its name; others who name it so share it.
        window: In what it counts.
        accounted: The ledger has its truth, and it admits nothing without.
    """

    key: str
    window: Window
    accounted: bool = False


class Claim(Struct, frozen=True, gc=False):
    """An amount to be set aside on a meter.

    Attributes:
        amount: Of things in flight one at most.
        limit: Refused where more would be used and held; None only counts.
    """

    meter: Meter
    amount: int
    limit: int | None = None


class Reading(Struct, frozen=True, gc=False):
    """How a meter stands.

    Attributes:
        used: What was settled in this window.
        held: What is set aside in it.
        resets_in: Seconds until the window ends; None where it never does.
    """

    used: int
    held: int
    resets_in: float | None

    def fits(self, claim: Claim) -> bool:
        """Return whether there is room for a claim."""
        return claim.limit is None or self.used + self.held + claim.amount <= claim.limit


class Stake(Struct, frozen=True, array_like=True, gc=False):
    """What a hold has on one meter, and the end of the window in which it was taken."""

    meter: Meter
    amount: int
    ends_at: int


class Hold(Struct, frozen=True, array_like=True, gc=False):
    """What is set aside under an id. It can be written down and read again, and settled by who reads it."""

    id: str
    epoch: str
    stakes: tuple[Stake, ...]


class Taken(Struct, frozen=True, gc=False):
    """All claims were granted.

    Attributes:
        stands: What is used and held on each meter, this included.
        at: When, by the place's clock, in seconds since the Unix epoch.
    """

    hold: Hold
    stands: Sequence[int]
    at: float


class Refused(Struct, frozen=True):
    """At least one claim did not fit, and nothing has changed; one reading for each claim."""

    readings: tuple[Reading, ...]


class Gap(Struct, frozen=True):
    """What a meter must be told: what was used of it from a moment on, in seconds since the Unix epoch."""

    meter: Meter
    starts_at: int
    ends_at: int


class Unseeded(Struct, frozen=True):
    """Nothing was granted or refused, for some meters do not know what was used before this epoch."""

    gaps: tuple[Gap, ...]


def bounds(window: Window, now: float) -> tuple[int, int]:
    """Return when the window around a moment begins and ends, in seconds since the Unix epoch."""
    if (length := _LENGTHS.get(window)) is not None:
        start = int(now // length) * length
        return start, start + length
    if window == "month":
        year, month = time.gmtime(now)[:2]
        return timegm((year, month, 1, 0, 0, 0)), timegm((year + month // 12, month % 12 + 1, 1, 0, 0, 0))
    return 0, NEVER


def check_claims(claims: Sequence[Claim]) -> None:
    """Check what is to be set aside.

    Raises:
        ValueError: An amount is too large to count, or below 0, or more than one thing in flight.
    """
    for claim in claims:
        most = 1 if claim.meter.window == "flight" else MOST
        if not 0 <= claim.amount <= most:
            message = f"{claim.meter.key} takes amounts from 0 to {most}, not {claim.amount}"
            raise ValueError(message)


def check_amounts(hold: Hold, amounts: Sequence[int]) -> None:
    """Check what a hold is to be settled with.

    Raises:
        ValueError: There is not one amount for each stake, or one cannot be counted.
    """
    if len(amounts) != len(hold.stakes):
        message = f"hold {hold.id} has {len(hold.stakes)} stakes, and was settled with {len(amounts)} amounts"
        raise ValueError(message)
    for amount in amounts:
        if not 0 <= amount <= MOST:
            message = f"hold {hold.id} was settled with {amount}; amounts are from 0 to {MOST}"
            raise ValueError(message)
