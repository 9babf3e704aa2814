"""How workers and replicas notice what another of them has changed: a number for each topic, which grows with it.

::

    async with database.writing() as connection:
        await connection.execute(...)
        await bump(connection, "configuration")

    watcher = Watcher(database, state)
    watcher.on("configuration", reload)
    await watcher.look()  # now; and from now on by ``run``

Who makes a change tells all who share his state, and they look at once. Nothing depends on it: they look now and then
all the same, for what was changed by hand, or while the place of that state was away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.errors import DatabaseDownError, SharedStateUnavailableError
from genai_spine.shared_state.base import SharedState
from genai_spine.storage.sql.engine import CHANGED, Database
from genai_spine.storage.sql.tables import versions
from genai_spine.telemetry.logging import logger

__all__ = ["Changed", "Watcher", "bump", "read"]

Changed: TypeAlias = Callable[[], Awaitable[object]]

INTERVAL_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 4.0
"""Between looks at a database that cannot be reached."""

LEAST_SECONDS: Final = 0.1
"""Between looks, however often something is changed."""

REST_SECONDS: Final = 2.0

_TOLD_BY: Final = "versions"

_BUMP: Final = text(
    "INSERT INTO versions (topic, version) VALUES (:topic, 1) "
    "ON CONFLICT (topic) DO UPDATE SET version = versions.version + 1 RETURNING version"
)


async def bump(connection: AsyncConnection, topic: str) -> int:
    """Note a change of a topic, with the transaction that makes it; return the topic's version since.

    Two that change one topic take turns from here on: whoever comes later sees what the earlier one did.
    """
    connection.info[CHANGED] = True
    found: int = (await connection.execute(_BUMP, {"topic": topic})).scalar_one()
    return found


async def read(database: Database) -> dict[str, int]:
    """Return the version of each topic that was ever changed.

    Raises:
        DatabaseDownError: The database cannot be reached.
    """
    async with database.reading() as connection:
        rows = await connection.execute(select(versions.c.topic, versions.c.version))
        return {row.topic: row.version for row in rows}


class Watcher:
    """Looks for changes, and has them read.

    Attributes:
        down: The database could not be reached at the last look; what was read before stays in use.
    """

    def __init__(self, database: Database, state: SharedState) -> None:
        """Look at a database; whoever changes something by it tells those who share ``state``."""
        self.down = False
        self._database = database
        self._state = state
        self._told = asyncio.Event()
        database.changed = self._tell
        self._topics: dict[str, list[Changed]] = {}
        self._seen: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._looking = asyncio.Lock()

    def on(self, topic: str, changed: Changed) -> None:
        """Have ``changed`` called at the first look, and at each that finds the topic changed, after those before it.

        Where it raises, all of the topic are called again at the next look.
        """
        self._topics.setdefault(topic, []).append(changed)

    def again(self, topic: str) -> None:
        """Have a topic read at the next look, or at the one that is under way, as if it had changed."""
        self._seen.pop(topic, None)

    async def look(self) -> None:
        """Look once; raises nothing. When it returns, all that was changed before it was called has been read."""
        async with self._looking:
            try:
                found = await read(self._database)
                for topic in self._topics:
                    version = found.get(topic, 0)
                    # Another, not a higher one: a database may be put back to what it was.
                    if self._seen.get(topic) != version:
                        await self._read(topic, version)
            except DatabaseDownError as error:
                if not self.down:
                    reason = str(error.__cause__ or error)
                    logger.warning("the database cannot be looked at; what was read before stays", reason=reason)
                self.down = True
                return
            if self.down:
                logger.info("the database can be looked at again")
            self.down = False

    async def run(self) -> None:
        """Look when a change is told of, and now and then, until cancelled.

        Less often while the database cannot be reached.
        """
        async with asyncio.TaskGroup() as tasks:
            # Beside, for it may have to wait for the place.
            tasks.create_task(self._state.subscribe(_TOLD_BY, lambda _: self._told.set()))
            pause = INTERVAL_SECONDS
            while True:
                await asyncio.sleep(LEAST_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause - LEAST_SECONDS):
                        await self._told.wait()
                self._told.clear()
                await self.look()
                pause = min(pause * 2, LONGEST_SECONDS) if self.down else INTERVAL_SECONDS

    async def rest(self) -> None:
        """Return when no look is under way, unless it takes long: one that is cut short may lose a connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS), self._looking:
                pass

    async def _tell(self) -> None:
        # Where nobody can be told, they see it at their next look.
        with suppress(SharedStateUnavailableError):
            await self._state.publish(_TOLD_BY, b"")

    async def _read(self, topic: str, version: int) -> None:
        try:
            for changed in self._topics[topic]:
                await changed()
        except DatabaseDownError:
            raise
        except Exception:  # noqa: BLE001  # whatever it is, the others must be read; told once, not at each look
            if self._failed.get(topic) != version:
                logger.exception("what was changed could not be read", topic=topic, version=version)
            self._failed[topic] = version
        else:
            self._seen[topic] = version
            self._failed.pop(topic, None)
