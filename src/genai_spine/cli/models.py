"""``spine models``: the models that providers offer, with their prices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.settings import ConfigOption, open_spine, told
from genai_spine.errors import SpineError
from genai_spine.providers.base import Provider
from genai_spine.providers.registry import SIMULATOR
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["models"]

MILLION = 1_000_000


def models(
    provider: Annotated[str | None, typer.Argument(help="Only this provider's.")] = None, config: ConfigOption = None
) -> None:
    """List the models of the configured providers, with their prices in USD per million tokens."""
    with told():
        spine = open_spine(config)
        asyncio.run(_show(spine, provider))


async def _show(spine: Spine, name: str | None) -> None:
    console = Console()
    async with spine:
        chosen = [spine.registry.get(name)] if name else spine.registry.configured() or [spine.registry.get(SIMULATOR)]
        table = Table("model", "input", "output", box=None, header_style="bold")
        for provider in chosen:
            for model in await _listed(provider, named=name is not None):
                table.add_row(f"{provider.name}/{model.id}", *_prices(provider, model.id))
    console.print(table)


async def _listed(provider: Provider, *, named: bool) -> Sequence[Model]:
    try:
        return await provider.list_models()
    except SpineError as error:
        if named:
            raise
        Console(stderr=True).print(f"{provider.name}: {error.message}", markup=False)
        return ()


def _prices(provider: Provider, model: str) -> tuple[str, str]:
    read = provider.cost_of(model, Usage(input_tokens=MILLION))
    written = provider.cost_of(model, Usage(output_tokens=MILLION))
    return (f"{read.usd:f}", f"{written.usd:f}") if read.known else ("?", "?")
