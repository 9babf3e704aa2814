"""The scripted upstream: at its end nobody is left hanging."""

from __future__ import annotations

import asyncio
import socket
from urllib.parse import urlsplit

import pytest

from genai_spine.testing.upstream import ScriptedUpstream


@pytest.mark.parametrize("turns", range(6))
async def test_a_caller_at_the_last_moment(turns: int) -> None:
    """However far a new connection has been let in when the server ends, it is closed, and nothing is left open."""
    async with ScriptedUpstream() as upstream:
        place = urlsplit(upstream.url)
        caller = socket.create_connection((place.hostname, place.port), timeout=10)
        for _ in range(turns):
            await asyncio.sleep(0)  # a turn of the loop, in which the connection gets one step further
    with caller:
        assert b"" == await asyncio.to_thread(caller.recv, 1)
    assert 0 == upstream.open_connections
