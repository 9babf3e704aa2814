"""Usage over HTTP: figures as JSON and CSV, requests in pages and one by one, and whose they are."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import pytest

from genai_spine.identity.api_keys import secret_of
from genai_spine.redact import Secret
from genai_spine.storage.records import KeyFacts, UserFacts
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.types.ledger import Caller
from genai_spine.types.usage import CostByKind, Usage
from tests.databases import KINDS, fresh_address
from tests.ledgers import NOON, call, request

MINE: Final = f"spine-{'m' * 12}-{'m' * 43}"
OTHERS: Final = f"spine-{'o' * 12}-{'o' * 43}"
IDS: Final = {MINE: 1, OTHERS: 2}
"""Of the users whose keys they are, and of the keys."""
BILL: Final = 1_234_567_890
DAY: Final = datetime.fromtimestamp(NOON, UTC).date().isoformat()


def of(key: str, **more: Any) -> Caller:
    """The holder of a key."""
    return Caller(user=IDS[key], api_key=IDS[key], fingerprint=Secret(key).fingerprint, **more)


@pytest.fixture(params=KINDS)
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[RunningGateway]:
    """A gateway whose clock stands an hour after noon, with a ledger of what two callers asked since noon."""
    environ = {"GENAI_DATABASE_URL": await fresh_address(request.param)}
    clock = ManualClock(NOON + 3600)
    async with running_gateway(environ, clock=clock) as running:
        identities = running.spine.office.identities
        for key, number in IDS.items():
            await identities.add_user(UserFacts(name=f"user {number}"))
            await identities.add_key(KeyFacts(name="x", user=number, scopes=("read",)), secret_of(Secret(key)))
        await LedgerStore(running.spine.books.database, clock).record(*ledger(), [])
        yield running


def ledger() -> tuple[list[Any], list[Any]]:
    """Three calls of one caller for two requests, and one of another."""
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=400, reasoning_tokens=20)
    mine = of(MINE, tags=("=HYPERLINK()",))
    calls = [
        call("c1", request="r1", caller=mine, outcome="error", error="overloaded", usage=None, cost=0, seconds=4.0),
        call(
            "c2",
            request="r1",
            number=2,
            caller=mine,
            provider="groq",
            model="llama",
            usage=usage,
            cost=1_234_567_890,
            by_kind=CostByKind(input=1_000_000_000, output=230_000_000, cache_read=4_567_890),
        ),
        call("c3", request="r2", at=NOON + 60, caller=mine, usage=usage, cost=1, first_token_seconds=None),
        call("c4", request="r3", at=NOON + 120, caller=of(OTHERS), usage=usage, cost=10**12, cost_estimated=True),
    ]
    requests = [
        request("r1", caller=mine, attempts=2, provider="groq", model="llama", cost=BILL, fallback=True),
        request("r2", at=NOON + 60, caller=mine),
        request("r3", at=NOON + 120, caller=of(OTHERS)),
    ]
    return calls, requests


async def get(gateway: RunningGateway, path: str, *, key: str = MINE, accept: str = "*/*") -> tuple[int, Any]:
    """What a caller is told: the status, and the body decoded where it is JSON."""
    headers = {"authorization": f"Bearer {key}", "accept": accept}
    async with aiohttp.ClientSession() as session, session.get(f"{gateway.url}{path}", headers=headers) as response:
        if response.content_type == "application/json":
            return response.status, await response.json()
        return response.status, await response.text()


async def test_figures_by_provider(gateway: RunningGateway) -> None:
    """Calls, errors, tokens by kind, exact cost and percentiles, by what was asked for; the caller's own alone."""
    status, told = await get(gateway, "/v1/usage?by=provider,model&since=2h")
    assert 200 == status
    assert (["provider", "model"], f"{DAY}T11:00:00Z", f"{DAY}T13:00:00Z") == (told["by"], told["start"], told["end"])
    groq, openai = told["rows"]
    near = {part: pytest.approx(1.5, rel=0.05) for part in ("p50", "p95", "p99")}
    first = {part: pytest.approx(0.25, rel=0.05) for part in ("p50", "p95", "p99")}
    expected = {
        "provider": "groq",
        "model": "llama",
        "calls": 1,
        "errors": 0,
        "tokens": {"input": 1000, "output": 100, "cache_read": 400, "cache_write": 0, "reasoning": 20},
        "cost_usd": 0.00123456789,
        "cost_estimated_calls": 0,
        "price_unknown_calls": 0,
        "seconds": near,
        "first_token_seconds": first,
    }
    assert expected == groq
    _, all_told = await get(gateway, "/v1/usage?by=provider,model&since=2h", key=gateway.key)
    assert expected == all_told["rows"][0]
    assert ("openai", 2, 1, 1e-12) == (openai["provider"], openai["calls"], openai["errors"], openai["cost_usd"])
    assert (3, 1, 0.001234567891) == tuple(told["totals"][name] for name in ("calls", "errors", "cost_usd"))


async def test_each_sees_his_own(gateway: RunningGateway) -> None:
    """What others asked is in no figure, list or story, whatever filter is given."""
    others = Secret(OTHERS).fingerprint
    _, told = await get(gateway, "/v1/usage?by=key", key=OTHERS)
    assert [(others, 1)] == [(row["key"], row["calls"]) for row in told["rows"]]
    _, told = await get(gateway, f"/v1/usage?key={others}")
    assert (0, None) == (told["totals"]["calls"], told["totals"]["seconds"])
    _, page = await get(gateway, f"/v1/usage/requests?key={others}")
    assert [] == page["data"]
    status, told = await get(gateway, "/v1/usage/requests/r3")
    assert (404, "not_found") == (status, told["error"]["code"])
    _, told = await get(gateway, "/v1/usage?by=user", key=gateway.key)
    assert {(1, 3), (2, 1)} == {(row["user"], row["calls"]) for row in told["rows"]}, "an administrator sees all"


