"""Usage added up: what calls add to the rows of ``usage_rollups`` and ``usage_histograms``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Table, and_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.storage.sql.histograms import bucket_of
from genai_spine.storage.sql.tables import EVERYBODY, usage_histograms, usage_rollups

__all__ = ["ALL_NAMES", "DAY", "HOUR", "HOURS_PER_DAY", "SPANS", "Sums", "covering", "covering_days", "insert_for"]

HOUR: Final = 3600
HOURS_PER_DAY: Final = 24
DAY: Final = HOUR * HOURS_PER_DAY
SPANS: Final = (1, HOURS_PER_DAY)

# So many rows go into one statement: SQLite takes 32,766 values, asyncpg 32,767.
_ROWS: Final = 1500
_COUNTED: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")

ALL_NAMES: Final = ("", "", "")
"""The provider, model and status of durations that are not told apart by them."""

Key: TypeAlias = tuple[Any, ...]


def insert_for(connection: AsyncConnection, table: Table) -> Any:
    """An INSERT that can say what is done where a row is there already; both databases write it alike."""
    return (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)


class Sums:
    """What a batch of calls adds up to, by row."""

    def __init__(self) -> None:
        self._usage: defaultdict[Key, list[int]] = defaultdict(lambda: [0] * (len(_COUNTED) + 4))
        self._times: defaultdict[Key, int] = defaultdict(int)

    def add(self, row: Mapping[str, Any], total: float, first_token: float | None) -> None:
        """Add a call, given as its row of ``provider_usage`` and how long it took in seconds."""
        amounts = [
            1,
            *(row[name] for name in _COUNTED),
            row["cost_picodollars"],
            int(row["cost_estimated"]),
            int(not row["price_known"]),
        ]
        hour = int(row["created_at"].timestamp()) // HOUR
        who = (row["user_id"] or 0, row["api_key_id"] or 0, row["key_fingerprint"])
        what = (row["provider_name"], row["model_name"], row["status"])
        times = [("total", bucket_of(total))]
        if first_token is not None:
            times.append(("first_token", bucket_of(first_token)))
        for span in SPANS:
            for tag in ("", *(row["tags"] or ())):
                for user, key, fingerprint in (who, (EVERYBODY, EVERYBODY, "")):
                    whose = (span, tag, user, hour - hour % span, key, fingerprint)
                    sums = self._usage[*whose, *what]
                    for place, amount in enumerate(amounts):
                        sums[place] += amount
                    for names in _names(span, user, what):
                        for time in times:
                            self._times[*whose, *names, *time] += 1

    async def write(self, connection: AsyncConnection) -> None:
        """Add it to what is there, always in the same order, so that two who do it never wait for each other."""
        await _add(connection, usage_rollups, [(*key, *sums) for key, sums in sorted(self._usage.items())])
        await _add(connection, usage_histograms, [(*key, calls) for key, calls in sorted(self._times.items())])


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


async def _add(connection: AsyncConnection, table: Table, rows: list[Key]) -> None:
    columns = list(table.columns)
    insert = insert_for(connection, table)
    add = insert.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={column.name: column + insert.excluded[column.name] for column in columns if not column.primary_key},
    )
    names = [column.name for column in columns]
    for start in range(0, len(rows), _ROWS):
        await connection.execute(add, [dict(zip(names, row, strict=True)) for row in rows[start : start + _ROWS]])
