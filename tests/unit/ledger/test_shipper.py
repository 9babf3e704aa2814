"""From the journal to the database: what is open stays, what fails is tried again, what nobody takes is set aside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from genai_spine.catalog.prices import Cost
from genai_spine.errors import DatabaseDownError, JournalFullError
from genai_spine.journal.runs import adopt, runs
from genai_spine.journal.writer import Journal
from genai_spine.ledger.ledger import Ledger
from genai_spine.ledger.shipper import Shipper
from genai_spine.ledger.tail import Tail
from genai_spine.shared_state.memory import MemoryState
from genai_spine.shared_state.meters import Claim, Meter, Taken
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore, Recorded
from genai_spine.storage.sql.tables import audit, provider_usage, requests
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import LedgerFault
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded
from genai_spine.types.usage import Usage
from tests.databases import KINDS, fresh_database
from tests.journals import replaced, segments
from tests.ledgers import NOON, call, request, rows


class Faults(Observer):
    """Keeps what is told of the ledger."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    @override
    def ledger_failed(self, record: LedgerFault) -> None:
        self.kinds.append(record.kind)


class Moody(LedgerStore):
    """A store whose database is there or not."""

    down = False
    down_after: int | None = None

    @override
    async def record(self, *batch: Any) -> Recorded:
        if self.down or self.down_after == 0:
            raise DatabaseDownError
        if self.down_after is not None:
            self.down_after -= 1
        return await super().record(*batch)


class Worker:
    """A worker's ledger over a folder and a database that others use too."""

    def __init__(self, root: Path, database: Database, **journal: int) -> None:
        self.clock = ManualClock(NOON)
        self.store = Moody(database, self.clock)
        self.ledger = Ledger(self.clock)
        self.state = MemoryState(1 << 20, self.clock)
        self.faults = Faults()
        self.root = root
        self.shipper = Shipper(
            self.ledger,
            self.store,
            root,
            self.state,
            self.price,
            self.clock,
            self.faults,
            seconds=3600,
            look_seconds=3600,
        )
        self.ledger.open(lambda: Journal(root, self.clock, **{"segment_bytes": 4096, "max_bytes": 1 << 20, **journal}))

    @staticmethod
    def price(provider: str, model: str, usage: Usage) -> Cost:
        """A token is a nanodollar."""
        assert ("openai", "gpt-4o-mini") == (provider, model)
        return Cost(usage.total_tokens * 1000, known=True)

    @property
    def journal(self) -> Journal:
        """The journal in use."""
        assert self.ledger.journal is not None
        return self.ledger.journal

    def serve(self, id_: str, **fields: Any) -> None:
        """Write a whole request of one call."""
        begun, ended = call(id_, **fields)
        self.ledger.begin(begun)
        self.ledger.end(ended)
        self.ledger.request(request(begun.request))

    def die(self) -> None:
        """End without a word: the system lets go of the lock."""
        self.journal._lock.free()

    async def stop(self) -> None:
        """End in good order."""
        await self.shipper.close()
        await self.ledger.close()


@pytest.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """A database with all tables."""
    async with fresh_database(request.param) as found:
        yield found


@pytest.fixture
async def sqlite() -> AsyncIterator[Database]:
    """One of SQLite, where either would do."""
    async with fresh_database("sqlite") as found:
        yield found


def left(root: Path) -> list[Path]:
    """What lies in the folder of journals."""
    return list(root.iterdir())


async def calls(database: Database) -> dict[str, str]:
    """The status of each call."""
    return {row["call_id"]: row["status"] for row in await rows(database, provider_usage)}


async def test_what_is_open_stays(tmp_path: Path, database: Database) -> None:
    """What is complete is shipped past what is open, which keeps its place; in the end nothing is left."""
    worker = Worker(tmp_path, database)
    begun, ended = call("open")
    worker.ledger.begin(begun)
    for number in range(50):
        worker.serve(f"c{number}")
    worker.ledger.audit(AuditEvent(at=NOON * 1_000_000, event="nav"))
    await worker.shipper.flush()
    assert {f"c{number}": "success" for number in range(50)} == await calls(database)
    assert 0 == worker.journal.released
    assert len(segments(worker.journal.folder)) > 3
    worker.ledger.end(ended)
    worker.ledger.request(request(begun.request))
    await worker.shipper.flush()
    assert worker.journal.position == worker.journal.released
    assert 51 == len(await calls(database)) == len(await rows(database, requests))
    assert ["nav"] == [row["event"] for row in await rows(database, audit)]
    await worker.stop()
    assert [] == left(tmp_path)


