"""The audit's chain: whoever changes, removes or moves a row is found out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from genai_spine.errors import InvalidFieldError
from genai_spine.ledger.audit import anchor_text, read_anchor
from genai_spine.storage.sql.audit import ORIGIN, Anchor, AuditFilter, AuditStore
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.storage.sql.tables import audit
from genai_spine.types.ledger import AuditEvent, Caller
from tests.ledgers import NOON

ROWS: Final = 6
Row = dict[str, Any]


def event(number: int, **more: Any) -> AuditEvent:
    """An event like others, or not."""
    fields = {"caller": Caller(user=number, api_key=10 + number, fingerprint=f"{number:08x}"), **more}
    return AuditEvent(
        at=(NOON + number) * 1_000_000 + number,
        event=("circuit_open", "config_change")[number % 2],
        request_id=f"q{number}",
        model=f"openai/m{number}",
        cost=number,
        input_tokens=number,
        output_tokens=number,
        reason=f"reason {number}",
        details={"number": str(number), "a": "b"},
        **fields,
    )


async def written(database: Database) -> list[Row]:
    """A chain of some rows, made anew."""
    async with database.writing() as connection:
        await connection.execute(audit.delete())
    await LedgerStore(database).record([], [], [(f"e{number}", event(number)) for number in range(1, ROWS + 1)])
    return [row async for row in AuditStore(database).all([])]


async def test_a_chain_is_whole(database: Database) -> None:
    """Rows are numbered without gaps, each holds the hash before it, and an examination counts them."""
    assert (0, ORIGIN, "") == await AuditStore(database).verify()
    rows = await written(database)
    assert list(range(1, ROWS + 1)) == [row["sequence"] for row in rows]
    assert [ORIGIN.hash, *(row["hash"] for row in rows[:-1])] == [row["previous"] for row in rows]
    last = Anchor(ROWS, rows[-1]["hash"])
    store = AuditStore(database)
    for since, expected, count in (
        (ORIGIN, None, ROWS), (ORIGIN, last, ROWS), (last, None, 0), (Anchor(2, rows[1]["hash"]), last, ROWS - 2),
    ):  # fmt: skip
        assert (count, last, "") == await store.verify(since=since, expected=expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_changed_value_is_found(database: Database, data: st.DataObject) -> None:
    """Whatever column of whatever row is changed, to whatever else it can hold."""
    rows = await written(database)
    row = data.draw(st.sampled_from(rows))
    column = data.draw(st.sampled_from(list(audit.columns)))
    old = row[column.name]
    new = data.draw(_other(old, nullable=bool(column.nullable)))
    assume(new != old)
    async with database.writing() as connection:
        await connection.execute(audit.update().where(audit.c.sequence == row["sequence"]).values({column: new}))
    assert (await AuditStore(database).verify(expected=Anchor(ROWS, rows[-1]["hash"]))).fault


def _other(old: object, *, nullable: bool) -> st.SearchStrategy[Any]:
    """What else a column can hold."""
    match old:
        case datetime():
            found: st.SearchStrategy[Any] = st.timedeltas(timedelta(microseconds=1), timedelta(days=9)).map(old.__add__)
        case int():
            found = st.integers(100, 2**62) | st.integers(-(2**62), 0)
        case str():
            found = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=16)
        case _:
            found = st.binary(min_size=32, max_size=32) | st.binary(max_size=40)
    return found | st.none() if nullable else found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.integers(1, ROWS), min_size=1))
async def test_any_removed_row_is_found(database: Database, gone: set[int]) -> None:
    """Removed rows leave a gap; removed at the end, an anchor tells; what is left before them is told as good."""
    rows = await written(database)
    async with database.writing() as connection:
        await connection.execute(audit.delete().where(audit.c.sequence.in_(gone)))
    last = Anchor(ROWS, rows[-1]["hash"])
    store = AuditStore(database)
    verdict = await store.verify(expected=last)
    assert (min(gone) - 1, True) == (verdict.rows, bool(verdict.fault))
    assert (gone == set(range(min(gone), ROWS + 1))) == (not (await store.verify()).fault)
    if ROWS in gone:
        assert "row 6 is not the one that was noted" == (await store.verify(since=last)).fault


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.lists(st.integers(1, ROWS), min_size=2, max_size=2, unique=True))
async def test_any_two_rows_that_changed_places_are_found(database: Database, pair: list[int]) -> None:
    """Rows keep their places."""
    await written(database)
    one, other = pair
    async with database.writing() as connection:
        for old, new in ((one, -1), (other, one), (-1, other)):
            await connection.execute(audit.update().where(audit.c.sequence == old).values(sequence=new))
    verdict = await AuditStore(database).verify()
    assert (min(pair) - 1, True) == (verdict.rows, bool(verdict.fault))


async def test_a_chain_written_anew_is_found_by_an_anchor(database: Database) -> None:
    """Who can write the whole chain anew makes a good one, but not the one that was noted."""
    anchor = (await _anchor(database)) if await written(database) else ORIGIN
    async with database.writing() as connection:
        await connection.execute(audit.delete())
    forged = [(f"e{number}", event(number, caller=Caller())) for number in range(1, ROWS + 1)]
    await LedgerStore(database).record([], [], forged)
    store = AuditStore(database)
    assert "" == (await store.verify()).fault
    assert "row 6 is not the one that was noted" == (await store.verify(expected=anchor)).fault
    assert "row 6 is not the one that was noted" == (await store.verify(since=anchor)).fault


async def _anchor(database: Database) -> Anchor:
    return (await AuditStore(database).verify()).last


async def test_what_cannot_be_read_is_found(database: Database) -> None:
    """A value that makes no sense at all is a fault of the chain, not of who examines it."""
    if database.is_sqlite:
        await written(database)
        async with database.writing() as connection:
            await connection.execute(sa.text("UPDATE audit SET at = 'long ago' WHERE sequence = 3"))
        assert "cannot be read" in (await AuditStore(database).verify()).fault


async def test_no_secret_gets_in(database: Database) -> None:
    """Whoever tells one, in whatever word, it is not written."""
    secret = "sk-canary-0123456789abcdef"
    told = AuditEvent(at=0, event="key_failure", reason=f"401 for {secret}", details={secret: f"Bearer {secret}"})
    await LedgerStore(database).record([], [], [("e", told)])
    (row,) = [row async for row in AuditStore(database).all([])]
    assert "canary" not in str(row)
    assert "" == (await AuditStore(database).verify()).fault


async def test_a_long_chain_is_read_in_pages(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows there are, each is examined, and each is written out once."""
    monkeypatch.setattr("genai_spine.storage.sql.audit._PAGE", 2)
    rows = await written(database)
    store = AuditStore(database)
    assert ROWS == len(rows) == (await store.verify()).rows
    found = [row["sequence"] async for row in store.all([AuditFilter(event="circuit_open")])]
    assert [2, 4, 6] == found


