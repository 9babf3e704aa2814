"""The ledger's rows: written once, added up once, whatever is told twice, at once, or in odd values."""

from __future__ import annotations

import asyncio
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genai_spine.storage.sql.bulk import texts_of_moments
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.fitting import moment
from genai_spine.storage.sql.ledger import LedgerStore, Recorded, Spent
from genai_spine.storage.sql.tables import (
    EVERYBODY,
    audit,
    provider_usage,
    requests,
    usage_histograms,
    usage_rollups,
)
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import AuditEvent, Caller
from genai_spine.types.usage import CostByKind, Usage
from tests.databases import fresh_database, plans_of
from tests.ledgers import NOON, call, request, rows

ADA = Caller(user=7, api_key=70, fingerprint="aaaa0001", tags=("alpha", "beta"))
GRACE = Caller(fingerprint="bbbb0002")
AT = datetime.fromtimestamp(NOON, UTC)


async def whole(database: Database, span: int = 1) -> list[dict[str, Any]]:
    """The rows that add up everybody's calls, tagged or not."""
    return [
        row
        for row in await rows(database, usage_rollups)
        if (row["span"], row["tag"], row["user_id"]) == (span, "", EVERYBODY)
    ]


async def test_a_call_becomes_a_row(database: Database) -> None:
    """All that the ledger was told of a call stands in its row, the money exactly."""
    usage = Usage(input_tokens=1000, output_tokens=50, cache_read_tokens=300, reasoning_tokens=10)
    told = call(
        "c1",
        caller=ADA,
        usage=usage,
        cost=123_456_789_012,
        by_kind=CostByKind(input=100_000_000_000, output=23_000_000_000, cache_read=456_789_000, cache_write=12),
        seconds=2.3456,
        first_token_seconds=None,
        outcome="error",
        error="overloaded",
        fallback=True,
        strategy="quality",
        chat=5,
        message=6,
        stream=True,
        cost_estimated=True,
    )
    recorded = await LedgerStore(database, ManualClock(NOON + 60)).record([told], [], [])
    assert Recorded(calls=frozenset({"c1"})) == recorded
    (row,) = await rows(database, provider_usage)
    assert {
        "id": 1,
        "call_id": "c1",
        "request": "r-c1",
        "request_id": "q-c1",
        "number": 1,
        "user_id": 7,
        "api_key_id": 70,
        "key_fingerprint": "aaaa0001",
        "tags": ["alpha", "beta"],
        "provider_name": "openai",
        "model_name": "gpt-4o-mini",
        "provider_key": "0123abcd",
        "chat_id": 5,
        "message_id": 6,
        "tokens_used": 1050,
        "input_tokens": 1000,
        "output_tokens": 50,
        "cache_read_tokens": 300,
        "cache_write_tokens": 0,
        "reasoning_tokens": 10,
        "cost_picodollars": 123_456_789_012,
        "input_cost_picodollars": 100_000_000_000,
        "output_cost_picodollars": 23_000_000_000,
        "cache_read_cost_picodollars": 456_789_000,
        "cache_write_cost_picodollars": 12,
        "cost": pytest.approx(0.123456789012),
        "price_known": True,
        "cost_estimated": True,
        "over_held": False,
        "response_time_ms": 2346,
        "first_token_ms": None,
        "status": "error",
        "error": "overloaded",
        "reason": "the only one",
        "strategy": "quality",
        "retry": False,
        "fallback": True,
        "stream": True,
        "door": "openai_chat",
        "created_at": AT,
        "recorded_at": AT + timedelta(minutes=1),
    } == row


async def test_a_request_becomes_a_row(database: Database) -> None:
    """All that the ledger was told of a request stands in its row, a refused one's too."""
    done = request("r1", caller=GRACE, outcome="error", status=402, error="budget_exceeded", usage=None, cost=0)
    recorded = await LedgerStore(database).record([], [done], [])
    assert Recorded(requests=frozenset({"r1"})) == recorded
    (row,) = await rows(database, requests)
    assert ("r1", "q-r1", None, "bbbb0002", 402, "budget_exceeded", 0, 1750, 500, AT) == (
        row["id"],
        row["request_id"],
        row["user_id"],
        row["key_fingerprint"],
        row["http_status"],
        row["error"],
        row["cost_picodollars"],
        row["response_time_ms"],
        row["first_token_ms"],
        row["created_at"],
    )


