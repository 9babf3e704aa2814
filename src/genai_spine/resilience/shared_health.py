"""Has workers know of each other's keys and circuits, by notes on a board that they share.

::

    changed ──▶ due ──write──▶ board ──▶ read by the others: each stands as the note says
                       │
                       └─ another was first ──▶ it is read, and followed

Whoever decides looks at his own copy and waits for nobody. What one finds out is written down in the background, and
the others, nudged by a message, read it; each looks now and then too, for a message may be lost. Only a call that asks
whether a provider is back waits till the note on it is written: of several workers one succeeds.

Where the board cannot be reached each goes on with what it knows, and tells it when the board is back. Where the board
has lost its notes, each writes again what it knows. Ages go by the board's clock, so clocks may differ.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from genai_spine.errors import SharedStateUnavailableError
from genai_spine.resilience.shared import Shared
from genai_spine.shared_state.base import Note, SharedState

__all__ = ["BOARD", "LOOK_SECONDS", "Find", "SharedHealth"]

Find: TypeAlias = Callable[[str], Shared | None]
"""Returns this worker's copy of what a name stands for; None where it has to do with none."""

BOARD: Final = "health"

LOOK_SECONDS: Final = 3.0
"""So often each worker looks, and tells again whom others wait for: several times while they would."""

KEPT_SECONDS: Final = 3600.0
"""For so long a note stands. A worker that lives writes it again while it says that something is ill."""

_TRIES: Final = 5


class _Told(Struct, frozen=True):
    """A note's text.

    Attributes:
        by: The worker whose it is.
        how: How the thing stands.
    """

    by: str
    how: msgspec.Raw


class SharedHealth:
    """One worker's part in it."""

    def __init__(self, state: SharedState, find: Find) -> None:
        """Make it; nobody is told before ``look`` or ``run``.

        Args:
            state: Has the board.
            find: Finds what others tell of.
        """
        self._state = state
        self._find = find
        self._id = secrets.token_hex(8)
        # What the others do not know yet.
        self._due: dict[str, Shared] = {}
        # Whether the note that stands is of something ill, by name.
        self._known: dict[str, bool] = {}
        self._telling = ""
        self._stale = True
        self._news = False
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    def changed(self, name: str, thing: Shared) -> None:
        """Have the others told how something stands, if they need know.

        Of an operator's word they always do: what it is about may not be known here yet.
        """
        if thing.ill or thing.by_hand or self._known.get(name):
            self._due[name] = thing
            self._wake.set()

    def nudge(self) -> None:
        """Have the board looked at, soon."""
        self._stale = True
        self._wake.set()

    async def tell(self, name: str) -> None:
        """Return once the others know of one thing; at once, or soon, where they cannot be told."""
        async with self._turn:
            if name in self._due:
                try:
                    await self._write(name)
                except SharedStateUnavailableError:
                    return
                self._wake.set()

    async def look(self) -> None:
        """Tell what the others do not know, and whom they are to wait for still, and read what they told.

        Raises:
            SharedStateUnavailableError: The board cannot be reached; what is not told yet stays to be told.
        """
        for name in self._known:
            if (thing := self._find(name)) is not None and thing.asking:
                self._due[name] = thing
        self._stale = True
        await self._catch_up()

    async def run(self) -> None:
        """Tell and look as soon as there is something, and now and then, until cancelled."""
        stop = await self._state.subscribe(BOARD, self._nudged)
        try:
            await self._run()
        finally:
            stop()

    async def _run(self) -> None:
        # What was told before anybody listened was not heard.
        self.nudge()
        loop = asyncio.get_running_loop()
        next_look = loop.time() + LOOK_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_look):
                    await self._wake.wait()
            self._wake.clear()
            # Those who listen are nudged when a board that cannot be reached is back.
            with suppress(SharedStateUnavailableError):
                if loop.time() < next_look:
                    await self._catch_up()
                else:
                    next_look = loop.time() + LOOK_SECONDS
                    await self.look()

    def _nudged(self, message: bytes | None) -> None:
        if message != self._id.encode():
            self.nudge()

    async def _catch_up(self) -> None:
        async with self._turn:
            await self._write_due()
            if self._stale:
                await self._read()
                # What the board has lost.
                await self._write_due()
            if self._news:
                await self._state.publish(BOARD, self._id.encode())
                self._news = False

    async def _write_due(self) -> None:
        for name in [*self._due]:
            await self._write(name)

    async def _write(self, name: str) -> None:
        """Write down how something stands, or follow who was first."""
        thing = self._due.pop(name)
        self._telling = name
        try:
            for _ in range(_TRIES):
                ill, how = thing.ill, msgspec.Raw(thing.note())
                text = msgspec.json.encode(_Told(self._id, how))
                version = await self._state.write(BOARD, name, text, KEPT_SECONDS, thing.version)
                if version is not None:
                    thing.version, self._known[name], self._news = version, ill, True
                    return
                note = (await self._state.notes(BOARD)).get(name)
                if note is None:
                    thing.version = ""
                elif self._counts_over(name, thing, note) or not self._follow(name, thing, note):
                    thing.version = note.version
                else:
                    return
        except (SharedStateUnavailableError, asyncio.CancelledError):
            self._due.setdefault(name, thing)
            raise
        finally:
            self._telling = ""

    async def _read(self) -> None:
        self._stale = False
        try:
            notes = await self._state.notes(BOARD)
        except SharedStateUnavailableError:
            self._stale = True
            raise
        for name, note in notes.items():
            if self._untold(name) or (thing := self._find(name)) is None:
                continue
            if thing.version != note.version:
                self._follow(name, thing, note)
        for name in self._known.keys() - notes.keys():
            if self._untold(name):
                continue
            del self._known[name]
            if (thing := self._find(name)) is not None:
                thing.version = ""
                if thing.ill and not thing.asked_elsewhere:
                    self._due[name] = thing

    def _untold(self, name: str) -> bool:
        """Whether what this worker has to tell comes first."""
        return name in self._due or name == self._telling

    def _counts_over(self, name: str, thing: Shared, note: Note) -> bool:
        """Whether what there is to tell here counts over a note that was written first."""
        if name in self._due or thing.by_hand:
            return True
        try:
            told = msgspec.json.decode(note.text, type=_Told)
            # A worker's own note stands there where the answer to its writing was lost.
            return told.by == self._id or thing.outweighs(bytes(told.how))
        except msgspec.DecodeError:
            return True

    def _follow(self, name: str, thing: Shared, note: Note) -> bool:
        """Have something stand as a note says; return whether it could be read: one of another version may not be."""
        thing.version, thing.by_hand = note.version, False
        try:
            told = msgspec.json.decode(note.text, type=_Told)
            thing.follow(bytes(told.how), note.age)
        except msgspec.DecodeError:
            return False
        self._known[name] = thing.ill
        return True
