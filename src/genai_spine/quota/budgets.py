"""Budgets: money set aside before each call upstream, and counted when the call is over.

What a call may cost at most is reserved on all budgets of the caller, or the call is refused: exactly where spent, set
aside and estimate together pass a limit. What it did cost is committed once; more than was reserved counts in full.
Nothing is reserved for what is free. A caller without a budget costs one look at an empty tuple: ask
``if principal.limits`` first.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.errors import BudgetExceededError, SharedStateUnavailableError, UnavailableError
from genai_spine.money import usd_text
from genai_spine.quota.subjects import HOLD_SECONDS, OnStateLost, Plans, meter_of, per, whose
from genai_spine.shared_state.base import DONE, SharedState
from genai_spine.shared_state.meters import Claim, Gap, Hold, Meter, Reading, Refused, Taken, Unseeded
from genai_spine.types.limits import MOST, Limit, LimitScope
from genai_spine.types.principal import Principal

__all__ = ["ASKING_SECONDS", "Budgets", "Reserved", "Spent", "SpentSince"]


ASKING_SECONDS: Final = 5.0
"""How long a caller waits for the ledger's answer; it is taken when it comes, for those who ask later."""


class Spent(Struct, frozen=True):
    """What the ledger counts.

    Attributes:
        nanodollars: All of it.
        attempts: The ids of the attempts in it that ended of late: of the last hour, say.
    """

    nanodollars: int
    attempts: Collection[str] = ()


SpentSince: TypeAlias = Callable[[LimitScope, Collection[str], int], Awaitable[Mapping[str, Spent]]]
"""Asks the ledger for what each of some users or keys, or everybody, has spent on attempts that began at a moment or
later, in seconds since the Unix epoch. Raises ``UnavailableError`` where it cannot tell."""


class Reserved(Struct, frozen=True, gc=False):
    """What was reserved for an attempt.

    Attributes:
        hold: To be committed or released; None where nothing is set aside. Written down with the attempt's intent, it
            can be settled by whoever finds the attempt after a crash.
        warnings: What the caller is to be told of budgets that only warn.
    """

    hold: Hold | None = None
    warnings: tuple[str, ...] = ()

    def is_passed_by(self, nanodollars: int) -> bool:
        """Whether an attempt did cost more than was set aside for it."""
        return self.hold is not None and nanodollars > self.hold.stakes[0].amount


NOTHING: Final = Reserved()


class _Budget(Struct, frozen=True):
    """The limits that count on one meter: those that refuse, and those that warn."""

    meter: Meter
    hard: tuple[Limit, ...]
    soft: tuple[Limit, ...]
    amount: int | None


class _Plan(Struct, frozen=True):
    """All budgets of a caller: those of a single request, those that add up, and whether any of these only warns."""

    each: tuple[Limit, ...]
    budgets: tuple[_Budget, ...]
    warns: bool


