"""A Redis server that is away, hangs, refuses or comes back: nobody waits for long, and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ResponseError

from genai_spine.clock import SystemClock
from genai_spine.errors import ConfigurationError, SharedStateUnavailableError
from genai_spine.shared_state.meters import Taken
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.testing.clock import ManualClock
from tests.faults.shared_state.workers import (
    CLAIMS,
    HASTY,
    Make,
    seeded,
    stands,
    taken,
)
from tests.redis_server import RedisServer


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


async def test_a_listener_notices_that_nobody_is_there(server: RedisServer, worker: Make) -> None:
    """A connection that says nothing is asked for a word, and made anew where it gives none."""
    here = worker(patience=Patience(connect=0.05, command=0.05, rest=0.001, longest_rest=0.001, quiet=0.01))
    told: asyncio.Queue[bytes | None] = asyncio.Queue()
    await here.subscribe("topic", told.put_nowait)
    server.pause()
    asyncio.get_running_loop().call_later(0.5, server.resume)
    assert await told.get() is None


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
