"""The long form: ``python -m tests.torture [KILLS [SEED]]``, over PostgreSQL and Redis, which are stopped too."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from genai_spine.storage.sql.engine import Database
from tests.databases import fresh_address
from tests.postgres import postgres
from tests.redis_server import RedisServer
from tests.torture.storm import Storm, check

STOPS = 10
"""How often the database, and Redis, is stopped."""


async def storms(kills: int, seed: int, redis: RedisServer) -> None:
    """Do it, and tell what was seen."""
    address = await fresh_address("postgresql")
    with tempfile.TemporaryDirectory(prefix="spine-torture-") as folder:
        data, begun = Path(folder), time.monotonic()
        storm = Storm(data, {"GENAI_DATABASE_URL": address, "GENAI_REDIS_URL": redis.url}, workers=3, seed=seed)
        try:
            async with storm.raging():
                for stop in range(STOPS):
                    while storm.kills < kills * (stop + 0.5) / STOPS:
                        await storm.kill()
                    await asyncio.to_thread(postgres().stop)
                    # A service goes on without its database; half the time a worker dies and another starts meanwhile.
                    await storm.answered(50)
                    if stop % 2:
                        await storm.kill()
                    await asyncio.to_thread(postgres().start)
                    await storm.answered(50)
                    await asyncio.to_thread(redis.stop)
                    await storm.answered(50)
                    await asyncio.to_thread(redis.start)
                while storm.kills < kills:
                    await storm.kill()
                await storm.answered(50)
            database = Database.at(address)
            found = await check(storm, database, data)
            await database.close()
        except BaseException:
            print((data / "storm.log").read_text(encoding="utf-8")[-20_000:])
            raise
        print(f"{time.monotonic() - begun:.0f} s: {storm.kills} kills, {STOPS} stops of the database and of Redis")
        print(f"{len(storm.told)} requests, {sum(storm.seen.values())} calls seen upstream, {sum(found.values())} rows")
        print(", ".join(f"{count} {status}" for status, count in found.most_common()))


def main() -> None:
    """Run it once."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with RedisServer() as redis:
        asyncio.run(storms(kills, seed, redis))


if __name__ == "__main__":
    main()
