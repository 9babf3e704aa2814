"""``spine prices``: newer prices than those that ship with the package."""

from __future__ import annotations

from typing import Annotated

import typer

from genai_spine.catalog.refresh import refresh_prices
from genai_spine.cli.settings import ConfigOption, load_settings, told

__all__ = ["app"]

app = typer.Typer(help="Look after the prices.", no_args_is_help=True)


@app.callback()
def prices() -> None:
    """Look after the prices."""


@app.command("refresh")
def refresh(
    url: Annotated[
        str | None,
        typer.Option(help="Where to fetch them, such as your own mirror; by default the library's."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Fetch today's prices into the data folder; a gateway takes them up when it starts. Nothing else fetches any."""
    with told():
        folder = load_settings(config).data_dir
        book = refresh_prices(folder, url)
        count = sum(len(book.models(provider)) for provider in book.providers())
        typer.echo(f"{count} prices of {len(book.providers())} providers, kept in {folder}")
