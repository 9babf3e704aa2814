"""What recording a request costs: ``python -m bench.journal`` prints microseconds of CPU, for some numbers of callers.

A request is an intent, a sync before its answer would leave, and an outcome. What the same callers cost without a
journal is taken off. The best of several rounds is shown, for everything else that the machine does only ever adds. The
journal lies in the folder given, else beside this file: what it costs to sync is the disk's to say.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import uvloop

from genai_spine.clock import SystemClock
from genai_spine.journal.writer import Journal

INTENT: Final = b"i" * 300
OUTCOME: Final = b"o" * 500
CALLERS: Final = (1, 16, 64)
REQUESTS: Final = 4800
ROUNDS: Final = 5
WAITS: Final = {"at once": 0.0, "after 5 ms": 0.005}
"""When the upstream answers."""


async def request(journal: Journal | None, wait: float) -> float:
    """Record a request, and return the seconds for which its answer was held back."""
    position = journal.append(1, INTENT, reserve=1024, sync=True) if journal else 0
    await asyncio.sleep(wait)
    answered = time.perf_counter()
    if journal is not None:
        if not journal.durable(position):
            await journal.sync(position)
        held = time.perf_counter() - answered
        journal.release(journal.append(2, OUTCOME, reserved=1024))
        return held
    return time.perf_counter() - answered


async def measure(folder: Path | None, callers: int, wait: float) -> tuple[float, float]:
    """Return the microseconds of CPU a request, and those for which its answer was held back, in the best round."""
    journal = Journal(folder, SystemClock()) if folder else None

    async def call(requests: int) -> float:
        return sum([await request(journal, wait) for _ in range(requests)])

    requests = REQUESTS if not wait else max(200, 40 * callers)
    best, held = float("inf"), 0.0
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        sums = await asyncio.gather(*(call(requests // callers) for _ in range(callers)))
        if (spent := (time.process_time_ns() - begun) / requests / 1000) < best:
            best, held = spent, sum(sums) / requests * 1e6
    if journal is not None:
        await journal.close()
    return best, held


def appending(folder: Path) -> float:
    """Return the microseconds of CPU of one append."""
    journal, best = Journal(folder, SystemClock()), float("inf")
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        for _ in range(REQUESTS):
            journal.append(1, INTENT)
        best = min(best, (time.process_time_ns() - begun) / REQUESTS / 1000)
        journal.release(journal.position)
    uvloop.run(journal.close())
    return best


def main() -> None:
    """Print the table."""
    beside = sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent
    with tempfile.TemporaryDirectory(dir=beside) as name:
        folder = Path(name)
        print(f"one append: {appending(folder):.1f} microseconds of CPU")
        print("a request: microseconds of CPU, and for how many its answer is held back")
        print(f"{'callers':>8}{'upstream':>14}{'CPU':>8}{'held':>8}")
        for wait, seconds in WAITS.items():
            for callers in CALLERS:
                control, _ = uvloop.run(measure(None, callers, seconds))
                spent, held = uvloop.run(measure(folder, callers, seconds))
                print(f"{callers:8}{wait:>14}{spent - control:8.1f}{held:8.0f}")


if __name__ == "__main__":
    main()
