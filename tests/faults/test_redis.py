"""A Redis server that forgets, goes away, hangs or comes back: money is never lent twice, and nobody waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import pytest
from redis.exceptions import ResponseError

from genai_spine.clock import Clock, SystemClock
from genai_spine.errors import BudgetExceededError, ConfigurationError, SharedStateUnavailableError
from genai_spine.quota.budgets import Budgets, Reserved, Spent
from genai_spine.quota.subjects import meter_of
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Claim, Gap, Hold, Meter, Refused, Taken, Unseeded
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.testing.clock import ManualClock
from genai_spine.types.limits import Limit, LimitScope
from genai_spine.types.principal import Principal
from tests.redis_server import SET_TIME, RedisServer, ServerClock

MONEY: Final = Meter("usd", "month", accounted=True)
RATE: Final = Meter("requests", "month")
FLIGHT: Final = Meter("in flight", "flight")
CLAIMS: Final = (Claim(MONEY, 10, 100), Claim(RATE, 1, 50), Claim(FLIGHT, 1, 50))
NEVER_BEATS: Final = 3600.0
PATIENT: Final = Patience(connect=20, command=20)
HASTY: Final = Patience(connect=0.2, command=0.05, rest=10, longest_rest=40)

Make = Callable[..., RedisState]


@pytest.fixture(name="server")
def fixture_server(redis_server: RedisServer) -> RedisServer:
    """The server, empty and running."""
    redis_server.start_anew()
    return redis_server


@pytest.fixture(name="worker")
async def fixture_worker(server: RedisServer) -> AsyncIterator[Make]:
    """Makes workers that share the server; each looks after what it holds only when a test says so."""
    async with AsyncExitStack() as stack:

        def make(
            clock: Clock | None = None, grace: float = 0, patience: Patience = PATIENT, beat: float = NEVER_BEATS
        ) -> RedisState:
            state = RedisState(
                server.url,
                clock or SystemClock(),
                grace_seconds=grace,
                beat_seconds=beat,
                patience=patience,
            )
            stack.push_async_callback(state.close)
            return state

        yield make


async def seeded(state: RedisState, used: int = 0, *counted: str) -> None:
    """Tell the meter of money what the ledger counts."""
    found = await state.take("asking", [Claim(MONEY, 0)], 60)
    assert isinstance(found, Unseeded), found
    assert await state.seed(found.gaps[0], used, counted)


async def taken(state: RedisState, hold_id: str) -> Hold:
    """A hold of 10 on the meter of money, and of 1 on the others."""
    found = await state.take(hold_id, CLAIMS, 600)
    assert isinstance(found, Taken), found
    return found.hold


async def taken_rate(state: RedisState, hold_id: str, seconds: float) -> None:
    """Hold 1 by rate, for so long."""
    assert isinstance(await state.take(hold_id, [CLAIMS[1]], seconds), Taken)


async def stands(state: RedisState) -> list[tuple[int, int]]:
    """What is used and held: of money, by rate, in flight."""
    return [(one.used, one.held) for one in await state.read([MONEY, RATE, FLIGHT])]


def forgets(server: RedisServer) -> None:
    """It is flushed, and goes on."""
    server.forget()


def starts_anew(server: RedisServer) -> None:
    """It dies with all that it knew."""
    server.start_anew()


def comes_back_as_it_was(server: RedisServer) -> None:
    """It dies, and comes back with what it had saved, which may be old."""
    server.save()
    server.stop()
    server.start()


LOSSES: Final = (forgets, starts_anew, comes_back_as_it_was)


@pytest.mark.parametrize("loses", LOSSES)
async def test_what_is_held_is_held_again(
    server: RedisServer, worker: Make, loses: Callable[[RedisServer], None]
) -> None:
    """After a loss of memory the ledger tells what was used, and each worker what it has in flight."""
    here, there = worker(), worker()
    await seeded(here)
    first, second = await taken(here, "first"), await taken(there, "second")
    settled = await taken(here, "settled")
    await here.settle(settled, [7, 1, 0])
    loses(server)
    await here.beat()
    await there.beat()
    assert [(0, 20), (1, 2), (0, 2)] == await stands(here)
    await seeded(there, 7, "settled")
    assert [(7, 20), (1, 2), (0, 2)] == await stands(there)
    assert await here.settle(first, [8, 1, 0])
    assert not await here.settle(first, [8, 1, 0])
    assert await there.settle(second, [9, 1, 0])
    assert [(24, 0), (3, 0), (0, 0)] == await stands(here)
    await here.beat()
    await there.beat()
    assert [(24, 0), (3, 0), (0, 0)] == await stands(here)


async def test_what_the_ledger_does_not_have_yet_is_told_again(server: RedisServer, worker: Make) -> None:
    """What was settled just before the loss counts, by the ledger's figure or by the worker's memory, and once."""
    here = worker()
    await seeded(here)
    for hold_id in ("in the ledger", "not yet"):
        await here.settle(await taken(here, hold_id), [10, 1, 0])
    server.forget()
    await here.beat()
    await seeded(here, 10, "in the ledger")
    assert (20, 0) == (await stands(here))[0]
    server.forget()
    await here.beat()
    await seeded(here, 20, "in the ledger", "not yet")
    assert (20, 0) == (await stands(here))[0]


async def test_a_worker_remembers_for_a_time(server: RedisServer, worker: Make) -> None:
    """What was settled long ago is the ledger's to know."""
    clock = ManualClock()
    here = worker(clock)
    await seeded(here)
    await here.settle(await taken(here, "old"), [10, 1, 0])
    clock.advance(61)
    server.forget()
    await here.beat()
    await seeded(here, 10)
    assert (10, 0) == (await stands(here))[0]


