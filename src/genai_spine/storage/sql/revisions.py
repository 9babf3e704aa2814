"""Bringing a database to the form that this version needs, and back. The revisions are in ``migrations/versions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from genai_spine.errors import ConfigurationError
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import METADATA

__all__ = ["BASE", "current", "downgrade", "head", "history", "upgrade"]

BASE: Final = "base"
# Whoever upgrades a PostgreSQL holds this lock, so that replicas starting together take turns; any number will do.
_LOCK: Final = 0x5B1AE


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def head() -> str:
    """Return the revision that this version needs."""
    found = _scripts().get_current_head()
    if found is None:
        message = "the package lacks its revisions; install it anew"
        raise ConfigurationError(message)
    return found


def history() -> list[str]:
    """Return all revisions, the oldest first."""
    return [script.revision for script in reversed(list(_scripts().walk_revisions()))]


async def current(database: Database) -> str | None:
    """Return the revision at which a database is; None where it has none.

    Raises:
        DatabaseDownError: It cannot be reached.
    """
    async with database.reading() as connection:
        return await connection.run_sync(_current)


async def upgrade(database: Database, to: str = "head") -> bool:
    """Bring a database up to a revision; return whether there was anything to do.

    Raises:
        ConfigurationError: It was made by a newer version, or a revision failed; nothing was changed.
        DatabaseDownError: It cannot be reached.
    """
    return await _move(database, to, down=False)


async def downgrade(database: Database, to: str) -> bool:
    """Bring a database back to a revision, ``base`` being before the first; raises as ``upgrade`` does."""
    return await _move(database, to, down=True)


async def _move(database: Database, to: str, *, down: bool) -> bool:
    scripts = _scripts()

    def work(connection: Connection) -> bool:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _current(connection)
        _check_known(scripts, before)

        def steps(revision: Any, _: MigrationContext) -> list[Any]:
            # As Alembic's own commands do, which want their settings in a file.
            return (scripts._downgrade_revs if down else scripts._upgrade_revs)(to, revision)  # noqa: SLF001  # see above

        with EnvironmentContext(Config(), scripts, fn=steps) as environment:
            environment.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
            environment.run_migrations()
        return before != _current(connection)

    try:
        return await database.run(work)
    except (SQLAlchemyError, CommandError) as error:
        # Without the statement, which SQLAlchemy puts in further lines.
        reason = str(error).partition("\n")[0]
        message = f"the database at {database.url} could not be brought to revision {to}: {reason}; nothing was changed"
        raise ConfigurationError(message) from error


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _check_known(scripts: ScriptDirectory, revision: str | None) -> None:
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        message = (
            f"the database is at revision {revision}, which this version does not know: it was made by a newer one. "
            "Start that, or let it go back with: spine db downgrade"
        )
        raise ConfigurationError(message)
