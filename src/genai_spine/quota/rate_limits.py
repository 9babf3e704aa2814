"""Rate limits: requests and tokens in a window, and requests at once.

A request is counted on all limits of its caller, or refused and counted on none. Its tokens are estimated at first, and
counted when it is over. A caller without a limit costs one look at an empty tuple: ask ``if principal.limits`` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Final

from msgspec import Struct

from genai_spine.errors import RateLimitExceededError, SharedStateUnavailableError
from genai_spine.quota.subjects import HOLD_SECONDS, OnStateLost, Plans, meter_of, per, whose
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Claim, Hold, Meter, Reading, Refused, Taken
from genai_spine.types.limits import MOST, Limit, LimitKind
from genai_spine.types.principal import Principal

__all__ = ["Admission", "RateLimits"]

_COUNTS: Final[Mapping[LimitKind, int]] = {"requests": 1, "concurrent": 0}
"""What a request counts when it is over; tokens count as they are."""

WHILE_BUSY: Final = 1.0
"""Nobody knows when a request will be over; who asks again so soon costs little."""


class _Told(Struct, frozen=True):
    """The headers that tell of a limit, by OpenAI's names; the first says always the same."""

    limit: tuple[bytes, bytes]
    remaining: bytes
    reset: bytes


class _Rate(Struct, frozen=True):
    """A limit, and what of it is the same for each request.

    Attributes:
        claim: What a request claims; in the place of tokens it puts its own.
        counts: What it counts when it is over; None for its tokens.
        told: None where nobody is told.
    """

    limit: Limit
    claim: Claim
    counts: int | None
    told: _Told | None


class Admission(Struct, frozen=True):
    """A request that was let in.

    Attributes:
        hold: To be settled; None where nothing is counted.
        rates: What it is counted on, in the order of the hold's stakes.
        readings: How they stand, with this request.
    """

    hold: Hold | None = None
    rates: tuple[_Rate, ...] = ()
    readings: tuple[Reading, ...] = ()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what tells the caller how he stands, by OpenAI's names."""
        return _headers(self.rates, self.readings)


FREE: Final = Admission()


class RateLimits:
    """Lets requests in, and counts them.

    Attributes:
        on_state_lost: See below; it may change.
    """

    def __init__(
        self, state: SharedState, *, on_state_lost: OnStateLost = "refuse", hold_seconds: float = HOLD_SECONDS
    ) -> None:
        """Make limits that count at a place.

        Args:
            state: Where.
            on_state_lost: What becomes of callers with a limit while it cannot be reached.
            hold_seconds: So long a request that nobody settles counts as one under way.
        """
        self._state = state
        self.on_state_lost = on_state_lost
        self._hold_seconds = hold_seconds
        self._plans: Plans[tuple[_Rate, ...]] = Plans(_plan)

    async def admit(self, principal: Principal, hold_id: str, tokens: int) -> Admission:
        """Count a request, or refuse it and count nothing.

        Args:
            principal: Whose limits count.
            hold_id: Unique, and not that of an attempt.
            tokens: That it will use, as estimated.

        Raises:
            RateLimitExceededError: It passes a limit.
            SharedStateUnavailableError: Nobody can tell now.
        """
        if not principal.limits or not (rates := self._plans.of(principal.limits)):
            return FREE
        tokens = min(tokens, MOST)
        claims = [
            rate.claim if rate.counts is not None else Claim(rate.claim.meter, tokens, rate.claim.limit)
            for rate in rates
        ]
        try:
            found = await self._state.take(hold_id, claims, self._hold_seconds)
        except SharedStateUnavailableError:
            if self.on_state_lost == "refuse":
                raise
            return FREE
        if isinstance(found, Taken):
            return Admission(found.hold, rates, found.readings)
        if isinstance(found, Refused):
            raise _refusal(rates, claims, found.readings)
        message = f"{found.gaps[0].meter.key} is no rate, for a ledger accounts for it"
        raise TypeError(message)

    async def settle(self, admission: Admission, tokens: int) -> None:
        """Count the tokens that a request did use; it is under way no more."""
        if admission.hold is not None:
            amounts = [tokens if rate.counts is None else rate.counts for rate in admission.rates]
            await self._state.settle(admission.hold, amounts)

    async def release(self, admission: Admission) -> None:
        """Count a request as if it had never been: it was refused elsewhere."""
        if admission.hold is not None:
            await self._state.release(admission.hold)


def _plan(limits: tuple[Limit, ...]) -> tuple[_Rate, ...]:
    lowest: dict[Meter, Limit] = {}
    for limit in limits:
        if limit.kind != "usd":
            meter = meter_of(limit)
            known = lowest.get(meter)
            if known is None or limit.amount < known.amount:
                lowest[meter] = limit
    return tuple(
        _Rate(limit, Claim(meter, 1, limit.amount), _COUNTS.get(limit.kind), _told(limit))
        for meter, limit in lowest.items()
    )


def _told(limit: Limit) -> _Told | None:
    if limit.kind == "concurrent":
        return None
    first, *others = (f"x-ratelimit-{what}-{limit.kind}".encode() for what in ("limit", "remaining", "reset"))
    return _Told((first, b"%d" % limit.amount), *others)


def _refusal(rates: Sequence[_Rate], claims: Sequence[Claim], readings: Sequence[Reading]) -> RateLimitExceededError:
    """The error for the limit that stays longest; one that the request alone passes never goes."""
    passed = [
        (rate.limit, claim.amount, reading)
        for rate, claim, reading in zip(rates, claims, readings, strict=True)
        if not reading.fits(claim)
    ]
    limit, amount, reading = max(passed, key=lambda one: (one[1] > one[0].amount, one[2].resets_in or 0.0))
    unit = "requests at once" if limit.kind == "concurrent" else limit.kind
    told = f"{whose(limit)} limit of {limit.amount} {unit}{per(limit)}"
    headers = {name.decode(): value.decode() for name, value in _headers(rates, readings)}
    if amount > limit.amount:
        message = f"this request would use {amount} {unit}, more than {told} ever allows"
        return RateLimitExceededError(message, headers=headers)
    wait = WHILE_BUSY if reading.resets_in is None else reading.resets_in
    message = f"{told} is used up; try again in {ceil(wait)} s"
    return RateLimitExceededError(message, retry_after=wait, headers=headers)


def _headers(rates: Sequence[_Rate], readings: Sequence[Reading]) -> list[tuple[bytes, bytes]]:
    """The scarcest limit of requests and the scarcest of tokens."""
    scarcest: dict[LimitKind, tuple[int, _Told, float | None]] = {}
    for rate, reading in zip(rates, readings, strict=True):
        if rate.told is None:
            continue
        limit = rate.limit
        left = limit.amount - reading.used - reading.held
        if limit.kind not in scarcest or left < scarcest[limit.kind][0]:
            scarcest[limit.kind] = left, rate.told, reading.resets_in
    headers: list[tuple[bytes, bytes]] = []
    for left, told, resets_in in scarcest.values():
        headers += (told.limit, (told.remaining, b"%d" % max(0, left)), (told.reset, _duration(resets_in or 0.0)))
    return headers


def _duration(seconds: float) -> bytes:
    """Such as ``20ms``, ``1s``, ``6m0s`` or ``23h59m59s``; never less than it is."""
    return b"%dms" % ceil(seconds * 1000) if seconds < 1 else _whole(ceil(seconds))


# Most windows are of a minute or an hour, and end for all callers at once.
@lru_cache(maxsize=3600)
def _whole(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest
