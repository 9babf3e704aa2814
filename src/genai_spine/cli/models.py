"""``spine models``: the models that providers offer, with their prices and what they can do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from msgspec import Raw
from rich.console import Console
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.catalog.prices import Rate
from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.errors import SpineError
from genai_spine.providers.base import Provider
from genai_spine.providers.registry import SIMULATOR
from genai_spine.types.models import Model

__all__ = ["models"]


def models(
    provider: Annotated[str | None, typer.Argument(help="Only this provider's.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known of each, as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """List the models of the configured providers, with their prices in USD per million tokens."""
    with told():
        spine = open_spine(config)
        rows = asyncio.run(_rows(spine, provider))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode([_fields(spine, *row) for row in rows])).decode())
        return
    table = Table("model", "input", "output", "context", "abilities", box=None, header_style="bold")
    for owner, model in rows:
        context = "?" if model.max_input_tokens is None else str(model.max_input_tokens)
        abilities = "?" if model.abilities is None else " ".join(sorted(model.abilities))
        lifecycle = "" if model.lifecycle == "active" else f" ({model.lifecycle})"
        prices = {} if (rate := _rate(spine, owner, model)) is None else rate.usd_per_million
        shown = (f"{prices[name]:f}" if name in prices else "?" for name in ("input", "output"))
        table.add_row(f"{owner.name}/{model.id}{lifecycle}", *shown, context, abilities)
    Console().print(table)


async def _rows(spine: Spine, name: str | None) -> list[tuple[Provider, Model]]:
    async with spine:
        chosen = [spine.registry.get(name)] if name else spine.registry.configured() or [spine.registry.get(SIMULATOR)]
        return [(provider, model) for provider in chosen for model in await _listed(provider, named=name is not None)]


def _rate(spine: Spine, provider: Provider, model: Model) -> Rate | None:
    return spine.prices.rate(provider.name, model.id, local=provider.local)


def _fields(spine: Spine, provider: Provider, model: Model) -> dict[str, object]:
    """A model as JSON tells it, under the name by which it can be asked for; its prices are null if not known."""
    fields: dict[str, object] = msgspec.to_builtins(model, order="deterministic")
    rate = _rate(spine, provider, model)
    prices = None if rate is None else {name: Raw(f"{price:f}") for name, price in rate.usd_per_million.items()}
    return {**fields, "id": f"{provider.name}/{model.id}", "usd_per_million": prices}


async def _listed(provider: Provider, *, named: bool) -> Sequence[Model]:
    try:
        return await provider.list_models()
    except SpineError as error:
        if named:
            raise
        Console(stderr=True).print(f"{provider.name}: {error.message}", markup=False)
        return ()
