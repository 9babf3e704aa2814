"""What an answered request leaves in memory: nothing, and without the garbage collector's help.

A circle of references costs time at each collection, and keeps a request's body and answer until then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import aiohttp
import pytest

from genai_spine.gateway.context import Call
from genai_spine.gateway.trial import Trial
from genai_spine.server.hangup import WhileThere
from tests.conftest import Gateways

LIMITS = {
    "GENAI_BUDGET_HOURLY": "1000",
    "GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE": "1000",
    "GENAI_RATE_LIMIT_CONCURRENT": "10",
}
QUESTION = {"model": "simulator/echo", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_an_answered_request_leaves_nothing(
    gateways: Gateways, session: aiohttp.ClientSession, path: str, *, stream: bool
) -> None:
    """Whether it passes through or is translated, whole or streamed: all that was known of it is gone with it."""
    gateway = await gateways.start(**LIMITS)
    for _ in range(3):
        async with session.post(
            gateway.url + path, json={**QUESTION, "stream": stream}, headers=gateway.headers
        ) as answer:
            assert (200, True) == (answer.status, bool(await answer.read()))
    # Over the same connection, so that the server has done with the last.
    async with session.get(f"{gateway.url}/health") as answer:
        assert 200 == answer.status
    assert [] == [type(one) for one in gc.get_objects() if isinstance(one, Call | Trial | WhileThere)]