async def test_what_is_told_twice_is_kept_and_counted_once(database: Database) -> None:
    """Within a batch and over several, each id is written once; the answer names what was new."""
    store = LedgerStore(database)
    event = AuditEvent(at=NOON * 1_000_000, event="config_change")
    first = await store.record([call("a"), call("b"), call("a")], [request("r")] * 2, [("e", event)] * 2)
    assert Recorded(frozenset("ab"), frozenset("r"), frozenset("e")) == first
    again = await store.record([call("b"), call("c")], [request("r"), request("s")], [("e", event), ("f", event)])
    assert Recorded(frozenset("c"), frozenset("s"), frozenset("f")) == again
    assert [3, 2, 2] == [len(await rows(database, table)) for table in (provider_usage, requests, audit)]
    assert [(3, 81_000_000)] == [(row["calls"], row["cost_picodollars"]) for row in await whole(database)]
    assert Recorded() == await store.record([], [], [])


async def test_a_long_batch_is_told_twice_in_part(database: Database) -> None:
    """However many rows go into a statement, exactly those that were not there are new, and the sums are of these."""
    store = LedgerStore(database)
    told = [call(f"c{number:03}", cost=number) for number in range(300)]
    over = [request(f"r{number:03}") for number in range(300)]
    first = await store.record(told[100:250], over[:17], [])
    assert {begun.id for begun, _ in told[100:250]} == first.calls
    again = await store.record(told, over, [])
    assert {f"c{number:03}" for number in range(300) if not 100 <= number < 250} == again.calls
    assert {f"r{number:03}" for number in range(17, 300)} == again.requests
    assert Recorded() == await store.record(told, over, [])
    assert [300, 300] == [len(await rows(database, table)) for table in (provider_usage, requests)]
    assert [(300, sum(range(300)))] == [(row["calls"], row["cost_picodollars"]) for row in await whole(database)]


async def test_what_rows_have_in_common_is_each_row_s(database: Database) -> None:
    """Whatever calls and requests of a batch share with which others, each row says what was told of it."""
    store = LedgerStore(database)
    for size in (200, 3):
        batch = f"{size}"
        told = [
            call(
                f"{batch}-{number:03}",
                model=f"model {batch} {number % 7}",
                caller=(ADA, GRACE)[number % 2],
                outcome=("success", "error", "timeout")[number % 3],
                retry=number % 5 == 0,
                cost=number,
            )
            for number in range(size)
        ]
        over = [request(f"{batch}-{number:03}", asked_model=f"asked {number % 11}", cost=1) for number in range(size)]
        await store.record(told, over, [])
    found = {row["call_id"]: row for row in await rows(database, provider_usage)}
    for id_, row in found.items():
        batch, number = id_.split("-")[0], int(id_.split("-")[1])
        assert (
            f"model {batch} {number % 7}",
            (ADA, GRACE)[number % 2].fingerprint,
            ("success", "error", "timeout")[number % 3],
            number % 5 == 0,
            number,
        ) == (row["model_name"], row["key_fingerprint"], row["status"], row["retry"], row["cost_picodollars"])
    asked = {row["id"]: row["asked_model"] for row in await rows(database, requests)}
    assert {id_: f"asked {int(id_.split('-')[1]) % 11}" for id_ in found} == asked
    sums = await whole(database)
    assert (203, sum(range(200)) + sum(range(3))) == (
        sum(row["calls"] for row in sums),
        sum(row["cost_picodollars"] for row in sums),
    )


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.0, 0), (0.0127, 13), (1e5, 100_000_000), (math.nan, None), (-1.5, None), (math.inf, 2_000_000_000)],
)
async def test_durations(database: Database, seconds: float, milliseconds: int | None) -> None:
    """They are kept in milliseconds; what is no duration is none, and no other of the batch suffers by it."""
    told = [call("odd", seconds=1.0, first_token_seconds=seconds), call("usual"), call("cut", first_token_seconds=None)]
    await LedgerStore(database).record(told, [request("odd", seconds=seconds)], [])
    found = {row["call_id"]: row["first_token_ms"] for row in await rows(database, provider_usage)}
    assert {"odd": milliseconds, "usual": 250, "cut": None} == found
    assert [(milliseconds, 500)] == [
        (row["response_time_ms"], row["first_token_ms"]) for row in await rows(database, requests)
    ]


