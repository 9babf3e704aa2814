"""Workers that share a Redis server: what they take there, and how the server loses its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from genai_spine.shared_state.meters import Claim, Hold, Meter, Taken, Unseeded
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from tests.redis_server import RedisServer

__all__ = [
    "CLAIMS",
    "FLIGHT",
    "HASTY",
    "LOSSES",
    "MONEY",
    "NEVER_BEATS",
    "PATIENT",
    "RATE",
    "Make",
    "seeded",
    "stands",
    "taken",
    "taken_rate",
]

MONEY: Final = Meter("usd", "month", accounted=True)
RATE: Final = Meter("requests", "month")
FLIGHT: Final = Meter("in flight", "flight")
CLAIMS: Final = (Claim(MONEY, 10, 100), Claim(RATE, 1, 50), Claim(FLIGHT, 1, 50))
NEVER_BEATS: Final = 3600.0
PATIENT: Final = Patience(connect=20, command=20)
HASTY: Final = Patience(connect=0.2, command=0.05, rest=10, longest_rest=40)

Make = Callable[..., RedisState]


async def seeded(state: RedisState, used: int = 0, *counted: str) -> None:
    """Tell the meter of money what the ledger counts."""
    found = await state.take("asking", [Claim(MONEY, 0)], 60)
    assert isinstance(found, Unseeded), found
    assert await state.seed(found.gaps[0], used, counted)


async def taken(state: RedisState, hold_id: str) -> Hold:
    """A hold of 10 on the meter of money, and of 1 on the others."""
    found = await state.take(hold_id, CLAIMS, 600)
    assert isinstance(found, Taken), found
    return found.hold


async def taken_rate(state: RedisState, hold_id: str, seconds: float) -> None:
    """Hold 1 by rate, for so long."""
    assert isinstance(await state.take(hold_id, [CLAIMS[1]], seconds), Taken)


async def stands(state: RedisState) -> list[tuple[int, int]]:
    """What is used and held: of money, by rate, in flight."""
    return [(one.used, one.held) for one in await state.read([MONEY, RATE, FLIGHT])]


def forgets(server: RedisServer) -> None:
    """It is flushed, and goes on."""
    server.forget()


def starts_anew(server: RedisServer) -> None:
    """It dies with all that it knew."""
    server.start_anew()


def comes_back_as_it_was(server: RedisServer) -> None:
    """It dies, and comes back with what it had saved, which may be old."""
    server.save()
    server.stop()
    server.start()


LOSSES: Final = (forgets, starts_anew, comes_back_as_it_was)