async def test_a_dead_worker(tmp_path: Path, database: Database) -> None:
    """What it had not shipped is; open calls were interrupted at a guessed cost, and so were their requests."""
    dead = Worker(tmp_path, database)
    dead.serve("shipped")
    await dead.shipper.flush()
    dead.serve("complete", at=NOON + 1)
    first, failed = call("first", at=NOON + 2, request="r", outcome="error", error="overloaded", usage=None, cost=0)
    dead.ledger.begin(first)
    dead.ledger.end(failed)
    second, _ = call("second", at=NOON + 3, request="r", number=2, fallback=True, input_tokens=40, output_tokens=2)
    dead.ledger.begin(second)
    between, over = call("between", at=NOON + 4, stream=True)
    dead.ledger.begin(between)
    dead.ledger.end(over)
    dead.die()
    heir = Worker(tmp_path, database)
    await heir.shipper.start()
    found = {row["call_id"]: row for row in await rows(database, provider_usage)}
    assert {"shipped", "complete", "first", "second", "between"} == set(found)
    cut = found["second"]
    assert ("interrupted", "gateway_stopped", True) == (cut["status"], cut["error"], cut["cost_estimated"])
    assert (40, 2, 42_000) == (cut["input_tokens"], cut["output_tokens"], cut["cost_picodollars"])
    # The last that is known of the worker is that a call ended, 1.5 seconds after it had begun.
    assert 2500 == cut["response_time_ms"]
    over_ = {row["id"]: row for row in await rows(database, requests)}
    assert {"r-shipped", "r-complete", "r", "r-between"} == set(over_)
    assert ("interrupted", 2, True, True, 42_000) == tuple(
        over_["r"][name] for name in ("status", "attempts", "fallback", "cost_estimated", "cost_picodollars")
    )
    assert ("interrupted", 1, True, False, 27_000_000) == tuple(
        over_["r-between"][name] for name in ("status", "attempts", "stream", "cost_estimated", "cost_picodollars")
    )
    assert [heir.journal.folder] == runs(tmp_path)
    await heir.stop()


async def test_only_what_was_not_shipped_is_shipped_again(tmp_path: Path, sqlite: Database) -> None:
    """Who adopts a run begins where its worker had released it."""
    dead = Worker(tmp_path, sqlite, segment_bytes=1 << 18)
    for number in range(100):
        dead.serve(f"c{number}")
    await dead.shipper.flush()
    dead.serve("last")
    dead.die()
    (folder,) = runs(tmp_path)
    run = adopt(folder)
    assert run is not None
    assert 2 == len(list(run.records()))
    run.close()


async def test_holds_of_the_dead_are_settled(tmp_path: Path, sqlite: Database) -> None:
    """What was set aside for a call that was cut off counts as it is charged; of one that ended, by what it cost."""
    dead = Worker(tmp_path, sqlite)
    heir = Worker(tmp_path, sqlite)
    meter = Meter("usd:day:user:7", "day")
    for name, cost in (("cut", None), ("ended", 5_000_000), ("free", 0)):
        taken = await heir.state.take(name, [Claim(meter, 1_000_000)], 3600)
        assert isinstance(taken, Taken)
        hold = msgspec.msgpack.encode(taken.hold)
        begun, ended = call(name, hold=hold, input_tokens=400, output_tokens=20, cost=cost or 0)
        dead.ledger.begin(begun)
        if cost is not None:
            dead.ledger.end(ended)
    (before,) = await heir.state.read([meter])
    assert (0, 3_000_000) == (before.used, before.held)
    dead.die()
    await heir.shipper.start()
    (after,) = await heir.state.read([meter])
    assert (420 + 5000, 0) == (after.used, after.held)
    await heir.stop()


