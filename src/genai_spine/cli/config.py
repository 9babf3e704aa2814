"""``spine config``: the settings, looked at and changed without serving."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.office import on_database
from genai_spine.cli.settings import ConfigOption, checked_workers, load_settings, open_spine, told
from genai_spine.configuration.vault import new_key
from genai_spine.settings import BUILT_IN

__all__ = ["app"]

app = typer.Typer(help="Look at the settings, and change them.", no_args_is_help=True)


@app.callback()
def config() -> None:
    """Look at the settings, and change them."""


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


@app.command("show")
def show(
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Who says each value, too.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what nobody has set.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show what is in effect of file, environment and database; keys by their fingerprints, other secrets masked."""
    with told():
        spine = open_spine(config)
        asyncio.run(_read(spine))
    values = [one for one in spine.configuration.effective() if everything or one.origin != BUILT_IN]
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(values)).decode())
        return
    table = Table("setting", "value", *(["origin"] if origin else []), box=None, header_style="bold")
    for one in values:
        shown = one.value if isinstance(one.value, str) else msgspec.json.encode(one.value).decode()
        table.add_row(escape(one.name), escape(shown), *([escape(one.origin)] if origin else []))
    Console().print(table)


async def _read(spine: Spine) -> None:
    """Read what the database says, if it can be, and tell what is wrong with it."""
    try:
        await spine.watcher.look()
    finally:
        await spine.close()
    if spine.watcher.down:
        typer.echo("warning: the database cannot be read: this is what environment and file say", err=True)
    if spine.configuration.problem is not None:
        typer.echo(f"warning: what the database says is not in effect: {spine.configuration.problem}", err=True)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="A setting that may change while a gateway runs.")],
    value: Annotated[str, typer.Argument(help="As JSON, or a mere word.")],
    config: ConfigOption = None,
) -> None:
    """Set a setting in the database; every gateway over it takes it up within two seconds."""
    on_database(config, lambda spine: spine.configuration.set(name, _value(value)))


@app.command("unset")
def unset(name: Annotated[str, typer.Argument(help="The setting.")], config: ConfigOption = None) -> None:
    """Take a setting out of the database: environment and file say it again."""
    on_database(config, lambda spine: spine.configuration.unset(name))


@app.command("new-key")
def make_key() -> None:
    """Print a new key for GENAI_ENCRYPTION_KEY, with which providers' keys are kept encrypted in the database."""
    typer.echo(new_key().reveal())


@app.command("reseal")
def reseal(config: ConfigOption = None) -> None:
    """Encrypt the keys of providers in the database anew, with the first key of GENAI_ENCRYPTION_KEY."""
    count = on_database(config, lambda spine: spine.configuration.reseal())
    typer.echo(f"those of {count} providers; a key that stands behind the first is not needed any more")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
