"""What the commands share that change users, keys, budgets and settings: on the database, gateway or not.

What a gateway tells an audit by its journal, they write into the chain themselves.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer
from msgspec import structs

from genai_spine.assembly import Spine
from genai_spine.cli.settings import open_spine, told
from genai_spine.errors import DatabaseDownError
from genai_spine.settings import Settings
from genai_spine.types.ledger import AuditEvent

__all__ = ["in_database", "on_database"]

T = TypeVar("T")


def on_database(config: Path | None, work: Callable[[Spine], Awaitable[T]]) -> T:
    """Do ``work`` with the objects behind the gateway, which itself is not started; tell an error in plain words."""
    with told():
        return asyncio.run(_closed_after(open_spine(config), work))


def in_database(settings: Settings, work: Callable[[Spine], Awaitable[T]]) -> T:
    """Do ``work`` likewise, before anything else; raises what it raises."""
    return asyncio.run(_closed_after(Spine(settings), work))


async def _closed_after(spine: Spine, work: Callable[[Spine], Awaitable[T]]) -> T:
    events: list[AuditEvent] = []
    spine.office.audit = spine.configuration.audit = events.append
    try:
        try:
            return await work(spine)
        finally:
            await _keep(spine, events)
    finally:
        await spine.close()


async def _keep(spine: Spine, events: list[AuditEvent]) -> None:
    if not events:
        return
    actor = {"actor": "command line", "account": _account()}
    told = [structs.replace(event, details={**event.details, **actor}) for event in events]
    try:
        await spine.books.audit.add(told)
    except DatabaseDownError:
        # The change stands, and what it led to must be shown: the secret of a new key, say.
        for event in events:
            what = event.reason or ", ".join(f"{name} {value}" for name, value in event.details.items())
            typer.echo(f"warning: the database went away before the audit had this: {event.event}, {what}", err=True)


def _account() -> str:
    """Whose command line it is, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
