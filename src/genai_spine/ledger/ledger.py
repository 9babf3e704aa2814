"""What is written down of each call, request and event, before anybody could miss it.

It goes into this worker's journal at once; ``shipper.py`` brings it into the database from there.
"""

from __future__ import annotations

import itertools
from typing import Final

import msgspec

from genai_spine.errors import JournalError, JournalFullError
from genai_spine.journal.writer import Journal
from genai_spine.telemetry.logging import logger
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, RequestDone

__all__ = ["AUDIT", "BEGUN", "ENDED", "REQUEST", "Ledger"]

BEGUN: Final = 1
ENDED: Final = 2
REQUEST: Final = 3
AUDIT: Final = 4
"""The kinds of the journal's records."""

_ROOM_OF_AN_END: Final = 1024
"""Bytes promised to the end of a call when it begins, and to that of its request with the first."""


class Ledger:
    """Keeps records; without a journal it keeps nothing.

    Attributes:
        journal: Where they are written; None before it is opened, and where nothing is to be kept.
    """

    def __init__(self) -> None:
        self.journal: Journal | None = None
        self._encoder = msgspec.msgpack.Encoder()
        self._count = itertools.count(1)
        # What the disk would not take; it is tried again with each further record.
        self._late: list[tuple[int, bytes]] = []

    def call_id(self) -> str:
        """Return an id that no other call has, in this run or any other."""
        run = self.journal.folder.name if self.journal is not None else ""
        return f"{run}-{next(self._count):x}"

    def begin(self, begun: CallBegun) -> int:
        """Write that a call is about to be sent; return the position up to which the journal must be on disk.

        Raises:
            JournalFullError: There is no room; nothing may be sent.
            JournalError: The disk has failed; likewise.
        """
        if self.journal is None:
            return 0
        reserve = _ROOM_OF_AN_END * (2 if begun.number == 1 else 1)
        return self.journal.append(BEGUN, self._encoder.encode(begun), reserve=reserve, sync=True)

    def end(self, ended: CallEnded) -> None:
        """Write that a call is over."""
        self._keep(ENDED, ended, _ROOM_OF_AN_END)

    def request(self, done: RequestDone) -> None:
        """Write that a request is over."""
        self._keep(REQUEST, done, _ROOM_OF_AN_END if done.attempts else 0)

    def audit(self, event: AuditEvent) -> None:
        """Write what an audit wants to know."""
        self._keep(AUDIT, event, 0)

    async def durable(self, position: int) -> None:
        """Return when everything up to a position survives the machine.

        Raises:
            JournalError: The disk has failed.
        """
        journal = self.journal
        if journal is not None and not journal.durable(position):
            await journal.sync(position)

    def _keep(self, kind: int, record: CallEnded | RequestDone | AuditEvent, reserved: int) -> None:
        """Write what has happened: it cannot be refused any more, so it is kept until the disk takes it."""
        if self.journal is None:
            return
        payload = self._encoder.encode(record)
        try:
            self.journal.append(kind, payload, reserved=reserved)
        except (JournalError, JournalFullError) as error:
            logger.error("a record is kept in memory, for the journal does not take it", reason=error.message)
            self._late.append((kind, payload))
