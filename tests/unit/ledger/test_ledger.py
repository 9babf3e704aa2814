"""What is written of calls and requests, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from genai_spine.errors import JournalError
from genai_spine.journal.records import Record
from genai_spine.journal.writer import Journal
from genai_spine.ledger.ledger import Ledger
from genai_spine.ledger.records import BEGUN, ENDED, REQUEST, decoded
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import AuditEvent, RequestDone
from tests.journals import replaced, segments
from tests.ledgers import NOON, call, request


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger with a journal."""
    clock = ManualClock(NOON)
    ledger = Ledger(clock)
    ledger.open(lambda: Journal(tmp_path, clock, segment_bytes=1 << 16))
    yield ledger
    await ledger.close()


def journal_of(ledger: Ledger) -> Journal:
    """The journal in use."""
    assert ledger.journal is not None
    return ledger.journal


def written(ledger: Ledger) -> list[Record]:
    """What stands in the journal."""
    return [record for record in journal_of(ledger).records() if isinstance(record, Record)]


def kinds(ledger: Ledger) -> list[int]:
    """Of what stands in the journal."""
    return [record.kind for record in written(ledger)]


async def test_a_call_that_ends_with_its_request(ledger: Ledger) -> None:
    """Both ends are one record, and nothing follows it."""
    begun, ended = call("c")
    ledger.begin(begun)
    ledger.end(ended)
    assert [BEGUN] == kinds(ledger)
    ledger.request(request(begun.request))
    _, last = written(ledger)
    found = decoded(last.kind, last.payload)
    assert isinstance(found, RequestDone)
    assert (begun.request, (ended,)) == (found.id, found.ended)
    await asyncio.sleep(0)
    assert [BEGUN, REQUEST] == kinds(ledger)


async def test_a_call_that_ends_before_its_request(ledger: Ledger) -> None:
    """Its end is written as soon as something else has its turn."""
    begun, ended = call("c")
    ledger.begin(begun)
    ledger.end(ended)
    await asyncio.sleep(0)
    assert [BEGUN, ENDED] == kinds(ledger)
    ledger.request(request(begun.request))
    assert [BEGUN, ENDED, REQUEST] == kinds(ledger)


async def test_a_call_that_follows_another(ledger: Ledger) -> None:
    """What came of the first stands before the second; of other requests it waits no less."""
    first, failed = call("first", request="r")
    second, ended = call("second", request="r")
    other, over = call("other")
    for begun in (first, other):
        ledger.begin(begun)
    ledger.end(over)
    ledger.end(failed)
    ledger.begin(second)
    ledger.end(ended)
    ledger.request(request("r"))
    assert [BEGUN, BEGUN, ENDED, BEGUN, REQUEST] == kinds(ledger)
    ledger.request(request(other.request))
    assert [BEGUN, BEGUN, ENDED, BEGUN, REQUEST, REQUEST] == kinds(ledger)


async def test_a_loop_that_is_gone(tmp_path: Path) -> None:
    """What waited for its turn is written in that of the next loop, or when it is closed."""
    clock = ManualClock(NOON)
    ledger = Ledger(clock)
    ledger.open(lambda: Journal(tmp_path, clock, segment_bytes=1 << 16))

    async def serve(name: str) -> None:
        begun, ended = call(name)
        ledger.begin(begun)
        ledger.end(ended)

    def elsewhere(name: str) -> None:
        loop = asyncio.new_event_loop()
        try:
            step = serve(name)
            loop.call_soon(loop.stop)
            task = loop.create_task(step)
            loop.run_until_complete(task)
        finally:
            loop.close()

    await asyncio.to_thread(elsewhere, "first")
    await serve("second")
    await asyncio.sleep(0)
    assert 2 == kinds(ledger).count(ENDED)
    await serve("third")
    ledger.recover()
    assert 3 == kinds(ledger).count(ENDED)
    await ledger.close()


@pytest.mark.parametrize("ends", [True, False])
async def test_room_that_was_promised(ledger: Ledger, *, ends: bool) -> None:
    """Whatever comes of a disk that fails, what is promised is promised to what is open, and to nothing else."""
    served = [call(name) for name in ("a", "b")]
    position = 0
    for begun, _ in served:
        position = ledger.begin(begun)
    (first, ended), (second, over) = served
    old = journal_of(ledger)
    (segment,) = segments(old.folder)
    if ends:
        ledger.end(ended)
        await asyncio.sleep(0)
    with replaced(segment, "/dev/null"):
        ledger.end(over)
        with pytest.raises(JournalError):
            await old.sync(position)
    assert old.broken is not None
    ledger.begin(call("c")[0])
    assert journal_of(ledger) is not old
    if not ends:
        ledger.end(ended)
    for begun in (first, second):
        ledger.request(request(begun.request))
    c_begun, c_ended = call("c")
    ledger.end(c_ended)
    ledger.request(request(c_begun.request))
    ledger.audit(AuditEvent(at=NOON * 1_000_000, event="nav"))
    assert 0 == journal_of(ledger)._promised
