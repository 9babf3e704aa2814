"""The audit for people and programs: in pages, as lines of JSON, and examined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from genai_spine.errors import InvalidFieldError
from genai_spine.ledger.spans import stamp
from genai_spine.ledger.stories import Page
from genai_spine.money import usd_json
from genai_spine.storage.sql.audit import ORIGIN, Anchor, AuditFilter, AuditStore, Verdict
from genai_spine.types.ledger import AuditEvent

__all__ = ["AuditTrail", "anchor_text", "read_anchor"]


class AuditTrail:
    """Tells what an audit wants to know, and whether anybody changed it."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store

    async def page(self, which: Sequence[AuditFilter], *, after: str | None = None, limit: int = 100) -> Page:
        """Return events that all filters let through, the newest first.

        Raises:
            InvalidFieldError: ``after`` is not what a page ended with.
            DatabaseDownError: The database cannot be reached.
        """
        if after is not None and not (after.isdecimal() and len(after) <= len(str(2**63 - 1)) - 1):
            message = "after: give what the last page had for `next`"
            raise InvalidFieldError(message, param="after")
        rows = await self._store.newest(which, before=int(after) if after else None, limit=limit + 1)
        following = str(rows[limit - 1]["sequence"]) if len(rows) > limit else None
        return Page([_event(row) for row in rows[:limit]], following)

    async def lines(self, which: Sequence[AuditFilter]) -> AsyncIterator[bytes]:
        """Yield each event that all filters let through as a line of JSON, the oldest first."""
        async for row in self._store.all(which):
            yield msgspec.json.encode(_event(row)) + b"\n"

    async def add(self, events: Sequence[AuditEvent]) -> None:
        """Write events into the chain, for who has no journal to bring them there.

        Raises:
            DatabaseDownError: The database cannot be reached.
        """
        await self._store.add(events)

    async def verify(self, *, since: Anchor = ORIGIN, expected: Anchor | None = None) -> Verdict:
        """Examine the chain; see ``AuditStore.verify``."""
        return await self._store.verify(since=since, expected=expected)


def anchor_text(anchor: Anchor) -> str:
    """An anchor to be noted, such as ``12:ab34...``."""
    return f"{anchor.sequence}:{anchor.hash.hex()}"


def read_anchor(text: str) -> Anchor:
    """Read an anchor that was noted.

    Raises:
        InvalidFieldError: It is none.
    """
    sequence, _, digits = text.partition(":")
    try:
        anchor = Anchor(int(sequence), bytes.fromhex(digits))
    except ValueError:
        anchor = ORIGIN
    if anchor.sequence < 1 or len(anchor.hash) != len(ORIGIN.hash):
        message = "an anchor is what `spine audit verify` printed last: a number, a colon, and 64 hexadecimal digits"
        raise InvalidFieldError(message)
    return anchor


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sequence": row["sequence"],
        "id": row["event_id"],
        "at": stamp(row["at"]),
        "event": row["event"],
        "user": row["user_id"],
        "key": row["key_fingerprint"] or None,
        "api_key_id": row["api_key_id"],
        "request_id": row["request_id"] or None,
        "model": row["model"] or None,
        "cost": None if row["cost_picodollars"] is None else usd_json(row["cost_picodollars"]),
        "input_t": row["input_t"],
        "output_t": row["output_t"],
        "reason": row["reason"],
        "details": _details(row["details"]),
        "previous": row["previous"].hex(),
        "hash": row["hash"].hex(),
    }


def _details(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        # Somebody changed it; the others are shown all the same.
        return text
