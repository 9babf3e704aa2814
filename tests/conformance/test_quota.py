"""Budgets and rate limits do the same wherever they count."""

from __future__ import annotations

import asyncio
from calendar import timegm
from collections import Counter
from collections.abc import Collection

import msgspec
import pytest

from genai_spine.errors import (
    BudgetExceededError,
    RateLimitExceededError,
    SpineError,
    UnavailableError,
)
from genai_spine.quota.budgets import Budgets, Reserved, Spent
from genai_spine.quota.rate_limits import Admission, RateLimits
from genai_spine.quota.subjects import meter_of
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Hold, Stake, bounds
from genai_spine.testing.clock import ManualClock
from genai_spine.types.limits import MOST, Limit, LimitAction, LimitScope, LimitWindow
from genai_spine.types.principal import Principal

Place = tuple[SharedState, ManualClock]

DOLLAR = 10**9
CENT = DOLLAR // 100
NOON = timegm((2026, 11, 21, 12, 0, 0))


def usd(amount: int, window: LimitWindow = "day", *, scope: LimitScope = "key", action: LimitAction = "block") -> Limit:
    """A budget of the caller's, in nanodollars."""
    subject = "" if scope == "global" else f"some {scope}"
    return Limit(kind="usd", scope=scope, subject=subject, window=window, amount=amount, action=action)


def rate(amount: int, kind: str = "requests", window: str = "minute", scope: LimitScope = "key") -> Limit:
    """A rate limit of the caller's."""
    return msgspec.convert(
        {"kind": kind, "scope": scope, "subject": f"some {scope}", "window": window, "amount": amount}, Limit
    )


def caller(*limits: Limit) -> Principal:
    """A caller with these limits."""
    return Principal("some key", limits)


