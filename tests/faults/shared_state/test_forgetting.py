"""A Redis server that forgets: money is never lent twice, and what was used is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genai_spine.errors import SharedStateUnavailableError
from genai_spine.shared_state.meters import NEVER, Claim, Gap, Hold, Meter, Refused, Stake, Taken, Unseeded
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.testing.clock import ManualClock
from tests.faults.shared_state.workers import (
    CLAIMS,
    FLIGHT,
    LOSSES,
    MONEY,
    NEVER_BEATS,
    PATIENT,
    RATE,
    Make,
    seeded,
    stands,
    taken,
    taken_rate,
)
from tests.redis_server import SET_TIME, RedisServer, ServerClock


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


async def test_nothing_is_kept_for_ever(server: RedisServer, worker: Make) -> None:
    """All that a worker leaves at the server goes with its time, but for the epoch."""
    here = worker()
    await seeded(here, 5, "counted")
    ever = Meter("total", "ever", accounted=True)
    gap = await here.take("asking", [Claim(ever, 0)], 60)
    assert isinstance(gap, Unseeded)
    other = Meter("other", "ever", accounted=True)
    assert await here.settle(Hold("elder", "older", (Stake(other, 1, NEVER),)), [1])
    await here.seed(gap.gaps[0], 0, [])
    await here.settle(await taken(here, "settled"), [5, 1, 0])
    await here.take("live", [*CLAIMS, Claim(ever, 1)], 600)
    kinds = {name.split(":")[2] for name in server.keys("spine:*") if name != "spine:epoch"}
    assert {"counted", "flight", "hold", "meter", "told"} == kinds
    assert ["spine:epoch"] == server.lasting()