async def test_what_the_dead_never_wrote_down(tmp_path: Path, sqlite: Database) -> None:
    """What a worker had set aside for requests under way, and for calls that it was killed before writing, is free."""
    dead = Worker(tmp_path, sqlite)
    heir = Worker(tmp_path, sqlite)
    meter = Meter("concurrent:key:7", "flight")
    for owner in (dead, heir):
        taken = await heir.state.take(owner.ledger.call_id(), [Claim(meter, 1, 2)], 3600)
        assert isinstance(taken, Taken)
    dead.die()
    await heir.shipper.start()
    (after,) = await heir.state.read([meter])
    assert 1 == after.held
    await heir.stop()


async def test_two_heirs(tmp_path: Path, database: Database) -> None:
    """Each run has one heir, and whoever looks at once with others leaves nothing out and tells nothing twice."""
    for life in range(6):
        dead = Worker(tmp_path, database)
        for number in range(20):
            dead.serve(f"{life}-{number}")
        dead.ledger.begin(call(f"{life}-cut")[0])
        dead.die()
    heirs = [Worker(tmp_path, database) for _ in range(3)]
    await asyncio.gather(*(heir.shipper.start() for heir in heirs))
    found = await calls(database)
    assert 6 * 21 == len(found)
    assert {f"{life}-cut" for life in range(6)} == {id_ for id_, status in found.items() if status == "interrupted"}
    assert 6 * 21 == len(await rows(database, requests))
    for heir in heirs:
        await heir.stop()
    assert [] == left(tmp_path)


async def test_a_database_that_is_away(tmp_path: Path, sqlite: Database) -> None:
    """Nothing is lost while it is; who stops meanwhile leaves his journal to who starts next."""
    worker = Worker(tmp_path, sqlite)
    worker.store.down = True
    for number in range(200):
        worker.serve(f"c{number}")
        if number % 50 == 0:
            with pytest.raises(DatabaseDownError):
                await worker.shipper.flush()
    assert "" != worker.shipper.trouble
    assert 0 == worker.journal.released
    worker.store.down = False
    await worker.shipper.flush()
    assert "" == worker.shipper.trouble
    assert 200 == len(await calls(sqlite))
    worker.store.down = True
    worker.serve("later")
    await worker.stop()
    assert 1 == len(runs(tmp_path))
    heir = Worker(tmp_path, sqlite)
    heir.store.down = True
    await heir.shipper.start()
    assert 2 == len(runs(tmp_path))
    heir.store.down = False
    await heir.shipper._adopter.look()  # the next look of its own would be in an hour
    assert 201 == len(await calls(sqlite))
    await heir.stop()
    assert [] == left(tmp_path)


def as_many_as_fit(worker: Worker) -> list[tuple[CallBegun, CallEnded]]:
    """Begin calls until there is no room for one more."""
    begun: list[tuple[CallBegun, CallEnded]] = []
    while True:
        one = call(f"c{len(begun)}")
        try:
            worker.ledger.begin(one[0])
        except JournalFullError:
            return begun
        begun.append(one)


async def test_a_journal_that_is_full(tmp_path: Path, sqlite: Database) -> None:
    """Nothing more is begun, what was begun is ended, and once the database is back all goes on."""
    worker = Worker(tmp_path, sqlite, max_bytes=1 << 16)
    worker.store.down = True
    begun = as_many_as_fit(worker)
    assert len(begun) > 10
    assert not worker.journal.has_room
    for one, ended in begun:
        worker.ledger.end(ended)
        worker.ledger.request(request(one.request))
    for number in range(1000):
        worker.ledger.request(request(f"refused-{number}", attempts=0))
    assert 0 < len(worker.ledger.late) < 1000
    worker.store.down = False
    await worker.shipper.flush()
    assert len(begun) == len(await calls(sqlite))
    assert len(begun) + 1000 == len(await rows(sqlite, requests))
    assert not worker.ledger.late
    assert worker.ledger.has_room
    worker.serve("goes on")
    await worker.stop()
    assert len(begun) + 1 == len(await calls(sqlite))
    assert [] == left(tmp_path)


