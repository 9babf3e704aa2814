"""From the journal to the database, in the background, for as long as the worker lives.

What this worker wrote is shipped soon; what others left behind when they died is looked for now and then. While the
database cannot be reached the journal keeps everything, and it is tried again, ever more seldom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from genai_spine.clock import Clock
from genai_spine.errors import JournalError, SpineError
from genai_spine.journal.writer import Journal
from genai_spine.ledger.adoption import Adopter, Price
from genai_spine.ledger.delivery import Delivery, Replay
from genai_spine.ledger.ledger import Ledger
from genai_spine.shared_state.base import SharedState
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import LedgerFault
from genai_spine.telemetry.logging import logger

__all__ = ["Shipper"]

REJECTED: Final = "rejected.jsonl"
"""The file beside the journals for what the database refuses."""

SECONDS: Final = 0.5
"""How long what is complete waits, so that it is shipped together with more."""

LOOK_SECONDS: Final = 10.0
"""How often it is looked for what dead workers left behind."""

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0
"""Seconds before a second try, and before any."""

START_SECONDS: Final = 10.0
"""How long the start waits for what was left behind to be in the database, so that budgets know of it."""

CLOSE_SECONDS: Final = 4.0
"""How long the end waits for what is complete to be there; what is not is shipped by who starts next."""


class Shipper:
    """Ships."""

    def __init__(
        self,
        ledger: Ledger,
        store: LedgerStore,
        folder: Path,
        state: SharedState,
        price: Price,
        clock: Clock,
        observer: Observer,
        *,
        seconds: float = SECONDS,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Prepare to ship.

        Args:
            ledger: What writes the journal.
            store: Writes the rows.
            folder: Where the journals of all workers of this machine are.
            state: Where calls had something set aside.
            price: Says what a call may have cost that a dead worker left open.
            clock: The source of time.
            observer: Who is told of what is lost, or must be looked at.
            seconds: How often this worker's own records are shipped.
            look_seconds: How often it is looked for those of dead workers.
        """
        self._ledger = ledger
        self._delivery = Delivery(store, folder / REJECTED, clock, observer)
        self._adopter = Adopter(folder, self._delivery, state, price)
        self._observer = observer
        self._seconds = seconds
        self._look_seconds = look_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self._dropped = 0
        self._renew()

    @property
    def trouble(self) -> str:
        """Why nothing gets into the database now; empty while something does."""
        return self._delivery.trouble

    @property
    def degraded(self) -> dict[str, str]:
        """What does not do what it should, for anybody to read; the log tells why."""
        found = {}
        if self.trouble:
            found["database"] = "it cannot be written to; what happens is kept in the journal"
        if not self._ledger.has_room:
            found["journal"] = "it has no room, or its disk failed; no call is made"
        elif self._ledger.late:
            found["journal"] = "its disk does not take all that happens; it is kept in memory"
        return found

    async def start(self) -> None:
        """Begin; return when what was left behind is in the database, unless that takes long."""
        self._renew()
        looked = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._repeat(self._adopter.look, self._look_seconds, looked)),
            asyncio.create_task(self._repeat(self.flush, self._seconds)),
        ]
        with suppress(TimeoutError):
            await asyncio.wait_for(looked.wait(), START_SECONDS)

    async def flush(self) -> None:
        """Return when all that is complete now is in the database.

        Raises:
            DatabaseDownError: It cannot be reached.
            JournalError: The journal cannot be read.
        """
        async with self._lock:
            self._ledger.recover()
            self._tell_dropped()
            for journal in self._ledger.journals:
                await self._follow(journal)
            await self._ship_late()
            for journal in self._ledger.journals:
                # What was open in one may have ended in the next, or in memory.
                self._release(journal)
                if journal in self._ledger.retired and journal.released >= journal.position:
                    self._ledger.retired.remove(journal)
                    await journal.close()

    async def adopt(self) -> None:
        """Return when all is in the database that dead workers of this machine left; raises as ``flush`` does."""
        await self._adopter.look()

    async def close(self) -> None:
        """Ship what is complete, as far as that can be done soon, and end."""
        self._stop.set()
        self._adopter.stop()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*self._tasks)
                await self.flush()
        except (TimeoutError, SpineError, OSError) as error:
            reason = error.message if isinstance(error, SpineError) else str(error) or type(error).__name__
            logger.warning(
                "not all is in the ledger's database; who starts next brings it there",
                reason=reason,
                lost=len(self._ledger.late),
            )
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._adopter.release()

    def _renew(self) -> None:
        self._replay = Replay(self._delivery)
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()

    async def _repeat(
        self, work: Callable[[], Awaitable[None]], seconds: float, done: asyncio.Event | None = None
    ) -> None:
        """Do it again and again, more seldom while it fails; once it was tried, say so."""
        wait, told = seconds, ""
        while not self._stop.is_set():
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # whatever it is, what is kept must not be forgotten
                wait = min(max(FIRST_WAIT, 2 * wait if told else 0), LONGEST_WAIT)
                if (name := type(error).__name__) != told:
                    told = name
                    if not self._delivery.trouble:
                        logger.exception("the ledger cannot be shipped now")
            else:
                wait, told = seconds, ""
            if done is not None:
                done.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stop.wait()

    async def _follow(self, journal: Journal) -> None:
        """Ship what a journal holds by now, and release it as far as nothing in it is open."""
        run, end = journal.run, journal.position
        more = True
        while more and self._replay.read(run) < end:
            tail = self._ledger.tail(journal)
            if tail is None or not await self._replay.take(run, tail):
                more = await self._replay.step(run, journal.records)
            self._release(journal)
        await self._replay.ship()

    def _release(self, journal: Journal) -> None:
        try:
            journal.release(self._replay.settled(journal.run))
        except JournalError as error:
            logger.warning("the journal keeps more than it need", reason=error.message)

    async def _ship_late(self) -> None:
        """Ship from memory what the disk does not take."""
        late = list(self._ledger.late)
        if not late:
            return
        for one in late:
            one.taken = True
            self._replay.matcher.add([(-one.number, -one.number, one.record)], one.run)
        await self._replay.ship()
        self._ledger.shipped(late)

    def _tell_dropped(self) -> None:
        if (more := self._ledger.dropped - self._dropped) > 0:
            self._dropped = self._ledger.dropped
            logger.error("records are lost: neither the disk nor the database takes them", count=more)
            self._observer.ledger_failed(LedgerFault(kind="dropped", count=more))
