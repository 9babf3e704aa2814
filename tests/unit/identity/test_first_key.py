"""The first key of a new database: made once, shown once, kept for its owner alone."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genai_spine.clock import SystemClock
from genai_spine.errors import ConfigurationError
from genai_spine.identity.first_key import KEY_FILE, OLDER_FILE, FirstKey, first_key, stored_key
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.identities import Identities
from tests.databases import KINDS, fresh_address, fresh_database


@pytest.fixture(params=KINDS)
async def identities(request: pytest.FixtureRequest) -> AsyncIterator[Identities]:
    """A database without keys."""
    async with fresh_database(request.param) as database:
        yield Identities(database, SystemClock())


async def test_the_first_key_is_made_once(identities: Identities, tmp_path: Path) -> None:
    """It is new, and readable by its owner alone; asked again, it is still in its file and no longer shown."""
    folder = tmp_path / "a" / "data"
    made = await first_key(identities, folder)
    assert made.made is not None
    assert (folder / KEY_FILE, made.made) == (made.path, stored_key(folder))
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert FirstKey(None, folder / KEY_FILE) == await first_key(identities, folder)
    assert FirstKey(None, None) == await first_key(identities, tmp_path / "other machine")
    (key,) = await identities.keys()
    assert ("first key", True) == (key.facts.name, "admin" in key.facts.scopes)


@pytest.mark.parametrize("kind", KINDS)
async def test_of_replicas_that_start_together_one_makes_it(kind: str, tmp_path: Path) -> None:
    """However many find the database new, one key is made, and shown by one of them."""
    address = await fresh_address(kind)
    databases = [Database.at(address) for _ in range(4)]
    try:
        asked = [
            first_key(Identities(database, SystemClock()), tmp_path / str(number))
            for number, database in enumerate(databases)
        ]
        found = await asyncio.gather(*asked)
        assert 1 == sum(one.made is not None for one in found)
        assert 1 == len(await Identities(databases[0], SystemClock()).keys())
    finally:
        for database in databases:
            await database.close()


async def test_the_key_of_another_database(identities: Identities, tmp_path: Path) -> None:
    """It opens nothing here; a new one takes its place, and it is put aside."""
    (tmp_path / KEY_FILE).write_text("spine-of-another\n")
    (tmp_path / KEY_FILE).chmod(0o600)
    made = await first_key(identities, tmp_path)
    assert made.made is not None
    assert made.made == stored_key(tmp_path)
    assert "spine-of-another\n" == (tmp_path / OLDER_FILE).read_text()


async def test_a_kept_key_that_was_revoked_is_not_shown_to_be_tried(identities: Identities, tmp_path: Path) -> None:
    """A file whose key is let in no more is not named."""
    await first_key(identities, tmp_path)
    (key,) = await identities.keys()
    await identities.revoke_key(key.id, lambda _: None)
    assert FirstKey(None, None) == await first_key(identities, tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o602])
async def test_a_file_that_others_may_read(identities: Identities, tmp_path: Path, mode: int) -> None:
    """A key that others could have read is not used; the message says what to run."""
    await first_key(identities, tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await first_key(identities, tmp_path)


async def test_a_folder_that_cannot_be_used(identities: Identities, tmp_path: Path) -> None:
    """A data folder that is a file is told with the variable to set, and no key was made that nobody knows."""
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigurationError, match="GENAI_DATA_DIR"):
        await first_key(identities, tmp_path / "data")
    assert [] == await identities.keys()


def test_the_key_that_was_made(tmp_path: Path) -> None:
    """Where none was made, or its file is empty, there is none, and none is made for the asking."""
    assert stored_key(tmp_path) is None
    assert [] == list(tmp_path.iterdir())
    (tmp_path / KEY_FILE).touch(mode=0o600)
    assert stored_key(tmp_path) is None


def test_a_key_that_cannot_be_read(tmp_path: Path) -> None:
    """What stands in its place is told."""
    (tmp_path / KEY_FILE).mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        stored_key(tmp_path)
