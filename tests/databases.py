"""Real databases for tests, with all tables and nothing in them: SQLite files, and those of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from genai_spine.storage.sql.engine import Database
from genai_spine.testing.databases import make_sqlite, upgraded

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

__all__ = ["KINDS", "empty_address", "fresh_address", "fresh_database"]

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
