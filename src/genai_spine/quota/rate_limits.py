"""Rate limits: requests and tokens in a window, and requests at once.

A request is counted on all limits of its caller, or refused and counted on none. Its tokens are estimated at first, and
counted when it is over. A caller without a limit costs one look at an empty tuple: ask ``if principal.limits`` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from msgspec import Struct

from genai_spine.errors import RateLimitExceededError, SharedStateUnavailableError
from genai_spine.quota.subjects import HOLD_SECONDS, OnStateLost, Plans, meter_of, per, whose
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Claim, Hold, Meter, Reading, Refused, Unseeded
from genai_spine.types.limits import MOST, Limit
from genai_spine.types.principal import Principal

__all__ = ["Admission", "RateLimits"]

_TOLD: Final = frozenset({"requests", "tokens"})

WHILE_BUSY: Final = 1.0
"""Nobody knows when a request will be over; who asks again so soon costs little."""


class _Rate(Struct, frozen=True):
    limit: Limit
    meter: Meter
    # The same for each request, but for tokens.
    claim: Claim


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

    def headers(self) -> dict[str, str]:
        """Return what tells the caller how he stands, by OpenAI's names."""
        return _headers(self.rates, self.readings)


FREE: Final = Admission()


class RateLimits:
    """Lets requests in, and counts them."""

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
        self._on_state_lost = on_state_lost
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
            rate.claim if rate.limit.kind != "tokens" else Claim(rate.meter, tokens, rate.claim.limit) for rate in rates
        ]
        try:
            found = await self._state.take(hold_id, claims, self._hold_seconds)
        except SharedStateUnavailableError:
            if self._on_state_lost == "refuse":
                raise
            return FREE
        if isinstance(found, Refused):
            raise _refusal(rates, claims, found.readings)
        if isinstance(found, Unseeded):
            message = f"{found.gaps[0].meter.key} is no rate, for a ledger accounts for it"
            raise TypeError(message)
        return Admission(found.hold, rates, found.readings)

    async def settle(self, admission: Admission, tokens: int) -> None:
        """Count the tokens that a request did use; it is under way no more."""
        if admission.hold is not None:
            amounts = tuple([_AMOUNTS.get(rate.limit.kind, tokens) for rate in admission.rates])
            await self._state.settle(admission.hold, amounts)

    async def release(self, admission: Admission) -> None:
        """Count a request as if it had never been: it was refused elsewhere."""
        if admission.hold is not None:
            await self._state.release(admission.hold)


# What a request counts when it is over; tokens count as they are.
_AMOUNTS: Final[Mapping[str, int]] = {"requests": 1, "concurrent": 0}


def _plan(limits: tuple[Limit, ...]) -> tuple[_Rate, ...]:
    lowest: dict[Meter, Limit] = {}
    for limit in limits:
        if limit.kind != "usd":
            meter = meter_of(limit)
            known = lowest.get(meter)
            if known is None or limit.amount < known.amount:
                lowest[meter] = limit
    return tuple(_Rate(limit, meter, Claim(meter, 1, limit.amount)) for meter, limit in lowest.items())


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
    headers = _headers(rates, readings)
    if amount > limit.amount:
        message = f"this request would use {amount} {unit}, more than {told} ever allows"
        return RateLimitExceededError(message, headers=headers)
    wait = WHILE_BUSY if reading.resets_in is None else reading.resets_in
    message = f"{told} is used up; try again in {ceil(wait)} s"
    return RateLimitExceededError(message, retry_after=wait, headers=headers)


def _headers(rates: Sequence[_Rate], readings: Sequence[Reading]) -> dict[str, str]:
    """The scarcest limit of requests and the scarcest of tokens."""
    scarcest: dict[str, tuple[int, int, float]] = {}
    for rate, reading in zip(rates, readings, strict=True):
        kind = rate.limit.kind
        if kind not in _TOLD:
            continue
        left = max(0, rate.limit.amount - reading.used - reading.held)
        if kind not in scarcest or left < scarcest[kind][1]:
            scarcest[kind] = rate.limit.amount, left, reading.resets_in or 0.0
    headers: dict[str, str] = {}
    for told, (amount, left, resets_in) in scarcest.items():
        headers[f"x-ratelimit-limit-{told}"] = str(amount)
        headers[f"x-ratelimit-remaining-{told}"] = str(left)
        headers[f"x-ratelimit-reset-{told}"] = _duration(resets_in)
    return headers


def _duration(seconds: float) -> str:
    """Such as ``20ms``, ``1s``, ``6m0s`` or ``23h59m59s``; never less than it is."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
