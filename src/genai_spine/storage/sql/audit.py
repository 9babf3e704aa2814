"""The audit: rows that form a chain, so that whoever changes, removes or moves one is found out."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, select, text

from genai_spine.redact import scrub
from genai_spine.storage.sql import fitting
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.fitting import MICROSECONDS
from genai_spine.storage.sql.tables import audit
from genai_spine.types.ledger import AuditEvent

__all__ = ["BEGINNING", "ORIGIN", "Anchor", "AuditFilter", "AuditStore", "Verdict", "append", "hash_of"]

BEGINNING: Final = bytes(32)
"""What the first row has for the hash before it."""

# Whoever appends to the chain on PostgreSQL holds this lock until all is written; SQLite has one writer anyway.
_LOCK: Final = 0x5B1AF
_HASHED: Final = [column.name for column in audit.columns if column.name not in {"hash", "previous"}]
_PERSON: Final = b"genai-spine"
_PAGE: Final = 1000


class Anchor(NamedTuple):
    """A row of the chain that somebody noted elsewhere: none before it can be changed without its hash changing too."""

    sequence: int
    hash: bytes


ORIGIN: Final = Anchor(0, BEGINNING)
"""Before the first row."""


class Verdict(NamedTuple):
    """What an examination of the chain found.

    Attributes:
        rows: That are as they were written.
        last: The last of them.
        fault: What is wrong with the next; empty where nothing is.
    """

    rows: int
    last: Anchor
    fault: str = ""


class AuditFilter(Struct, frozen=True, kw_only=True):
    """Which events are meant; None is any.

    Attributes:
        user: Of who did it, or for whom it was done.
        api_key: Of his key in the database.
        fingerprint: Of his key.
        start: Events at this moment and later.
        end: Events before this moment.
    """

    event: str | None = None
    user: int | None = None
    api_key: int | None = None
    fingerprint: str | None = None
    request_id: str | None = None
    model: str | None = None
    start: datetime | None = None
    end: datetime | None = None

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The same for a query."""
        pairs = (
            (audit.c.event, self.event),
            (audit.c.user_id, self.user),
            (audit.c.api_key_id, self.api_key),
            (audit.c.key_fingerprint, self.fingerprint),
            (audit.c.request_id, self.request_id),
            (audit.c.model, self.model),
        )
        conditions = [column == value for column, value in pairs if value is not None]
        if self.start is not None:
            conditions.append(audit.c.at >= self.start)
        if self.end is not None:
            conditions.append(audit.c.at < self.end)
        return conditions


