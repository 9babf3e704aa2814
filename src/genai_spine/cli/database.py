"""``spine db``: the form of the database's tables."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from genai_spine.cli.settings import ConfigOption, load_settings, told
from genai_spine.storage.sql.engine import Database

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(help="Look after the database.", no_args_is_help=True)


@app.callback()
def database() -> None:
    """Look after the database."""


@app.command("status")
def status(config: ConfigOption = None) -> None:
    """Tell where the database is and at which revision. Leaves with 1 where that is not the one of this version."""
    from genai_spine.storage.sql import revisions  # noqa: PLC0415  # Alembic takes its time, and no other command needs it

    with told():
        found, address = asyncio.run(_with_database(config, _status))
    head = revisions.head()
    typer.echo(f"database: {address}")
    typer.echo(f"revision: {found or 'none'}")
    typer.echo("it is as this version needs it" if found == head else f"this version needs {head}: spine db upgrade")
    if found != head:
        raise typer.Exit(1)


@app.command("upgrade")
def upgrade(
    to: Annotated[str, typer.Argument(help="A revision; by default that of this version.")] = "head",
    config: ConfigOption = None,
) -> None:
    """Bring the database up; a gateway does so by itself when it starts."""
    from genai_spine.storage.sql import revisions  # noqa: PLC0415  # Alembic takes its time, and no other command needs it

    with told():
        changed = asyncio.run(_with_database(config, lambda database: revisions.upgrade(database, to)))
    typer.echo("done" if changed else "there was nothing to do")


@app.command("downgrade")
def downgrade(
    to: Annotated[str, typer.Argument(help="A revision; base is before the first.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Bring the database back, for an older version; what that one has no place for is lost. Stop gateways first."""
    from genai_spine.storage.sql import revisions  # noqa: PLC0415  # Alembic takes its time, and no other command needs it

    if not yes:
        typer.confirm(f"Bring the database back to {to}, and lose what came after?", abort=True)
    with told():
        changed = asyncio.run(_with_database(config, lambda database: revisions.downgrade(database, to)))
    typer.echo("done" if changed else "there was nothing to do")


async def _status(database: Database) -> tuple[str | None, str]:
    from genai_spine.storage.sql import revisions  # noqa: PLC0415  # Alembic takes its time, and no other command needs it

    return await revisions.current(database), str(database.url)


async def _with_database(config: Path | None, work: Callable[[Database], Awaitable[T]]) -> T:
    database = Database.at(load_settings(config).database_url.reveal())
    try:
        return await work(database)
    finally:
        await database.close()
