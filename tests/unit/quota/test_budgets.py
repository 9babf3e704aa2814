"""Budgets and rate limits: what they ask of the place that counts, and when they ask nothing."""

from __future__ import annotations

import asyncio
from calendar import timegm
from collections.abc import Collection, Iterable, Sequence

import pytest
from typing_extensions import override

from genai_spine.clock import SystemClock
from genai_spine.dialects.allowances import Allowance, limits_told
from genai_spine.errors import BudgetExceededError, RateLimitExceededError, SharedStateUnavailableError
from genai_spine.quota.budgets import ASKING_SECONDS, Budgets, Reserved, Spent
from genai_spine.quota.rate_limits import Admission, RateLimits
from genai_spine.quota.subjects import MOST_PLANS, Plans, meter_of
from genai_spine.shared_state.memory import MemoryState
from genai_spine.shared_state.meters import Claim, Gap, Meter, Refused, Taken, Unseeded
from genai_spine.testing.clock import ManualClock
from genai_spine.types.limits import Limit, LimitScope, LimitWindow
from genai_spine.types.principal import ANYBODY, Principal
from tests import virtual_time

BUDGET = Limit(kind="usd", scope="key", subject="k", window="day", amount=100)
SOFT = Limit(kind="usd", scope="key", subject="k", window="day", amount=1, action="warn")
RATE = Limit(kind="requests", scope="key", subject="k", window="minute", amount=5)


def caller(*limits: Limit) -> Principal:
    """A caller with these limits."""
    return Principal("k", limits)


