"""What a request leaves in memory once it is over: nothing, and without the garbage collector's help.

A circle of references costs time at each collection, and keeps a request's body and answer until then.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from genai_spine.gateway.context import Call
from genai_spine.gateway.trial import Trial
from genai_spine.server.hangup import WhileThere
from tests.conftest import Gateways

LIMITS = {
    "GENAI_BUDGET_HOURLY": "1000",
    "GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE": "2",
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
@pytest.mark.parametrize(
    ("asked", "statuses"),
    [({}, [200, 200, 429]), ({"stream": True}, [200, 200, 429]), ({"model": "simulator/"}, [404, 404, 404])],
    ids=["whole", "streamed", "unknown"],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_request_leaves_nothing(
    gateways: Gateways, session: aiohttp.ClientSession, path: str, asked: dict[str, Any], statuses: list[int]
) -> None:
    """Whether it passes through or is translated, answered or refused: all that was known of it is gone with it."""
    gateway = await gateways.start(**LIMITS)
    found = []
    for _ in statuses:
        async with session.post(gateway.url + path, json={**QUESTION, **asked}, headers=gateway.headers) as answer:
            found.append((answer.status, bool(await answer.read())))
    assert [(status, True) for status in statuses] == found
    # Over the same connection, so that the server has done with the last.
    async with session.get(f"{gateway.url}/health") as answer:
        assert 200 == answer.status
    assert [] == [type(one) for one in gc.get_objects() if isinstance(one, Call | Trial | WhileThere)]
