"""``spine budgets``: what may be spent, in the database of the settings; what is spent of it, as a gateway tells it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeAlias

import typer
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.keys import user_id_of
from genai_spine.cli.office import on_database
from genai_spine.cli.remote import KeyOption, Remote, UrlOption, remote_of
from genai_spine.cli.settings import ConfigOption, load_settings, told
from genai_spine.errors import ConnectionFailedError, InvalidFieldError
from genai_spine.identity.limits import limit_of, nanodollars_of
from genai_spine.money import PICODOLLARS_PER_NANODOLLAR, to_usd
from genai_spine.quota.operator import budgets_in
from genai_spine.storage.records import BudgetRecord
from genai_spine.types.limits import Limit, LimitAction, LimitScope, LimitWindow
from genai_spine.types.principal import ANYBODY

__all__ = ["app"]

app = typer.Typer(help="Set, show and remove budgets.", no_args_is_help=True)

_MOST: Final = 1000

_Window: TypeAlias = Literal["request", "hour", "day", "month", "none"]


class _Budget(Struct, kw_only=True):
    """A budget, as a gateway tells it."""

    id: int | None
    scope: LimitScope
    subject_id: int
    window: LimitWindow
    limit_usd: Decimal
    action: LimitAction
    spent_usd: Decimal | None = None
    set_aside_usd: Decimal | None = None
    remaining_usd: Decimal | None = None
    resets_at: datetime | None = None
    reason: str | None = None


class _Page(Struct):
    data: list[_Budget]


@app.command("list")
def list_(url: UrlOption = None, key: KeyOption = None, config: ConfigOption = None) -> None:
    """List the budgets, and where a gateway runs, what is spent of them and what is left."""
    with told():
        remote = remote_of(load_settings(config), url, key)
        try:
            budgets, there = _asked(remote), True
        except ConnectionFailedError:
            # There need not be one, unless it was asked for.
            if url is not None:
                raise
            budgets, there = on_database(config, _kept), False
    standing = ["spent", "set aside", "left", "begins anew"] if there else []
    table = Table("id", "whose", "window", "limit", "action", *standing, box=None, header_style="bold")
    for one in budgets:
        whose = "everybody" if one.scope == "global" else f"{one.scope} {one.subject_id}"
        row = ["settings" if one.id is None else str(one.id), whose, one.window, _amount(one.limit_usd), one.action]
        if there:
            row += map(_amount, (one.spent_usd, one.set_aside_usd, one.remaining_usd))
            row.append("" if one.resets_at is None else f"{one.resets_at:%Y-%m-%d %H:%M}")
        table.add_row(*row)
    Console().print(table)
    if not there:
        typer.echo(f"no gateway answers at {remote.url}; one that runs tells what is spent", err=True)
    for reason in sorted({one.reason for one in budgets if one.reason and one.window != "request"}):
        typer.echo(f"warning: {reason}", err=True)


@app.command("set")
def set_(
    limit: Annotated[str, typer.Argument(help="How many US dollars at most.")],
    *,
    window: Annotated[_Window, typer.Option(help="In what it counts, by the calendar in UTC; none is for ever.")],
    user: Annotated[str | None, typer.Option(help="A user's, by name; by default everybody's.")] = None,
    key: Annotated[int | None, typer.Option(min=1, help="A key's, by id.")] = None,
    action: Annotated[
        LimitAction, typer.Option(help="Where it does not suffice: refuse, warn, or leave only what is free.")
    ] = "block",
    config: ConfigOption = None,
) -> None:
    """Set a budget, in the place of the one that there may be; a gateway that runs knows it within a second."""

    async def work(spine: Spine) -> BudgetRecord:
        if user is not None and key is not None:
            message = "a budget is a user's or a key's: leave --user or --key out"
            raise InvalidFieldError(message)
        scope, subject = await _subject(spine, user, key)
        return await spine.office.put_budget(ANYBODY, scope, subject, window, nanodollars_of(limit), action)

    record = on_database(config, work)
    typer.echo(f"budget {record.id} is set", err=True)


@app.command("remove")
def remove(
    budget_id: Annotated[int, typer.Argument(help="The id of the budget, as spine budgets list shows it.")],
    config: ConfigOption = None,
) -> None:
    """Remove a budget; what it bound is free of it within a second."""
    record = on_database(config, lambda spine: spine.office.remove_budget(ANYBODY, budget_id))
    typer.echo(f"budget {record.id} is removed", err=True)


def _asked(remote: Remote) -> list[_Budget]:
    found: list[_Budget] = []
    after = 0
    while True:
        page = remote.ask(_Page, "/v1/budgets", query={"after": str(after), "limit": str(_MOST)}).data
        found += page
        if len(page) < _MOST:
            return found
        after = page[-1].id or 0


async def _kept(spine: Spine) -> list[_Budget]:
    found = [_told(limit) for limit in budgets_in(spine.settings.values)]
    after = 0
    while more := await spine.office.budgets(ANYBODY, after=after, limit=_MOST):
        found += [_told(limit_of(record), record.id) for record in more]
        after = more[-1].id
    return found


def _told(limit: Limit, id_: int | None = None) -> _Budget:
    return _Budget(
        id=id_,
        scope=limit.scope,
        subject_id=int(limit.subject or 0),
        window=limit.window,
        limit_usd=to_usd(limit.amount * PICODOLLARS_PER_NANODOLLAR),
        action=limit.action,
    )


async def _subject(spine: Spine, user: str | None, key: int | None) -> tuple[LimitScope, int]:
    if user is not None:
        return "user", await user_id_of(spine, user)
    return ("global", 0) if key is None else ("key", key)


def _amount(usd: Decimal | None) -> str:
    return "" if usd is None else f"{usd:f}"
