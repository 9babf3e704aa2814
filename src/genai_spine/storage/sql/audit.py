"""The audit: rows that form a chain, so that whoever changes, removes or moves one is found out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.redact import scrub
from genai_spine.storage.sql import fitting
from genai_spine.storage.sql.fitting import MICROSECONDS
from genai_spine.storage.sql.tables import audit
from genai_spine.types.ledger import AuditEvent

__all__ = ["BEGINNING", "append", "hash_of"]

BEGINNING: Final = bytes(32)
"""What the first row has for the hash before it."""

# Whoever appends to the chain on PostgreSQL holds this lock until all is written; SQLite has one writer anyway.
_LOCK: Final = 0x5B1AF
_HASHED: Final = [column.name for column in audit.columns if column.name not in {"hash", "previous"}]
_PERSON: Final = b"genai-spine"


async def append(connection: AsyncConnection, events: Sequence[tuple[str, AuditEvent]]) -> frozenset[str]:
    """Add events to the chain, in their order, within a transaction; return the ids of those that were not there."""
    named = {fitting.ident(id_, 64): (id_, event) for id_, event in events}
    if not named:
        return frozenset()
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    there = set((await connection.execute(select(audit.c.event_id).where(audit.c.event_id.in_(named)))).scalars())
    last = (
        await connection.execute(select(audit.c.sequence, audit.c.hash).order_by(audit.c.sequence.desc()).limit(1))
    ).first()
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
        await connection.execute(audit.insert(), rows)
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
