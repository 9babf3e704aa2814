"""``spine audit``: whether anybody changed it, and all of it as lines of JSON."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.ledger.audit import anchor_text, read_anchor
from genai_spine.ledger.spans import Span
from genai_spine.storage.sql.audit import ORIGIN, Anchor, AuditFilter, Verdict

__all__ = ["app"]

app = typer.Typer(help="Look at the audit.", no_args_is_help=True)

CHANGED = 1


@app.callback()
def audit() -> None:
    """Look at the audit."""


@app.command("verify")
def verify(
    expect: Annotated[
        str | None, typer.Option(help="What an earlier run printed last: that row must still be there.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="The same; rows up to that one are believed.")] = None,
    config: ConfigOption = None,
) -> None:
    """Tell whether any row was changed, removed or moved. Leaves with status 1 if so.

    Note what it prints last somewhere else: with it nobody can remove the last rows, or write them all anew.
    """
    with told():
        expected = read_anchor(expect) if expect else None
        verdict = asyncio.run(_verify(config, read_anchor(since) if since else ORIGIN, expected))
    if verdict.fault:
        typer.echo(f"{verdict.fault}; all that stands before is as it was written", err=True)
        raise typer.Exit(CHANGED)
    typer.echo(f"{verdict.rows} rows are as they were written", err=True)
    if verdict.last != ORIGIN:
        typer.echo(anchor_text(verdict.last))


@app.command("export")
def export(
    event: Annotated[str | None, typer.Option(help="Only these, such as config_change.")] = None,
    since: Annotated[str | None, typer.Option(help="A date, a moment, or how long ago, such as 7d.")] = None,
    until: Annotated[str | None, typer.Option(help="The same.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write the events, a line of JSON each, the oldest first."""
    with told():
        asyncio.run(_export(config, event, since, until))


async def _verify(config: Path | None, since: Anchor, expected: Anchor | None) -> Verdict:
    spine = open_spine(config)
    try:
        return await spine.books.audit.verify(since=since, expected=expected)
    finally:
        await spine.close()


async def _export(config: Path | None, event: str | None, since: str | None, until: str | None) -> None:
    spine = open_spine(config)
    try:
        span = Span.read(since, until, spine.clock.now())
        which = AuditFilter(event=event, start=span.start if since else None, end=span.end if until else None)
        async for line in spine.books.audit.lines([which]):
            sys.stdout.write(line.decode())
    finally:
        await spine.close()