async def test_a_disk_that_is_full(tmp_path: Path, sqlite: Database) -> None:
    """What the disk does not take goes to the database from memory, the audit in its order."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 16)
    begun, ended = call("c")
    worker.ledger.begin(begun)
    (segment,) = segments(worker.journal.folder)
    with replaced(segment, "/dev/full"):
        with pytest.raises(JournalFullError):
            worker.ledger.begin(call("refused")[0])
        worker.ledger.end(ended)
        worker.ledger.request(request(begun.request))
        for number in range(3):
            worker.ledger.audit(AuditEvent(at=NOON * 1_000_000, event=f"event-{number}"))
        assert 4 == len(worker.ledger.late)
    worker.ledger.late[0].taken = True  # as where the connection broke while it was on its way
    await worker.shipper.flush()
    assert {"c": "success"} == await calls(sqlite)
    assert 1 == len(await rows(sqlite, requests))
    assert [f"event-{number}" for number in range(3)] == [row["event"] for row in await rows(sqlite, audit)]
    assert not worker.ledger.late
    await worker.stop()
    assert [] == left(tmp_path)


async def test_a_disk_that_fails(tmp_path: Path, sqlite: Database) -> None:
    """Another run is begun at once: what was open is on disk there, ends there, and the old one is cleared up."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 16)
    begun, ended = call("open")
    position = worker.ledger.begin(begun)
    worker.serve("complete")
    (segment,) = segments(worker.journal.folder)
    old = worker.journal
    with replaced(segment, "/dev/null"):
        await worker.ledger.durable(position)
        assert old.broken is not None
    assert worker.journal is not old
    assert worker.journal.durable(worker.journal.position)
    later = worker.ledger.begin(call("later")[0])
    assert later > position
    await worker.ledger.durable(later)
    worker.ledger.end(ended)
    worker.ledger.request(request(begun.request))
    await worker.shipper.flush()
    assert {"open": "success", "complete": "success"} == await calls(sqlite)
    assert [worker.journal.folder] == runs(tmp_path)
    worker.die()
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert {"open": "success", "complete": "success", "later": "interrupted"} == await calls(sqlite)
    await heir.stop()


async def test_a_worker_that_dies_with_two_runs(tmp_path: Path, sqlite: Database) -> None:
    """What began in the one and ended in the other is no interrupted call."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 16)
    begun, ended = call("open")
    position = worker.ledger.begin(begun)
    (segment,) = segments(worker.journal.folder)
    old = worker.journal
    with replaced(segment, "/dev/null"):
        await worker.ledger.durable(position)
    worker.ledger.end(ended)
    worker.ledger.request(request(begun.request))
    old._lock.free()
    worker.die()
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert {"open": "success"} == await calls(sqlite)
    await heir.stop()


async def test_a_worker_that_died_before_its_run_began(tmp_path: Path, sqlite: Database) -> None:
    """Who looks for what dead workers left behind removes what such a one was making."""
    (tmp_path / f".20260101T000000Z-{'0' * 16}").mkdir()
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert [heir.journal.folder] == left(tmp_path)
    await heir.stop()


async def test_what_the_database_refuses(tmp_path: Path, sqlite: Database) -> None:
    """It is set aside in a file with the reason, told, and keeps nothing else from getting there."""
    async with sqlite.writing() as connection:
        await connection.exec_driver_sql(
            "CREATE TRIGGER t BEFORE INSERT ON provider_usage WHEN NEW.call_id = 'bad' BEGIN"
            " SELECT RAISE(ABORT, 'not this one'); END"
        )
    worker = Worker(tmp_path, sqlite)
    for name in ("good", "bad", "fine"):
        worker.serve(name)
    await worker.shipper.flush()
    assert {"good": "success", "fine": "success"} == await calls(sqlite)
    assert ["refused"] == worker.faults.kinds
    (line,) = (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    told = json.loads(line)
    assert ("bad", "not this one") == (told["id"], told["reason"])
    assert "openai" == told["record"]["begun"]["provider"]
    assert worker.journal.position == worker.journal.released
    await worker.stop()


async def test_a_damaged_journal(tmp_path: Path, sqlite: Database) -> None:
    """What can be read of it is shipped; what is damaged is told, and the end of a call without its beginning kept."""
    dead = Worker(tmp_path, sqlite, segment_bytes=1 << 16)
    begun, ended = call("hurt")
    dead.ledger.begin(begun)
    end = dead.journal.position
    dead.serve("well")
    dead.ledger.end(ended)
    (segment,) = segments(dead.journal.folder)
    dead.die()
    raw = bytearray(segment.read_bytes())
    raw[end - 20 : end - 10] = bytes(10)
    segment.write_bytes(raw)
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert {"well": "success"} == await calls(sqlite)
    assert ["damaged", "refused"] == heir.faults.kinds
    told = json.loads((tmp_path / "rejected.jsonl").read_text(encoding="utf-8"))
    assert ("hurt", "the call's beginning cannot be read") == (told["record"]["id"], told["reason"])
    await heir.stop()


async def test_what_was_written_lately_is_not_read_again(tmp_path: Path, sqlite: Database) -> None:
    """A worker ships from memory what it has just written, even where its file can no longer be read."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 16)
    for number in range(10):
        worker.serve(f"c{number}")
    (segment,) = segments(worker.journal.folder)
    segment.write_bytes(bytes(1 << 16))
    await worker.shipper.flush()
    assert 10 == len(await calls(sqlite))
    assert [] == worker.faults.kinds
    assert worker.journal.position == worker.journal.released
    await worker.stop()


