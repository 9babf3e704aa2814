"""Real databases for tests, with all tables and nothing in them: SQLite files, and those of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from genai_spine.storage.sql.engine import Database
from genai_spine.testing.databases import make_sqlite, upgraded

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

__all__ = ["KINDS", "empty_address", "fresh_address", "fresh_database", "plans_of"]

KINDS: Final = ("sqlite", "postgresql")
"""What a suite over databases is run on."""

_TEMPLATE: Final = "spine_template"
_count = itertools.count()


async def fresh_address(kind: str) -> str:
    """Return the address of a database with all tables, and nothing in them."""
    number = next(_count)
    if kind == "sqlite":
        return await make_sqlite(_folder() / f"{number}.db")
    await asyncio.to_thread(_postgres_template)
    return await _server().make(f"spine_{number}", template=_TEMPLATE)


async def empty_address(kind: str, folder: Path) -> str:
    """Return the address of a database without tables; that of SQLite lies in ``folder``."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/data/spine.db"
    return await _server().make(f"empty_{next(_count)}")


@asynccontextmanager
async def fresh_database(kind: str) -> AsyncIterator[Database]:
    """Yield such a database, opened."""
    database = Database.at(await fresh_address(kind))
    try:
        yield database
    finally:
        await database.close()


async def plans_of(database: Database, work: Awaitable[object]) -> list[list[str]]:
    """Do some work, and return by which steps SQLite answers each question that is asked for it."""
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, text: str, values: object, *___: object) -> None:
        asked.append((text, values))

    engine = database._engine.sync_engine  # what is asked is not to be seen from outside
    sa.event.listen(engine, "before_cursor_execute", note)
    await work
    sa.event.remove(engine, "before_cursor_execute", note)
    async with database.reading() as connection:
        return [
            [step[-1] for step in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            for text, values in asked
            if text.startswith("SELECT")
        ]


def _server() -> PostgresServer:
    from tests.postgres import postgres  # noqa: PLC0415  # most tests do without, and it takes its time

    return postgres()


@cache
def _postgres_template() -> None:
    asyncio.run(upgraded(asyncio.run(_server().make(_TEMPLATE))))


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spine-databases-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