async def test_the_first_call_after_a_loss_notices_it(server: RedisServer, worker: Make) -> None:
    """No beat is needed: whoever asks learns of the new epoch, and holds again what it had."""
    here = worker()
    await seeded(here)
    await taken(here, "live")
    server.forget()
    assert isinstance(await here.take("next", CLAIMS, 60), Unseeded)
    await here.beat()
    assert [(0, 10), (0, 1), (0, 1)] == await stands(here)


async def test_money_waits_for_the_workers_and_rates_do_not(server: RedisServer, worker: Make) -> None:
    """In the first moments of an epoch nothing is lent on money, so that all workers can hold again what they had."""
    here = worker(grace=30)
    with pytest.raises(SharedStateUnavailableError) as refused:
        await here.take("early", CLAIMS, 60)
    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after <= 30
    assert isinstance(await here.take("rate", CLAIMS[1:], 60), Taken)
    assert [(0, 0), (0, 1), (0, 1)] == await stands(here)
    assert isinstance(await worker(grace=0).take("later", CLAIMS, 60), Unseeded)
    server.forget()
    with pytest.raises(SharedStateUnavailableError):
        await here.take("early again", CLAIMS, 60)


async def test_a_settled_hold_of_a_worker_that_died(server: RedisServer, worker: Make) -> None:
    """Whoever finds a hold in a journal settles it, in its own epoch or a later one, once."""
    died, sweeper = worker(), worker()
    await seeded(died)
    same, lost = await taken(died, "same epoch"), await taken(died, "lost")
    await died.close()
    assert await sweeper.settle(same, [4, 1, 0])
    server.start_anew()
    await seeded(sweeper, 4, "same epoch")
    assert await sweeper.settle(lost, [5, 1, 0])
    assert not await sweeper.settle(lost, [5, 1, 0])
    assert not await sweeper.settle(same, [4, 1, 0])
    assert [(9, 0), (2, 0), (0, 0)] == await stands(sweeper)


async def test_a_server_that_is_away_is_told_later(server: RedisServer, worker: Make) -> None:
    """What is settled while nobody answers is owed, and told when the server is back; nobody is refused for it."""
    clock = ManualClock()
    here, there = worker(clock), worker()
    await seeded(here)
    hold, live = await taken(here, "hold"), await taken(here, "live")
    server.save()
    server.stop()
    assert await here.settle(hold, [3, 1, 0])
    with pytest.raises(SharedStateUnavailableError):
        await here.beat()
    server.start()
    clock.advance(10)
    await here.beat()
    await seeded(there, 0)
    assert [(3, 10), (1, 1), (0, 1)] == await stands(there)
    await here.release(live)
    assert [(3, 0), (1, 0), (0, 0)] == await stands(there)


