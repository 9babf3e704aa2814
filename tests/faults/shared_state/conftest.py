"""A server of its own for each test, and workers that share it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from genai_spine.clock import Clock, SystemClock
from genai_spine.shared_state.redis.link import Patience
from genai_spine.shared_state.redis.state import RedisState
from tests.faults.shared_state.workers import (
    NEVER_BEATS,
    PATIENT,
    Make,
)
from tests.redis_server import RedisServer


@pytest.fixture(name="server")
def fixture_server(redis_server: RedisServer) -> RedisServer:
    """The server, empty and running."""
    redis_server.start_anew()
    return redis_server


@pytest.fixture(name="worker")
async def fixture_worker(server: RedisServer) -> AsyncIterator[Make]:
    """Makes workers that share the server; each looks after what it holds only when a test says so."""
    async with AsyncExitStack() as stack:

        def make(
            clock: Clock | None = None, grace: float = 0, patience: Patience = PATIENT, beat: float = NEVER_BEATS
        ) -> RedisState:
            state = RedisState(
                server.url,
                clock or SystemClock(),
                grace_seconds=grace,
                beat_seconds=beat,
                patience=patience,
            )
            stack.push_async_callback(state.close)
            return state

        yield make
