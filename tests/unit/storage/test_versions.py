"""How changes are noticed: a topic's version, and the watcher that looks at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from genai_spine.clock import SystemClock
from genai_spine.errors import DatabaseDownError
from genai_spine.shared_state.memory import MemoryState
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import versions
from genai_spine.storage.sql.versions import Watcher, bump, read
from tests.databases import KINDS, fresh_database


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database with all tables."""
    async with fresh_database(request.param) as found:
        yield found


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged."""
    return [json.loads(record.message)["event"] for record in caplog.records if record.name == "genai_spine"]


async def bumped(database: Database, topic: str) -> int:
    """The version of a topic after a change of it."""
    async with database.writing() as connection:
        return await bump(connection, topic)


async def test_each_change_is_another_version(database: Database) -> None:
    """A topic counts its own changes, however many make them at once."""
    assert {} == await read(database)
    assert sorted(range(1, 6)) == sorted(await asyncio.gather(*(bumped(database, "keys") for _ in range(5))))
    assert 1 == await bumped(database, "configuration")
    assert {"keys": 5, "configuration": 1} == await read(database)


async def test_a_change_that_is_not_made_is_not_counted(database: Database) -> None:
    """The version goes with the transaction of the change."""

    async def fail() -> None:
        async with database.writing() as connection:
            await bump(connection, "keys")
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert {} == await read(database)


async def test_only_what_changed_is_read(database: Database) -> None:
    """All is read at the first look, then only what has changed since, by whomever."""
    read_: list[str] = []

    async def note(topic: str) -> None:
        read_.append(topic)

    watcher = Watcher(database, MemoryState(1024, SystemClock()))
    watcher.on("keys", lambda: note("keys"))
    watcher.on("configuration", lambda: note("configuration"))
    await watcher.look()
    assert ["keys", "configuration"] == read_
    await watcher.look()
    await bumped(database, "elsewhere")
    await watcher.look()
    assert ["keys", "configuration"] == read_
    await bumped(database, "configuration")
    await watcher.look()
    assert ["keys", "configuration", "configuration"] == read_


async def test_a_topic_may_have_several_readers(database: Database) -> None:
    """They read in the order in which they came; a topic that is wanted again is read whether it changed or not."""
    read_: list[str] = []

    async def note(who: str) -> None:
        read_.append(who)

    watcher = Watcher(database, MemoryState(1024, SystemClock()))
    watcher.on("configuration", lambda: note("configuration"))
    watcher.on("keys", lambda: note("first"))
    watcher.on("keys", lambda: note("second"))
    for _ in range(2):
        await watcher.look()
    assert ["configuration", "first", "second"] == read_
    watcher.again("keys")
    await watcher.look()
    assert ["first", "second"] == read_[3:]


async def test_a_version_that_went_back_is_a_change(database: Database) -> None:
    """A database that was put back to an older state is read anew."""
    seen: list[int] = []

    async def note() -> None:
        seen.append((await read(database)).get("keys", 0))

    await bumped(database, "keys")
    watcher = Watcher(database, MemoryState(1024, SystemClock()))
    watcher.on("keys", note)
    await watcher.look()
    async with database.writing() as connection:
        await connection.execute(sa.delete(versions))
    await watcher.look()
    assert [1, 0] == seen


async def test_what_could_not_be_read_is_read_again(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """One reader's fault is told once, holds back no other, and the reader is asked again at the next look."""
    calls: list[str] = []

    async def fail() -> None:
        calls.append("fails")
        if calls.count("fails") < 3:
            raise LookupError

    async def work() -> None:
        calls.append("works")

    watcher = Watcher(database, MemoryState(1024, SystemClock()))
    watcher.on("keys", fail)
    watcher.on("configuration", work)
    for _ in range(4):
        await watcher.look()
    assert ["fails", "works", "fails", "fails"] == calls
    assert ["what was changed could not be read"] == told(caplog)


async def test_a_database_that_is_down_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A look at a database that cannot be reached changes nothing; the first one that can reads what is there."""
    read_: list[bool] = []

    async def note() -> None:
        read_.append(True)

    folder = tmp_path / "data"
    folder.write_text("in the way", encoding="utf-8")
    database = Database.at(f"sqlite:///{folder}/spine.db", upgrades=True)
    watcher = Watcher(database, MemoryState(1024, SystemClock()))
    watcher.on("keys", note)
    caplog.set_level("INFO")
    await watcher.look()
    await watcher.look()
    assert (True, []) == (watcher.down, read_)
    with pytest.raises(DatabaseDownError):
        await read(database)
    folder.unlink()
    await watcher.look()
    assert (False, [True]) == (watcher.down, read_)
    expected = [
        "the database cannot be looked at; what was read before stays",
        "the database can be looked at again",
    ]
    assert expected == told(caplog)
    await database.close()
