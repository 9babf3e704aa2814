"""Usage added up: what calls add to the rows of ``usage_rollups`` and ``usage_histograms``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from operator import add, itemgetter
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, Table, and_, select
from sqlalchemy.dialects import postgresql, sqlite

from genai_spine.storage.sql.bulk import Pieces, text_of
from genai_spine.storage.sql.fitting import Row
from genai_spine.storage.sql.histograms import buckets_of
from genai_spine.storage.sql.rows import CALLS, CallRows
from genai_spine.storage.sql.tables import EVERYBODY, usage_histograms, usage_rollups

__all__ = ["ALL_NAMES", "DAY", "HOUR", "HOURS_PER_DAY", "SPANS", "add_up", "covering", "covering_days", "holders"]

HOUR: Final = 3600
HOURS_PER_DAY: Final = 24
DAY: Final = HOUR * HOURS_PER_DAY
SPANS: Final = (1, HOURS_PER_DAY)

_in_common: Final = itemgetter(
    *map(
        CALLS.shared.index,
        ("user_id", "api_key_id", "key_fingerprint", "tags", "provider_name", "model_name", "status"),
    )
)
_flags: Final = itemgetter(*map(CALLS.shared.index, ("cost_estimated", "price_known")))
_KEY: Final = CALLS.own.index("call_id")
_TOTAL: Final = CALLS.own.index("response_time_ms")
_FIRST: Final = CALLS.own.index("first_token_ms")
_AMOUNTS: Final = slice(CALLS.own.index("input_tokens"), CALLS.own.index("cost_picodollars") + 1)
_COUNTED: Final = sum(not column.primary_key for column in usage_rollups.columns)

ALL_NAMES: Final = ("", "", "")
"""The provider, model and status of durations that are not told apart by them."""

Key: TypeAlias = tuple[Any, ...]


def add_up(connection: Connection, calls: CallRows, new: Collection[str]) -> None:
    """Add the calls with these keys to what is there.

    Always in the same order, so that two who do it never wait for each other. Calls are put together by what they have
    in common first: the rows in which each counts are many more.
    """
    rows = calls.rows if len(new) == len(calls.rows) else [row for row in calls.rows if row[_KEY] in new]
    groups = defaultdict[int, list[Row]](list)
    for row in rows:
        groups[row[0]].append(row)
    usage, times = defaultdict[Key, list[int]](lambda: [0] * _COUNTED), defaultdict[Key, int](int)
    for place, group in groups.items():
        *caller, provider, model, status = _in_common(calls.shared[place])
        estimated, priced = _flags(calls.shared[place])
        columns, count = list(zip(*group, strict=True)), len(group)
        sums = [count, *map(sum, columns[_AMOUNTS]), count * estimated, count * (not priced)]
        buckets = [
            (measure, bucket, of_it)
            for measure, column in (("total", _TOTAL), ("first_token", _FIRST))
            for bucket, of_it in buckets_of(columns[column]).items()
        ]
        what = (provider, model, status)
        for of in _counted_in(caller, calls.hours[place]):
            usage[*of, *what] = list(map(add, usage[*of, *what], sums))
            for names in _names(of[0], of[2], what):
                for measure, bucket, of_it in buckets:
                    times[*of, *names, measure, bucket] += of_it
    _add(connection, usage_rollups, [(*key, *sums) for key, sums in sorted(usage.items())])
    _add(connection, usage_histograms, [(*key, count) for key, count in sorted(times.items())])


def _counted_in(caller: Sequence[Any], hour: int) -> Iterator[Key]:
    """The rows in which a call counts, but for names: by span, tag, user, first hour, key and fingerprint."""
    user_id, api_key_id, fingerprint, tags = caller
    own = (user_id or 0, api_key_id or 0, fingerprint)
    for span in SPANS:
        for tag in ("", *msgspec.json.decode(tags)):
            for user, key, name in (own, (EVERYBODY, EVERYBODY, "")):
                yield span, tag, user, hour - hour % span, key, name


def _names(span: int, user: int, what: Key) -> tuple[Key, ...]:
    """By which names durations are told apart, in rows of such a span and user: see ``usage_histograms``."""
    if user != EVERYBODY:
        return () if span == 1 else (what,)
    return (ALL_NAMES,) if span == 1 else (ALL_NAMES, what)


def covering(sums: Any, first: int, last: int) -> list[ColumnElement[bool]]:
    """The fewest rows that add up the hours from ``first`` up to ``last``: conditions, each for a query of its own.

    Put together by OR, SQLite would look through the whole table.
    """
    day, end = -(-first // HOURS_PER_DAY) * HOURS_PER_DAY, last // HOURS_PER_DAY * HOURS_PER_DAY
    parts = [(HOURS_PER_DAY, day, end), (1, first, day), (1, end, last)] if day < end else [(1, first, last)]
    return [and_(sums.span == span, sums.hour >= at, sums.hour < until) for span, at, until in parts if at < until]


def covering_days(sums: Any, first: int, last: int) -> list[ColumnElement[bool]]:
    """The rows that add up the days of which some hour is among those from ``first`` up to ``last``."""
    return [and_(sums.span == HOURS_PER_DAY, sums.hour > first - HOURS_PER_DAY, sums.hour < last)]


def holders(keys: Collection[int], first: int, last: int) -> Select[Any]:
    """The users who hold some keys, as far as these were used in the hours from ``first`` up to ``last``.

    Whoever asks SQLite for keys says this too: rows are in the order of users, and those of a key lie far apart.
    PostgreSQL has counted how many there are, and finds them by itself.
    """
    sums = usage_rollups.c
    return select(sums.user_id).where(
        sums.api_key_id.in_(list(keys)), sums.hour > first - HOURS_PER_DAY, sums.hour < last
    )


def _add(connection: Connection, table: Table, rows: list[Key]) -> None:
    if rows and connection.dialect.name == "sqlite":
        _pieces(table).write(connection, rows)
    elif rows:
        connection.exec_driver_sql(_text("postgresql", table), rows)


@cache
def _pieces(table: Table) -> Pieces:
    return Pieces(_text("sqlite", table), len(table.columns))


@cache
def _text(dialect: str, table: Table) -> str:
    """The statement that adds a row to one that may be there already; both databases write it alike."""
    columns = list(table.columns)
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    statement = insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={each.name: each + insert.excluded[each.name] for each in columns if not each.primary_key},
    )
    return text_of(statement, dialect, [each.name for each in columns])
