"""The database: SQLite in a file of the data folder, or PostgreSQL. Nobody else opens connections.

::

    database = Database.at("sqlite:///data/spine.db")
    await database.upgrade()
    async with database.writing() as connection:
        await connection.execute(users.insert().values(name="ada"))
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from genai_spine.errors import ConfigurationError, DatabaseDownError
from genai_spine.storage.sql.tables import HEAD

__all__ = ["CHANGED", "Database"]

T = TypeVar("T")

CONNECT_SECONDS: Final = 5
COMMAND_SECONDS: Final = 30
POOL: Final = 5
# How long a writer of SQLite waits for another.
BUSY_MILLISECONDS: Final = 10_000
_TRIES: Final = 10

CHANGED: Final = "spine_changed"
"""Among the infos of a connection: that its transaction changes what others remember."""

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
# What PostgreSQL says when it stops, starts, or has no connection left: SQLSTATE classes 08, 53 and 57.
_PASSING: Final = ("08", "53", "57")
# What it says of an address that is wrong: who may not come in, and a database that is not there.
_REFUSED: Final = ("28", "3D")
_QUERY: Final = frozenset({"host", "port", "user", "ssl", "passfile", "prepared_statement_cache_size"})
_SSL: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_NO_ADDRESS: Final = (
    "GENAI_DATABASE_URL is no address; write postgresql://user:password@host:5432/name, and : / ? # @ of a password as "
    "%3A %2F %3F %23 %40"
)
_ONE_STATE: Final[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Database:
    """Connections to one database.

    Attributes:
        url: Where it is; its text hides the password.
        is_sqlite: It is a file of this machine.
        upgrades: Its tables are brought to the form that this version needs before they are first used: at the start,
            or once it can be reached.
        changed: Awaited after each transaction that has changed what others remember; it must not raise.
    """

    def __init__(self, url: URL, *, upgrades: bool = False) -> None:
        """Prepare to connect; nothing is opened before it is used. ``at`` reads an address."""
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.upgrades = upgrades
        self.changed: Callable[[], Awaitable[None]] | None = None
        self._upgrading = asyncio.Lock()
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        # Of many statements each would go to the driver's thread and back.
        self._writer = _sqlite_writer(url) if self.is_sqlite else None
        # SQLite shows a transaction one state of itself anyway.
        self._reader = self._engine if self.is_sqlite else self._engine.execution_options(**_ONE_STATE)

    @classmethod
    def at(cls, address: str, *, upgrades: bool = False) -> Database:
        """Return the database at an address such as ``postgresql://user:password@host/name``.

        Raises:
            ConfigurationError: It is not one, or of a database that is not served.
        """
        try:
            url = make_url(address)
            driver = _DRIVERS[url.drivername.partition("+")[0]]
        except (ArgumentError, KeyError):
            message = "GENAI_DATABASE_URL must begin with sqlite:/// or postgresql://"
            raise ConfigurationError(message) from None
        except ValueError:
            raise ConfigurationError(_NO_ADDRESS) from None
        if "@" in (url.host or ""):
            # Of a password, and not to be shown.
            raise ConfigurationError(_NO_ADDRESS)
        query = dict(url.query)
        if isinstance(password := query.pop("password", None), str):
            # Where it is hidden.
            url = url.set(password=password)
        # libpq's word for it; asyncpg has its own.
        if driver.endswith("asyncpg") and "sslmode" in query:
            query["ssl"] = query.pop("sslmode")
        _check_query(driver, query)
        return cls(url.set(drivername=driver, query=query), upgrades=upgrades)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection that sees one state of the database.

        Raises:
            DatabaseDownError: The database cannot be reached.
        """
        await self._upgraded()
        async with _told(), self._reader.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection whose changes are made all together when the block ends well, and else not at all.

        Raises:
            DatabaseDownError: The database cannot be reached, or the changes could not be made for now.
        """
        await self._upgraded()
        async with self._writing() as connection:
            # Looked at now, for a connection that breaks shows none any more.
            info = connection.info
            try:
                yield connection
            finally:
                changed = info.pop(CHANGED, False)
        if changed and self.changed is not None:
            await self.changed()

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with _told(), self._engine.connect() as connection:
            if self.is_sqlite:
                await connection.execution_options(spine_writes=True)
            async with connection.begin():
                yield connection

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction, by SQLAlchemy's synchronous face; SQLite has a thread for it meanwhile.

        Raises:
            DatabaseDownError: The database cannot be reached, or the changes could not be made for now.
        """
        await self._upgraded()
        if self._writer is None:
            return await self.run(work)
        with _translated():
            return await _in_thread(_written, self._writer, work)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do something that needs SQLAlchemy's synchronous face, in a transaction and on the tables as they are."""
        async with self._writing() as connection:
            return await connection.run_sync(work)

    async def upgrade(self) -> bool:
        """Bring the tables to the form that this version needs; return whether there was anything to do.

        Raises:
            ConfigurationError: The database was made by a newer version, or a revision failed; nothing was changed. Or
                the address is wrong: the server does not know it, or does not let the gateway in.
            DatabaseDownError: The database cannot be reached.
        """
        async with self._upgrading:
            try:
                changed = await self.run(_revision) != HEAD
            except DatabaseDownError as error:
                if _refused(error.__cause__):
                    reason = getattr(error.__cause__, "orig", error)
                    message = (
                        f"the database at {self.url} does not let the gateway in: {reason}; see GENAI_DATABASE_URL"
                    )
                    raise ConfigurationError(message) from error
                raise
            if changed:
                from genai_spine.storage.sql.revisions import upgrade  # noqa: PLC0415  # Alembic only where it is due

                changed = await upgrade(self)
            self.upgrades = False
        return changed

    async def _upgraded(self) -> None:
        """See to it that the tables have their form, for somebody who wants to use them."""
        if self.upgrades:
            try:
                await self.upgrade()
            except ConfigurationError as error:
                # It was away when the gateway started, so this could not be told then.
                raise DatabaseDownError from error

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        if self._writer is not None:
            self._writer.dispose()


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _sqlite_engine(url: URL) -> AsyncEngine:
    if not url.database:
        message = "GENAI_DATABASE_URL must name a file after sqlite:///"
        raise ConfigurationError(message)
    path = Path(url.database)
    engine = create_async_engine(
        url, pool_size=POOL, max_overflow=0, connect_args={"timeout": BUSY_MILLISECONDS / 1000}
    )
    _prepare_sqlite(engine.sync_engine, path)
    return engine


