"""``spine keys``: API keys in the database of the settings. It needs no running gateway; one that runs notices."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Column, Table

from genai_spine.assembly import Spine
from genai_spine.cli.office import on_database
from genai_spine.cli.settings import ConfigOption
from genai_spine.errors import InvalidFieldError, NotFoundError
from genai_spine.redact import Secret
from genai_spine.storage.records import KeyFacts, KeyRecord, Rates
from genai_spine.types.principal import ANYBODY, SCOPES, Scope

__all__ = ["app", "user_id_of"]

app = typer.Typer(help="Make, show, rotate and revoke API keys.", no_args_is_help=True)

_LENGTH: Final = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_MOST: Final = 1000

_KeyId = Annotated[int, typer.Argument(help="The id of the key, as spine keys list shows it.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="For people to know it by.")],
    *,
    user: Annotated[str | None, typer.Option(help="Whose it is, by name; by default nobody's.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help=f"What it is good for: {', '.join(SCOPES)}; may be given often.")
    ] = None,
    provider: Annotated[list[str] | None, typer.Option(help="A provider that it may use; by default all.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use, * for anything; by default all.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="For the usage of its requests.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends, such as 12h or 30d; by default never.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="Its requests in a minute.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=0, help="Its tokens in a minute.")] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=0, help="Its requests at one time.")] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it, this once; nothing else goes to the standard output."""

    async def work(spine: Spine) -> tuple[KeyRecord, Secret]:
        for one in provider or ():
            spine.registry.get(one)
        facts = KeyFacts(
            name=name,
            user=None if user is None else await user_id_of(spine, user),
            scopes=_scopes(scope) if scope else KeyFacts(name=name).scopes,
            providers=tuple(provider) if provider else None,
            models=tuple(model) if model else None,
            tags=tuple(tag or ()),
            rates=Rates(
                requests_per_minute=requests_per_minute,
                tokens_per_minute=tokens_per_minute,
                max_concurrent=max_concurrent,
            ),
            expires_at=None if expires is None else datetime.now(UTC) + _length(expires),
        )
        return await spine.office.create_key(ANYBODY, facts)

    _show_new(*on_database(config, work))


@app.command("list")
def list_(
    user: Annotated[str | None, typer.Option(help="Only this user's, by name.")] = None, config: ConfigOption = None
) -> None:
    """List the keys, without their secrets."""

    async def work(spine: Spine) -> tuple[list[KeyRecord], dict[int, str]]:
        chosen = None if user is None else await user_id_of(spine, user)
        keys: list[KeyRecord] = []
        while more := await spine.office.keys(ANYBODY, chosen, after=keys[-1].id if keys else 0, limit=_MOST):
            keys += more
        owners = {key.facts.user for key in keys} - {None}
        names = {owner: (await spine.office.user(ANYBODY, owner)).facts.name for owner in owners if owner is not None}
        return keys, names

    keys, names = on_database(config, work)
    table = Table(
        "id",
        "name",
        Column("begins with", no_wrap=True),
        "user",
        "scopes",
        "expires",
        "last used",
        box=None,
        header_style="bold",
    )
    for key in keys:
        facts = key.facts
        expires = "revoked" if key.revoked_at is not None else _moment(facts.expires_at)
        owner = "" if facts.user is None else names[facts.user]
        scopes = " ".join(facts.scopes)
        table.add_row(str(key.id), facts.name, key.prefix, owner, scopes, expires, _moment(key.last_used_at))
    Console().print(table)


@app.command("rotate")
def rotate(
    key_id: _KeyId,
    grace: Annotated[str, typer.Option(help="For how long the older secret is still let in, such as 1h or 0s.")] = "1h",
    config: ConfigOption = None,
) -> None:
    """Give a key another secret and print it, this once; its id, limits, budgets and usage stay."""
    _show_new(*on_database(config, lambda spine: spine.office.rotate_key(ANYBODY, key_id, _length(grace))))


@app.command("revoke")
def revoke(key_id: _KeyId, config: ConfigOption = None) -> None:
    """Let a key in no more; a gateway that runs knows it within a second."""
    record = on_database(config, lambda spine: spine.office.revoke_key(ANYBODY, key_id))
    typer.echo(f"key {record.id} ({record.prefix}..., {record.facts.name}) is revoked", err=True)


async def user_id_of(spine: Spine, name: str) -> int:
    """Return the id of the user of a name.

    Raises:
        NotFoundError: There is none.
    """
    found = await spine.office.identities.user_named(name)
    if found is None:
        message = f"there is no user {name!r}; spine users list shows them"
        raise NotFoundError(message)
    return found.id


def _show_new(record: KeyRecord, key: Secret) -> None:
    typer.echo(f"key {record.id} ({record.facts.name}); it is shown this once:", err=True)
    typer.echo(key.reveal())


def _scopes(names: list[str]) -> tuple[Scope, ...]:
    chosen = tuple(scope for scope in SCOPES if scope in names)
    if len(chosen) < len(set(names)):
        message = f"--scope: there are {', '.join(SCOPES)}"
        raise InvalidFieldError(message)
    return chosen


def _length(text: str) -> timedelta:
    found = _LENGTH.fullmatch(text)
    if found is None:
        message = f"{text!r} is no length of time; write for instance 90s, 15m, 12h, 30d or 4w"
        raise InvalidFieldError(message)
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
