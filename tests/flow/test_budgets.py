"""How budgets stand, as their keeper and those whom they bind are told: spent, set aside, left, and when they end."""

from __future__ import annotations

import asyncio
from calendar import timegm
from collections.abc import Iterator
from typing import Any, Final

import pytest

from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import Scripted
from tests.databases import fresh_address
from tests.flow.fleets import Fleet, fleet
from tests.flow.people import Town
from tests.redis_server import RedisServer

BUDGETS: Final = "/v1/budgets"
NOON: Final = timegm((2026, 11, 21, 12, 0, 1))
CALL: Final[dict[str, Any]] = {"max_tokens": 100}
# Of a call that takes 8 tokens and 100 more, of gpt-4o-mini.
MOST_USD: Final = 0.0001


async def stands(running: Fleet) -> list[dict[str, Any]]:
    """All budgets, as an administrator is told of them."""
    found = await running.call("GET", BUDGETS)
    assert 200 == found.status, found.body
    told: list[dict[str, Any]] = found.json()["data"]
    return told


async def put(running: Fleet, scope: str, subject: int, window: str, limit: float) -> None:
    """Set a budget."""
    body = {"scope": scope, "subject_id": subject, "window": window, "limit_usd": limit}
    assert 200 == (await running.call("PUT", BUDGETS, json=body)).status
    await running.gateway.spine.watcher.look()


async def spent(running: Fleet) -> float:
    """What the ledger tells was spent."""
    await running.gateway.spine.books.shipper.flush()
    cost: float = (await running.call("GET", "/v1/usage")).json()["totals"]["cost_usd"]
    return cost


def amounts(told: dict[str, Any]) -> tuple[Any, ...]:
    """What a budget tells of itself."""
    return tuple(told[name] for name in ("spent_usd", "set_aside_usd", "remaining_usd", "resets_at", "reason"))


async def test_what_is_spent_and_set_aside_of_a_budget() -> None:
    """Each tells what its window has seen, what calls under way may cost, what is left, and when it begins anew."""
    clock = ManualClock(NOON)
    async with fleet("openai", clock=clock, environ={"GENAI_BUDGET_HOURLY": "1"}) as running:
        await put(running, "global", 0, "none", 2)
        await put(running, "global", 0, "request", 0.5)
        service = running.services["openai"]
        assert 200 == (await running.ask(**CALL)).status
        cost = await spent(running)
        running.script("openai", Scripted(silent_before=True))
        under_way = asyncio.create_task(running.ask(**CALL))
        await service.until(lambda: len(service.received) == 2)
        hourly, ever, each = await stands(running)
        assert (None, "global", "hour", 1, None) == tuple(
            hourly[name] for name in ("id", "scope", "window", "limit_usd", "created_at")
        )
        aside = hourly["set_aside_usd"]
        assert 0 < cost < aside < MOST_USD
        left = round(1 - cost - aside, 9)
        assert (cost, aside, left, "2026-11-21T13:00:00Z", None) == amounts(hourly)
        assert (cost, aside, round(left + 1, 9), None, None) == amounts(ever)
        assert (None, None, None, None) == amounts(each)[:4]
        assert "each request by itself" in each["reason"]
        under_way.cancel()
        await running.gateway.recorder.until(2)
        clock.advance(3600)
        assert (0, 0, 1, "2026-11-21T14:00:00Z", None) == amounts((await stands(running))[0])


async def test_what_was_spent_before_is_asked_of_the_ledger() -> None:
    """A gateway that was just started tells what others spent, though nobody has asked a model through it."""
    environ = {"GENAI_DATABASE_URL": await fresh_address("sqlite")}
    async with fleet("openai", environ=environ) as running:
        assert 200 == (await running.ask(**CALL)).status
        cost = await spent(running)
    async with fleet("openai", environ=environ) as running:
        await put(running, "global", 0, "none", 1)
        (told,) = await stands(running)
        assert 0 < cost
        assert (cost, 0, round(1 - cost, 9), None, None) == amounts(told)


async def test_a_member_sees_what_is_left_to_him(city: Town) -> None:
    """His own budgets, those of his keys and everybody's, as they stand; and nobody else's."""
    (mine, ada), (_, bob) = await city.key(city.ada), await city.key(city.bob)
    for scope, subject in (("global", 0), ("user", city.ada.id), ("key", mine.id), ("user", city.bob.id)):
        body = {"scope": scope, "subject_id": subject, "window": "month", "limit_usd": 0.5}
        assert 200 == (await city.call(city.gateway.key, "PUT", BUDGETS, json=body)).status
    for key, bound in ((ada, ["global", "user", "key"]), (bob, ["global", "user"])):
        told = (await city.call(key, "GET", BUDGETS)).json()["data"]
        assert bound == [one["scope"] for one in told]
        assert {(0, 0, 0.5)} == {amounts(one)[:3] for one in told}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A server of the test's own."""
    with RedisServer() as server:
        yield server


async def test_nobody_is_told_a_wrong_zero(redis: RedisServer) -> None:
    """While Redis is away what is spent is null, with the reason; when it is back, it is told."""
    async with fleet("openai", environ={"GENAI_REDIS_URL": redis.url, "GENAI_BUDGET_MONTHLY": "1"}) as running:
        while (await running.ask(**CALL)).status != 200:
            pass
        cost = await spent(running)
        (told,) = await stands(running)
        assert (cost, 0) == amounts(told)[:2]
        redis.pause()
        (told,) = await stands(running)
        assert (None, None, None, None) == amounts(told)[:4]
        assert "cannot be reached now" in told["reason"]
        redis.resume()
        while (told := (await stands(running))[0])["reason"] is not None:
            assert told["spent_usd"] is None
        assert 0 < cost == told["spent_usd"]
