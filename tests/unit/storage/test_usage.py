"""Usage as it is asked for: what was added up says the same as the rows, whoever asks for what."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genai_spine.identity.api_keys import new_key, secret_of
from genai_spine.storage.records import KeyFacts, UserFacts
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.histograms import ERROR, bucket_of, buckets_of, seconds_of
from genai_spine.storage.sql.identities import Identities
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.storage.sql.tables import provider_usage, usage_histograms, usage_rollups
from genai_spine.storage.sql.usage import DIMENSIONS, EVERYTHING, Figures, UsageFilter, UsageStore
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import CallBegun, CallEnded, Caller
from genai_spine.types.usage import Usage
from tests.databases import fresh_database, plans_of
from tests.ledgers import NOON, call, request

HOUR: Final = NOON // 3600
AT: Final = datetime.fromtimestamp(NOON, UTC)
CALLERS: Final = (
    Caller(),
    Caller(fingerprint="envenv01"),
    Caller(user=1, api_key=10, fingerprint="aaaa0001", tags=("red",)),
    Caller(user=1, api_key=11, fingerprint="aaaa0002", tags=("red", "blue")),
    Caller(user=2, api_key=12, fingerprint="bbbb0001"),
)
Told = tuple[CallBegun, CallEnded]


def one_call(number: int, data: st.DataObject) -> Told:
    """A call like others, or not."""
    return call(
        f"c{number}",
        at=NOON + data.draw(st.integers(-30 * 3600, 30 * 3600)),
        caller=data.draw(st.sampled_from(CALLERS)),
        provider=data.draw(st.sampled_from(["openai", "groq"])),
        model=data.draw(st.sampled_from(["m1", "m2"])),
        outcome=data.draw(st.sampled_from(["success", "error", "timeout", "cancelled"])),
        usage=Usage(input_tokens=data.draw(st.integers(0, 99)), output_tokens=data.draw(st.integers(0, 99))),
        cost=data.draw(st.integers(0, 10**15)),
        cost_estimated=data.draw(st.booleans()),
        seconds=data.draw(st.floats(0.001, 500)),
        first_token_seconds=data.draw(st.none() | st.floats(0.001, 100)),
    )


def dimension(name: str, begun: CallBegun, ended: CallEnded, tag: str) -> Any:
    """What a call is told under."""
    hour = begun.at // 3_600_000_000
    caller = begun.caller
    return {
        "day": hour // 24, "hour": hour, "provider": begun.provider, "model": begun.model, "user": caller.user or 0,
        "key": (caller.api_key or 0, caller.fingerprint), "tag": tag, "status": ended.outcome,
    }[name]  # fmt: skip


def agrees(which: UsageFilter, begun: CallBegun, ended: CallEnded) -> bool:
    """Whether a filter lets a call through."""
    caller = begun.caller
    pairs = (
        (which.user, caller.user or 0), (which.api_key, caller.api_key or 0), (which.fingerprint, caller.fingerprint),
        (which.provider, begun.provider), (which.model, begun.model), (which.status, ended.outcome),
    )  # fmt: skip
    return all(value in {None, has} for value, has in pairs) and which.tag in {None, *caller.tags}


def rank(values: list[float], part: int) -> float:
    """The smallest value that so many hundredths of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * part / 100) - 1]


