"""State in the memory of this process: bounded by bytes, gone when the process ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.shared_state.base import Listener, Note, SharedState
from genai_spine.shared_state.memory_meters import MemoryMeters
from genai_spine.shared_state.meters import Claim, Gap, Hold, Meter, Reading, Refused, Taken, Unseeded, check_amounts

__all__ = ["MemoryState"]

OVERHEAD: Final = 256
"""What an entry takes beside its key and value, about."""


class _Entry(NamedTuple):
    value: bytes
    until: float


class _Written(NamedTuple):
    text: bytes
    at: float
    until: float
    version: str


class MemoryState(SharedState):
    """Keeps at most so many bytes; what was not used for the longest time goes first. Notes and meters do not count."""

    def __init__(self, max_bytes: int, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._listeners: dict[str, list[Listener]] = {}
        self._boards: dict[str, dict[str, _Written]] = {}
        self._written = 0
        self.meters = self._meters = MemoryMeters(clock)

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

    @override
    async def publish(self, topic: str, message: bytes) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            listener(message)

    @override
    async def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    @override
    async def notes(self, board: str) -> dict[str, Note]:
        now = self._clock.monotonic()
        found = {name: note for name, note in self._boards.get(board, {}).items() if now < note.until}
        self._boards[board] = found
        return {name: Note(note.text, now - note.at, note.version) for name, note in found.items()}

    @override
    async def write(self, board: str, name: str, text: bytes, seconds: float, over: str) -> str | None:
        known = (await self.notes(board)).get(name)
        if over != (known.version if known else ""):
            return None
        self._written += 1
        now, version = self._clock.monotonic(), str(self._written)
        self._boards[board][name] = _Written(text, now, now + seconds, version)
        return version

    @override
    async def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        return self._meters.take(hold_id, claims, seconds)

    @override
    async def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        check_amounts(hold, amounts)
        return self._meters.settle(hold, amounts)

    @override
    async def abandon(self, owner: str) -> int:
        return self._meters.abandon(owner)

    @override
    async def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        return self._meters.seed(gap, used, counted)

    @override
    async def read(self, meters: Sequence[Meter]) -> tuple[Reading, ...]:
        return self._meters.read(meters)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry.value)


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD
