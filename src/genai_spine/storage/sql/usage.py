"""Usage as it is asked for: figures by any of the dimensions, out of what was added up; and requests one by one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from msgspec import Struct
from sqlalchemy import ColumnElement, Table, and_, case, func, or_, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.histograms import seconds_of
from genai_spine.storage.sql.rollups import HOURS_PER_DAY, covering, covering_days, holders
from genai_spine.storage.sql.tables import (
    ENDED_ILL,
    EVERYBODY,
    api_keys,
    provider_usage,
    requests,
    usage_histograms,
    usage_rollups,
)

__all__ = ["DIMENSIONS", "EVERYTHING", "PERCENTILES", "Figures", "UsageFilter", "UsageStore"]

DIMENSIONS: Final = ("day", "hour", "provider", "model", "user", "key", "tag", "status")
PERCENTILES: Final = (50, 95, 99)

SUCCESS: Final = "success"
_ERRORS: Final = ("error", "timeout", "interrupted")
_SUMS: Final = (
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_picodollars",
    "estimated",
    "price_unknown",
)
_COLUMNS: Final = {"provider": "provider_name", "model": "model_name", "tag": "tag", "status": "status"}

Group: TypeAlias = tuple[Any, ...]
Row: TypeAlias = dict[str, Any]


class UsageFilter(Struct, frozen=True, kw_only=True):
    """Which calls or requests are meant; None is any.

    Attributes:
        user: The user's id; 0 where the caller is no user.
        api_key: The id of a key in the database; 0 for those of the environment.
        fingerprint: Of the caller's key.
    """

    user: int | None = None
    api_key: int | None = None
    fingerprint: str | None = None
    provider: str | None = None
    model: str | None = None
    tag: str | None = None
    status: str | None = None

    @property
    def of_somebody(self) -> bool:
        """Users or keys are told apart by it."""
        return not (self.user is None and self.api_key is None and self.fingerprint is None)


EVERYTHING: Final = UsageFilter()


class Figures(Struct, frozen=True, kw_only=True):
    """What a group of calls adds up to.

    Attributes:
        group: A value for each dimension that was asked for; a pair of id and fingerprint for a key.
        sums: By the names of the columns.
        errors: Calls that failed, came too late, or were cut.
        total: Percentiles of how long they took, in seconds; empty where there was none.
        first_token: Percentiles of the time to the first piece of the answer, likewise.
    """

    group: Group
    sums: dict[str, int]
    errors: int
    total: tuple[float, ...] = ()
    first_token: tuple[float, ...] = ()


class UsageStore:
    """Reads what the ledger has written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def figures(
        self, by: Sequence[str], which: Sequence[UsageFilter], first: int, last: int, *, most: int
    ) -> list[Figures]:
        """Return the figures of each group of calls that began from hour ``first`` up to hour ``last``.

        Where a user or key is asked for, or providers, models or ways of ending are told apart, percentiles are those
        of the whole days that these hours touch, and by the hour there are none; nor are there where all users or keys
        are told apart.

        Args:
            by: Of ``DIMENSIONS``; none is one group of all.
            which: Filters that all must agree.
            first: Hours since the Unix epoch.
            last: The same; what begins then is outside.
            most: So many groups, the first by their dimensions.
        """
        async with self._database.reading() as connection:
            sqlite = self._database.is_sqlite
            sums = _Asked(usage_rollups, by, which, first, last, sqlite=sqlite)
            rows = (await connection.execute(sums.figures().limit(most))).all()
            times = await _percentiles(connection, _Asked(usage_histograms, by, which, first, last, sqlite=sqlite))
        width = len(sums.groups)
        found = []
        for row in rows:
            group = tuple(row[:width])
            told = {
                measure: tuple(seconds_of(bucket) for bucket in times.get((*group, measure), ()))
                for measure in ("total", "first_token")
            }
            amounts = dict(zip(_SUMS, map(int, row[width:-1]), strict=True))
            found.append(Figures(group=_paired(by, group), sums=amounts, errors=int(row[-1]), **told))
        return found

    async def requests(
        self,
        which: Sequence[UsageFilter],
        start: datetime,
        end: datetime,
        *,
        before: tuple[datetime, str] | None = None,
        request_id: str | None = None,
        limit: int,
    ) -> list[Row]:
        """Return requests that came in within a time, the newest first; ``before`` is where the last page ended."""
        columns = requests.c
        wanted = [columns.created_at >= start, columns.created_at < end]
        if before is not None:
            wanted.append(tuple_(columns.created_at, columns.id) < tuple_(*before))
        if request_id is not None:
            wanted.append(_known_as(request_id, columns.request_id, columns.id))
        query = select(requests).order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
        return await self._rows(query, requests, which, wanted)

    async def request(
        self, id_: str, which: Sequence[UsageFilter]
    ) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """Return a request and its calls in their order; None and no calls where there is none.

        It is known by its id, or by what its caller knows it by: then the newest is meant. One that was cut has calls
        alone.
        """
        columns, calls = requests.c, provider_usage.c
        newest = select(requests).order_by((columns.id == id_).desc(), columns.created_at.desc()).limit(1)
        found = await self._rows(newest, requests, which, [_known_as(id_, columns.request_id, columns.id)])
        whole = found[0]["id"] if found else None
        if whole is None:
            last = select(provider_usage).order_by((calls.request == id_).desc(), calls.id.desc()).limit(1)
            cut = await self._rows(last, provider_usage, which, [_known_as(id_, calls.request_id, calls.request)])
            whole = cut[0]["request"] if cut else None
        if whole is None:
            return None, []
        made = select(provider_usage).order_by(calls.number, calls.id)
        return found[0] if found else None, await self._rows(made, provider_usage, which, [calls.request == whole])

    async def _rows(
        self, query: Any, table: Table, which: Sequence[UsageFilter], wanted: list[ColumnElement[bool]]
    ) -> list[Row]:
        sqlite = self._database.is_sqlite
        conditions = [*wanted, *(condition for one in which for condition in _of_rows(table.c, one, sqlite=sqlite))]
        async with self._database.reading() as connection:
            conditions += await _owned(connection, table.c, which)
            return [dict(row) for row in (await connection.execute(query.where(*conditions))).mappings()]


