"""What installed packages bring: functions that they name in their metadata, by group."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

__all__ = ["plugins_of"]


def plugins_of(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group, the built-in one first, the others by name.

    All that is installed is looked through for it, so that is done once for each search path.
    """
    return _found(group, tuple(sys.path))


@lru_cache(maxsize=16)
def _found(group: str, _path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=group), key=lambda point: (point.name != "builtin", point.name)))