FILTERS: Final = st.builds(
    UsageFilter,
    user=st.sampled_from([None, None, 0, 1]),
    api_key=st.sampled_from([None, None, None, 0, 11]),
    fingerprint=st.sampled_from([None, None, None, "envenv01", "aaaa0001"]),
    provider=st.sampled_from([None, "openai"]),
    tag=st.sampled_from([None, None, "red"]),
    status=st.sampled_from([None, None, "success"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_figures_are_what_the_rows_say(database: Database, data: st.DataObject) -> None:
    """By any dimensions, through any filters, in any hours: the sums of the calls, and percentiles near theirs."""
    async with database.writing() as connection:
        for table in (provider_usage, usage_rollups, usage_histograms):
            await connection.execute(table.delete())
    told = [one_call(number, data) for number in range(data.draw(st.integers(0, 25)))]
    await LedgerStore(database).record(told, [], [])
    by = data.draw(st.lists(st.sampled_from(DIMENSIONS), max_size=3, unique=True))
    which = [data.draw(FILTERS), data.draw(st.just(EVERYTHING) | FILTERS)]
    first = HOUR + data.draw(st.integers(-40, 40))
    last = first + data.draw(st.integers(1, 80))
    expected = grouped(told, by, which, first, last)
    found = await UsageStore(database).figures(by, which, first, last, most=1000)
    if not by and not expected:
        expected = {(): []}
    assert sorted(expected, key=str) == sorted((one.group for one in found), key=str)
    somebody = any(one.of_somebody for one in which)
    names = {"provider", "model", "status"}
    named = not names.isdisjoint(by) or any(getattr(one, name) is not None for one in which for name in names)
    timed = expected
    if (not somebody and not {"user", "key"}.isdisjoint(by)) or ((somebody or named) and "hour" in by):
        timed = {}
    elif somebody or named:
        timed = grouped(told, by, which, first // 24 * 24, -(-last // 24) * 24)
    for one in found:
        check(one, expected[one.group], timed.get(one.group, []))


def grouped(
    told: list[Told], by: list[str], which: list[UsageFilter], first: int, last: int
) -> dict[tuple[Any, ...], list[Told]]:
    """The calls of each group."""
    found: dict[tuple[Any, ...], list[Told]] = {}
    for begun, ended in told:
        if first <= begun.at // 3_600_000_000 < last and all(agrees(one, begun, ended) for one in which):
            wanted = {one.tag for one in which} - {None}
            for tag in (wanted or set(begun.caller.tags)) if "tag" in by else {""}:
                group = tuple(dimension(name, begun, ended, str(tag)) for name in by)
                found.setdefault(group, []).append((begun, ended))
    return found


def check(found: Figures, calls: list[Told], timed: list[Told]) -> None:
    """What is told of a group is what its calls add up to."""
    ended = [end for _, end in calls]
    assert len(calls) == found.sums["calls"]
    assert sum(end.cost for end in ended) == found.sums["cost_picodollars"]
    assert sum(end.usage.input_tokens for end in ended if end.usage) == found.sums["input_tokens"]
    assert sum(end.cost_estimated for end in ended) == found.sums["estimated"]
    assert sum(end.outcome in {"error", "timeout"} for end in ended) == found.errors
    times = [end.seconds for _, end in timed]
    firsts = [end.first_token_seconds for _, end in timed if end.first_token_seconds is not None]
    for values, told in ((times, found.total), (firsts, found.first_token)):
        assert [pytest.approx(rank(values, part), rel=ERROR + 1e-9) for part in (50, 95, 99) if values] == list(told)


@given(st.floats(1e-6, 30_000_000))
def test_a_bucket_is_near_what_it_holds(seconds: float) -> None:
    """A duration told by its bucket is at most 5 % off."""
    assert ERROR < 0.05
    assert pytest.approx(seconds, rel=ERROR + 1e-9) == seconds_of(bucket_of(seconds))


@pytest.mark.parametrize("odd", [0.0, -1.0, math.nan, -math.inf, math.inf, 1e300])
def test_odd_durations_have_buckets(odd: float) -> None:
    """Whatever a clock says is counted somewhere."""
    assert 0 <= bucket_of(odd) <= 330


@given(st.lists(st.floats(-1, 1e9)))
def test_durations_are_counted_by_bucket(durations: list[float]) -> None:
    """Each is in the bucket that is its own, or beside it where it stands on the border; none is lost."""
    found = buckets_of(durations)
    expected = sorted(bucket_of(each) for each in durations if each >= 0)
    counted = sorted(bucket for bucket, count in found.items() for _ in range(count))
    assert len(expected) == len(counted)
    assert all(abs(one - other) <= 1 for one, other in zip(expected, counted, strict=True))


async def test_requests_come_in_pages(database: Database) -> None:
    """Newest first, each once, those of one moment included; filters leave out the others."""
    store = LedgerStore(database)
    mine = CALLERS[2]
    done = [
        request(f"r{number}", at=NOON + number // 3, caller=mine if number % 2 else CALLERS[1]) for number in range(10)
    ]
    await store.record([], done, [])
    usage = UsageStore(database)
    start, end = datetime.fromtimestamp(NOON, UTC), datetime.fromtimestamp(NOON, UTC) + timedelta(seconds=3)
    seen: list[str] = []
    before = None
    while page := await usage.requests([EVERYTHING], start, end, before=before, limit=4):
        seen += [row["id"] for row in page]
        before = page[-1]["created_at"], page[-1]["id"]
    assert [f"r{number}" for number in (8, 7, 6, 5, 4, 3, 2, 1, 0)] == seen

    async def ids(which: UsageFilter, **more: Any) -> list[str]:
        return [row["id"] for row in await usage.requests([which], start, end, limit=99, **more)]

    assert ["r7", "r5", "r3", "r1"] == await ids(UsageFilter(tag="red"))
    assert ["r7", "r5", "r3", "r1"] == await ids(UsageFilter(user=1))
    assert ["r8", "r6", "r4", "r2", "r0"] == await ids(UsageFilter(user=0))
    assert ["r8", "r6", "r4", "r2", "r0"] == await ids(UsageFilter(fingerprint="envenv01", api_key=0))
    assert [] == await ids(UsageFilter(tag="blue"))
    assert ["r4"] == await ids(EVERYTHING, request_id="q-r4")


async def test_a_request_is_found_with_its_calls(database: Database) -> None:
    """By its id or its caller's name for it; one that was cut has calls alone; filters hide what is another's."""
    store, usage = LedgerStore(database), UsageStore(database)
    mine, other = UsageFilter(user=1), UsageFilter(user=2)
    calls = [
        call("c2", request="r1", request_id="q", number=2, caller=CALLERS[2]),
        call("c1", request="r1", request_id="q", number=1, caller=CALLERS[2], outcome="error"),
        call("c3", request="r2", request_id="q-cut", caller=CALLERS[2], outcome="interrupted"),
    ]
    await store.record(calls, [request("r1", request_id="q", caller=CALLERS[2])], [])
    for id_ in ("r1", "q"):
        found, made = await usage.request(id_, [mine])
        assert found is not None
        assert ("r1", ["c1", "c2"]) == (found["id"], [one["call_id"] for one in made])
        assert (None, []) == await usage.request(id_, [other])
    for id_ in ("r2", "q-cut"):
        found, made = await usage.request(id_, [mine])
        assert (None, ["c3"]) == (found, [one["call_id"] for one in made])
        assert (None, []) == await usage.request(id_, [other])
    assert (None, []) == await usage.request("nothing", [EVERYTHING])


async def test_an_older_call_has_no_request(database: Database) -> None:
    """Rows that another service left have neither ids nor requests, and harm nobody."""
    async with database.writing() as connection:
        await connection.execute(
            sa.insert(provider_usage).values(provider_name="ollama", model_name="m", created_at=datetime.now(UTC))
        )
    assert (None, []) == await UsageStore(database).request("", [EVERYTHING])


async def test_requests_of_a_key(database: Database) -> None:
    """Of each key, whether it is a user's, nobody's or removed; with a status, also one that is not there."""
    clock = ManualClock(NOON)
    identities = Identities(database, clock)
    ada = await identities.add_user(UserFacts(name="ada"))
    owners = {"hers": ada.id, "nobodys": None}
    keys = {
        name: (await identities.add_key(KeyFacts(name=name, user=owner, scopes=("read",)), secret_of(new_key()))).id
        for name, owner in owners.items()
    }
    keys["removed"], owners["removed"] = 999, 7
    done = [
        request(f"{name}-{outcome}", caller=Caller(user=owners[name], api_key=key), outcome=outcome)
        for name, key in keys.items()
        for outcome in ("success", "error")
    ]
    await LedgerStore(database, clock).record([], done, [])
    usage, day = UsageStore(database), (AT, AT + timedelta(days=1))
    for name, key in keys.items():
        for status, expected in ((None, {"success", "error"}), ("error", {"error"}), ("timeout", set[str]())):
            found = await usage.requests([UsageFilter(api_key=key, status=status)], *day, limit=99)
            assert {f"{name}-{outcome}" for outcome in expected} == {row["id"] for row in found}


async def test_an_id_is_found_by_an_index() -> None:
    """Whosever the id is: of callers' ids only those are in an index that differ, and the database sees that."""
    async with fresh_database("sqlite") as database:
        plans = await plans_of(database, UsageStore(database).request("nothing", []))
    assert 2 == len(plans)
    assert not [step for plan in plans for step in plan if step.startswith("SCAN")]


@pytest.mark.parametrize(
    ("which", "index"),
    [
        (EVERYTHING, "ix_requests_created_at (created_at>? AND created_at<?)"),
        (UsageFilter(status="success"), "ix_requests_created_at (created_at>? AND created_at<?)"),
        (UsageFilter(status="error"), "ix_requests_status_created_at (status=? AND created_at>? AND created_at<?)"),
        (UsageFilter(user=1), "ix_requests_user_id_created_at (user_id=? AND created_at>? AND created_at<?)"),
        (UsageFilter(api_key=1), "ix_requests_user_id_created_at (user_id=? AND created_at>? AND created_at<?)"),
        (UsageFilter(api_key=2), "ix_requests_api_key_id_created_at (api_key_id=? AND created_at>? AND created_at<?)"),
    ],
)
async def test_a_page_is_found_by_an_index(which: UsageFilter, index: str) -> None:
    """Of what is rare and has an index nothing else is looked at: the key 1 is a user's, the key 2 is nobody's."""
    async with fresh_database("sqlite") as database:
        identities = Identities(database, ManualClock(NOON))
        ada = await identities.add_user(UserFacts(name="ada"))
        for owner in (ada.id, None):
            await identities.add_key(KeyFacts(name="k", user=owner, scopes=("read",)), secret_of(new_key()))
        *_, plan = await plans_of(database, UsageStore(database).requests([which], AT, AT, limit=9))
    assert f"SEARCH requests USING INDEX {index}" == plan[0]


@pytest.mark.parametrize("which", [UsageFilter(user=1), UsageFilter(api_key=1), UsageFilter(fingerprint="aaaa0001")])
async def test_sums_of_somebody_are_found_by_an_index(which: UsageFilter) -> None:
    """SQLite looks at no sums of others, though it has never counted how many there are."""
    async with fresh_database("sqlite") as database:
        plans = await plans_of(database, UsageStore(database).figures(["model"], [which], 0, 99, most=9))
    steps = [step for plan in plans for step in plan if step.startswith(("SEARCH", "SCAN usage_"))]
    own, of_key = "span=? AND tag=? AND user_id=? AND hour>? AND hour<?)", "api_key_id=? AND hour>? AND hour<?)"
    assert {own} <= {step.partition("(")[2] for step in steps if "COVERING" not in step} <= {own, of_key}
