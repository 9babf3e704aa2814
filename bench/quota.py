"""What limits and budgets cost: ``python -m bench.quota`` prints microseconds of CPU a request.

A request is let in by three rate limits, reserves on two budgets, commits, and settles its tokens. The best of several
rounds is shown, for everything else that the machine does only ever adds. The same is measured at a Redis server,
started for it, without the server's own work: one request at a time, and a hundred at once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Collection
from typing import Final

from genai_spine.clock import SystemClock
from genai_spine.quota.budgets import Budgets, Spent
from genai_spine.quota.rate_limits import RateLimits
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.memory import MemoryState
from genai_spine.shared_state.redis.state import RedisState
from genai_spine.types.limits import MOST, Limit, LimitScope
from genai_spine.types.principal import Principal

ROUNDS: Final = 7
REQUESTS: Final = 2000
AT_ONCE: Final = 100


async def nothing_spent(scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:  # noqa: ARG001  # as a ledger's
    """A ledger without rows."""
    return dict.fromkeys(subjects, Spent(0))


def caller() -> Principal:
    """A caller with a limit of each kind, and a budget for the hour and for the month."""
    key = f"bench {uuid.uuid4()}"
    return Principal(
        key,
        (
            Limit(kind="requests", scope="key", subject=key, window="minute", amount=MOST),
            Limit(kind="tokens", scope="key", subject=key, window="minute", amount=MOST),
            Limit(kind="concurrent", scope="key", subject=key, window="none", amount=MOST),
            Limit(kind="usd", scope="key", subject=key, window="hour", amount=MOST),
            Limit(kind="usd", scope="key", subject=key, window="month", amount=MOST),
        ),
    )


async def measure(state: SharedState, who: Principal, at_once: int) -> float:
    """Return the microseconds of CPU that a request costs."""
    budgets, rates = Budgets(state, SystemClock(), nothing_spent), RateLimits(state)
    ids = map(str, itertools.count())

    async def request() -> None:
        call = f"{who.key}:{next(ids)}"
        if not who.limits:
            return
        admission = await rates.admit(who, call, 1200)
        reserved = await budgets.reserve(who, call, 1_000_000)
        await budgets.commit(reserved.hold, 400_000)
        await rates.settle(admission, 900)

    async def several() -> None:
        for _ in range(REQUESTS // at_once // ROUNDS):
            await request()

    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time()
        await asyncio.gather(*[several() for _ in range(at_once)])
        best = min(best, (time.process_time() - before) / (REQUESTS // at_once // ROUNDS * at_once))
    return best * 1e6


async def compare(url: str) -> None:
    """Measure in memory and at a Redis server, and print."""
    print("microseconds of CPU a request")
    memory = MemoryState(1024, SystemClock())
    print(f"{'without limits':28}{await measure(memory, Principal('nobody'), 1):8.1f}")
    print(f"{'in memory':28}{await measure(memory, caller(), 1):8.1f}")
    redis = RedisState(url, SystemClock(), grace_seconds=0)
    try:
        print(f"{'at Redis, one at a time':28}{await measure(redis, caller(), 1):8.1f}")
        print(f"{'at Redis, a hundred at once':28}{await measure(redis, caller(), AT_ONCE):8.1f}")
    finally:
        await redis.close()


def main() -> None:
    """Start Redis, and measure."""
    from tests.redis_server import RedisServer  # noqa: PLC0415  # its packages are for tests

    with RedisServer() as redis:
        asyncio.run(compare(redis.url))


if __name__ == "__main__":
    main()
