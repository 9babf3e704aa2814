"""What is written down of each call, request and event, before anybody could miss it.

It goes into this worker's journal at once; ``shipper.py`` brings it into the database from there. Only the end of a
call waits for that of its request, as long as nothing else has its turn: most often they come together, and are one
record. A journal whose disk failed is put aside, and another begun: what is open then is written down there again.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from genai_spine.clock import Clock, SystemClock
from genai_spine.errors import JournalError, JournalFullError
from genai_spine.journal.records import HEADER_BYTES
from genai_spine.journal.writer import Journal
from genai_spine.ledger.records import AUDIT, BEGUN, ENDED, REQUEST, Entry, encoded
from genai_spine.ledger.tail import Tail
from genai_spine.telemetry.logging import logger
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, RequestDone

__all__ = ["Late", "Ledger"]

_ROOM_OF_AN_END: Final = 1024
"""Bytes promised to the end of a call when it begins, and to that of its request with the first."""

_MOST_LATE: Final = 10_000
"""How many records are kept in memory that nothing was promised to: of refused requests, and for the audit."""

_PAUSE: Final = 1.0
"""Seconds before it is tried again to begin a journal where that failed."""


class Late(Struct):
    """A record that the disk would not take.

    Attributes:
        run: The name of the journal that should have taken it.
        number: With that a name unlike that of any other record.
        reserved: What was promised to it.
        taken: It is on its way into the database, and not for the disk any more.
    """

    kind: int
    record: Entry
    run: str
    number: int
    reserved: int
    taken: bool = False


class Ledger:
    """Keeps records; until it is opened, and where it never is, it keeps nothing.

    Attributes:
        journal: Where they are written; None where nothing is to be kept.
        retired: Journals whose disk failed: what they hold is still to be shipped.
        late: What the disk would not take. It is tried again with each further record, or shipped from here.
        dropped: How many records had no place here either.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.journal: Journal | None = None
        self.retired: list[Journal] = []
        self.late: deque[Late] = deque()
        self.dropped = 0
        self._clock = clock or SystemClock()
        self._make: Callable[[], Journal] | None = None
        self._count = itertools.count(1)
        # With what ids of calls begin: the run's name, or where there is none one that nobody else has.
        self._prefix = f"{secrets.token_hex(8)}-"
        # The beginnings of calls that are not over, with their requests; and requests whose end has its room.
        self._calls: dict[str, tuple[str, bytes]] = {}
        self._requests: set[str] = set()
        # The ends of calls that wait for that of their request, for as long as this turn of the loop takes.
        self._ends: dict[str, list[CallEnded]] = {}
        # The loop whose turn that is.
        self._turn: asyncio.AbstractEventLoop | None = None
        self._tail = Tail()
        # Positions go on where those of the last journal ended; what was open then is written again up to here.
        self._base = self._again = 0
        self._not_before = 0.0

    def open(self, make: Callable[[], Journal]) -> None:
        """Begin to keep records.

        Args:
            make: Begins a journal: now, and whenever the disk of the last one has failed.

        Raises:
            JournalError: It cannot be begun.
            JournalFullError: There is no room for it.
        """
        self._make = make
        self._use(make())

    @property
    def journals(self) -> list[Journal]:
        """All that may hold what is not shipped, the oldest first."""
        return [*self.retired, *((self.journal,) if self.journal is not None else ())]

    def tail(self, journal: Journal) -> Tail | None:
        """Return what of a journal's records is in memory; None where nothing is."""
        return self._tail if journal is self.journal else None

    @property
    def has_room(self) -> bool:
        """Whether calls may be begun, as far as can be told without trying."""
        return self.journal is None or self.journal.has_room

    def call_id(self) -> str:
        """Return an id that no other call has, in this run or any other; it begins with the run's name."""
        return f"{self._prefix}{next(self._count)}"

    def begin(self, begun: CallBegun) -> int:
        """Write that a call is about to be sent; return the position up to which the journal must be on disk.

        Raises:
            JournalFullError: There is no room; nothing may be sent.
            JournalError: The disk has failed; likewise.
        """
        journal = self.journal
        if journal is None:
            return 0
        request = begun.request
        if (ends := self._ends.pop(request, None)) is not None:
            self._write_ends(ends)
        payload = encoded(begun)
        try:
            end = journal.append(BEGUN, payload, reserve=self._room_of(request), sync=True)
        except JournalError:
            if journal.broken is None:
                raise
            journal = self._renew(journal)
            end = journal.append(BEGUN, payload, reserve=self._room_of(request), sync=True)
        self._tail.note(end - len(payload) - HEADER_BYTES, end, begun)
        self._calls[begun.id] = request, payload
        self._requests.add(request)
        return self._base + end

    def end(self, ended: CallEnded) -> None:
        """Write that a call is over: with the end of its request, where that is told in this turn of the loop."""
        if self.journal is None:
            return
        if ended.usage is not None and ended.usage.extras:
            ended = replace(ended, usage=replace(ended.usage, extras={}))
        begun = self._calls.pop(ended.id, None)
        if begun is None:
            self._keep(ENDED, ended, 0)
            return
        self._ends.setdefault(begun[0], []).append(ended)
        if self._turn is None or self._turn.is_closed():
            self._turn = asyncio.get_running_loop()
            self._turn.call_soon(self._turned)

    def request(self, done: RequestDone) -> None:
        """Write that a request is over."""
        if self.journal is None:
            return
        if done.usage is not None and done.usage.extras:
            done = replace(done, usage=replace(done.usage, extras={}))
        reserved = 0
        if done.id in self._requests:
            self._requests.remove(done.id)
            reserved = _ROOM_OF_AN_END
        if (ends := self._ends.pop(done.id, None)) is not None:
            done = replace(done, ended=tuple(ends))
            reserved += _ROOM_OF_AN_END * len(ends)
        self._keep(REQUEST, done, reserved)

    def audit(self, event: AuditEvent) -> None:
        """Write what an audit wants to know."""
        self._keep(AUDIT, event, 0)

    async def durable(self, position: int) -> None:
        """Return when everything up to a position survives the machine.

        Raises:
            JournalError: The disk has failed, and no other journal can be begun.
        """
        while (journal := self.journal) is not None:
            own = position - self._base if position > self._base else self._again
            if journal.durable(own):
                return
            try:
                await journal.sync(own)
            except JournalError:
                if self.journal is journal:
                    self._renew(journal)
            else:
                return

    def recover(self) -> None:
        """Try again what failed: to begin a journal in the place of a broken one, and to write what is late."""
        journal = self.journal
        if journal is None:
            return
        self._write_ends(self._waiting())
        if journal.broken is not None:
            try:
                self._renew(journal)
            except (JournalError, JournalFullError):
                return
        self._catch_up()

    def shipped(self, late: Sequence[Late]) -> None:
        """Note that what was late is in the database."""
        for one in late:
            self.late.remove(one)
            if self.journal is not None:
                self.journal.forgo(one.reserved)
        self._told_of_catching_up()

    async def close(self) -> None:
        """Close the journal; what it holds stays, where it was not all shipped. Nothing is kept from now on."""
        self._write_ends(self._waiting())
        journals, self.journal, self.retired = self.journals, None, []
        for journal in journals:
            try:
                await journal.close()
            except JournalError as error:
                logger.error("the journal was not closed in good order", reason=error.message)

    def _renew(self, broken: Journal) -> Journal:
        """Begin another journal, with all that is open.

        Raises:
            JournalError: It cannot be begun.
            JournalFullError: There is no room for it.
        """
        if self._make is None or self._clock.monotonic() < self._not_before:
            raise JournalError(broken.broken or "the journal is closed")
        self._not_before = self._clock.monotonic() + _PAUSE
        journal = self._make()
        logger.error("the journal's disk failed; another is begun", reason=broken.broken, folder=str(journal.folder))
        self.retired.append(broken)
        self._base += broken.position
        self._use(journal)
        for late in self.late:
            late.reserved = 0  # the promise was the old one's
        # Nothing was promised here but to what is begun here.
        self._requests.clear()
        for request, payload in self._calls.values():
            journal.append(BEGUN, payload, reserve=self._room_of(request), sync=True)
            self._requests.add(request)
        self._again = journal.position
        self._write_ends(self._waiting(), 0)
        return journal

    def _use(self, journal: Journal) -> None:
        """Write into a journal from now on."""
        self.journal = journal
        self._prefix = f"{journal.run}-"
        self._tail = Tail()

    def _room_of(self, request: str) -> int:
        """Return how much room a call's beginning must leave: for its end, and with the first for the request's."""
        return _ROOM_OF_AN_END if request in self._requests else 2 * _ROOM_OF_AN_END

    def _turned(self) -> None:
        """Write what ended in this turn of the loop without its request."""
        self._turn = None
        if self._ends:
            self._write_ends(self._waiting())

    def _waiting(self) -> list[CallEnded]:
        """Return the ends that wait for those of their requests, which they do no longer."""
        waiting, self._ends = self._ends, {}
        return list(chain.from_iterable(waiting.values()))

    def _write_ends(self, ends: Iterable[CallEnded], reserved: int = _ROOM_OF_AN_END) -> None:
        for ended in ends:
            self._keep(ENDED, ended, reserved)

    def _keep(self, kind: int, record: CallEnded | RequestDone | AuditEvent, reserved: int) -> None:
        """Write what has happened: it cannot be refused any more, so it is kept until the disk takes it."""
        if self.journal is None:
            return
        if not self.late:
            if (reason := self._written(kind, record, reserved)) is None:
                return
            logger.error("records are kept in memory, for the journal does not take them", reason=reason)
        elif self._catch_up() and self._written(kind, record, reserved) is None:
            return
        if not reserved and len(self.late) >= _MOST_LATE:
            # Room was promised to each call that is open, so what is left is of requests that were refused.
            self.dropped += 1
            return
        self.late.append(Late(kind, record, self.journal.run, next(self._count), reserved))

    def _catch_up(self) -> bool:
        """Write what is late; return whether nothing is any more."""
        while self.late:
            late = self.late[0]
            if late.taken or self._written(late.kind, late.record, late.reserved) is not None:
                return False
            self.late.popleft()
            self._told_of_catching_up()
        return True

    def _told_of_catching_up(self) -> None:
        if not self.late:
            logger.info("no records are kept in memory any more")

    def _written(self, kind: int, record: Entry, reserved: int) -> str | None:
        """Write a record; return why it could not be."""
        assert self.journal is not None  # noqa: S101  # looked at by who calls
        payload = encoded(record)
        try:
            end = self.journal.append(kind, payload, reserved=reserved)
        except (JournalError, JournalFullError) as error:
            return error.message
        self._tail.note(end - len(payload) - HEADER_BYTES, end, record)
        return None
