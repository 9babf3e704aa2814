"""Databases for tests: new ones in no time, for the tables are made once and copied."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from genai_spine.storage.sql.engine import Database

__all__ = ["make_sqlite", "upgraded"]


async def make_sqlite(path: Path) -> str:
    """Make a file with all tables and nothing in them; return its address."""
    await asyncio.to_thread(_copy, path)
    return f"sqlite:///{path}"


async def upgraded(address: str) -> None:
    """Make all tables in a database."""
    database = Database.at(address)
    try:
        await database.upgrade()
    finally:
        await database.close()


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spine-sqlite-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.db"
    asyncio.run(upgraded(f"sqlite:///{path}"))
    return path


def _copy(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(_template(), path)
    path.chmod(0o600)