async def nothing(scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
    """A ledger without rows."""
    assert (scope, list(subjects)) == ("key", ["k"])
    assert since >= 0
    return await asyncio.sleep(0, {"k": Spent(0)})


class Gone(MemoryState):
    """A place that cannot be reached."""

    def __init__(self) -> None:
        super().__init__(1024, SystemClock())
        self.meters = None

    @override
    async def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        message = "gone"
        raise SharedStateUnavailableError(message)


class Unbelieving(MemoryState):
    """A place that takes no ledger's word."""

    @override
    async def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        return False


async def test_who_has_no_limit_needs_no_place() -> None:
    """A caller without limits is let through where nobody can count, and so is what costs nothing."""
    gone = Gone()
    budgets, rates = Budgets(gone, SystemClock(), nothing), RateLimits(gone)
    assert Reserved() == await budgets.reserve(ANYBODY, "a", 10)
    assert Reserved() == await budgets.reserve(caller(BUDGET), "a", 0)
    assert Reserved() == await budgets.reserve(caller(RATE), "a", 10)
    assert Admission() == await rates.admit(ANYBODY, "r", 10)
    assert Admission() == await rates.admit(caller(BUDGET), "r", 10)


async def test_who_has_a_limit_is_refused_or_let_pass() -> None:
    """Where nobody can count, a caller with a limit is refused, unless it only warns or the operator set otherwise."""
    gone = Gone()
    with pytest.raises(SharedStateUnavailableError):
        await Budgets(gone, SystemClock(), nothing).reserve(caller(BUDGET, SOFT), "a", 10)
    with pytest.raises(SharedStateUnavailableError):
        await RateLimits(gone).admit(caller(RATE), "r", 10)
    told = Reserved(None, ("budgets cannot be looked after now",))
    assert told == await Budgets(gone, SystemClock(), nothing).reserve(caller(SOFT), "a", 10)
    assert told == await Budgets(gone, SystemClock(), nothing, on_state_lost="pass").reserve(caller(BUDGET), "a", 10)
    assert Admission() == await RateLimits(gone, on_state_lost="pass").admit(caller(RATE), "r", 10)


async def test_a_place_that_believes_nobody_lends_nothing() -> None:
    """Where a meter does not take what the ledger tells, the caller is told to come again, after a few tries."""
    budgets = Budgets(Unbelieving(1024, SystemClock()), SystemClock(), nothing)
    with pytest.raises(SharedStateUnavailableError) as refused:
        await budgets.reserve(caller(BUDGET), "a", 10)
    assert 1.0 == refused.value.retry_after


async def test_a_rate_that_is_accounted_is_a_mistake() -> None:
    """No ledger tells of rates: where a meter of that name wants one, the program is wrong."""
    state = MemoryState(1024, SystemClock())
    await state.read([Meter(meter_of(RATE).key, "minute", accounted=True)])
    clock = ManualClock()
    clock.set_now(0)
    with pytest.raises(TypeError, match="requests:minute:key:k is no rate"):
        await RateLimits(state).admit(caller(RATE), "r", 1)


async def test_who_leaves_takes_the_ledgers_answer_from_nobody() -> None:
    """Of two who wait for the ledger the first hangs up; the other gets the answer, and the ledger is asked once."""
    asked: list[str] = []
    begun, answer = asyncio.Event(), asyncio.Event()

    async def slow(scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
        assert (scope, since >= 0) == ("key", True)
        asked.extend(subjects)
        begun.set()
        await answer.wait()
        return {"k": Spent(95)}

    budgets = Budgets(MemoryState(1024, SystemClock()), SystemClock(), slow)
    first, second = (asyncio.ensure_future(budgets.reserve(caller(BUDGET), name, 5)) for name in "ab")
    await begun.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answer.set()
    assert (await second).hold is not None
    assert ["k"] == asked
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(caller(BUDGET), "c", 1)


def test_nobody_waits_for_a_ledger_that_does_not_answer() -> None:
    """Callers are refused after a while; the answer counts when it comes, for it is asked but once."""
    asked: list[asyncio.Event] = []

    async def slow(scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
        assert (scope, list(subjects), since > 0) == ("key", ["k"], True)
        asked.append(asyncio.Event())
        await asked[0].wait()
        return {"k": Spent(60)}

    async def main() -> None:
        clock = ManualClock()
        budgets = Budgets(MemoryState(1024, clock), clock, slow)
        for _ in range(2):
            with pytest.raises(SharedStateUnavailableError, match="database does not answer"):
                await budgets.reserve(caller(BUDGET), "attempt", 50)
        assert len(asked) == 1
        asked[0].set()
        with pytest.raises(BudgetExceededError):
            await budgets.reserve(caller(BUDGET), "attempt", 50)

    _, waited = virtual_time.run(main)
    assert waited == 2 * ASKING_SECONDS


def test_plans_take_bounded_memory() -> None:
    """However many sets of limits come by, few plans are remembered, and each is made once while it is."""
    made: list[tuple[Limit, ...]] = []

    def make(limits: tuple[Limit, ...]) -> int:
        made.append(limits)
        return len(made)

    plans: Plans[int] = Plans(make)
    assert 1 == plans[BUDGET,] == plans[BUDGET,]
    for amount in range(MOST_PLANS):
        assert plans[Limit(kind="usd", scope="global", window="day", amount=amount),]
    assert MOST_PLANS + 2 == plans[BUDGET,]


@pytest.mark.parametrize(
    ("window", "reset", "seconds"),
    [
        ("minute", "250ms", 0.25),
        ("hour", "2m1s", 121),
        ("day", "23h2m1s", 82921),
        ("month", "215h2m1s", 774121),
    ],
)
async def test_headers_tell_when_the_window_ends(window: LimitWindow, reset: str, seconds: float) -> None:
    """The time left is told as OpenAI tells it, rounded up, and read by who reads OpenAI's."""
    clock = ManualClock(timegm((2026, 11, 22, 0, 57, 59)) if window != "minute" else 59.75)
    limit = Limit(kind="tokens", scope="user", subject="u", window=window, amount=100)
    admission = await RateLimits(MemoryState(1024, clock)).admit(caller(limit), "r", 30)
    headers = {name.decode(): value.decode() for name, value in admission.headers()}
    assert reset == headers["x-ratelimit-reset-tokens"]
    assert [Allowance("tokens", 70.0, seconds)] == limits_told(headers, clock.now())


async def test_a_refusal_tells_the_headers_too() -> None:
    """Who is refused learns how he stands: nothing is left."""
    rates = RateLimits(MemoryState(1024, SystemClock()))
    for number in range(5):
        await rates.admit(caller(RATE), f"r{number}", 0)
    with pytest.raises(RateLimitExceededError) as refused:
        await rates.admit(caller(RATE), "r", 0)
    assert "0" == refused.value.headers["x-ratelimit-remaining-requests"]
