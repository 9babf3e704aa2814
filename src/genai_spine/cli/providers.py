"""``spine providers``: which providers there are, and what would configure the others."""

from __future__ import annotations

import asyncio

from rich.console import Console
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.settings import ConfigOption, open_spine, told

__all__ = ["providers"]


def providers(config: ConfigOption = None) -> None:
    """List the providers: configured or not, how they were found, and what would configure them."""
    with told():
        spine = open_spine(config)
        asyncio.run(_show(spine))


async def _show(spine: Spine) -> None:
    table = Table("provider", "status", "default model", "how", box=None, header_style="bold")
    async with spine:
        for provider in spine.registry:
            mark = "[green]ready[/]" if provider.status == "ready" else "[dim]not configured[/]"
            table.add_row(provider.name, mark, provider.default_model, provider.hint)
    Console().print(table)
    for warning in spine.warnings:
        Console(stderr=True).print(f"warning: {warning}", markup=False)