async def test_a_worker_looks_by_itself(server: RedisServer, worker: Make) -> None:
    """Nobody needs to tell a worker to hold again what it has, or to tell what it owes, when the server comes back."""
    soon = Patience(connect=20, command=20, rest=0.001, longest_rest=0.001)
    here, there = worker(patience=soon, beat=0.001), worker()
    await seeded(here)
    held, owed = await taken(here, "held"), await taken(here, "owed")
    server.forget()
    while [(0, 20), (0, 2), (0, 2)] != await stands(there):
        continue
    server.stop()
    assert await here.settle(owed, [6, 1, 0])
    server.start_anew()
    while [(0, 10), (1, 1), (0, 1)] != await stands(there):
        continue
    await seeded(there)
    assert await here.settle(held, [5, 1, 0])
    assert [(11, 0), (2, 0), (0, 0)] == await stands(there)


async def test_what_has_its_age_is_not_held_again(server: RedisServer, worker: Make) -> None:
    """A hold that nobody settled for so long is not looked after any more."""
    clock = ManualClock()
    here, there = worker(clock, beat=0.001), worker()
    await taken_rate(here, "old", 100)
    await taken_rate(here, "young", 1000)
    clock.advance(100)
    server.forget()
    while (0, 0) == (await stands(there))[1]:
        continue
    assert (0, 1) == (await stands(there))[1]


async def test_nobody_waits_for_a_server_that_is_down(server: RedisServer, worker: Make) -> None:
    """After a failure all are refused at once; when the rest is over one tries, and the rests grow."""
    clock = ManualClock()
    here = worker(clock, patience=HASTY)
    server.stop()
    for rest in (10.0, 20.0, 40.0, 40.0):
        found = await asyncio.gather(*[here.get("key") for _ in range(50)], return_exceptions=True)
        assert {SharedStateUnavailableError} == {type(error) for error in found}
        with pytest.raises(SharedStateUnavailableError) as refused:
            await here.get("key")
        assert rest == refused.value.retry_after
        clock.advance(rest)
    server.start()
    assert await here.get("key") is None


async def test_a_server_that_hangs_holds_nobody(server: RedisServer, worker: Make) -> None:
    """A server that takes calls and answers none is given up after the time for one answer, by all who wait."""
    clock = ManualClock()
    here = worker(clock, patience=HASTY)
    await here.put("key", b"value", 60)
    server.pause()
    try:
        found = await asyncio.gather(*[here.get("key") for _ in range(50)], return_exceptions=True)
        assert {SharedStateUnavailableError} == {type(error) for error in found}
        clock.advance(10)
        with pytest.raises(SharedStateUnavailableError):
            await here.get("key")
    finally:
        server.resume()
    clock.advance(40)
    assert b"value" == await here.get("key")


async def test_a_take_without_an_answer_is_taken_back(server: RedisServer, worker: Make) -> None:
    """Where nobody knows whether a hold was taken, it is released, and not taken afterwards either."""
    clock = ManualClock()
    here, there = worker(clock, patience=HASTY), worker()
    await seeded(there)
    await here.get("connected")
    server.pause()
    try:
        with pytest.raises(SharedStateUnavailableError):
            await here.take("unsure", CLAIMS, 600)
    finally:
        server.resume()
    clock.advance(10)
    await here.beat()
    assert [(0, 0), (0, 0), (0, 0)] == await stands(there)
    with pytest.raises(ValueError, match="settled before it was taken"):
        await there.take("unsure", CLAIMS, 600)


async def test_a_caller_who_leaves_leaves_nothing(worker: Make) -> None:
    """A task that is cancelled while it takes holds nothing, and one that is cancelled while it settles has settled."""
    here = worker()
    await seeded(here)
    hold = await taken(here, "hold")
    for work in (here.take("left", CLAIMS, 600), here.settle(hold, [5, 1, 0])):
        task = asyncio.ensure_future(work)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await here.beat()
    assert [(5, 0), (1, 0), (0, 0)] == await stands(here)


