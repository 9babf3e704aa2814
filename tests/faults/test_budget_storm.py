"""T6 at the front door: 500 calls at once and a budget of one dollar, and whatever may go wrong meanwhile.

Calls fail, break off or are left, a worker is killed, Redis goes and forgets. The upstream is witness of what was sent,
the ledger of what it did cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from genai_spine.clock import SystemClock
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Meter, Reading
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import provider_usage
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from tests.conftest import ONE_CALL, Gateways
from tests.databases import fresh_address
from tests.faults.tools import DOORS, PROVIDERS, streamed
from tests.ledgers import rows
from tests.processes import environ_for, serving
from tests.redis_server import RedisServer

OPENAI: Final = PROVIDERS[0]
CHAT: Final = DOORS[0]
KEY: Final = "gateway-test-key"
CENT: Final = 10_000_000
DOLLAR: Final = 100 * CENT
BUDGET: Final = Meter("usd:month:global:", "month", accounted=True)
PRICES: Final = '[models."openai/gpt-4o-mini"]\ninput = 0\noutput = 1000\n'
"""A tenth of a cent for a word: with a limit of ten, a call costs a cent at most, and just that where all come."""
WELL: Final = ("whole",)
ALL: Final = ("whole", "whole", "whole", "failure", "cut", "hang")
HANG_SECONDS: Final = 0.5


def answer(request: Received) -> Scripted:
    """What the upstream does, as the question says."""
    match str(request.json()["messages"][-1]["content"]):  # type: ignore[index,call-overload]  # as it was sent here
        case "failure":
            return json_reply({"error": {"message": "It failed.", "type": "server_error"}}, 500)
        case "cut":
            return streamed(OPENAI, *OPENAI.events[:3], cut=True)
        case "hang":
            return Scripted(silent_before=True)
        case _:
            return json_reply({**OPENAI.answer, "usage": {"prompt_tokens": 8, "completion_tokens": 10}})


class Storm:
    """Callers, and whoever watches the meter meanwhile.

    Attributes:
        told: How often each status came; 0 where none did.
        most: The most that was spent and set aside at any moment that was looked at.
        looks: How often it was looked.
    """

    def __init__(self, session: aiohttp.ClientSession, state: SharedState) -> None:
        self.told: Counter[int] = Counter()
        self.most = self.looks = 0
        self._session = session
        self._state = state

    async def call(self, deed: str) -> int:
        """Ask; who waits for one that hangs leaves."""
        body = {**CHAT.body("openai/gpt-4o-mini", stream=deed == "cut", words=deed), "max_tokens": 10}
        status = 0
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                asyncio.timeout(HANG_SECONDS if deed == "hang" else None),
                self._session.post(CHAT.path, json=body) as response,
            ):
                status = response.status
                await response.read()
        self.told[status] += 1
        return status

    async def calls(self, deeds: Sequence[str], count: int = 500) -> None:
        """Many at once."""
        await asyncio.gather(*(self.call(deeds[number % len(deeds)]) for number in range(count)))

    async def standing(self) -> Reading:
        """How the budget stands."""
        (reading,) = await self._state.read([BUDGET])
        return reading

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the meter all the while."""

        async def look() -> None:
            while True:
                with contextlib.suppress(Exception):  # Redis is away
                    reading = await self.standing()
                    self.most = max(self.most, reading.used + reading.held)
                    self.looks += 1
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
        assert self.looks
        assert self.most <= DOLLAR

    async def exhausted(self) -> Reading:
        """Ask on until nothing is left and nothing is under way; return how the budget stands then."""
        while (await self.call("whole")) != 402 or (await self.standing()).held:
            pass
        return await self.standing()


async def agreed(database: Database, spent: int, sent: int) -> None:
    """Return when the ledger's sum is what the meter says; each call that was sent has its row."""
    async with asyncio.timeout(60):
        while spent != sum(-(-row["cost_picodollars"] // 1000) for row in await rows(database, provider_usage)):
            pass
    assert sent <= len(await rows(database, provider_usage))


def environ_of(upstream: ScriptedUpstream, folder: Path) -> dict[str, str]:
    """The settings of all gateways here."""
    (folder / "spine.toml").write_text(PRICES)
    return {
        **ONE_CALL,
        "GENAI_CONFIG": str(folder / "spine.toml"),
        "GENAI_BUDGET_MONTHLY": "1.00",
        "OPENAI_API_KEY": "sk-upstream-openai-0001",
        "OPENAI_API_URL": f"{upstream.url}/v1",
    }


def session_at(url: str) -> aiohttp.ClientSession:
    """Callers, each on a connection of his own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return aiohttp.ClientSession(url, headers={"authorization": f"Bearer {KEY}"}, connector=connector)


@pytest.mark.parametrize("deeds", [WELL, ALL], ids=["all is well", "some fail, break off or leave"])
async def test_one_process(deeds: Sequence[str], gateways: Gateways, tmp_path: Path) -> None:
    """In memory: at no moment is more than a dollar spent and set aside; in the end just that is in the ledger."""
    async with ScriptedUpstream(answer) as upstream:
        gateway = await gateways.start(**environ_of(upstream, tmp_path))
        books = gateway.spine.books
        async with session_at(gateway.url) as session:
            storm = Storm(session, books.state)
            async with storm.watched():
                await storm.calls(deeds)
                if deeds is WELL:
                    assert Counter({402: 400, 200: 100}) == storm.told
                    assert 100 == len(upstream.received)
                reading = await storm.exhausted()
        await books.shipper.flush()
        assert DOLLAR - CENT < reading.used <= DOLLAR
        await agreed(books.database, reading.used, len(upstream.received))


def forgetful(redis: RedisServer) -> None:
    """It dies with all that it knew, and another takes its place."""
    redis.start_anew()


def faithful(redis: RedisServer) -> None:
    """It stops, and comes back with what it had saved."""
    redis.save()
    redis.stop()
    redis.start()


@pytest.mark.timeout(240)
async def test_two_workers_at_redis(tmp_path: Path) -> None:
    """The same over two processes, of which one is killed, and a Redis that starts anew twice: as it was, and empty."""
    address = await fresh_address("sqlite")
    async with ScriptedUpstream(answer) as upstream:
        with RedisServer() as redis, contextlib.ExitStack() as stack:
            environ = {
                **environ_for(tmp_path / "data"),
                **environ_of(upstream, tmp_path),
                "GENAI_API_KEYS": KEY,
                "GENAI_REDIS_URL": redis.url,
                "GENAI_DATABASE_URL": address,
            }
            service = await asyncio.to_thread(stack.enter_context, serving(environ, tmp_path, "--workers", "2"))
            state = RedisState(redis.url, SystemClock())
            async with session_at(service.url) as session:
                storm = Storm(session, state)
                async with storm.watched():
                    while await storm.call("whole") != 200:
                        pass
                    await storm.calls(ALL, 60)
                    raging = asyncio.create_task(storm.calls(("hang", "whole", "cut"), 120))
                    await upstream.until(lambda: len(upstream.received) > 80)
                    os.kill(min(service.workers.values()), signal.SIGKILL)
                    await raging
                    await asyncio.to_thread(service.until, lambda: len(service.workers) == 2)
                    for restart in (faithful, forgetful):
                        raging = asyncio.create_task(storm.calls(ALL, 60))
                        restart(redis)
                        await raging
                    await storm.calls(ALL)
                    reading = await storm.exhausted()
            await state.close()
            database = Database.at(address)
            assert DOLLAR - CENT < reading.used <= DOLLAR
            await agreed(database, reading.used, len(upstream.received))
            assert {200, 402} <= storm.told.keys()
            await database.close()