def _sqlite_writer(url: URL) -> Engine:
    """An engine for a thread that only writes."""
    seconds = BUSY_MILLISECONDS / 1000
    engine = create_engine(
        url.set(drivername="sqlite"),
        pool_size=1,
        max_overflow=0,
        pool_timeout=seconds,
        connect_args={"timeout": seconds},
        execution_options={"spine_writes": True},
    )
    _prepare_sqlite(engine, Path(url.database or ""))
    return engine


def _written(writer: Engine, work: Callable[[Connection], T]) -> T:
    with writer.begin() as connection:
        return work(connection)


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Do something in a thread, and return when it has ended, whoever is cancelled meanwhile."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


def _prepare_sqlite(engine: Engine, path: Path) -> None:
    @event.listens_for(engine, "do_connect")
    def make_file(*_: object) -> None:
        # Its owner alone may read it, whatever the umask; the files beside it take after it.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # One that is there is not opened: closing it would take away the locks that SQLite holds on it in this process,
        # and whoever closes it elsewhere would delete the log into which we write.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        # The driver would begin transactions late, and by itself.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer says so at once: two readers that want to become writers would wait for each other.
        writes = connection.get_execution_options().get("spine_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _write_ahead(cursor: Any) -> None:
    """Have a file keep a log beside it.

    While somebody else has a new file do so, SQLite refuses at once, and does not wait as it does for all else.
    """
    for left in reversed(range(_TRIES)):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            # This waits for them.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        else:
            return


def _postgres_engine(url: URL) -> AsyncEngine:
    return create_async_engine(
        url,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS},
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, OSError, PoolTimeoutError) as error:
        raise DatabaseDownError from error
    except DBAPIError as error:
        if error.connection_invalidated or _passing(error) or _refused(error):
            raise DatabaseDownError from error
        raise


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    with _translated():
        yield


def _check_query(driver: str, query: Mapping[str, object]) -> None:
    """Hold that all is known that an address says after its question mark.

    Raises:
        ConfigurationError: It is not.
    """
    known = _QUERY if driver.endswith("asyncpg") else frozenset()
    if unknown := sorted(query.keys() - known):
        message = f"GENAI_DATABASE_URL says {unknown[0]}= after its ?, which is not known there"
    elif query.get("ssl", "prefer") not in _SSL:
        message = f"GENAI_DATABASE_URL: sslmode is one of {', '.join(_SSL)}"
    else:
        return
    raise ConfigurationError(message)


def _refused(error: BaseException | None) -> bool:
    """Whether a server does not let us in, or does not know the database."""
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(state, str) and state.startswith(_REFUSED)


def _passing(error: DBAPIError) -> bool:
    """Whether the database failed, and not the statement."""
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_PASSING)
    cause = error.orig.__cause__ if error.orig is not None else None
    if isinstance(cause, OSError | asyncio.TimeoutError):
        return True
    # SQLite: locked for too long, the disk full, the file not there or not readable.
    return isinstance(error, OperationalError) and isinstance(error.orig, sqlite3.OperationalError)