class _Asked:
    """A question to a table of what was added up.

    Attributes:
        in_vain: The table does not tell calls apart by as much as is asked, or not quickly.
    """

    def __init__(
        self, table: Table, by: Sequence[str], which: Sequence[UsageFilter], first: int, last: int, *, sqlite: bool
    ) -> None:
        columns = table.c
        apart, by_days, where, self.in_vain = _apart(by, which), False, list[ColumnElement[bool]](), False
        if table is usage_histograms:
            somebody, named = any(one.of_somebody for one in which), _named_apart(by, which)
            by_days = apart or named
            self.in_vain = (apart and not somebody) or (by_days and "hour" in by)
            if not apart:
                where.append(columns.provider_name != "" if named else columns.provider_name == "")
        where.append(_each(columns.user_id, which) if apart else columns.user_id == EVERYBODY)
        if all(one.tag is None for one in which):
            where.append(columns.tag > "" if "tag" in by else columns.tag == "")
        for one in which:
            where += _of_sums(columns, one)
            if one.api_key and sqlite:
                where.append(columns.user_id.in_(holders([one.api_key], first, last)))
            elif one.fingerprint is not None and one.user is None:
                where.append(columns.user_id.in_(_presenters(one.fingerprint, first, last)))
        if by_days:
            times = covering_days(columns, first, last)
        elif "hour" in by:
            times = [and_(columns.span == 1, columns.hour >= first, columns.hour < last)]
        else:
            times = covering(columns, first, last)
        self.columns = union_all(*(select(table).where(*where, time) for time in times)).subquery().c
        self.groups = [column for name in by for column in _dimension(self.columns, name)]

    def figures(self) -> Any:
        """Its sums, by group."""
        columns = self.columns
        sums = [func.coalesce(func.sum(columns[name]), 0) for name in _SUMS]
        errors = func.coalesce(func.sum(case((columns.status.in_(_ERRORS), columns.calls), else_=0)), 0)
        return select(*self.groups, *sums, errors).group_by(*self.groups).order_by(*self.groups)

    def percentiles(self) -> Any:
        """For each group and measure the buckets in which its percentiles lie."""
        columns = self.columns
        labels = [group.label(f"g{place}") for place, group in enumerate(self.groups)]
        counts = (
            select(*labels, columns.measure, columns.bucket, func.sum(columns.calls).label("calls"))
            .group_by(*self.groups, columns.measure, columns.bucket)
            .subquery()
        )
        group = [counts.c[label.name] for label in labels]
        whose = [*group, counts.c.measure]
        ranks = select(
            *whose,
            counts.c.bucket,
            func.sum(counts.c.calls).over(partition_by=whose, order_by=counts.c.bucket).label("upto"),
            func.sum(counts.c.calls).over(partition_by=whose).label("whole"),
        ).subquery()
        whose = [ranks.c[column.name] for column in whose]
        buckets = [func.min(case((ranks.c.upto * 100 >= ranks.c.whole * part, ranks.c.bucket))) for part in PERCENTILES]
        return select(*whose, *buckets).group_by(*whose)


