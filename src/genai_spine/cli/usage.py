"""``spine usage``: what was used, out of the database of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.ledger.usage import Report
from genai_spine.storage.sql.usage import DIMENSIONS, UsageFilter

__all__ = ["usage"]


def usage(
    *,
    by: Annotated[str, typer.Option(help=f"With commas between them: {', '.join(DIMENSIONS)}.")] = "day",
    since: Annotated[
        str | None, typer.Option(help="A date, a moment, or how long ago, such as 7d; by default 30d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="The same; by default now.")] = None,
    user: Annotated[int | None, typer.Option(help="Only this user's, by id.")] = None,
    key: Annotated[str | None, typer.Option(help="Only with this key, by fingerprint.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    status: Annotated[str | None, typer.Option(help="Only calls that ended so.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Tell what was used: calls, tokens, cost, errors, and how long they took."""
    which = UsageFilter(user=user, fingerprint=key, provider=provider, model=model, tag=tag, status=status)
    names = [name for each in by.split(",") if (name := each.strip())]
    with told():
        report = asyncio.run(_report(config, names, since, until, which))
    if as_csv:
        typer.echo(report.csv(), nl=False)
        return
    encoded = msgspec.json.encode(report.json())
    if as_json:
        typer.echo(msgspec.json.format(encoded).decode())
    else:
        _show(report, msgspec.json.Decoder(float_hook=str).decode(encoded))


async def _report(
    config: Path | None, by: Sequence[str], since: str | None, until: str | None, which: UsageFilter
) -> Report:
    spine = open_spine(config)
    try:
        return await spine.books.usage.report(by, since=since, until=until, which=which)
    finally:
        await spine.close()


def _show(report: Report, told: dict[str, Any]) -> None:
    table = Table(*report.by, box=None, header_style="bold")
    for name in ("calls", "errors", "input", "output", "USD", "p50 s", "p95 s"):
        table.add_column(name, justify="right")
    for row in [*told["rows"], {**dict.fromkeys(report.by, ""), **told["totals"]}]:
        # Callers choose the names of models and tags.
        group = ("none" if row[name] is None else escape(str(row[name])) for name in report.by)
        tokens, seconds = row["tokens"], row["seconds"] or {}
        times = (f"{float(seconds[part]):.2f}" if part in seconds else "" for part in ("p50", "p95"))
        counts = (row["calls"], row["errors"], tokens["input"], tokens["output"], row["cost_usd"])
        table.add_row(*group, *map(str, counts), *times)
    Console().print(table)
    typer.echo(f"{told['start']} to {told['end']}")