async def test_nothing_is_let_go_before_it_is_there(tmp_path: Path, sqlite: Database) -> None:
    """A call that was open when others were shipped keeps its place when it ends, until it is shipped too."""
    worker = Worker(tmp_path, sqlite)
    begun, ended = call("open")
    worker.ledger.begin(begun)
    worker.serve("others")
    await worker.shipper.flush()
    worker.ledger.end(ended)
    worker.ledger.request(request(begun.request))
    worker.store.down = True
    with pytest.raises(DatabaseDownError):
        await worker.shipper.flush()
    assert 0 == worker.journal.released
    worker.die()
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert {"open": "success", "others": "success"} == await calls(sqlite)
    await heir.stop()


async def test_more_than_memory_holds(tmp_path: Path, sqlite: Database) -> None:
    """What was written before the newest is read from the journal, and all of it is there once."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 20, max_bytes=1 << 26)
    worker.ledger._tail = Tail(most=100)  # its own is for a second of heavy work
    worker.store.down = True
    for number in range(250):
        worker.serve(f"c{number}")
        if number == 90:
            with pytest.raises(DatabaseDownError):
                await worker.shipper.flush()
    worker.store.down = False
    await worker.shipper.flush()
    worker.serve("later")
    await worker.shipper.flush()
    assert {*(f"c{number}" for number in range(250)), "later"} == set(await calls(sqlite))
    assert 251 == len(await rows(sqlite, requests))
    assert worker.journal.position == worker.journal.released
    await worker.stop()


async def test_many_go_in_one_transaction(tmp_path: Path, sqlite: Database) -> None:
    """A long run goes in pieces of a bounded size; what failed is told again whole, and nothing is let go before."""
    worker = Worker(tmp_path, sqlite, segment_bytes=1 << 16, max_bytes=1 << 26)
    for number in range(1200):
        worker.serve(f"c{number}")
    worker.store.down_after = 1
    with pytest.raises(DatabaseDownError):
        await worker.shipper.flush()
    there = len(await calls(sqlite))
    assert 1000 <= there < 1200
    assert 0 < worker.journal.released < worker.journal.position
    worker.store.down_after = None
    await worker.shipper.flush()
    assert 1200 == len(await calls(sqlite)) == len(await rows(sqlite, requests))
    assert worker.journal.position == worker.journal.released
    await worker.stop()


async def test_records_of_another_version(tmp_path: Path, sqlite: Database) -> None:
    """What is of a kind that nobody knows is set aside whole."""
    dead = Worker(tmp_path, sqlite)
    dead.journal.append(200, b"of tomorrow")
    dead.journal.append(1, b"\xc1")
    dead.serve("known")
    dead.die()
    heir = Worker(tmp_path, sqlite)
    await heir.shipper.start()
    assert {"known": "success"} == await calls(sqlite)
    told = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert 2 == len(told)
    assert "200" in told[0]["reason"]
    assert [heir.journal.folder] == runs(tmp_path)
    await heir.stop()