class Budgets:
    """Reserves, commits and releases; the amounts are in nanodollars.

    Attributes:
        on_state_lost: See below; it may change.
        outlive: What is set aside stays so when this process ends, until somebody settles it.
    """

    def __init__(
        self,
        state: SharedState,
        clock: Clock,
        spent: SpentSince,
        *,
        on_state_lost: OnStateLost = "refuse",
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        """Make budgets that count at a place.

        Args:
            state: Where.
            clock: Whose ``now`` is told to callers.
            spent: Asks the ledger, where the place does not know what was spent before.
            on_state_lost: What becomes of callers with a budget while the place, or the ledger that it needs, cannot
                be reached.
            hold_seconds: The age of a reservation that nobody settles.
        """
        self._state = state
        self._meters = state.meters
        self.outlive = state.meters is None
        self._clock = clock
        self._spent = spent
        self.on_state_lost = on_state_lost
        self._hold_seconds = hold_seconds
        self._plans: Plans[_Plan] = Plans(_plan)
        self._seeding: dict[str, asyncio.Task[None]] = {}

    async def reserve(self, principal: Principal, attempt_id: str, nanodollars: int) -> Reserved:
        """Set aside what an attempt may cost.

        Args:
            principal: Whose budgets count.
            attempt_id: Unique, and the ledger's own name for the attempt.
            nanodollars: At most; 0 is never refused, nor is less.

        Raises:
            BudgetExceededError: A budget does not cover it.
            SharedStateUnavailableError: Nobody can tell now.
        """
        if not principal.budgeted or nanodollars <= 0:
            return NOTHING
        plan = self._plans[principal.limits]
        if nanodollars > MOST:  # noqa: PLR1730  # each request comes by, and min() is dear
            nanodollars = MOST
        warnings = _each(plan.each, nanodollars) if plan.each else ()
        if not plan.budgets:
            return Reserved(None, warnings)
        claims = []
        for budget in plan.budgets:
            claims.append(Claim(budget.meter, nanodollars, budget.amount))  # noqa: PERF401  # mostly there is one
        try:
            found = None if self._meters is None else self._meters.take(attempt_id, claims, self._hold_seconds)
            if not isinstance(found, Taken):
                found = await self._take(plan, attempt_id, claims)
                if isinstance(found, Refused):
                    raise self._refusal(plan, found.readings, nanodollars)
        except UnavailableError:
            # One that only warns never refuses.
            if self.on_state_lost == "refuse" and any(budget.hard for budget in plan.budgets):
                raise
            return Reserved(None, (*warnings, "budgets cannot be looked after now"))
        if plan.warns:
            for budget, stands in zip(plan.budgets, found.stands, strict=True):
                warnings += tuple([_warning(limit) for limit in budget.soft if stands > limit.amount])
        return Reserved(found.hold, warnings)

    def commit(self, hold: Hold | None, nanodollars: int) -> Awaitable[object]:
        """Count what an attempt did cost, in the place of what was reserved, once.

        Returns what is to be awaited: ``DONE``, where the meters are in this process.
        """
        if hold is None:
            return DONE
        if nanodollars < 0 or nanodollars > MOST:
            # A provider of somebody else's may name any price.
            nanodollars = 0 if nanodollars < 0 else MOST
        return self._state.settling(hold, (nanodollars,) * len(hold.stakes))

    def release(self, hold: Hold | None) -> Awaitable[object]:
        """Set nothing aside any more for an attempt that cost nothing; returns likewise."""
        return self.commit(hold, 0)

    async def standing(self, limits: Sequence[Limit]) -> dict[Limit, Reading]:
        """Return how budgets stand; those of a single request add nothing up, and are left out.

        Raises:
            UnavailableError: Nobody can tell now.
        """
        plan = _plan(tuple(limits))
        if not plan.budgets:
            return {}
        # Nothing fits below nothing: the place refuses, and so tells how its meters stand, or that it does not know.
        claims = [Claim(budget.meter, 0, -1) for budget in plan.budgets]
        found = await self._take(plan, f"look:{uuid.uuid4().hex}", claims)
        readings = found.readings if isinstance(found, Refused) else ()
        told = zip(plan.budgets, readings, strict=True)
        return {limit: reading for budget, reading in told for limit in _limits(budget)}

    async def _take(self, plan: _Plan, attempt_id: str, claims: Sequence[Claim]) -> Taken | Refused:
        for _ in range(4):
            found = await self._state.take(attempt_id, claims, self._hold_seconds)
            if not isinstance(found, Unseeded):
                return found
            await self._seed(plan, found.gaps)
        message = "what was spent cannot be settled now; its window is ending, or the store of budgets was started anew"
        raise SharedStateUnavailableError(message, retry_after=1.0)

    async def _seed(self, plan: _Plan, gaps: Sequence[Gap]) -> None:
        """Have meters told what was spent; one asks the ledger for all who wait, and for all subjects together."""
        limits = {budget.meter: next(_limits(budget)) for budget in plan.budgets}
        alike: dict[tuple[LimitScope, int], dict[str, Gap]] = {}
        for gap in gaps:
            if gap.meter.key not in self._seeding:
                limit = limits[gap.meter]
                alike.setdefault((limit.scope, gap.starts_at), {})[limit.subject] = gap
        for (scope, since), mine in alike.items():
            task = asyncio.create_task(self._ask(scope, since, mine))
            task.add_done_callback(_look_at)
            self._seeding.update((gap.meter.key, task) for gap in mine.values())
        asked = {self._seeding[gap.meter.key] for gap in gaps}
        # Who leaves takes the answer from nobody.
        done, waiting = await asyncio.wait(asked, timeout=ASKING_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        if waiting:
            message = "what was spent cannot be settled now, for the ledger's database does not answer"
            raise SharedStateUnavailableError(message, retry_after=1.0)

    async def _ask(self, scope: LimitScope, since: int, gaps: Mapping[str, Gap]) -> None:
        try:
            spent = await self._spent(scope, gaps, since)
            amounts = [(gap, spent[subject]) for subject, gap in gaps.items()]
            await asyncio.gather(
                *[self._state.seed(gap, min(one.nanodollars, MOST), one.attempts) for gap, one in amounts]
            )
        finally:
            for gap in gaps.values():
                del self._seeding[gap.meter.key]

    def _refusal(self, plan: _Plan, readings: Sequence[Reading], nanodollars: int) -> BudgetExceededError:
        """The error for the budget that matters most: one that blocks, then the one that stays longest."""
        passed = [
            (limit, reading)
            for budget, reading in zip(plan.budgets, readings, strict=True)
            for limit in budget.hard
            if reading.used + reading.held + nanodollars > limit.amount
        ]
        limit, reading = max(passed, key=lambda one: (one[0].action == "block", one[1].resets_in or MOST))
        used = reading.used + reading.held
        resets_at = None if reading.resets_in is None else round(self._clock.now() + reading.resets_in)
        anew = "" if resets_at is None else f"; it begins anew at {time.strftime('%FT%TZ', time.gmtime(resets_at))}"
        message = (
            f"{_budget_of(limit)} does not cover this call: {_usd(used)} is spent or set aside, and the call may cost "
            f"{_usd(nanodollars)}{anew}"
        )
        return BudgetExceededError(
            message, limit=limit.amount, used=used, resets_at=resets_at, may_be_free=limit.action == "fallback"
        )


def _look_at(task: asyncio.Task[None]) -> None:
    """See how it ended, for whoever waited may have left."""
    if not task.cancelled():
        task.exception()


def _plan(limits: tuple[Limit, ...]) -> _Plan:
    each: list[Limit] = []
    by_meter: dict[Meter, list[Limit]] = {}
    for limit in limits:
        if limit.kind != "usd":
            continue
        if limit.window == "request":
            each.append(limit)
        else:
            by_meter.setdefault(meter_of(limit), []).append(limit)
    # Those that refuse first.
    each.sort(key=lambda limit: limit.action == "warn")
    budgets = tuple(_budget(meter, found) for meter, found in by_meter.items())
    return _Plan(tuple(each), budgets, warns=any(budget.soft for budget in budgets))


def _budget(meter: Meter, limits: Sequence[Limit]) -> _Budget:
    hard = tuple(limit for limit in limits if limit.action != "warn")
    soft = tuple(limit for limit in limits if limit.action == "warn")
    return _Budget(meter, hard, soft, min((limit.amount for limit in hard), default=None))


def _limits(budget: _Budget) -> Iterator[Limit]:
    yield from budget.hard
    yield from budget.soft


def _each(limits: Iterable[Limit], nanodollars: int) -> tuple[str, ...]:
    """Warn of budgets of a single request; raises for one that refuses."""
    warnings = []
    for limit in limits:
        if nanodollars > limit.amount:
            if limit.action != "warn":
                raise _too_dear(limit, nanodollars)
            warnings.append(_warning(limit))
    return tuple(warnings)


def _too_dear(limit: Limit, nanodollars: int) -> BudgetExceededError:
    message = f"this call may cost {_usd(nanodollars)}, and {_budget_of(limit)} does not cover it"
    return BudgetExceededError(message, limit=limit.amount, used=0, may_be_free=limit.action == "fallback")


def _warning(limit: Limit) -> str:
    return f"{_budget_of(limit)} is exceeded"


def _budget_of(limit: Limit) -> str:
    return f"{whose(limit)} budget of {_usd(limit.amount)}{per(limit)}"


def _usd(nanodollars: int) -> str:
    return f"{usd_text(nanodollars * 1000)} USD"
