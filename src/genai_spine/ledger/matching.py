"""What of a journal's records is complete: ends find their beginnings, and the rest stays open."""

from __future__ import annotations

from msgspec import Struct

from genai_spine.ledger.records import Batch, Entry
from genai_spine.types.ledger import CallBegun, CallEnded, RequestDone

__all__ = ["Matcher", "Place", "Unfinished"]


class Place(Struct, frozen=True, gc=False):
    """Where a record stands: in which run, and from which position on."""

    run: str
    start: int


class Unfinished(Struct, frozen=True, gc=False):
    """A request of whose end nothing is known, with its calls as far as they are over."""

    place: Place
    calls: list[tuple[CallBegun, CallEnded]]


class Matcher:
    """Takes the records of one worker's runs, in their order.

    Attributes:
        batch: What is complete and was not taken away yet.
        calls: The beginnings of calls that are not over, by id; the oldest first.
        requests: What is not over of those that made calls, by id; the oldest first.
        latest: The moment of the latest beginning or end of a call.
    """

    def __init__(self) -> None:
        self.batch = Batch([], [], [])
        self.calls: dict[str, tuple[Place, CallBegun]] = {}
        self.requests: dict[str, Unfinished] = {}
        self.latest = 0

    def add(self, record: Entry, run: str, start: int) -> bool:
        """Take a record, and where it stands; return False where a call ends that has no beginning here."""
        if isinstance(record, CallBegun):
            self._begin(record, Place(run, start))
        elif isinstance(record, CallEnded):
            return self._end(record)
        elif isinstance(record, RequestDone):
            found = [self._end(ended) for ended in record.ended]
            self.requests.pop(record.id, None)
            self.batch.requests.append(record)
            return all(found)
        else:
            self.batch.events.append((f"{run}@{start}", record))
        return True

    def end(self, begun: CallBegun, ended: CallEnded) -> None:
        """Note that a call is over."""
        self.latest = max(self.latest, ended.at)
        self.batch.calls.append((begun, ended))
        request = self.requests.get(begun.request)
        if request is not None:
            request.calls.append((begun, ended))

    def take(self) -> Batch:
        """Return what is complete, and keep it no longer."""
        batch, self.batch = self.batch, Batch([], [], [])
        return batch

    def oldest(self, run: str) -> int | None:
        """Return where the oldest record of a run begins that belongs to something open; None where nothing is."""
        firsts = (
            next((place.start for place, _ in self.calls.values() if place.run == run), None),
            next((request.place.start for request in self.requests.values() if request.place.run == run), None),
        )
        return min((first for first in firsts if first is not None), default=None)

    def _end(self, ended: CallEnded) -> bool:
        found = self.calls.pop(ended.id, None)
        if found is None:
            return False
        self.end(found[1], ended)
        return True

    def _begin(self, begun: CallBegun, place: Place) -> None:
        self.latest = max(self.latest, begun.at)
        # It may be told again, in a further run: then it stands there, and so does its request.
        self.calls.pop(begun.id, None)
        self.calls[begun.id] = (place, begun)
        request = self.requests.get(begun.request)
        if request is None or request.place.run != place.run:
            self.requests.pop(begun.request, None)
            self.requests[begun.request] = Unfinished(place, request.calls if request else [])