async def test_who_leaves_takes_nobody_with_him(server: RedisServer, worker: Make) -> None:
    """The answers of others still find them, and a connection under way is made for those who stay."""
    here = worker()
    tasks = [asyncio.ensure_future(here.get(f"key {number}")) for number in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [None] * 3 == found[1:]
    await here.put("key 3", b"3", 60)
    tasks = [asyncio.ensure_future(here.get(f"key {number}")) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    before = server.connections()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert b"3" == found[3]
    await here.get("key 3")
    assert before == server.connections()


async def test_what_was_published_meanwhile_may_be_missed_and_is_told_so(server: RedisServer, worker: Make) -> None:
    """A listener whose connection broke is told to look for itself when it is back, and hears what follows."""
    here, there = worker(patience=Patience(rest=0.001)), worker()
    told: asyncio.Queue[bytes | None] = asyncio.Queue()
    await here.subscribe("topic", told.put_nowait)
    await there.publish("topic", b"1")
    assert b"1" == await told.get()
    server.start_anew()
    assert await told.get() is None
    await there.publish("topic", b"2")
    assert b"2" == await told.get()


async def test_one_who_listens_to_nobody_hears_when_there_is_somebody(server: RedisServer, worker: Make) -> None:
    """Who subscribes while the server is down waits for it no longer than for a connection, and is told later."""
    server.stop()
    here = worker(patience=Patience(connect=0.01, command=0.01, rest=0.001))
    told: asyncio.Queue[bytes | None] = asyncio.Queue()
    await here.subscribe("topic", told.put_nowait)
    server.start()
    assert await told.get() is None


async def test_scripts_that_the_server_lost_are_sent_again(server: RedisServer, worker: Make) -> None:
    """A server whose scripts were dropped gets them again, and nothing else happens."""
    here = worker()
    await seeded(here)
    server.command("SCRIPT", "FLUSH")
    await taken(here, "a")
    assert (0, 10) == (await stands(here))[0]


async def test_a_server_that_became_a_replica_is_left(server: RedisServer, worker: Make) -> None:
    """One that only reads is no place to count: its connection is given up, so that the next asks anew who serves."""
    here = worker()
    await seeded(here)
    server.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(SharedStateUnavailableError) as refused:
        await here.take("a", CLAIMS, 60)
    assert isinstance(refused.value.__cause__, ResponseError)
    server.command("REPLICAOF", "NO", "ONE")
    before = server.connections()
    await taken(here, "b")
    assert (0, 10) == (await stands(here))[0]
    assert before + 1 == server.connections()


async def test_a_window_that_ends_while_the_server_forgets(redis_server: RedisServer) -> None:
    """What is held again in a later window burdens it no more than if nothing had been forgotten."""
    clock = ServerClock(redis_server)
    here = RedisState(
        redis_server.url, clock, grace_seconds=0, beat_seconds=NEVER_BEATS, patience=PATIENT, time=SET_TIME
    )
    try:
        minute = Meter("requests a minute", "minute")
        found = await here.take("early", [Claim(minute, 5), *CLAIMS[1:]], 600)
        assert isinstance(found, Taken)
        clock.advance(60)
        redis_server.forget(clock.now())
        await here.beat()
        assert [0, 1, 1] == [one.held for one in await here.read([minute, RATE, FLIGHT])]
        await here.settle(found.hold, [5, 1, 0])
        assert [0, 1, 0] == [one.used for one in await here.read([minute, RATE, FLIGHT])]
    finally:
        await here.close()


async def test_a_meter_that_was_evicted_holds_nothing(server: RedisServer, worker: Make) -> None:
    """A server that evicts makes a meter count from 0 again, and never from below."""
    here = worker()
    found = await here.take("a", [CLAIMS[1]], 600)
    assert isinstance(found, Taken)
    [name] = server.keys("spine:*:meter:*")
    server.command("DEL", name)
    await here.settle(found.hold, [1])
    assert (1, 0) == (await stands(here))[1]


async def test_a_server_without_room_refuses(server: RedisServer, worker: Make) -> None:
    """A server that may store nothing more is one that cannot be reached, to callers with a budget."""
    here = worker()
    await seeded(here)
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(SharedStateUnavailableError):
            await here.take("a", CLAIMS[:2], 60)
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    assert isinstance(await here.take("b", CLAIMS, 60), Taken)


async def test_nothing_is_kept_for_ever(server: RedisServer, worker: Make) -> None:
    """All that a worker leaves at the server goes with its time, but for the epoch."""
    here = worker()
    await seeded(here, 5, "counted")
    ever = Meter("total", "ever", accounted=True)
    gap = await here.take("asking", [Claim(ever, 0)], 60)
    assert isinstance(gap, Unseeded)
    elder = Hold("elder", "older", ())
    await here.settle(elder, [])
    await here.seed(gap.gaps[0], 0, [])
    await here.settle(await taken(here, "settled"), [5, 1, 0])
    await here.take("live", [*CLAIMS, Claim(ever, 1)], 600)
    assert len(server.keys("spine:*")) >= 7
    assert ["spine:epoch"] == server.lasting()


async def test_a_server_that_runs_no_scripts_is_no_place(server: RedisServer, worker: Make) -> None:
    """Who may not run scripts there is told that the place cannot be reached; the cause says why."""
    here = worker()
    server.command("ACL", "SETUSER", "default", "-eval")
    try:
        with pytest.raises(SharedStateUnavailableError) as refused:
            await here.get("key")
    finally:
        server.command("ACL", "SETUSER", "default", "+eval")
    assert "runs no scripts" in str(refused.value.__cause__)


async def test_a_place_can_be_closed_at_any_time(server: RedisServer, worker: Make) -> None:
    """While it connects, while somebody waits for an answer, and twice."""
    here = worker()
    server.pause()
    try:
        connecting = asyncio.ensure_future(here.get("key"))
        await asyncio.sleep(0)
        await here.close()
        with pytest.raises(SharedStateUnavailableError):
            await connecting
    finally:
        server.resume()
    there = worker()
    await there.put("key", b"value", 60)
    server.pause()
    try:
        waiting = asyncio.ensure_future(there.get("key"))
        await asyncio.sleep(0)
        await there.close()
        with pytest.raises(SharedStateUnavailableError):
            await waiting
    finally:
        server.resume()
    await there.close()


async def test_an_address_that_is_none_is_told_without_it() -> None:
    """The address may hold a password: the error shows what to write, not what was written."""
    with pytest.raises(ConfigurationError, match="redis://host:6379") as refused:
        RedisState("http://:hunter2@somewhere", SystemClock())
    assert "hunter2" not in str(refused.value)


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

    async def __call__(self, scope: LimitScope, subject: str, since: int) -> Spent:
        """As ``SpentSince``."""
        assert ("key", "some key") == (scope, subject)
        assert since > 0
        await asyncio.sleep(0)
        return Spent(sum(self.rows.values()), frozenset(self.rows))


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


@pytest.mark.parametrize("loses", [None, *LOSSES])
async def test_a_storm_never_lends_more_than_there_is(
    server: RedisServer, worker: Make, loses: Callable[[RedisServer], None] | None
) -> None:
    """T6: two workers lend a dollar to 500 calls; some are lost and swept, the server forgets; nothing is overspent.

    What is lent is counted here, beside the server: at no moment is it more than the budget; a refusal is always right;
    and in the end server and ledger agree to the cent, with nothing held.
    """
    states = [worker(), worker()]
    storm = Storm(states)
    under_way: list[tuple[int, Reserved]] = []
    for first in range(0, 500, 20):
        ending = asyncio.gather(*[storm.end(*one) for one in under_way])
        begun = await asyncio.gather(*[storm.begin(number) for number in range(first, first + 20)])
        await ending
        under_way = [one for one in begun if one is not None]
        if loses is not None and first in {20, 60, 200}:
            loses(server)
            # Each looks within the grace.
            for state in states:
                await state.beat()
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


def gap_of(found: object) -> Gap:
    """The one gap of an answer."""
    assert isinstance(found, Unseeded)
    return found.gaps[0]


async def test_refusals_are_exact_after_a_loss(server: RedisServer, worker: Make) -> None:
    """Told what was used, a meter lends to the unit what is left, and no more."""
    here = worker()
    await seeded(here)
    live = await taken(here, "live")
    server.forget()
    await here.beat()
    assert await here.seed(gap_of(await here.take("asking", [Claim(MONEY, 0)], 60)), 80, [])
    assert isinstance(await here.take("too much", [Claim(MONEY, 11, 100)], 60), Refused)
    assert isinstance(await here.take("just right", [Claim(MONEY, 10, 100)], 60), Taken)
    await here.release(live)
    assert isinstance(await here.take("ten more", [Claim(MONEY, 10, 100)], 60), Taken)
