"""What of a journal's records is complete: ends find their beginnings, and the rest stays open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from genai_spine.ledger.records import Batch
from genai_spine.ledger.tail import Noted
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

    def add(self, records: Iterable[Noted], run: str) -> bool:
        """Take records of a run; return False where a call ends that has no beginning here.

        All are taken in one go, and asked what they are and not what they are derived from: each request brings two or
        three, and a call of a function takes as long as what is done with one of them.
        """
        calls, requests, batch, known = self.calls, self.requests, self.batch, True
        for start, _, record in records:
            ends: tuple[CallEnded, ...] = ()
            if type(record) is CallBegun:
                if record.at > self.latest:  # noqa: PLR1730  # see above
                    self.latest = record.at
                place, request = (run, start), requests.get(record.request)
                if record.id in calls:
                    # It is told again, in a further run: then it stands there, and so does its request.
                    del calls[record.id]
                calls[record.id] = (place, record)
                if request is None:
                    requests[record.request] = (place, [])
                elif request[0][0] != run:
                    del requests[record.request]
                    requests[record.request] = (place, request[1])
            elif type(record) is RequestDone:
                # It goes first: nobody asks any more which calls it made.
                requests.pop(record.id, None)
                batch.requests.append(record)
                ends = record.ended
            elif type(record) is CallEnded:
                ends = (record,)
            elif isinstance(record, AuditEvent):
                batch.events.append((f"{run}@{start}", record))
            for ended in ends:
                if (found := calls.pop(ended.id, None)) is None:
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
