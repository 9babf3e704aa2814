"""Putting on disk in groups: one thread does it for all who wait, and the event loop never blocks.

While the disk is busy for one group, the next gathers. The thread depends on no loop: one that is closed while it waits
takes nobody along.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Final, NamedTuple

from genai_spine.errors import JournalError
from genai_spine.journal.failures import reason
from genai_spine.journal.segments import Segment

__all__ = ["GATHERING", "Group", "Syncer"]

GATHERING: Final = 0.002
"""Seconds that a group gathers while nobody waits for it: upstreams take longer to answer."""


class Group(NamedTuple):
    """What is put on disk together.

    Attributes:
        position: How far the run is on disk when it is done.
        sealed: Segments to which no more is written.
        segment: The one that is written to.
    """

    position: int
    sealed: Sequence[Segment]
    segment: Segment


class Syncer:
    """Puts the segments of one run on disk; its methods belong to one event loop at a time.

    Attributes:
        durable: The position up to which all is on disk.
        failure: Why nothing more will be, if so.
    """

    def __init__(self, gather: Callable[[], Group], done: Callable[[Group, str | None], None]) -> None:
        """Make one, idle.

        Args:
            gather: Returns what there is to put on disk now.
            done: Is told that it is, or why it is not, before those who wait are. Both are called in the thread.
        """
        self.durable = 0
        self.failure: str | None = None
        self._gather = gather
        self._done = done
        self._thread: Thread | None = None
        self._work: SimpleQueue[AbstractEventLoop | None] = SimpleQueue()
        self._timer: TimerHandle | None = None
        # What the thread and the loop both change.
        self._lock = Lock()
        self._waiting: list[tuple[int, Future[None]]] = []
        self._busy = False
        self._wanted = False

    def soon(self) -> None:
        """Put on disk what was written so far, in a moment, with what else is written until then."""
        self._wanted = True
        if self._timer is None and not self._busy:
            self._timer = asyncio.get_running_loop().call_later(GATHERING, self._begin_wanted)

    async def sync(self, position: int) -> None:
        """Return when everything up to a position is on disk.

        Raises:
            JournalError: It is not, and will not be.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if position <= self.durable:
                return
            if self.failure is not None:
                raise JournalError(self.failure)
            future = loop.create_future()
            self._waiting.append((position, future))
            self._begin(loop)
        await future

    def fail(self, failure: str) -> None:
        """Promise nothing more, for a reason; may be called in any thread."""
        with self._lock:
            self.failure = self.failure or failure
            waiting, self._waiting = self._waiting, []
        _wake((future for _, future in waiting), failure)

    def reached(self, position: int) -> None:
        """Note that everything up to a position is on disk, there or elsewhere; may be called in any thread."""
        with self._lock:
            self.durable = max(self.durable, position)
            waiting, self._waiting = self._waiting, []
            ready = []
            for place, future in waiting:
                if place <= self.durable:
                    ready.append(future)
                else:
                    self._waiting.append((place, future))
        _wake(ready)

    def stop(self) -> None:
        """End the thread, when it has done what it was asked for; nothing more is put on disk."""
        self.fail("the journal is closed")
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _begin_wanted(self) -> None:
        """Begin what was asked for, unless it was done with a group for which somebody waited."""
        self._timer = None
        with self._lock:
            if self._wanted and self.failure is None:
                self._begin(asyncio.get_running_loop())

    def _begin(self, loop: AbstractEventLoop) -> None:
        """Call the thread, if it is idle."""
        if self._busy:
            return
        self._busy = True
        if self._thread is None:
            self._thread = Thread(target=self._run, name="journal", daemon=True)
            self._thread.start()
        self._work.put(loop)

    def _run(self) -> None:
        """Put on disk what there is, whenever called: the thread's whole life."""
        while (loop := self._work.get()) is not None:
            again = True
            while again:
                # Before it is looked what there is: what is asked for from now on may be too late for this group.
                self._wanted = False
                self._flush(self._gather())
                with self._lock:
                    self._busy = again = bool(self._waiting)
            if self._wanted:
                with suppress(RuntimeError):  # that loop is closed: the next one asks itself
                    loop.call_soon_threadsafe(self.soon)

    def _flush(self, group: Group) -> None:
        """Put a group on disk, and wake those who wait for it."""
        try:
            for segment in (*group.sealed, group.segment):
                segment.flush()
        except OSError as error:
            failure = f"the journal cannot be put on disk: {reason(error)}"
            self._done(group, failure)
            self.fail(failure)
        else:
            self._done(group, None)
            self.reached(group.position)


def _wake(futures: Iterable[Future[None]], failure: str | None = None) -> None:
    """Tell all who wait how it ended, each in his own loop."""
    loops: dict[AbstractEventLoop, list[Future[None]]] = {}
    for future in futures:
        loops.setdefault(future.get_loop(), []).append(future)
    for loop, members in loops.items():
        with suppress(RuntimeError):  # closed, and with it all who waited there
            loop.call_soon_threadsafe(_tell, members, failure)


def _tell(futures: Iterable[Future[None]], failure: str | None) -> None:
    for future in futures:
        if future.done():
            continue  # he left
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(JournalError(failure))
