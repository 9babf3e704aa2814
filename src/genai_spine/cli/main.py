"""The command ``spine``; one file per subcommand."""

from __future__ import annotations

from typing import Annotated

import typer

from genai_spine import __version__
from genai_spine.cli import (
    audit,
    budgets,
    chat,
    config,
    database,
    keys,
    models,
    prices,
    providers,
    route,
    serve,
    usage,
    users,
)

__all__ = ["app"]

app = typer.Typer(
    name="spine",
    help="GenAI Spine: every large language model behind one contract.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if value:
        typer.echo(f"spine {__version__}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """GenAI Spine: every large language model behind one contract."""


app.command("serve")(serve.serve)
app.command("providers")(providers.providers)
app.command("models")(models.models)
app.command("route")(route.route)
app.command("chat")(chat.chat)
app.command("usage")(usage.usage)
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(users.app, name="users")
app.add_typer(budgets.app, name="budgets")
app.add_typer(prices.app, name="prices")
app.add_typer(config.app, name="config")
app.add_typer(database.app, name="db")