class AuditStore:
    """Reads the audit, examines it, and adds to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, events: Sequence[AuditEvent]) -> None:
        """Add events that are nowhere else yet."""
        named = [(uuid.uuid4().hex, event) for event in events]
        await self._database.write(lambda connection: append(connection, named))

    async def newest(
        self, which: Sequence[AuditFilter], *, before: int | None = None, limit: int
    ) -> list[dict[str, Any]]:
        """Return events that all filters let through, the newest first; ``before`` is where the last page ended."""
        conditions = [condition for one in which for condition in one.conditions]
        if before is not None:
            conditions.append(audit.c.sequence < before)
        query = select(audit).where(*conditions).order_by(audit.c.sequence.desc()).limit(limit)
        async with self._database.reading() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def all(self, which: Sequence[AuditFilter], *, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """Yield the events that all filters let through, the oldest first, in as many reads as it takes."""
        conditions = [condition for one in which for condition in one.conditions]
        while True:
            query = select(audit).where(audit.c.sequence > after, *conditions).order_by(audit.c.sequence).limit(_PAGE)
            async with self._database.reading() as connection:
                rows = [dict(row) for row in (await connection.execute(query)).mappings()]
            for row in rows:
                yield row
            if len(rows) < _PAGE:
                return
            after = rows[-1]["sequence"]

    async def verify(self, *, since: Anchor = ORIGIN, expected: Anchor | None = None) -> Verdict:
        """Examine the chain, from after ``since`` on, which is believed; ``expected`` is to be found in it.

        Without an anchor from elsewhere nobody can tell that the last rows were removed, or all written anew.
        """
        rows, last = 0, since
        if since != ORIGIN and await self._hash(since.sequence) != since.hash:
            return Verdict(0, since, f"row {since.sequence} is not the one that was noted")
        lowest = since.sequence if since != ORIGIN else None
        while True:
            try:
                page = await self._page(lowest)
            except (ValueError, TypeError) as error:
                return Verdict(rows, last, f"a row after {last.sequence} cannot be read: {error}")
            for row in page:
                if fault := _fault(row, last, expected):
                    return Verdict(rows, last, fault)
                rows, last = rows + 1, Anchor(row["sequence"], row["hash"])
            if len(page) < _PAGE:
                break
            lowest = last.sequence
        if expected is not None and last.sequence < expected.sequence:
            return Verdict(rows, last, f"row {last.sequence + 1} and those after it are missing")
        return Verdict(rows, last)

    async def _page(self, after: int | None) -> list[dict[str, Any]]:
        query = select(audit).order_by(audit.c.sequence).limit(_PAGE)
        if after is not None:
            query = query.where(audit.c.sequence > after)
        async with self._database.reading() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _hash(self, sequence: int) -> bytes | None:
        async with self._database.reading() as connection:
            found: bytes | None = (
                await connection.execute(select(audit.c.hash).where(audit.c.sequence == sequence))
            ).scalar()
            return found


def _fault(row: Mapping[str, Any], last: Anchor, expected: Anchor | None) -> str:
    """What is wrong with the row that follows ``last``; empty where nothing is."""
    sequence = row["sequence"]
    if sequence > last.sequence + 1:
        return f"row {last.sequence + 1} is missing"
    if sequence != last.sequence + 1:
        return f"row {sequence} is none of the chain"
    if row["previous"] != last.hash:
        return f"row {sequence} does not follow the one before it"
    if row["hash"] != hash_of(row, last.hash):
        return f"row {sequence} was changed"
    if expected is not None and sequence == expected.sequence and row["hash"] != expected.hash:
        return f"row {sequence} is not the one that was noted"
    return ""


def append(connection: Connection, events: Sequence[tuple[str, AuditEvent]]) -> frozenset[str]:
    """Add events to the chain, in their order, within a transaction; return the ids of those that were not there."""
    named = {fitting.ident(id_, 64): (id_, event) for id_, event in events}
    if not named:
        return frozenset()
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    there = set(connection.execute(select(audit.c.event_id).where(audit.c.event_id.in_(named))).scalars())
    newest = select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1)
    last = connection.execute(newest).first()
    sequence, previous = (0, BEGINNING) if last is None else (last.sequence, last.hash)
    rows = []
    for event_id, (_, event) in named.items():
        if event_id not in there:
            sequence += 1
            row = {"sequence": sequence, "event_id": event_id, **_row(event)}
            row |= {"previous": previous, "hash": hash_of(row, previous)}
            previous = row["hash"]
            rows.append(row)
    if rows:
        connection.execute(audit.insert(), rows)
    return frozenset(id_ for event_id, (id_, _) in named.items() if event_id not in there)


def hash_of(row: Mapping[str, Any], previous: bytes) -> bytes:
    """The hash of a row and of all that stands before it."""
    values = [row[name] for name in _HASHED]
    values[_HASHED.index("at")] = round(row["at"].timestamp() * MICROSECONDS)
    return hashlib.blake2b(previous + msgspec.json.encode(values), digest_size=32, person=_PERSON).digest()


def _row(event: AuditEvent) -> dict[str, Any]:
    """The columns of an event; what is shaped like a secret is left out."""
    caller = event.caller
    details = {_clean(name): _clean(value) for name, value in event.details.items()}
    return {
        "at": fitting.moment(event.at),
        "event": fitting.text(event.event, 50),
        "user_id": caller.user,
        "api_key_id": caller.api_key,
        "key_fingerprint": fitting.text(caller.fingerprint, 16),
        "request_id": fitting.text(event.request_id, 128),
        "model": fitting.text(event.model, 320),
        "cost_picodollars": None if event.cost is None else fitting.count(event.cost),
        "input_t": None if event.input_tokens is None else fitting.count(event.input_tokens),
        "output_t": None if event.output_tokens is None else fitting.count(event.output_tokens),
        "reason": _clean(event.reason),
        "details": msgspec.json.encode(details, order="sorted").decode(),
    }


def _clean(value: str) -> str:
    return scrub(fitting.text(value))
