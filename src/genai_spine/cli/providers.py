"""``spine providers``: which providers there are, what would configure the others, and how they do at a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genai_spine.assembly import Spine
from genai_spine.cli.remote import KeyOption, Remote, UrlOption, remote_of
from genai_spine.cli.settings import ConfigOption, load_settings, told
from genai_spine.errors import ConnectionFailedError, SpineError

__all__ = ["providers"]


_MARKS: Final = {
    "ready": "[green]ready[/]",
    "not_configured": "[dim]not configured[/]",
    "disabled": "[dim]switched off[/]",
}


class _There(Struct):
    """What a gateway tells of a provider."""

    name: str
    status: str
    hint: str
    default_model: str = ""
    trouble: str | None = None

    @property
    def mark(self) -> str:
        """How it does, for the table."""
        if self.status != "ready":
            return _MARKS.get(self.status, self.status)
        return "[green]well[/]" if self.trouble is None else f"[red]{escape(self.trouble)}[/]"


def providers(url: UrlOption = None, key: KeyOption = None, config: ConfigOption = None) -> None:
    """List the providers: configured or not, how they were found, and what would configure them.

    Where a gateway runs, how they do there too.
    """
    with told():
        settings = load_settings(config)
        spine = Spine(settings)
        remote = remote_of(settings, url, key)
        try:
            there = {one.name: one for one in remote.ask(list[_There], "/providers")}
        except ConnectionFailedError:
            # There need not be one, unless it was asked for.
            if url is not None:
                raise
            there = {}
        except SpineError as error:
            if url is not None:
                raise
            Console(stderr=True).print(f"warning: {error.message}", markup=False)
            there = {}
        asyncio.run(_show(spine, remote, there))


async def _show(spine: Spine, remote: Remote, there: Mapping[str, _There]) -> None:
    columns = ["provider", "status", *(["health"] if there else []), "default model", "how"]
    caption = f"health: at {remote.url}" if there else None
    table = Table(*columns, box=None, header_style="bold", caption=caption, caption_justify="left")
    async with spine:
        for provider in spine.registry:
            marks = [_MARKS[spine.registry.status(provider)], *([_mark(there.get(provider.name))] if there else [])]
            table.add_row(provider.name, *marks, provider.default_model, escape(provider.hint))
        known = {provider.name for provider in spine.registry}
    for one in there.values():
        if one.name not in known:
            here = "[dim]unknown here[/]"
            table.add_row(escape(one.name), here, one.mark, escape(one.default_model), escape(one.hint))
    Console().print(table)
    for warning in spine.warnings:
        Console(stderr=True).print(f"warning: {warning}", markup=False)


def _mark(there: _There | None) -> str:
    return "[dim]unknown there[/]" if there is None else there.mark
