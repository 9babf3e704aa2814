"""T5: workers are killed at any instant, the database goes and comes, callers leave: each call has its row, and one."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from genai_spine.clock import SystemClock
from genai_spine.money import nanodollars_up
from genai_spine.shared_state.meters import Meter
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import provider_usage
from tests.databases import fresh_address
from tests.ledgers import rows
from tests.postgres import postgres
from tests.redis_server import RedisServer
from tests.torture.storm import Storm, check

KILLS: Final = 5
MONTH: Final = Meter("usd:month:global:", "month", accounted=True)


async def looked_at(storm: Storm, address: str, data: Path) -> Counter[str]:
    """The calls by status, once all that is to be true of them is."""
    database = Database.at(address)
    try:
        return await check(storm, database, data)
    finally:
        await database.close()


@pytest.mark.timeout(300)
async def test_workers_are_killed(tmp_path: Path, redis_server: RedisServer) -> None:
    """Every call that the upstream saw has exactly one row; what was cut off is told as such, with a guessed cost.

    Their budget stands at what the rows add up to, guesses included, and nothing is set aside any more.
    """
    redis_server.forget()
    address = await fresh_address("sqlite")
    environ = {
        "GENAI_DATABASE_URL": address,
        "GENAI_REDIS_URL": redis_server.url,
        "GENAI_BUDGET_MONTHLY": "1000",
    }
    storm = Storm(tmp_path, environ, seed=KILLS)
    async with storm.raging():
        while storm.kills < KILLS:
            await storm.kill()
        await storm.answered(50)
    found = await looked_at(storm, address, tmp_path)
    assert min(found["success"], found["error"], found["cancelled"], found["interrupted"]) > 0
    database, state = Database.at(address), RedisState(redis_server.url, SystemClock())
    calls = await rows(database, provider_usage)
    (reading,) = await state.read([MONTH])
    assert sum(nanodollars_up(row["cost_picodollars"]) for row in calls) == reading.used
    assert 0 == reading.held
    await state.close()
    await database.close()


@pytest.mark.timeout(300)
async def test_the_database_goes_and_comes(tmp_path: Path) -> None:
    """Answers are given while it is away, workers die and start meanwhile, and nothing of it is lost or told twice."""
    address = await fresh_address("postgresql")
    storm = Storm(tmp_path, {"GENAI_DATABASE_URL": address}, seed=1)
    async with storm.raging():
        await storm.kill()
        await asyncio.to_thread(postgres().stop)
        try:
            await storm.answered(100)
            await storm.kill()
            await storm.answered(100)
        finally:
            await asyncio.to_thread(postgres().start)
        await storm.kill()
        await storm.answered(100)
    found = await looked_at(storm, address, tmp_path)
    assert min(found["success"], found["interrupted"]) > 0
