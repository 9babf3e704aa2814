"""Usage added up: what calls add to the rows of ``usage_rollups`` and ``usage_histograms``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import add
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_
from sqlalchemy.dialects import postgresql, sqlite

from genai_spine.storage.sql.bulk import Row, text_of
from genai_spine.storage.sql.fitting import MICROSECONDS, microseconds
from genai_spine.storage.sql.histograms import bucket_of
from genai_spine.storage.sql.rows import CALLS
from genai_spine.storage.sql.tables import EVERYBODY, usage_histograms, usage_rollups
from genai_spine.types.ledger import CallBegun, CallEnded

__all__ = ["ALL_NAMES", "DAY", "HOUR", "HOURS_PER_DAY", "SPANS", "Sums", "covering", "covering_days"]

HOUR: Final = 3600
HOURS_PER_DAY: Final = 24
DAY: Final = HOUR * HOURS_PER_DAY
SPANS: Final = (1, HOURS_PER_DAY)

_HOUR: Final = HOUR * MICROSECONDS
_in_common: Final = CALLS.picker(
    "user_id", "api_key_id", "key_fingerprint", "tags", "provider_name", "model_name", "status"
)
_amounts: Final = CALLS.picker(
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_picodollars",
    "cost_estimated",
    "price_known",
)
_COUNTED: Final = sum(not column.primary_key for column in usage_rollups.columns)
_texts: Final[dict[tuple[str, str], str]] = {}

ALL_NAMES: Final = ("", "", "")
"""The provider, model and status of durations that are not told apart by them."""

Key: TypeAlias = tuple[Any, ...]


class Sums:
    """What calls add up to, by row.

    They are put together by what they have in common first: the rows in which each counts are many more.
    """

    def __init__(self) -> None:
        self._groups: defaultdict[Key, list[Key]] = defaultdict(list)

    def add(self, row: Row, begun: CallBegun, ended: CallEnded) -> None:
        """Add a call, given as its row too."""
        first = ended.first_token_seconds
        times = bucket_of(ended.seconds), None if first is None else bucket_of(first)
        self._groups[_in_common(row), microseconds(begun.at) // _HOUR].append((_amounts(row), *times))

    def write(self, connection: Connection) -> None:
        """Add it to what is there, always in the same order, so that two who do it never wait for each other."""
        usage, times = defaultdict[Key, list[int]](lambda: [0] * _COUNTED), defaultdict[Key, int](int)
        for ((*caller, provider, model, status), hour), calls in self._groups.items():
            amounts, totals, firsts = zip(*calls, strict=True)
            *sums, priced = map(sum, zip(*amounts, strict=True))
            sums = [len(calls), *sums, len(calls) - priced]
            buckets = [*_counts("total", totals), *_counts("first_token", firsts)]
            what = (provider, model, status)
            for of in _counted_in(caller, hour):
                usage[*of, *what] = list(map(add, usage[*of, *what], sums))
                for names in _names(of[0], of[2], what):
                    for *bucket, count in buckets:
                        times[*of, *names, *bucket] += count
        _add(connection, usage_rollups, [(*key, *sums) for key, sums in sorted(usage.items())])
        _add(connection, usage_histograms, [(*key, count) for key, count in sorted(times.items())])


def _counts(measure: str, buckets: Iterable[int | None]) -> Iterator[Key]:
    """How many calls are in each bucket."""
    for bucket, count in Counter(buckets).items():
        if bucket is not None:
            yield measure, bucket, count


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


def _add(connection: Connection, table: Table, rows: list[Key]) -> None:
    if rows:
        connection.exec_driver_sql(_text(connection, table), rows)


def _text(connection: Connection, table: Table) -> str:
    """The statement that adds a row to one that may be there already; both databases write it alike."""
    found = _texts.get((connection.dialect.name, table.name))
    if found is None:
        columns = list(table.columns)
        insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
        statement = insert.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={each.name: each + insert.excluded[each.name] for each in columns if not each.primary_key},
        )
        found = text_of(statement, connection, [each.name for each in columns])
        _texts[connection.dialect.name, table.name] = found
    return found