async def test_filters(database: Database) -> None:
    """Each leaves out what is of another."""
    rows = await written(database)
    third = rows[2]
    store = AuditStore(database)
    for which in (
        AuditFilter(user=3), AuditFilter(api_key=13), AuditFilter(fingerprint="00000003"), AuditFilter(request_id="q3"),
        AuditFilter(model="openai/m3"), AuditFilter(start=third["at"], end=third["at"] + timedelta(microseconds=1)),
    ):  # fmt: skip
        assert [3] == [row["sequence"] for row in await store.newest([which], limit=9)]
    assert [5, 3] == [row["sequence"] for row in await store.newest([AuditFilter(event="config_change")], limit=2)]
    assert [1] == [
        row["sequence"] for row in await store.newest([AuditFilter(event="config_change")], before=3, limit=2)
    ]
    assert {"a": "b", "number": "3"} == msgspec.json.decode(third["details"])


def test_anchors_are_read_as_they_are_written() -> None:
    """What was noted is what is read; anything else is refused."""
    anchor = Anchor(12, bytes(range(32)))
    assert anchor == read_anchor(anchor_text(anchor))
    for wrong in ("", "12", "12:", "12:abcd", "0:" + "00" * 32, "x:" + "00" * 32, "12:" + "zz" * 32):
        with pytest.raises(InvalidFieldError, match="spine audit verify"):
            read_anchor(wrong)