async def test_figures_by_time_tag_and_status(gateway: RunningGateway) -> None:
    """Days and hours are those of UTC; a tag's rows are its calls; no group is a report of all."""
    cases: list[tuple[str, list[dict[str, Any]]]] = [
        ("day", [{"day": DAY}]),
        ("hour", [{"hour": f"{DAY}T12:00:00Z"}]),
        ("tag", [{"tag": "=HYPERLINK()"}]),
        ("status", [{"status": "error"}, {"status": "success"}]),
        ("user", [{"user": 1}]),
        ("key", [{"key": Secret(MINE).fingerprint, "api_key_id": 1}]),
        ("", []),
    ]
    for by, expected in cases:
        _, told = await get(gateway, f"/v1/usage?by={by}")
        assert expected == [{name: row[name] for name in one} for one, row in zip(expected, told["rows"], strict=True)]
        assert 3 == told["totals"]["calls"]


@pytest.mark.parametrize(("query", "accept"), [("&format=csv", "*/*"), ("", "text/csv")])
async def test_figures_as_csv(gateway: RunningGateway, query: str, accept: str) -> None:
    """A line for each group; money exactly; a caller's words are no formula in anybody's spreadsheet."""
    status, text = await get(gateway, f"/v1/usage?by=tag,provider{query}", accept=accept)
    assert 200 == status
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [("'=HYPERLINK()", "groq", "0.00123456789"), ("'=HYPERLINK()", "openai", "0.000000000001")] == [
        (row["tag"], row["provider"], row["cost_usd"]) for row in rows
    ]
    assert ("1000", "400", "1") == tuple(rows[0][name] for name in ("input_tokens", "cache_read_tokens", "calls"))
    assert "" == rows[1]["first_token_seconds_p50"] or float(rows[1]["first_token_seconds_p50"]) > 0


async def test_requests_in_pages(gateway: RunningGateway) -> None:
    """The newest first; each page tells where the next begins."""
    _, first = await get(gateway, "/v1/usage/requests?limit=1")
    assert ["r2"] == [one["id"] for one in first["data"]]
    _, second = await get(gateway, f"/v1/usage/requests?limit=1&after={first['next']}")
    assert (["r1"], None) == ([one["id"] for one in second["data"]], second["next"])
    _, page = await get(gateway, "/v1/usage/requests?provider=groq")
    assert ["r1"] == [one["id"] for one in page["data"]]


async def test_the_story_of_a_request(gateway: RunningGateway) -> None:
    """A request with each of its calls, in their order."""
    status, told = await get(gateway, "/v1/usage/requests/r1")
    assert 200 == status
    assert {
        "id": "r1", "request_id": "q-r1", "at": f"{DAY}T12:00:00Z", "user": 1, "api_key_id": 1,
        "key": Secret(MINE).fingerprint, "tags": ["=HYPERLINK()"], "door": "openai_chat",
        "asked_model": "gpt-4o-mini", "provider": "groq", "model": "llama", "http_status": 200, "attempts": 2,
        "affinity": False, "passthrough": True, "status": "success", "error": None, "fallback": True,
        "strategy": None, "stream": False, "cost_usd": 0.00123456789, "price_known": True, "cost_estimated": False,
        "tokens": {"input": 100, "output": 20, "cache_read": 0, "cache_write": 0, "reasoning": 0},
        "seconds": 1.75, "first_token_seconds": 0.5,
    } == told["request"]  # fmt: skip
    assert [("c1", "openai", "error", "overloaded", 4.0), ("c2", "groq", "success", None, 1.5)] == [
        tuple(one[name] for name in ("id", "provider", "status", "error", "seconds")) for one in told["calls"]
    ]
    assert [
        {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0},
        {"input": 0.001, "output": 0.00023, "cache_read": 0.00000456789, "cache_write": 0},
    ] == [one["cost_usd_by_kind"] for one in told["calls"]]
    _, told = await get(gateway, "/v1/usage/requests/r2")
    assert [None] == [one["cost_usd_by_kind"] for one in told["calls"]]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/usage?by=colour", "by"),
        ("/v1/usage?since=yesterday", "since"),
        ("/v1/usage?since=999999w", "since"),
        ("/v1/usage?since=1d&until=2d", "since"),
        ("/v1/usage?until=2026-13-01", "until"),
        ("/v1/usage?user=ada", "user"),
        ("/v1/usage?format=xml", "format"),
        ("/v1/usage/requests?after=nowhere", "after"),
        ("/v1/usage/requests?after=99999999999999999999.x", "after"),
        ("/v1/usage/requests?limit=0", "limit"),
    ],
)
async def test_words_that_are_not_understood(gateway: RunningGateway, path: str, param: str) -> None:
    """The message names the field."""
    status, told = await get(gateway, path)
    assert (422, param) == (status, told["error"]["param"])
    assert told["error"]["message"].startswith(param)


async def test_times_are_read_in_any_form(gateway: RunningGateway) -> None:
    """Dates, moments with and without an offset, and how long ago: whole hours are counted."""
    for since, until, calls in (
        (DAY, f"{DAY}T12:00", 0),
        (DAY, f"{DAY}T12:00:01Z", 3),
        (f"{DAY}T14:59%2B02:00", f"{DAY}T15:00%2B02:00", 3),
        (f"{DAY}T14:59+02:00", f"{DAY}T15:00+02:00", 3),
        ("30m", "29m", 3),
        ("90m", "61m", 0),
    ):
        _, told = await get(gateway, f"/v1/usage?since={since}&until={until}")
        assert calls == told["totals"]["calls"], (since, until)
