"""The database: its revisions, older chat databases, who may read the file, and what its failures mean."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import IntegrityError

from genai_spine.errors import ConfigurationError, DatabaseDownError
from genai_spine.storage.sql import revisions
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.storage.sql.tables import HEAD, METADATA, chats, messages, provider_usage, users
from tests.databases import KINDS, empty_address, fresh_database
from tests.ledgers import call
from tests.postgres import PostgresServer

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
# As earlier services made it: no provider, and columns of its own.
OLDER = """
CREATE TABLE users (id INTEGER PRIMARY KEY, username VARCHAR(80) NOT NULL, hashed_password VARCHAR(200));
CREATE TABLE chats (id INTEGER PRIMARY KEY, user_id INTEGER, title VARCHAR(200), created_at TIMESTAMP);
CREATE TABLE messages (id INTEGER PRIMARY KEY, chat_id INTEGER NOT NULL, role VARCHAR(20), content TEXT);
CREATE TABLE system_prompts (id INTEGER PRIMARY KEY, name VARCHAR(100), content TEXT, is_active BOOLEAN);
CREATE TABLE provider_usage (id INTEGER PRIMARY KEY, user_id INTEGER, provider_name VARCHAR(50),
    model_name VARCHAR(100), chat_id INTEGER, message_id INTEGER, tokens_used INTEGER, cost NUMERIC(10, 6),
    response_time_ms INTEGER, created_at TIMESTAMP);
INSERT INTO provider_usage (user_id, provider_name, model_name, chat_id, message_id, tokens_used, cost, created_at)
    VALUES (1, 'ollama', 'llama3', 7, 71, 12, 0, '2024-05-01 10:00:00');
INSERT INTO users VALUES (1, 'ada', 'x'), (2, 'grace', 'y');
INSERT INTO chats VALUES (7, 1, 'Engines', '2024-05-01 10:00:00'), (8, 2, NULL, NULL);
INSERT INTO messages VALUES (70, 7, 'user', 'Hello'), (71, 7, 'assistant', 'Good day');
"""


@pytest.fixture(params=KINDS)
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """A database without any tables."""
    database = Database.at(await empty_address(request.param, tmp_path))
    yield database
    await database.close()


def tables_of(connection: sa.Connection) -> dict[str, set[str]]:
    """The columns of each table."""
    inspector = sa.inspect(connection)
    return {name: {column["name"] for column in inspector.get_columns(name)} for name in inspector.get_table_names()}


async def test_upgrade_makes_the_tables_of_this_version(empty: Database) -> None:
    """What the revisions make is what the code expects; doing it again changes nothing."""
    assert await empty.upgrade()
    assert not await empty.upgrade()
    assert HEAD == revisions.head() == await revisions.current(empty) == revisions.history()[-1]

    def difference(connection: sa.Connection) -> list[object]:
        options = {"compare_type": True, "include_name": lambda name, *_: name != "taken_over"}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    assert [] == await empty.run(difference)


async def test_it_is_upgraded_before_its_first_use(empty: Database) -> None:
    """A database that was out of reach at the start has its tables once it is there."""
    empty.upgrades = True
    async with empty.reading() as connection:
        assert [] == (await connection.execute(users.select())).all()
    assert HEAD == await revisions.current(empty)


async def test_each_revision_goes_back(empty: Database) -> None:
    """From nothing to the newest and back, revision by revision, leaves nothing; and it can be done again."""
    await empty.upgrade()
    for revision in [*reversed(revisions.history()[:-1]), revisions.BASE]:
        assert await revisions.downgrade(empty, revision)
    assert {"alembic_version"} == set(await empty.run(tables_of))
    assert await empty.upgrade()


async def test_an_older_chat_database_comes_forward_and_goes_back(empty: Database) -> None:
    """Its chats were Ollama's, nothing of it is lost, and going back leaves just what there was."""
    older = OLDER if empty.is_sqlite else OLDER.replace("INTEGER PRIMARY", "SERIAL PRIMARY")
    async with empty.writing() as connection:
        for statement in filter(None, map(str.strip, older.split(";"))):
            await connection.execute(sa.text(statement))
    before = await empty.run(tables_of)
    await empty.upgrade()
    async with empty.reading() as connection:
        rows = (await connection.execute(sa.select(chats.c.id, chats.c.provider_name, chats.c.title))).all()
        assert [(7, "ollama", "Engines"), (8, "ollama", None)] == [tuple(row) for row in rows]
        assert ["ada", "grace"] == list((await connection.execute(sa.select(users.c.name).order_by("id"))).scalars())
        written = (await connection.execute(sa.select(messages.c.content).order_by("id"))).scalars()
        assert ["Hello", "Good day"] == list(written)
    made = call("new")
    for new in (frozenset({"new"}), frozenset()):
        assert new == (await LedgerStore(empty).record([made], [], [])).calls
    async with empty.reading() as connection:
        found = await connection.execute(sa.select(provider_usage.c.model_name).order_by("id"))
        assert ["llama3", made[0].model] == list(found.scalars())
    async with empty.writing() as connection:
        await connection.execute(chats.insert().values(title="new", user_id=1, created_at=NOW))
    await revisions.downgrade(empty, revisions.BASE)
    assert before == {
        name: columns for name, columns in (await empty.run(tables_of)).items() if name != "alembic_version"
    }


