"""What of a journal's records is complete: ends find their beginnings, and the rest stays open."""

from __future__ import annotations

from typing import TypeAlias

from genai_spine.ledger.records import Batch, Entry
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, RequestDone

__all__ = ["Matcher", "Place"]

Place: TypeAlias = tuple[str, int]
"""Where a record stands: in which run, and from which position on."""


class Matcher:
    """Takes the records of one worker's runs, in their order.

    Attributes:
        batch: What is complete and was not taken away yet.
        calls: The beginnings of calls that are not over, by id; the oldest first.
        requests: What is not over of those that made calls, with their calls that are, by id; the oldest first.
        latest: The moment of the latest beginning or end of a call.
    """

    def __init__(self) -> None:
        self.batch = Batch([], [], [])
        self.calls: dict[str, tuple[Place, CallBegun]] = {}
        self.requests: dict[str, tuple[Place, list[tuple[CallBegun, CallEnded]]]] = {}
        self.latest = 0

    def add(self, record: Entry, run: str, start: int) -> bool:
        """Take a record, and where it stands; return False where a call ends that has no beginning here."""
        ends: tuple[CallEnded, ...] = ()
        # Each request brings two or three, and asking what they are derived from takes five times as long.
        if type(record) is CallBegun:
            self._begin(record, (run, start))
        elif type(record) is RequestDone:
            # It goes first: nobody asks any more which calls it made.
            self.requests.pop(record.id, None)
            self.batch.requests.append(record)
            ends = record.ended
        elif type(record) is CallEnded:
            ends = (record,)
        elif isinstance(record, AuditEvent):
            self.batch.events.append((f"{run}@{start}", record))
        known = True
        for ended in ends:
            if (found := self.calls.pop(ended.id, None)) is None:
                known = False
            else:
                self.end(found[1], ended)
        return known

    def end(self, begun: CallBegun, ended: CallEnded) -> None:
        """Note that a call is over."""
        if ended.at > self.latest:  # noqa: PLR1730  # a call of max takes as long as the rest of this
            self.latest = ended.at
        call = (begun, ended)
        self.batch.calls.append(call)
        if (request := self.requests.get(begun.request)) is not None:
            request[1].append(call)

    def take(self) -> Batch:
        """Return what is complete, and keep it no longer."""
        batch, self.batch = self.batch, Batch([], [], [])
        return batch

    def oldest(self, run: str) -> int | None:
        """Return where the oldest record of a run begins that belongs to something open; None where nothing is."""
        firsts = (
            next((start for (of, start), _ in self.calls.values() if of == run), None),
            next((start for (of, start), _ in self.requests.values() if of == run), None),
        )
        return min((first for first in firsts if first is not None), default=None)

    def _begin(self, begun: CallBegun, place: Place) -> None:
        if begun.at > self.latest:  # noqa: PLR1730  # as above
            self.latest = begun.at
        calls, requests = self.calls, self.requests
        if begun.id in calls:
            # It is told again, in a further run: then it stands there, and so does its request.
            del calls[begun.id]
        calls[begun.id] = (place, begun)
        if (request := requests.get(begun.request)) is None:
            requests[begun.request] = (place, [])
        elif request[0][0] != place[0]:
            del requests[begun.request]
            requests[begun.request] = (place, request[1])
