"""``spine users``: those who ask, in the database of the settings."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from msgspec import structs
from rich.console import Console
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.keys import user_id_of
from genai_spine.cli.office import on_database
from genai_spine.cli.settings import ConfigOption
from genai_spine.storage.records import UserFacts, UserRecord
from genai_spine.types.principal import ANYBODY, Role

__all__ = ["app"]

app = typer.Typer(help="Add, show, change and remove users.", no_args_is_help=True)

_MOST: Final = 1000

_Name = Annotated[str, typer.Argument(help="The user's name.")]


@app.command("add")
def add(
    name: _Name,
    *,
    email: Annotated[str | None, typer.Option(help="An address.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="He administers; by default he is a member.")] = False,
    config: ConfigOption = None,
) -> None:
    """Add a user; he comes in by the keys that are made for him."""
    facts = UserFacts(name=name, email=email, role="admin" if admin else "member")
    record = on_database(config, lambda spine: spine.office.add_user(ANYBODY, facts))
    typer.echo(f"user {record.id} ({name}) is added; spine keys create --user {name} makes a key for him", err=True)


@app.command("list")
def list_(config: ConfigOption = None) -> None:
    """List the users."""

    async def work(spine: Spine) -> list[UserRecord]:
        users: list[UserRecord] = []
        while more := await spine.office.users(after=users[-1].id if users else 0, limit=_MOST):
            users += more
        return users

    table = Table("id", "name", "email", "role", "state", box=None, header_style="bold")
    for user in on_database(config, work):
        facts = user.facts
        table.add_row(str(user.id), facts.name, facts.email, facts.role, "active" if facts.is_active else "barred")
    Console().print(table)


@app.command("change")
def change(
    name: _Name,
    *,
    role: Annotated[Role | None, typer.Option(help="What his keys may be good for.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--barred", help="His keys are let in, or not.")] = None,
    config: ConfigOption = None,
) -> None:
    """Change a user; a gateway that runs knows it within a second."""

    def changed(facts: UserFacts) -> UserFacts:
        facts = facts if role is None else structs.replace(facts, role=role)
        return facts if active is None else structs.replace(facts, is_active=active)

    async def work(spine: Spine) -> UserRecord:
        return await spine.office.change_user(ANYBODY, await user_id_of(spine, name), changed)

    facts = on_database(config, work).facts
    typer.echo(f"user {name} is {'active' if facts.is_active else 'barred'}, role {facts.role}", err=True)


@app.command("remove")
def remove(name: _Name, config: ConfigOption = None) -> None:
    """Remove a user with his keys and their budgets; his usage stays."""

    async def work(spine: Spine) -> UserRecord:
        return await spine.office.remove_user(ANYBODY, await user_id_of(spine, name))

    typer.echo(f"user {on_database(config, work).id} ({name}) is removed, and his keys with him", err=True)
