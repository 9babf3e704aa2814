"""T6: calls in a storm never spend more than there is, whatever the server forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import pytest

from genai_spine.clock import SystemClock
from genai_spine.errors import BudgetExceededError
from genai_spine.quota.budgets import Budgets, Reserved, Spent
from genai_spine.quota.subjects import meter_of
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.memory import MemoryState
from genai_spine.types.limits import Limit, LimitScope
from genai_spine.types.principal import Principal
from tests.faults.shared_state.workers import (
    LOSSES,
    Make,
)
from tests.redis_server import RedisServer


class Books:
    """The ledger of a storm: what attempts did cost; of every other one it knows a while after it was over."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self._late: dict[str, int] = {}

    def enter(self, number: int, attempt: str, cost: int) -> None:
        """Note what an attempt did cost."""
        (self._late if number % 2 else self.rows)[attempt] = cost

    def ship(self) -> None:
        """Know it all."""
        self.rows |= self._late
        self._late.clear()

    async def __call__(self, scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
        """As ``SpentSince``."""
        assert ("key", ["some key"]) == (scope, list(subjects))
        assert since > 0
        await asyncio.sleep(0)
        return {"some key": Spent(sum(self.rows.values()), frozenset(self.rows))}


class Storm:
    """Calls that reserve three cents each of one dollar, by turns at two workers, and cost less, nothing, or are lost.

    Attributes:
        lent: What each call may still cost, or did cost.
        most: The most that was lent at any moment.
        refused: What each refusal told of the budget.
    """

    cent: Final = 10**7
    limit: Final = Limit(kind="usd", scope="key", subject="some key", window="month", amount=10**9)

    def __init__(self, workers: Sequence[SharedState]) -> None:
        self.books = Books()
        self.lent: dict[str, int] = {}
        self.most = 0
        self.refused: list[int] = []
        self._workers = [Budgets(state, SystemClock(), self.books) for state in workers]
        self._lost: list[tuple[str, Reserved]] = []

    async def begin(self, number: int) -> tuple[int, Reserved] | None:
        """Reserve; None where the budget does not cover it."""
        attempt = f"attempt {number}"
        try:
            reserved = await self._workers[number % 2].reserve(Principal("", (self.limit,)), attempt, 3 * self.cent)
        except BudgetExceededError as error:
            self.refused.append(error.used)
            return None
        self.lent[attempt] = 3 * self.cent
        self.most = max(self.most, sum(self.lent.values()))
        return number, reserved

    async def end(self, number: int, reserved: Reserved) -> None:
        """One of seven is lost, one costs nothing, and the others cost up to two cents."""
        attempt, budgets = f"attempt {number}", self._workers[number % 2]
        if number % 7 == 3:
            self._lost.append((attempt, reserved))
        elif number % 7 == 5:
            del self.lent[attempt]
            await budgets.release(reserved.hold)
        else:
            cost = self.lent[attempt] = number % 3 * self.cent
            self.books.enter(number, attempt, cost)
            await budgets.commit(reserved.hold, cost)

    async def sweep(self) -> None:
        """Settle what was lost, at the other worker, with what it is thought to have cost."""
        for attempt, reserved in self._lost:
            self.lent[attempt] = self.cent
            self.books.enter(0, attempt, self.cent)
            await self._workers[0].commit(reserved.hold, self.cent)
        self._lost.clear()


async def rage(states: Sequence[SharedState], lose: Callable[[int], Awaitable[None]] | None = None) -> None:
    """Let 500 calls loose, twenty begin while twenty end; after each batch the server may forget.

    What is lent is counted here, beside the place that counts: at no moment is it more than the budget; a refusal is
    always right; and in the end place and ledger agree to the cent, with nothing held.
    """
    storm = Storm(states)
    under_way: list[tuple[int, Reserved]] = []
    for first in range(0, 500, 20):
        ending = asyncio.gather(*[storm.end(*one) for one in under_way])
        begun = await asyncio.gather(*[storm.begin(number) for number in range(first, first + 20)])
        await ending
        under_way = [one for one in begun if one is not None]
        if lose is not None:
            await lose(first)
        if first % 60 == 0:
            await storm.sweep()
            storm.books.ship()
    await asyncio.gather(*[storm.end(*one) for one in under_way])
    await storm.sweep()
    storm.books.ship()
    assert min(storm.refused) > storm.limit.amount - 3 * storm.cent
    assert 90 * storm.cent <= storm.most <= storm.limit.amount
    spent = sum(storm.books.rows.values())
    assert spent == sum(storm.lent.values())
    [reading] = await states[0].read([meter_of(storm.limit)])
    assert (spent, 0) == (reading.used, reading.held)


@pytest.mark.parametrize("loses", [None, *LOSSES])
async def test_two_workers_at_a_server(
    server: RedisServer, worker: Make, loses: Callable[[RedisServer], None] | None
) -> None:
    """Two workers lend a dollar; calls are lost and swept, the server forgets three times, and nothing is overspent."""
    states = [worker(), worker()]

    async def lose(number: int) -> None:
        if loses is not None and number in {20, 60, 200}:
            loses(server)
            # Each looks within the grace.
            for state in states:
                await state.beat()

    await rage(states, lose)


async def test_one_process() -> None:
    """In memory too a dollar is lent once, however many calls are lost and swept."""
    state = MemoryState(1024, SystemClock())
    await rage([state, state])