async def test_replicas_that_start_together_take_turns(empty: Database) -> None:
    """Of several upgrades at once one does the work, and the others find it done."""
    several = [Database(empty.url) for _ in range(4)]
    done = await asyncio.gather(*(one.upgrade() for one in several))
    assert [False, False, False, True] == sorted(done)
    for one in several:
        await one.close()


async def test_a_newer_database_is_refused(database: Database) -> None:
    """A database of a newer version is left alone, and the message says what to do."""
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match=r"9999.*spine db downgrade"):
        await database.upgrade()


async def test_what_fails_is_undone(database: Database) -> None:
    """Changes of a block that fails are not made; a fault of the statement stays what it is."""

    async def write_twice() -> None:
        async with database.writing() as connection:
            await connection.execute(users.insert().values(name="ada"))
            await connection.execute(users.insert().values(name="ada"))

    with pytest.raises(IntegrityError):
        await write_twice()
    async with database.reading() as connection:
        assert [] == (await connection.execute(users.select())).all()


async def test_moments_come_back_as_they_went_in(database: Database) -> None:
    """Moments are in UTC, whatever the database thinks of time zones."""
    async with database.writing() as connection:
        await connection.execute(users.insert().values(name="ada", created_at=NOW))
    async with database.reading() as connection:
        assert NOW == (await connection.execute(sa.select(users.c.created_at))).scalar_one()


async def test_writers_of_one_file_wait_for_each_other() -> None:
    """Many writers of one SQLite file, from two engines, all come to their end."""
    async with fresh_database("sqlite") as database:
        other = Database(database.url)

        async def write(number: int) -> None:
            async with (database, other)[number % 2].writing() as connection:
                there = (await connection.execute(sa.select(sa.func.count()).select_from(users))).scalar_one()
                await connection.execute(users.insert().values(name=f"user {there}"))

        await asyncio.gather(*(write(number) for number in range(40)))
        async with other.reading() as connection:
            assert 40 == (await connection.execute(sa.select(sa.func.count()).select_from(users))).scalar_one()
        await other.close()


async def test_who_is_cancelled_leaves_no_writer_behind() -> None:
    """A task that is cancelled while a thread writes for it ends when the thread has, so that nobody finds it there."""
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: sa.Connection) -> None:
        begun.set()
        go_on.wait()
        connection.execute(users.insert().values(name="ada"))

    async with fresh_database("sqlite") as database:
        task = asyncio.create_task(database.write(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0)
        assert not done
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with database.reading() as connection:
            assert ["ada"] == list((await connection.execute(sa.select(users.c.name))).scalars())


async def test_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    """The file, those beside it and its folder are the owner's alone."""
    database = Database.at(f"sqlite:///{tmp_path}/data/spine.db")
    async with database.writing() as connection:
        await connection.execute(sa.text("CREATE TABLE t (x INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
    assert {"spine.db": 0o600, "spine.db-wal": 0o600, "spine.db-shm": 0o600} == modes
    assert 0o700 == stat.S_IMODE((tmp_path / "data").stat().st_mode)
    await database.close()


async def test_a_locked_file_is_a_database_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot write for too long is told so."""
    monkeypatch.setattr("genai_spine.storage.sql.engine.BUSY_MILLISECONDS", 10)
    database = Database.at(f"sqlite:///{tmp_path}/spine.db")
    await database.upgrade()
    with sqlite3.connect(tmp_path / "spine.db", isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseDownError):
            async with database.writing():
                pass
    holder.close()
    await database.close()


async def test_a_stopped_server_is_a_database_that_is_down(tmp_path: Path) -> None:
    """A PostgreSQL that stops is told as such, in use and afterwards; once it is back all goes on."""
    server = await asyncio.to_thread(PostgresServer, tmp_path / "server")
    database = Database.at(server.address())

    async def write_while_it_stops() -> None:
        async with database.writing() as connection:
            await asyncio.to_thread(server.stop)
            await connection.execute(users.insert().values(name="ada"))

    try:
        await database.upgrade()
        with pytest.raises(DatabaseDownError):
            await write_while_it_stops()
        with pytest.raises(DatabaseDownError):
            async with database.reading():
                pass
        await asyncio.to_thread(server.start)
        async with database.reading() as connection:
            assert [] == (await connection.execute(users.select())).all()
    finally:
        await database.close()
        await asyncio.to_thread(server.close)


@pytest.mark.parametrize("address", ["mysql://host/db", "nonsense", "", "sqlite://"])
def test_other_addresses_are_refused(address: str) -> None:
    """The message names the setting and what it must begin with."""
    with pytest.raises(ConfigurationError, match="GENAI_DATABASE_URL must"):
        Database.at(address)


def test_no_password_is_shown() -> None:
    """The address as text hides the password."""
    database = Database.at("postgres://spine:very-secret@db.internal:5433/spine?sslmode=require")
    assert "very-secret" not in f"{database.url} {database.url!r}"
    assert "require" == database.url.query["ssl"]


async def test_others_come_and_go(tmp_path: Path) -> None:
    """Another process that closes the same SQLite file leaves the log into which we write where it is."""
    path = tmp_path / "spine.db"
    database = Database.at(f"sqlite:///{path}")
    await database.upgrade()
    async with database.reading(), database.reading():
        pass  # connections that stay open, the second made while the first is
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM users'); c.close()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", other, str(path))
    assert 0 == await process.wait()
    assert path.with_name("spine.db-wal").exists()
    await database.close()