def _apart(by: Sequence[str], which: Sequence[UsageFilter]) -> bool:
    """Whether a question tells users or keys from each other."""
    return not {"user", "key"}.isdisjoint(by) or any(one.of_somebody for one in which)


def _named_apart(by: Sequence[str], which: Sequence[UsageFilter]) -> bool:
    """Whether a question tells providers, models or ways of ending from each other."""
    names = {"provider", "model", "status"}
    return not names.isdisjoint(by) or any(getattr(one, name) is not None for one in which for name in names)


async def _percentiles(connection: AsyncConnection, asked: _Asked) -> dict[Group, tuple[int, ...]]:
    if asked.in_vain:
        return {}
    width = len(asked.groups) + 1
    return {tuple(row[:width]): tuple(row[width:]) for row in await connection.execute(asked.percentiles())}


def _dimension(columns: Any, name: str) -> list[ColumnElement[Any]]:
    match name:
        case "day":
            return [columns.hour // HOURS_PER_DAY]
        case "hour":
            return [columns.hour]
        case "user":
            return [columns.user_id]
        case "key":
            return [columns.api_key_id, columns.key_fingerprint]
        case _:
            return [columns[_COLUMNS[name]]]


def _paired(by: Sequence[str], values: Group) -> Group:
    """A value for each dimension: the two of a key together."""
    rest = iter(values)
    return tuple((next(rest), next(rest)) if name == "key" else next(rest) for name in by)


def _known_as(id_: str, callers: ColumnElement[str], ours: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a request has this id, or its caller knows it by that; said so that there is an index for each."""
    return or_(ours == id_, and_(callers == id_, callers != ours))


def _named(columns: Any, which: UsageFilter) -> list[ColumnElement[bool]]:
    """What a filter says by names."""
    pairs = (
        (columns.key_fingerprint, which.fingerprint),
        (columns.provider_name, which.provider),
        (columns.model_name, which.model),
        (columns.status, which.status),
    )
    return [column == value for column, value in pairs if value is not None]


def _of_sums(columns: Any, which: UsageFilter) -> list[ColumnElement[bool]]:
    """What a filter says of rows that add up."""
    pairs = ((columns.user_id, which.user), (columns.api_key_id, which.api_key), (columns.tag, which.tag))
    return [*_named(columns, which), *(column == value for column, value in pairs if value is not None)]


def _each(user: ColumnElement[int], which: Sequence[UsageFilter]) -> ColumnElement[bool]:
    """Whether a row adds up those of a single user."""
    named = any(one.user is not None or one.api_key or one.fingerprint is not None for one in which)
    # SQLite would look for all of these, and not for the few of somebody who is named; a sum is in no index.
    return (user + 0 if named else user) >= 0


def _presenters(fingerprint: str, first: int, last: int) -> Any:
    """The users who presented a key: a table is in their order, and need not be looked through for the key's name."""
    columns = usage_rollups.c
    (days,) = covering_days(columns, first, last)
    return select(columns.user_id).where(
        days, columns.tag == "", columns.user_id >= 0, columns.key_fingerprint == fingerprint
    )


async def _owned(connection: AsyncConnection, columns: Any, which: Sequence[UsageFilter]) -> list[ColumnElement[bool]]:
    """Whose the rows of a key are, if that is known: no key changes hands, and there is an index by user."""
    keys = [one.api_key for one in which if one.api_key]
    owners = select(api_keys.c.user_id).where(api_keys.c.id.in_(keys))
    return [columns.user_id == owner for owner in (await connection.execute(owners)).scalars()] if keys else []


def _of_rows(columns: Any, which: UsageFilter, *, sqlite: bool) -> list[ColumnElement[bool]]:
    """What a filter says of single rows: there nobody is NULL, and tags are a list."""
    pairs = ((columns.user_id, which.user), (columns.api_key_id, which.api_key))
    conditions = [
        *_named(columns, which),
        *(column.is_(None) if value == 0 else column == value for column, value in pairs if value is not None),
    ]
    if which.status not in {None, SUCCESS}:
        # As the index says it: what is bound to a statement is not known when its way is chosen.
        conditions.append(text(ENDED_ILL))
    if which.tag is not None:
        tag: Any = (
            func.json_each(columns.tags).table_valued("value").c.value
            if sqlite
            else func.json_array_elements_text(columns.tags).column_valued()
        )
        conditions.append(select(tag).where(tag == which.tag).exists())
    return conditions
