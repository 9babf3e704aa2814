"""Rate limits: requests and tokens in a window, and requests at once.

A request is counted on all limits of its caller, or refused and counted on none. Its tokens are estimated at first, and
counted when it is over. A caller without a limit costs one look at an empty tuple: ask ``if principal.limits`` first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Final, NamedTuple

from msgspec import Struct

from genai_spine.errors import RateLimitExceededError, SharedStateUnavailableError
from genai_spine.quota.subjects import HOLD_SECONDS, OnStateLost, Plans, meter_of, per, whose
from genai_spine.shared_state.base import DONE, SharedState
from genai_spine.shared_state.meters import Claim, Meter, Reading, Refused, Taken
from genai_spine.types.limits import MOST, Limit, LimitKind
from genai_spine.types.principal import Principal

__all__ = ["Admission", "RateLimits"]

_COUNTS: Final[Mapping[LimitKind, int]] = {"requests": 1, "tokens": 0, "concurrent": 0}
"""What a request counts when it is over; tokens count as they are."""

WHILE_BUSY: Final = 1.0
"""Nobody knows when a request will be over; who asks again so soon costs little."""


class _Rate(NamedTuple):
    """A limit that headers tell of: its place among all rates, and the header that says always the same."""

    place: int
    amount: int
    header: tuple[bytes, bytes]


class _Told(Struct, frozen=True):
    """What headers tell of the limits of one kind, by OpenAI's names: how the scarcest stands.

    Attributes:
        only: The limit, where there is but one.
        rates: All of them.
        remaining: The name of the header that tells what is left.
        reset: Of the one that tells when it begins anew.
    """

    only: _Rate | None
    rates: tuple[_Rate, ...]
    remaining: bytes
    reset: bytes

    def scarcest(self, stands: Sequence[int]) -> _Rate:
        return min(self.rates, key=lambda rate: rate.amount - stands[rate.place])


class _Plan(Struct, frozen=True):
    """The rates of a caller, one for each meter, and what is the same of them for each request.

    Attributes:
        limits: The rates.
        claims: What a request claims; of tokens it puts its own number there.
        counts: What it counts when it is over; likewise.
        tokens: Where limits of tokens stand.
        told: What headers tell; nothing of requests at once.
    """

    limits: tuple[Limit, ...] = ()
    claims: tuple[Claim, ...] = ()
    counts: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    told: tuple[_Told, ...] = ()


class Admission(Struct, frozen=True, gc=False):
    """A request that was let in.

    Attributes:
        taken: What it is counted with; None where nothing counts.
        plan: By which rates, in the order of the hold's stakes.
    """

    taken: Taken | None = None
    plan: _Plan = _Plan()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what tells the caller how he stands, with this request."""
        headers: list[tuple[bytes, bytes]] = []
        if self.taken is None:
            return headers
        stands, stakes = self.taken.stands, self.taken.hold.stakes
        ends_at, reset = 0, b""
        for told in self.plan.told:
            place, amount, header = told.only or told.scarcest(stands)
            # Requests and tokens mostly count in the same window.
            if ends_at != (ends_at := stakes[place].ends_at):
                reset = _duration(ends_at - self.taken.at)
            left = amount - stands[place]
            headers += header, (told.remaining, b"%d" % left if left > 0 else b"0"), (told.reset, reset)
        return headers


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
        self._meters = state.meters
        self.on_state_lost = on_state_lost
        self._hold_seconds = hold_seconds
        self._plans: Plans[_Plan] = Plans(_plan)

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
        if not principal.limits or not (plan := self._plans[principal.limits]).limits:
            return FREE
        if tokens > MOST:  # noqa: PLR1730  # each request comes by, and min() is dear
            tokens = MOST
        claims = [*plan.claims]
        for place in plan.tokens:
            claim = claims[place]
            claims[place] = Claim(claim.meter, tokens, claim.limit)
        try:
            if self._meters is not None:
                found = self._meters.take(hold_id, claims, self._hold_seconds)
            else:
                found = await self._state.take(hold_id, claims, self._hold_seconds)
        except SharedStateUnavailableError:
            if self.on_state_lost == "refuse":
                raise
            return FREE
        if isinstance(found, Taken):
            return Admission(found, plan)
        if isinstance(found, Refused):
            raise _refusal(plan, claims, found.readings)
        message = f"{found.gaps[0].meter.key} is no rate, for a ledger accounts for it"
        raise TypeError(message)

    def settle(self, admission: Admission, tokens: int) -> Awaitable[object]:
        """Count the tokens that a request did use; it is under way no more.

        Returns what is to be awaited: ``DONE``, where the meters are in this process.
        """
        if admission.taken is None:
            return DONE
        if tokens < 0 or tokens > MOST:
            # A provider may report anything.
            tokens = 0 if tokens < 0 else MOST
        amounts = [*admission.plan.counts]
        for place in admission.plan.tokens:
            amounts[place] = tokens
        return self._state.settling(admission.taken.hold, amounts)

    def release(self, admission: Admission) -> Awaitable[object]:
        """Count a request as if it had never been: it was refused elsewhere."""
        if admission.taken is None:
            return DONE
        return self._state.release(admission.taken.hold)