async def test_what_nobody_tells_of_a_cost(database: Database) -> None:
    """What a cost is made of is NULL where nobody tells, and nothing where there is none."""
    told = [
        call("told", by_kind=CostByKind(input=7, output=2**70)),
        call("untold", by_kind=None),
        call("free", by_kind=None, cost=0),
    ]
    await LedgerStore(database).record(told, [], [])
    kinds = ("input", "output", "cache_read", "cache_write")
    assert {"told": [7, 2**60, 0, 0], "untold": [None] * 4, "free": [0] * 4} == {
        row["call_id"]: [row[f"{kind}_cost_picodollars"] for kind in kinds]
        for row in await rows(database, provider_usage)
    }


@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(NOON * 10**6, NOON * 10**6 + 3 * 10**6), max_size=9))
def test_moments_as_texts(moments: list[int]) -> None:
    """Each is what SQLAlchemy makes of it, whichever came before; what no calendar has is as near as may be."""
    text = texts_of_moments()
    for since in moments:
        assert moment(since).strftime("%Y-%m-%d %H:%M:%S.%f").zfill(26) == text(since)


async def test_calls_are_added_up(database: Database) -> None:
    """By hour and day, by user and key and for everybody, for the whole and each tag: the sums of their rows."""
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=3)
    await LedgerStore(database).record(
        [
            call("a", caller=ADA, usage=usage, cost=5),
            call("b", caller=ADA, usage=usage, cost=6, cost_estimated=True, at=NOON + 3599),
            call("c", caller=GRACE, usage=None, cost=0, price_known=False, at=NOON + 3600),
        ],
        [],
        [],
    )
    hour = NOON // 3600
    sums = {
        tuple(row[name] for name in ("span", "tag", "user_id", "hour", "api_key_id", "key_fingerprint")): tuple(
            row[column.name] for column in usage_rollups.columns if not column.primary_key
        )
        for row in await rows(database, usage_rollups)
    }
    adas, graces = (2, 20, 10, 4, 2, 6, 11, 1, 0), (1, 0, 0, 0, 0, 0, 0, 0, 1)
    both = tuple(map(sum, zip(adas, graces, strict=True)))
    expected = {
        (1, "", 7, hour, 70, "aaaa0001"): adas,
        (1, "", 0, hour + 1, 0, "bbbb0002"): graces,
        (1, "", EVERYBODY, hour, EVERYBODY, ""): adas,
        (1, "", EVERYBODY, hour + 1, EVERYBODY, ""): graces,
        (24, "", 7, hour - 12, 70, "aaaa0001"): adas,
        (24, "", 0, hour - 12, 0, "bbbb0002"): graces,
        (24, "", EVERYBODY, hour - 12, EVERYBODY, ""): both,
    }
    for tag in ADA.tags:
        for span, start in ((1, hour), (24, hour - 12)):
            expected |= {
                (span, tag, 7, start, 70, "aaaa0001"): adas,
                (span, tag, EVERYBODY, start, EVERYBODY, ""): adas,
            }
    assert expected == sums
    times = [row for row in await rows(database, usage_histograms) if (row["span"], row["tag"]) == (24, "")]
    counts = {(row["user_id"], row["measure"]): row["calls"] for row in times}
    measures = ("total", "first_token")
    assert {(who, of): n for who, n in ((7, 2), (0, 1), (EVERYBODY, 3)) for of in measures} == counts


async def test_several_write_at_once(database: Database) -> None:
    """Workers that tell the same and different calls at once wait for each other, and nothing is counted twice."""
    others = [database, *(Database(database.url) for _ in range(3))]
    told = [call(f"c{number}", caller=(ADA, GRACE)[number % 2], at=NOON + 600 * number, cost=1) for number in range(60)]
    events = [(f"e{number}", AuditEvent(at=number, event="llm_retry")) for number in range(20)]
    shuffled = random.Random(7)  # noqa: S311  # the same disorder each time

    async def write(worker: Database) -> int:
        mine = shuffled.sample(told, len(told))
        new = 0
        for start in range(0, len(mine), 10):
            recorded = await LedgerStore(worker).record(mine[start : start + 10], [], shuffled.sample(events, 5))
            new += len(recorded.calls)
        return new

    assert len(told) == sum(await asyncio.gather(*map(write, others)))
    assert len(told) == len(await rows(database, provider_usage))
    assert len(told) == sum(row["calls"] for row in await whole(database))
    chain = await rows(database, audit)
    assert list(range(1, len(chain) + 1)) == [row["sequence"] for row in chain]
    for worker in others[1:]:
        await worker.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_odd_value_loses_a_row(database: Database, data: st.DataObject) -> None:
    """Any text, number and duration that a record can hold becomes a row."""
    texts = st.text(st.characters(exclude_categories=()), max_size=400)
    numbers = st.integers(-(2**70), 2**70)
    seconds = st.floats()
    ids = data.draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    calls = [
        call(
            one,
            at=data.draw(st.floats(-1e15, 1e15)),
            **{
                name: data.draw(texts)
                for name in ("request", "request_id", "door", "provider", "model", "key", "reason")
            },
            outcome=data.draw(texts),
            error=data.draw(texts),
            caller=Caller(fingerprint=data.draw(texts), tags=tuple(data.draw(st.lists(texts, max_size=3)))),
            number=data.draw(numbers),
            cost=data.draw(numbers),
            usage=Usage(input_tokens=data.draw(numbers), output_tokens=data.draw(numbers)),
            seconds=1.0,
            first_token_seconds=data.draw(seconds),
        )
        for one in ids
    ]
    recorded = await LedgerStore(database).record(calls, [], [])
    assert () == recorded.rejected
    await LedgerStore(database).record(calls, [], [])
    async with database.writing() as connection:
        count = (await connection.execute(sa.select(sa.func.count()).select_from(provider_usage))).scalar_one()
        assert len(ids) == count
        for table in (provider_usage, usage_rollups, usage_histograms):
            await connection.execute(table.delete())


async def test_a_refused_row_is_set_aside(database: Database) -> None:
    """A row that the database refuses keeps no other from being written, and is named with the reason."""
    async with database.writing() as connection:
        await connection.execute(sa.text("CREATE UNIQUE INDEX one_reason ON provider_usage (reason)"))
        await connection.execute(sa.text("CREATE UNIQUE INDEX one_error ON requests (error)"))
    calls = [call(f"c{number}", reason="same" if number in {3, 8} else f"{number}") for number in range(10)]
    over = [request("r0"), request("r1")]
    store = LedgerStore(database)
    recorded = await store.record(calls, over, [("e", AuditEvent(at=0, event="nav"))])
    assert {"c8", "r1"} == {one.id for one in recorded.rejected}
    assert all(one.reason for one in recorded.rejected)
    assert {f"c{number}" for number in range(10) if number != 8} == recorded.calls
    assert (frozenset({"r0"}), frozenset({"e"})) == (recorded.requests, recorded.events)
    assert 9 == sum(row["calls"] for row in await whole(database))


@pytest.mark.parametrize(
    ("scope", "subject", "expected"), [("global", 0, {"a", "b", "c", "d"}), ("user", 7, {"b", "d"}), ("key", 70, {"b"})]
)
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 86400), (0, 3600), (1800, 1900), (-7200, 3600 * 40), (-1, 86399), (0.5, 5000), (-40 * 86400, 40 * 86400)],
)
async def test_what_was_spent_in_a_window(
    database: Database, scope: str, subject: int, expected: set[str], start: float, end: float
) -> None:
    """Exactly the calls that began in the window count, whether it is of whole hours or not."""
    clock = ManualClock(NOON)
    store = LedgerStore(database, clock)
    other_key = Caller(user=7, api_key=71, fingerprint="aaaa0003")
    begun = {"a": (GRACE, 0.0), "b": (ADA, 1800.0), "c": (GRACE, 86399.5), "d": (other_key, 3600.0)}
    costs = {"a": 1_000_001, "b": 20_000_000, "c": 300_000_000, "d": 4_000_000_000}
    for name, (caller, at) in begun.items():
        await store.record([call(name, caller=caller, at=NOON + at, cost=costs[name])], [], [])
    inside = {name for name in expected if start <= begun[name][1] < end}
    others = () if scope == "global" else (9, 90)
    spent = await store.spent(
        scope,
        (subject, *others),
        AT + timedelta(seconds=start),
        AT + timedelta(seconds=end),
        recent=timedelta(minutes=5),
    )
    its = Spent(math.ceil(sum(costs[name] for name in inside) / 1000), frozenset(inside))
    assert {subject: its, **dict.fromkeys(others, Spent(0, frozenset()))} == spent


async def test_what_several_spent(database: Database) -> None:
    """Asked for together, each has what he spent himself, of whole hours and of their parts."""
    store = LedgerStore(database, ManualClock(NOON))
    callers = {number: Caller(user=number, api_key=10 * number, fingerprint="aaaa0003") for number in (1, 2, 3)}
    for number, caller in callers.items():
        for at in (0, 3600, 7200):
            await store.record([call(f"{number}-{at}", caller=caller, at=NOON + at, cost=number * 1000)], [], [])
    window = (AT, AT + timedelta(hours=2, minutes=30))
    for scope, tenfold in (("user", 1), ("key", 10)):
        spent = await store.spent(scope, [number * tenfold for number in callers], *window)
        assert {number * tenfold: 3 * number for number in callers} == {
            id_: one.nanodollars for id_, one in spent.items()
        }
        assert all(len(one.recent) == 3 for one in spent.values())


@pytest.mark.parametrize("scope", ["user", "key"])
async def test_only_what_was_written_of_late_is_looked_at(scope: str) -> None:
    """However much somebody ever spent: SQLite, which counts nothing beforehand, would look at all that is his."""
    async with fresh_database("sqlite") as database:
        spent = LedgerStore(database, ManualClock(NOON)).spent(scope, [7, 8], AT, AT + timedelta(days=1))
        *_, late = await plans_of(database, spent)
    assert ["SEARCH provider_usage USING INDEX ix_provider_usage_recorded_at (recorded_at>?)"] == late


@pytest.mark.parametrize("scope", ["user", "key"])
async def test_what_somebody_spent_is_found_among_his_own(scope: str) -> None:
    """However much others spent, SQLite looks at no sums of theirs, though it has never counted how many there are."""
    async with fresh_database("sqlite") as database:
        spent = LedgerStore(database, ManualClock(NOON)).spent(scope, [7, 8], AT, AT + timedelta(days=1))
        sums, _ = await plans_of(database, spent)
    key = "PRIMARY KEY (span=? AND tag=? AND user_id=? AND hour>? AND hour<?)"
    assert f"SEARCH usage_rollups USING {key}" == sums[0]
    assert not [step for step in sums[1:] if step.startswith("SEARCH") and "COVERING INDEX" not in step]


async def test_only_what_was_written_of_late_is_recent(database: Database) -> None:
    """A call that was written long ago is told by nobody again, however late it began."""
    clock = ManualClock(NOON)
    store = LedgerStore(database, clock)
    await store.record([call("old", at=NOON + 3000)], [], [])
    clock.advance(3000)
    await store.record([call("new", at=NOON)], [], [])
    day = (AT, AT + timedelta(days=1))
    assert {"new"} == (await store.spent("global", [0], *day))[0].recent
    assert {"old", "new"} == (await store.spent("global", [0], *day, recent=timedelta(hours=1)))[0].recent
    assert {"new"} == await store.recorded_since(AT + timedelta(seconds=1))
