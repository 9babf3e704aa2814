"""State in the memory of this process: bounded by bytes, gone when the process ends."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.shared_state.base import SharedState

__all__ = ["MemoryState"]

OVERHEAD: Final = 256
"""What an entry takes beside its key and value, about."""


class _Entry(NamedTuple):
    value: bytes
    until: float


class MemoryState(SharedState):
    """Keeps at most so many bytes; what was not used for the longest time goes first."""

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    @override
    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock.monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    @override
    async def put(self, key: str, value: bytes, seconds: float) -> None:
        self._drop(key)
        size = _size(key, value)
        if size > self._max_bytes:
            # It would push out everything else, and still not fit.
            return
        while self._bytes + size > self._max_bytes:
            self._drop(next(iter(self._entries)))
        self._entries[key] = _Entry(value, self._clock.monotonic() + seconds)
        self._bytes += size

    @override
    async def delete(self, key: str) -> bool:
        there = await self.get(key) is not None
        self._drop(key)
        return there

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry.value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD
