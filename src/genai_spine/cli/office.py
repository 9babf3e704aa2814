"""What the commands share that keep users and keys: they work on the database of the settings, gateway or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from genai_spine.assembly import Spine
from genai_spine.cli.settings import open_spine, told
from genai_spine.settings import Settings

__all__ = ["in_database", "on_database"]

T = TypeVar("T")


def on_database(config: Path | None, work: Callable[[Spine], Awaitable[T]]) -> T:
    """Do ``work`` with the objects behind the gateway, which itself is not started; tell an error in plain words."""
    with told():
        return asyncio.run(_closed_after(open_spine(config), work))


def in_database(settings: Settings, work: Callable[[Spine], Awaitable[T]]) -> T:
    """Do ``work`` likewise, before anything else; raises what it raises."""
    return asyncio.run(_closed_after(Spine(settings), work))


async def _closed_after(spine: Spine, work: Callable[[Spine], Awaitable[T]]) -> T:
    try:
        return await work(spine)
    finally:
        await spine.close()