class Ledger:
    """What was spent before, the same for all; it counts who asks, and may be down."""

    def __init__(self, spent: Spent | None = None) -> None:
        self.spent = spent or Spent(0)
        self.asked: Counter[tuple[str, tuple[str, ...], int]] = Counter()
        self.down = False

    async def __call__(self, scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
        """As ``SpentSince``."""
        self.asked[scope, tuple(subjects), since] += 1
        await asyncio.sleep(0)
        if self.down:
            message = "the ledger is down"
            raise UnavailableError(message)
        return dict.fromkeys(subjects, self.spent)


async def stands(state: SharedState, *limits: Limit) -> list[tuple[int, int]]:
    """What is used and held on the meters of limits."""
    return [(one.used, one.held) for one in await state.read([meter_of(limit) for limit in limits])]


async def test_a_budget_lets_in_what_fits(place: Place) -> None:
    """What is reserved, committed and released adds up, and the next estimate is refused exactly when it passes."""
    state, clock = place
    clock.set_now(NOON)
    budgets, limit = Budgets(state, clock, Ledger()), usd(DOLLAR)
    first = await budgets.reserve(caller(limit), "a1", 60 * CENT)
    assert () == first.warnings
    with pytest.raises(BudgetExceededError) as refused:
        await budgets.reserve(caller(limit), "a2", 40 * CENT + 1)
    assert (402, "budget_exceeded", DOLLAR, 60 * CENT, NOON + 43200, False) == (
        refused.value.status,
        refused.value.code,
        refused.value.limit,
        refused.value.used,
        refused.value.resets_at,
        refused.value.may_be_free,
    )
    assert (
        "this key's budget of 1 USD a day does not cover this call: 0.6 USD is spent or set aside, and the call may "
        "cost 0.400000001 USD; it begins anew at 2026-11-22T00:00:00Z"
    ) == refused.value.message
    second = await budgets.reserve(caller(limit), "a3", 40 * CENT)
    assert [(0, DOLLAR)] == await stands(state, limit)
    await budgets.release(second.hold)
    await budgets.commit(first.hold, 20 * CENT)
    assert [(20 * CENT, 0)] == await stands(state, limit)
    await budgets.reserve(caller(limit), "a4", 80 * CENT)


async def test_what_passes_a_reservation_counts_in_full(place: Place) -> None:
    """A provider that reports more than was reserved is believed, once."""
    state, clock = place
    budgets, limit = Budgets(state, clock, Ledger()), usd(DOLLAR)
    reserved = await budgets.reserve(caller(limit), "a", 10 * CENT)
    await budgets.commit(reserved.hold, 300 * CENT)
    await budgets.commit(reserved.hold, 300 * CENT)
    assert [(300 * CENT, 0)] == await stands(state, limit)


async def test_all_budgets_of_a_caller_count(place: Place) -> None:
    """Of several budgets the one without room refuses, and the others keep theirs."""
    state, clock = place
    clock.set_now(NOON)
    wide, narrow, shared = usd(DOLLAR, "month"), usd(10 * CENT, "hour"), usd(DOLLAR, "day", scope="global")
    budgets, who = Budgets(state, clock, Ledger()), caller(wide, narrow, shared)
    first = await budgets.reserve(who, "a", 6 * CENT)
    with pytest.raises(BudgetExceededError, match=r"^this key's budget of 0.1 USD an hour"):
        await budgets.reserve(who, "b", 6 * CENT)
    assert [(0, 6 * CENT)] * 3 == await stands(state, wide, narrow, shared)
    await budgets.commit(first.hold, 5 * CENT)
    clock.advance(3600)
    await budgets.reserve(who, "c", 6 * CENT)
    assert [(5 * CENT, 6 * CENT), (0, 6 * CENT)] == await stands(state, wide, narrow)


async def test_the_budget_of_a_request(place: Place) -> None:
    """A limit for each request refuses what may cost more, and counts nothing."""
    state, clock = place
    ledger = Ledger()
    budgets = Budgets(state, clock, ledger)
    limit = usd(5 * CENT, "request")
    assert Reserved() == await budgets.reserve(caller(limit), "a", 5 * CENT)
    with pytest.raises(BudgetExceededError, match=r"may cost 0.050000001 USD, and this key's budget of 0.05 USD a "):
        await budgets.reserve(caller(limit), "b", 5 * CENT + 1)
    soft = usd(5 * CENT, "request", action="warn")
    warned = await budgets.reserve(caller(soft), "c", 6 * CENT)
    assert Reserved(None, ("this key's budget of 0.05 USD a request is exceeded",)) == warned
    assert not ledger.asked


async def test_what_is_free_is_never_refused(place: Place) -> None:
    """An attempt that costs nothing passes a budget that is spent, and one of 0."""
    state, clock = place
    budgets = Budgets(state, clock, Ledger(Spent(DOLLAR)))
    for limit in (usd(0), usd(0, "request"), usd(DOLLAR)):
        assert Reserved() == await budgets.reserve(caller(limit), "a", 0)
        with pytest.raises(BudgetExceededError):
            await budgets.reserve(caller(limit), "a", 1)


async def test_a_budget_that_warns(place: Place) -> None:
    """It lets everything through, and says so once what is spent and set aside is more than it."""
    state, clock = place
    budgets, soft, hard = Budgets(state, clock, Ledger()), usd(50 * CENT, action="warn"), usd(DOLLAR)
    assert () == (await budgets.reserve(caller(soft, hard), "a", 50 * CENT)).warnings
    warned = await budgets.reserve(caller(soft, hard), "b", CENT)
    assert ("this key's budget of 0.5 USD a day is exceeded",) == warned.warnings
    with pytest.raises(BudgetExceededError, match="of 1 USD a day"):
        await budgets.reserve(caller(soft, hard), "c", 50 * CENT)
    await budgets.reserve(caller(soft), "d", 50 * DOLLAR)


async def test_a_budget_that_leaves_what_is_free(place: Place) -> None:
    """Its refusal says that a free candidate may answer, unless another that blocks is spent too."""
    state, clock = place
    budgets, gentle, strict = Budgets(state, clock, Ledger()), usd(CENT, action="fallback"), usd(2 * CENT, "month")
    for amount, free in ((CENT + 1, True), (2 * CENT + 1, False)):
        with pytest.raises(BudgetExceededError) as refused:
            await budgets.reserve(caller(gentle, strict), "a", amount)
        assert free is refused.value.may_be_free


async def test_what_was_spent_before_counts(place: Place) -> None:
    """A place that knows nothing of the window asks the ledger, one for all who wait, and believes it."""
    state, clock = place
    ledger = Ledger(Spent(95 * CENT, ["late"]))
    budgets, limit, total = Budgets(state, clock, ledger), usd(DOLLAR), usd(DOLLAR, "none", scope="user")
    who = caller(limit, total)
    found = await asyncio.gather(
        *[budgets.reserve(who, f"a{number}", CENT) for number in range(20)], return_exceptions=True
    )
    assert {Reserved: 5, BudgetExceededError: 15} == Counter(type(one) for one in found)
    start, end = bounds("day", clock.now())
    assert {("key", ("some key",), start), ("user", ("some user",), 0)} == set(ledger.asked)
    # Who was told to ask just before another had asked does so too.
    assert max(ledger.asked.values()) < 20
    elder = Hold("late", "elder", (Stake(meter_of(limit), CENT, end),))
    await budgets.commit(elder, CENT)
    assert [(95 * CENT, 5 * CENT)] == await stands(state, limit)


async def test_a_reservation_can_be_written_down(place: Place) -> None:
    """Whoever reads it later, after a crash, say, settles it as the one who made it would have."""
    state, clock = place
    budgets, limit = Budgets(state, clock, Ledger()), usd(DOLLAR)
    kept = msgspec.json.encode((await budgets.reserve(caller(limit), "a", 10 * CENT)).hold)
    await budgets.commit(msgspec.json.decode(kept, type=Hold), 3 * CENT)
    await budgets.commit(msgspec.json.decode(kept, type=Hold), 3 * CENT)
    assert [(3 * CENT, 0)] == await stands(state, limit)


@pytest.mark.parametrize("amount", [MOST, MOST + 1, 10**30])
async def test_an_absurd_amount_is_refused_like_any_other(place: Place, amount: int) -> None:
    """What is too large to be counted passes every budget."""
    state, clock = place
    budgets = Budgets(state, clock, Ledger())
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(caller(usd(DOLLAR)), "a", amount)
    assert (await budgets.reserve(caller(usd(DOLLAR, action="warn")), "b", amount)).warnings


async def test_without_a_ledger_nobody_with_a_budget_passes(place: Place) -> None:
    """Where the ledger cannot tell, callers with a budget are refused, or let pass with a warning, as is set."""
    state, clock = place
    ledger = Ledger()
    ledger.down = True
    strict, lenient = Budgets(state, clock, ledger), Budgets(state, clock, ledger, on_state_lost="pass")
    with pytest.raises(UnavailableError, match="the ledger is down"):
        await strict.reserve(caller(usd(DOLLAR)), "a", CENT)
    passed = await lenient.reserve(caller(usd(DOLLAR)), "b", CENT)
    assert Reserved(None, ("budgets cannot be looked after now",)) == passed
    await lenient.commit(passed.hold, CENT)
    await lenient.release(passed.hold)
    ledger.down = False
    await strict.reserve(caller(usd(DOLLAR)), "c", CENT)


async def test_a_budget_is_never_passed_at_once(place: Place) -> None:
    """500 requests of a cent at once spend a dollar and no more, and all that was reserved is settled in the end."""
    state, clock = place
    budgets, who = Budgets(state, clock, Ledger()), caller(usd(DOLLAR), usd(DOLLAR, "hour", scope="global"))
    most = 0

    async def one(number: int) -> bool:
        nonlocal most
        try:
            reserved = await budgets.reserve(who, f"a{number}", CENT)
        except BudgetExceededError:
            return False
        [(used, held)] = await stands(state, who.limits[0])
        most = max(most, used + held)
        await (budgets.release(reserved.hold) if number % 3 == 0 else budgets.commit(reserved.hold, CENT))
        return True

    passed = await asyncio.gather(*[one(number) for number in range(500)])
    assert CENT <= most <= DOLLAR
    [(used, held), (also_used, also_held)] = await stands(state, *who.limits)
    assert (CENT * sum(ok for number, ok in enumerate(passed) if number % 3), 0) == (used, held)
    assert (used, held) == (also_used, also_held)
    while used < DOLLAR:
        await budgets.commit((await budgets.reserve(who, f"b{used}", CENT)).hold, CENT)
        used += CENT
    with pytest.raises(BudgetExceededError):
        await budgets.reserve(who, "one too many", CENT)


async def test_limits_count_requests_tokens_and_those_at_once(place: Place) -> None:
    """A request counts on all limits, with its true tokens once it is over; the headers tell how the caller stands."""
    state, clock = place
    clock.set_now(NOON + 14.5)
    limits = (rate(3), rate(1000, "tokens"), rate(2, "concurrent", "none"))
    rates = RateLimits(state)
    first = await rates.admit(caller(*limits), "r1", 400)
    assert [
        (b"x-ratelimit-limit-requests", b"3"),
        (b"x-ratelimit-remaining-requests", b"2"),
        (b"x-ratelimit-reset-requests", b"46s"),
        (b"x-ratelimit-limit-tokens", b"1000"),
        (b"x-ratelimit-remaining-tokens", b"600"),
        (b"x-ratelimit-reset-tokens", b"46s"),
    ] == first.headers()
    await rates.settle(first, 250)
    assert [(1, 0), (250, 0), (0, 0)] == await stands(state, *limits)
    await rates.settle(first, 250)
    second = await rates.admit(caller(*limits), "r2", 400)
    await rates.release(second)
    assert [(1, 0), (250, 0), (0, 0)] == await stands(state, *limits)


@pytest.mark.parametrize(
    ("limits", "message", "retry_after"),
    [
        (
            (rate(2), rate(9000, "tokens")),
            "this key's limit of 2 requests a minute is used up; try again in 30",
            30.0,
        ),
        ((rate(9), rate(900, "tokens")), "this key's limit of 900 tokens a minute is used up; try again in 30", 30.0),
        ((rate(9), rate(2, "concurrent", "none")), "this key's limit of 2 requests at once is used up; try ag", 1.0),
        ((rate(2, scope="user"), rate(2, window="hour")), "limit of 2 requests an hour is used up; try aga", 3570.0),
    ],
)
async def test_a_limit_refuses(place: Place, limits: tuple[Limit, ...], message: str, retry_after: float) -> None:
    """What passes a limit is refused, counts nowhere, and is told which limit and for how long."""
    state, clock = place
    clock.set_now(NOON + 30)
    rates, who = RateLimits(state), caller(*limits)
    await rates.admit(who, "r1", 300)
    await rates.admit(who, "r2", 300)
    before = await stands(state, *limits)
    with pytest.raises(RateLimitExceededError) as refused:
        await rates.admit(who, "r3", 301)
    error = refused.value
    assert (429, "rate_limit_exceeded", retry_after) == (error.status, error.code, error.retry_after)
    assert message in error.message
    assert str(limits[0].amount) == error.headers["x-ratelimit-limit-requests"]
    assert before == await stands(state, *limits)


async def test_a_request_larger_than_its_limit_need_not_wait(place: Place) -> None:
    """Nobody is told to try again what can never pass."""
    with pytest.raises(RateLimitExceededError, match="would use 1001 tokens, more than this key's limit of 1000") as no:
        await RateLimits(place[0]).admit(caller(rate(1000, "tokens")), "r", 1001)
    assert no.value.retry_after is None


async def test_the_lowest_of_like_limits_counts(place: Place) -> None:
    """Of two limits on the same thing the lower one refuses, and the scarcest is what the caller is told."""
    rates = RateLimits(place[0])
    who = caller(rate(3), rate(2), rate(1, window="hour", scope="user"))
    told = dict((await rates.admit(who, "r1", 0)).headers())
    assert (b"1", b"0") == (told[b"x-ratelimit-limit-requests"], told[b"x-ratelimit-remaining-requests"])
    twice = caller(rate(3), rate(2))
    await rates.admit(twice, "r2", 0)
    with pytest.raises(RateLimitExceededError, match="limit of 2 requests"):
        await rates.admit(twice, "r3", 0)


async def test_limits_are_exact_at_once(place: Place) -> None:
    """Of 200 requests at once just as many pass as may; the refused use nothing of the allowance."""
    state, _ = place
    limits = (rate(50), rate(100_000, "tokens"), rate(20, "concurrent", "none"))
    rates, who = RateLimits(state), caller(*limits)

    async def one(number: int) -> Admission | SpineError:
        try:
            return await rates.admit(who, f"r{number}", 100)
        except RateLimitExceededError as refused:
            return refused

    for turn, passing in enumerate((20, 20, 10, 0)):
        found = await asyncio.gather(*[one(1000 * turn + number) for number in range(200)])
        admitted = [one for one in found if isinstance(one, Admission)]
        assert passing == len(admitted)
        await asyncio.gather(*[rates.settle(one, 90) for one in admitted])
    assert [(50, 0), (4500, 0), (0, 0)] == await stands(state, *limits)


async def test_limits_of_different_kinds_do_not_meet(place: Place) -> None:
    """A caller with budgets alone has no rate, and one with rates alone no budget; without either nothing is asked."""
    state, clock = place
    ledger = Ledger()
    budgets, rates = Budgets(state, clock, ledger), RateLimits(state)
    assert Reserved() == await budgets.reserve(caller(rate(1)), "a", CENT)
    for who in (caller(usd(DOLLAR)), caller()):
        admission = await rates.admit(who, "r", 1)
        assert (Admission(), []) == (admission, admission.headers())
        await rates.settle(admission, 1)
        await rates.release(admission)
    assert not ledger.asked


async def test_two_who_share_a_place_share_its_limits(place: Place) -> None:
    """Two gateways that count at one place refuse together what either would refuse alone."""
    state, clock = place
    here, there, who = Budgets(state, clock, Ledger()), Budgets(state, clock, Ledger()), caller(usd(2 * CENT))
    await here.reserve(who, "a", CENT)
    await there.reserve(who, "b", CENT)
    for budgets in (here, there):
        with pytest.raises(BudgetExceededError):
            await budgets.reserve(who, "c", CENT)


async def test_how_budgets_stand(place: Place) -> None:
    """What is used and held is told, of the ledger where the place was not there to see it; nothing is set aside."""
    state, clock = place
    clock.set_now(NOON)
    ledger = Ledger(Spent(30 * CENT))
    budgets, narrow, wide = Budgets(state, clock, ledger), usd(DOLLAR, "none"), usd(2 * DOLLAR, "none", scope="global")
    each = usd(1, "request")
    await budgets.reserve(caller(narrow), "a1", 10 * CENT)
    for _ in range(2):
        told = await budgets.standing([narrow, each, wide])
        assert {narrow: (30 * CENT, 10 * CENT), wide: (30 * CENT, 0)} == {
            limit: (reading.used, reading.held) for limit, reading in told.items()
        }
        assert told[narrow].resets_in is None
    assert 2 == ledger.asked.total()
    assert [(30 * CENT, 10 * CENT), (30 * CENT, 0)] == await stands(state, narrow, wide)
    assert {} == await budgets.standing([each])


async def test_the_ledger_is_asked_for_many_together(place: Place) -> None:
    """How hundreds of budgets stand is one question for each scope and beginning, and each gets its own answer."""
    state, clock = place
    ledger = Ledger(Spent(30 * CENT))
    budgets = Budgets(state, clock, ledger)
    limits = [
        Limit(kind="usd", scope=scope, subject=str(number), window=window, amount=DOLLAR)
        for scope in ("key", "user")
        for number in range(1, 101)
        for window in ("day", "none")
    ]
    told = await budgets.standing(limits)
    assert dict.fromkeys(limits, 30 * CENT) == {limit: reading.used for limit, reading in told.items()}
    assert {(scope, 100) for scope in ("key", "user")} == {(scope, len(whose)) for scope, whose, _ in ledger.asked}
    assert 4 == ledger.asked.total()
