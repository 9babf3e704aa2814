"""``spine config``: the settings, looked at without serving."""

from __future__ import annotations

import typer

from genai_spine.assembly import Spine
from genai_spine.cli.settings import ConfigOption, checked_workers, load_settings, told

__all__ = ["app"]

app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Look at the settings."""


@app.command("check")
def check(config: ConfigOption = None) -> None:
    """Read all settings and say what is wrong. Leaves with status 2 if anything is, with 1 for mere warnings."""
    with told():
        settings = load_settings(config)
        checked_workers(settings)
        spine = Spine(settings)
    ready = [provider.name for provider in spine.registry.configured()]
    typer.echo(f"file:      {settings.path or 'none'}")
    typer.echo(f"data:      {settings.data_dir}")
    typer.echo(f"providers: {', '.join(ready) or 'none configured; simulator answers'}")
    for warning in spine.warnings:
        typer.echo(f"warning:   {warning}", err=True)
    if spine.warnings:
        raise typer.Exit(1)
    typer.echo("all settings are good")
