"""What the server does in one step: Lua scripts, sent once and then called by their hash."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from msgspec import Struct

__all__ = ["SERVER_TIME", "Script", "read_scripts"]

SERVER_TIME: Final = """\
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
"""
"""Sets ``now``, in milliseconds: the server's own clock is everybody's."""

_NAMES: Final = ("abandon", "notes", "open", "read", "restore", "seed", "settle", "take", "write")


class Script(Struct, frozen=True):
    """A script and the hash that the server knows it by."""

    text: str
    sha: str


def read_scripts(time: str = SERVER_TIME) -> dict[str, Script]:
    """Return all scripts by name.

    Args:
        time: Sets ``now``; a test puts another clock there.
    """
    folder = resources.files("genai_spine.shared_state.redis") / "lua"
    common = (folder / "common.lua").read_text(encoding="utf-8")
    texts = {name: f"{time}{common}{(folder / f'{name}.lua').read_text(encoding='utf-8')}" for name in _NAMES}
    # The hash is how the server names a script; it guards nothing.
    return {
        name: Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for name, text in texts.items()
    }
