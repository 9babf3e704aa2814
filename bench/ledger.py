"""What the ledger costs a request, in microseconds of this process' CPU: ``python -m bench.ledger``.

A request is a call's beginning, its end, and its own. *Write* brings them into the journal, while the answer is
made; *ship* reads them back and brings their rows into the database, in the background; *block* is for how long a
batch of that keeps the event loop from everything else, in milliseconds. A PostgreSQL's own work is not among it, for
it has a process of its own; that of SQLite is. The best of several rounds is shown.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from genai_spine.catalog.prices import Cost
from genai_spine.clock import SystemClock
from genai_spine.journal.writer import Journal
from genai_spine.ledger.ledger import Ledger
from genai_spine.ledger.shipper import Shipper
from genai_spine.shared_state.memory import MemoryState
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.telemetry.base import Observer
from tests.databases import KINDS, fresh_database
from tests.ledgers import call, request

REQUESTS: Final = 3000
ROUNDS: Final = 5


def _written(ledger: Ledger, names: list[str]) -> float:
    """Write requests; return the seconds of CPU."""
    records = []
    for name in names:
        begun, ended = call(name, at=time.time())
        records.append((begun, ended, request(begun.request, at=time.time())))
    started = time.process_time_ns()
    for begun, ended, done in records:
        ledger.begin(begun)
        ledger.end(ended)
        ledger.request(done)
    return (time.process_time_ns() - started) / 1e9


async def _longest(stop: asyncio.Event) -> float:
    """Return for how long the loop was away from who wants to run again at once, at most."""
    longest, last = 0.0, time.perf_counter()
    while not stop.is_set():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


async def measure(kind: str, folder: Path) -> tuple[float, float, float]:
    """Return microseconds to write, microseconds to ship, and milliseconds of blocking, in the best rounds."""
    clock, count = SystemClock(), itertools.count()
    async with fresh_database(kind) as database:
        ledger = Ledger(clock)
        ledger.open(lambda: Journal(folder, clock))
        state = MemoryState(1 << 20, clock)
        store = LedgerStore(database)
        shipper = Shipper(ledger, store, folder, state, lambda *_: Cost(0, known=True), clock, Observer(), seconds=3600)
        write = ship = block = float("inf")
        for _ in range(ROUNDS):
            write = min(write, _written(ledger, [f"call-{next(count)}" for _ in range(REQUESTS)]))
            started = time.process_time_ns()
            await shipper.flush()
            ship = min(ship, (time.process_time_ns() - started) / 1e9)
        for _ in range(ROUNDS):
            _written(ledger, [f"call-{next(count)}" for _ in range(REQUESTS // 10)])
            stop = asyncio.Event()
            longest = asyncio.create_task(_longest(stop))
            await shipper.flush()
            stop.set()
            block = min(block, await longest)
        await shipper.close()
        await ledger.close()
    return write / REQUESTS * 1e6, ship / REQUESTS * 1e6, block * 1000


def main() -> None:
    """Print the table."""
    print(f"{'':12}{'write':>8}{'ship':>8}{'block':>8}")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            write, ship, block = uvloop.run(measure(kind, Path(name)))
            print(f"{kind:12}{write:8.1f}{ship:8.1f}{block:8.1f}")


if __name__ == "__main__":
    main()