def _plan(limits: tuple[Limit, ...]) -> _Plan:
    lowest: dict[Meter, Limit] = {}
    for limit in limits:
        if limit.kind != "usd":
            meter = meter_of(limit)
            known = lowest.get(meter)
            if known is None or limit.amount < known.amount:
                lowest[meter] = limit
    rates = tuple(lowest.values())
    return _Plan(
        limits=rates,
        claims=tuple(Claim(meter, 1, limit.amount) for meter, limit in lowest.items()),
        counts=tuple(_COUNTS[limit.kind] for limit in rates if limit.kind != "usd"),
        tokens=tuple(place for place, limit in enumerate(rates) if limit.kind == "tokens"),
        told=tuple(_told(rates, kind) for kind in dict.fromkeys(limit.kind for limit in rates) if kind != "concurrent"),
    )


def _told(limits: Sequence[Limit], kind: LimitKind) -> _Told:
    always, remaining, reset = (f"x-ratelimit-{what}-{kind}".encode() for what in ("limit", "remaining", "reset"))
    rates = tuple(
        _Rate(place, limit.amount, (always, b"%d" % limit.amount))
        for place, limit in enumerate(limits)
        if limit.kind == kind
    )
    return _Told(rates[0] if len(rates) == 1 else None, rates, remaining, reset)


def _refusal(plan: _Plan, claims: Sequence[Claim], readings: Sequence[Reading]) -> RateLimitExceededError:
    """The error for the limit that stays longest; one that the request alone passes never goes."""
    passed = [
        (limit, claim.amount, reading)
        for limit, claim, reading in zip(plan.limits, claims, readings, strict=True)
        if not reading.fits(claim)
    ]
    limit, amount, reading = max(passed, key=lambda one: (one[1] > one[0].amount, one[2].resets_in or 0.0))
    unit = "requests at once" if limit.kind == "concurrent" else limit.kind
    told = f"{whose(limit)} limit of {limit.amount} {unit}{per(limit)}"
    headers = _headers(plan, readings)
    if amount > limit.amount:
        message = f"this request would use {amount} {unit}, more than {told} ever allows"
        return RateLimitExceededError(message, headers=headers)
    wait = WHILE_BUSY if reading.resets_in is None else reading.resets_in
    message = f"{told} is used up; try again in {ceil(wait)} s"
    return RateLimitExceededError(message, retry_after=wait, headers=headers)


def _headers(plan: _Plan, readings: Sequence[Reading]) -> dict[str, str]:
    """What tells the caller how he stands, without this request."""
    headers: list[tuple[bytes, bytes]] = []
    stands = [reading.used + reading.held for reading in readings]
    for told in plan.told:
        place, amount, header = told.scarcest(stands)
        reset = _duration(readings[place].resets_in or 0.0)
        headers += header, (told.remaining, b"%d" % max(0, amount - stands[place])), (told.reset, reset)
    return {name.decode(): value.decode() for name, value in headers}


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
