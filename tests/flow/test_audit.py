"""The audit over HTTP: in pages, through filters, and as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from genai_spine.redact import Secret
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.types.ledger import AuditEvent, Caller
from tests.databases import KINDS, fresh_address
from tests.ledgers import NOON

MINE: Final = "gateway-test-key"
PRINT: Final = Secret(MINE).fingerprint


@pytest.fixture(params=KINDS)
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    """A gateway with an audit of five events, the last of another's key."""
    mine, other = Caller(fingerprint=PRINT), Caller(fingerprint="00000000")
    kinds = ("config_change", "llm_error", "auth_failure", "llm_error", "llm_error")
    events = [
        (f"e{number}", AuditEvent(at=(NOON + number) * 1_000_000, event=kind, caller=other if number == 4 else mine))
        for number, kind in enumerate(kinds)
    ]
    clock = ManualClock(NOON + 60)
    environ = {"GENAI_DATABASE_URL": await fresh_address(request.param)}
    async with running_gateway(environ, key=MINE, clock=clock) as running:
        await LedgerStore(running.spine.books.database, clock).record([], [], events)
        yield running


async def get(gateway: RunningGateway, query: str) -> tuple[int, str]:
    """What a caller is told."""
    async with (
        aiohttp.ClientSession(headers=gateway.headers) as session,
        session.get(f"{gateway.url}/v1/audit{query}") as response,
    ):
        return response.status, await response.text()


async def page(gateway: RunningGateway, query: str) -> tuple[list[int], Any]:
    """The numbers of the events on a page, and where the next begins."""
    status, text = await get(gateway, query)
    assert 200 == status
    told = json.loads(text)
    return [one["sequence"] for one in told["data"]], told["next"]


async def test_pages_and_filters(gateway: RunningGateway) -> None:
    """The newest first; each page tells where the next begins."""
    assert ([5, 4, 3, 2, 1], None) == await page(gateway, "")
    assert ([5, 4], "4") == await page(gateway, "?limit=2")
    assert ([2, 1], None) == await page(gateway, "?limit=2&after=3")
    assert ([5, 4, 2], None) == await page(gateway, "?event=llm_error")
    assert ([5], None) == await page(gateway, "?key=00000000")
    second = datetime.fromtimestamp(NOON + 2, UTC).isoformat().replace("+00:00", "Z")
    assert ([5, 4, 3], None) == await page(gateway, f"?since={second}")
    assert ([2, 1], None) == await page(gateway, f"?until={second}")


async def test_an_event_is_told_whole(gateway: RunningGateway) -> None:
    """Every field, those that say nothing as null, and the links of the chain."""
    told = json.loads((await get(gateway, "?event=config_change"))[1])["data"][0]
    assert ("00" * 32, 64) == (told.pop("previous"), len(told.pop("hash")))
    assert {
        "sequence": 1, "id": "e0", "at": datetime.fromtimestamp(NOON, UTC).isoformat().replace("+00:00", "Z"),
        "event": "config_change", "user": None, "key": PRINT, "api_key_id": None, "request_id": None, "model": None,
        "cost": None, "input_t": None, "output_t": None, "reason": "", "details": {},
    } == told  # fmt: skip


async def test_lines(gateway: RunningGateway) -> None:
    """All of them, the oldest first, a line of JSON each."""
    status, text = await get(gateway, "?format=jsonl")
    assert 200 == status
    assert [1, 2, 3, 4, 5] == [json.loads(line)["sequence"] for line in text.splitlines()]


@pytest.mark.parametrize(("query", "param"), [("?after=x", "after"), ("?after=-1", "after"), ("?limit=0", "limit")])
async def test_words_that_are_not_understood(gateway: RunningGateway, query: str, param: str) -> None:
    """The message names the field."""
    status, text = await get(gateway, query)
    assert (422, param) == (status, json.loads(text)["error"]["param"])


@pytest.mark.parametrize(
    "path", ["/v1/audit", "/v1/audit?format=jsonl", "/v1/usage", "/v1/usage/requests", "/v1/usage/requests/r"]
)
async def test_a_database_that_is_down(path: str, tmp_path: Path) -> None:
    """It is told as such, before anything of an answer is."""
    environ = {"GENAI_DATABASE_URL": f"postgresql://nobody@127.0.0.1:1/nothing?host={tmp_path}"}
    async with (
        running_gateway(environ, key=MINE) as gateway,
        aiohttp.ClientSession(headers=gateway.headers) as session,
        session.get(f"{gateway.url}{path}") as response,
    ):
        assert (503, "database_down") == (response.status, (await response.json())["error"]["code"])
