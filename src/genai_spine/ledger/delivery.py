"""Bringing what is complete into the database, and setting aside what it refuses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import asdict

from genai_spine.clock import Clock
from genai_spine.errors import DatabaseDownError
from genai_spine.journal.records import HEADER_BYTES, Damage, Record
from genai_spine.ledger.matching import Matcher
from genai_spine.ledger.records import Batch, Entry, decoded, tamed
from genai_spine.ledger.tail import Tail
from genai_spine.redact import scrub
from genai_spine.storage.sql.ledger import LedgerStore, Rejected
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import LedgerFault
from genai_spine.telemetry.logging import logger

__all__ = ["SLICE", "Delivery", "Replay", "Source"]

SLICE: Final = 300
"""How many records are read in one piece, before others have their turn: those of about a hundred requests."""

_PIECE: Final = 2000
"""How many rows go into the database in one transaction where there are so many: those of a thousand requests."""

Source: TypeAlias = Callable[[int], Iterator[Record | Damage]]
"""Returns the records of a run from a position on."""


class Delivery:
    """The way into the database.

    Attributes:
        trouble: Why nothing gets there now; empty while something does.
    """

    def __init__(self, store: LedgerStore, aside: Path, clock: Clock, observer: Observer) -> None:
        """Make it.

        Args:
            store: Writes the rows.
            aside: The file for what is refused; a line of JSON each.
            clock: Whose time the lines bear.
            observer: Who is told of what is damaged or refused.
        """
        self.trouble = ""
        self._store = store
        self._aside = aside
        self._clock = clock
        self._observer = observer

    async def ship(self, batch: Batch) -> None:
        """Write what is not there yet.

        Raises:
            DatabaseDownError: The database cannot be reached; nothing is lost by telling it again.
            OSError: What it refuses could not be set aside; likewise.
        """
        if not batch:
            return
        try:
            recorded = await self._store.record(*batch)
        except Exception as error:  # whatever it was is told as the trouble, and goes on
            self._failed(error)
            raise
        if self.trouble:
            self.trouble = ""
            logger.info("the ledger's database is back")
        if recorded.rejected:
            entries = _by_id(batch)
            for rejected in recorded.rejected:
                self.refuse(rejected, entries.get(rejected.id))

    def refuse(self, rejected: Rejected, record: object) -> None:
        """Set aside what no row can be made of.

        Raises:
            OSError: It cannot be written down.
        """
        reason = scrub(rejected.reason)
        at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat()
        line = {"at": at, "id": rejected.id, "reason": reason, "record": tamed(record)}
        self._aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(line) + b"\n")
        finally:
            os.close(descriptor)
        logger.error("the ledger refuses a record", id=rejected.id, reason=reason, kept_in=str(self._aside))
        self._observer.ledger_failed(LedgerFault(kind="refused", count=1))

    def damaged(self, run: str, damage: Damage) -> None:
        """Tell of bytes of a journal that cannot be read."""
        tell = logger.warning if damage.torn else logger.error
        tell("a part of a journal cannot be read", run=run, bytes=damage.size, torn=damage.torn)
        self._observer.ledger_failed(LedgerFault(kind="torn" if damage.torn else "damaged", count=1))

    def _failed(self, error: Exception) -> None:
        cause = error.__cause__ or error
        reason = scrub(f"{type(cause).__name__}: {cause}".strip(": "))
        if not self.trouble:
            logger.error(
                "the ledger cannot be written to its database; what happens is kept in the journal", reason=reason
            )
        self.trouble = reason if isinstance(error, DatabaseDownError) else f"the database refuses to write: {reason}"


class Replay:
    """Reads a worker's runs piece by piece, and ships what is complete of them.

    Attributes:
        matcher: What was read, and is not complete.
    """

    def __init__(self, delivery: Delivery, shipped: Callable[[Batch], None] | None = None) -> None:
        """Begin.

        Args:
            delivery: The way into the database.
            shipped: Is told of each batch that got there.
        """
        self.matcher = Matcher()
        self._delivery = delivery
        self._shipped = shipped
        self._read: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._batch = Batch([], [], [])
        self._damaged = False

    def read(self, run: str) -> int:
        """Return the position up to which a run was read."""
        return self._read.get(run, 0)

    def settled(self, run: str) -> int:
        """Return the position up to which a run is not needed any more: all before is complete, and was shipped."""
        return self._settled.get(run, 0)

    async def step(self, run: str, source: Source) -> bool:
        """Read a further piece of a run, and ship when there is enough; return whether there may be more.

        Raises:
            DatabaseDownError: The database cannot be reached; what was read is shipped with the next.
            JournalError: The run cannot be read.
        """
        await self._ship_enough()
        found = await asyncio.to_thread(_piece, source(self.read(run)))
        for record, entry in found:
            self._take(run, record, entry)
        return len(found) == SLICE

    async def take(self, run: str, tail: Tail) -> bool:
        """Do the same with what is in memory; return whether there was something, raise as ``step`` does."""
        await self._ship_enough()
        found = tail.take(self.read(run), SLICE)
        self.matcher.add(found, run)
        if found:
            self._read[run] = found[-1][1]
        await asyncio.sleep(0)
        return bool(found)

    async def ship(self) -> None:
        """Ship what is complete of what was read; raises as ``step`` does."""
        while self._batch or self.matcher.batch:
            # What could not be shipped goes before what was read since.
            batch = self._batch = self._batch or self.matcher.take()
            await self._delivery.ship(batch)
            self._batch = Batch([], [], [])
            if self._shipped is not None:
                self._shipped(batch)
        # What is open now may end soon, and is not shipped then.
        for run, read in self._read.items():
            oldest = self.matcher.oldest(run)
            self._settled[run] = read if oldest is None else min(read, oldest)

    async def _ship_enough(self) -> None:
        if self._batch or self.matcher.batch.size >= _PIECE:
            await self.ship()

    def _take(self, run: str, record: Record | Damage, entry: Entry | str | None) -> None:
        self._read[run] = record.position
        if isinstance(record, Damage):
            self._damaged = self._damaged or not record.torn
            self._delivery.damaged(run, record)
            return
        start = record.position - len(record.payload) - HEADER_BYTES
        if isinstance(entry, str):
            self._delivery.refuse(Rejected(f"{run}@{start}", entry), record)
        elif entry is not None and not self.matcher.add([(start, record.position, entry)], run) and self._damaged:
            # Where nothing is damaged, its call was shipped before.
            self._delivery.refuse(Rejected(f"{run}@{start}", "the call's beginning cannot be read"), asdict(entry))


def _piece(records: Iterator[Record | Damage]) -> list[tuple[Record | Damage, Entry | str | None]]:
    """Read and decode some records; what cannot be decoded is told as a text. For a thread of its own."""
    found: list[tuple[Record | Damage, Entry | str | None]] = []
    for record in islice(records, SLICE):
        entry: Entry | str | None = None
        if isinstance(record, Record):
            try:
                entry = decoded(record.kind, record.payload)
            except ValueError as error:
                entry = f"it cannot be understood: {error}"
        found.append((record, entry))
    return found


def _by_id(batch: Batch) -> dict[str, object]:
    return {
        **{begun.id: {"begun": asdict(begun), "ended": asdict(ended)} for begun, ended in batch.calls},
        **{done.id: asdict(done) for done in batch.requests},
        **{id_: asdict(event) for id_, event in batch.events},
    }
