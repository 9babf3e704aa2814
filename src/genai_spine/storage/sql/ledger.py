"""The ledger's rows: calls, requests and events of the audit, each written once and added up in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from genai_spine.clock import Clock, SystemClock
from genai_spine.errors import DatabaseDownError
from genai_spine.money import nanodollars_up
from genai_spine.storage.sql import audit
from genai_spine.storage.sql.bulk import texts_of_moments
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.fitting import MICROSECONDS, microseconds
from genai_spine.storage.sql.rollups import HOUR, add_up, covering, holders
from genai_spine.storage.sql.rows import CALLS, REQUESTS, CallRows, RequestRows
from genai_spine.storage.sql.tables import EVERYBODY, provider_usage, usage_rollups
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, RequestDone

__all__ = ["LedgerStore", "Recorded", "Rejected", "Spent"]

Calls = Sequence[tuple[CallBegun, CallEnded]]
Events = Sequence[tuple[str, AuditEvent]]

# So many rows of a kind are made before others have their turn.
_SLICE: Final = 100
_TRIES: Final = 5
# SQLSTATE: two transactions stood in each other's way; a value, or a constraint.
_AGAIN: Final = ("40001", "40P01")
_OF_A_ROW: Final = ("22", "23")


class Rejected(NamedTuple):
    """What the database refuses whatever is done, set aside so that the rest gets in.

    Attributes:
        id: Of the call, request or event.
        reason: What the database said.
    """

    id: str
    reason: str


class Recorded(NamedTuple):
    """What became of a batch: the ids of what was not there before, as the rows have them, and what is refused."""

    calls: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    rejected: tuple[Rejected, ...] = ()

    def joined(self, other: Recorded) -> Recorded:
        """This and another."""
        return Recorded(
            self.calls | other.calls,
            self.requests | other.requests,
            self.events | other.events,
            self.rejected + other.rejected,
        )


class Spent(NamedTuple):
    """What the ledger knows of a budget's window.

    Attributes:
        nanodollars: Of all calls that began in it; rounded up.
        recent: Ids of calls among them that were written of late, and may be told a second time by who made them.
    """

    nanodollars: int
    recent: frozenset[str]


class _Whose:
    """Of whom rows tell: of some subjects by a column, or without one of all together, who are called 0."""

    def __init__(self, column: ColumnElement[Any] | None, subjects: Collection[int]) -> None:
        self._column = column
        self._subject = literal(0) if column is None else column
        self._subjects = list(subjects)

    def cost(self, column: ColumnElement[Any], *where: ColumnElement[bool]) -> Select[Any]:
        """What the rows add up to, by subject."""
        query: Select[Any] = select(self._subject, func.sum(column)).where(*where)
        return query if self._column is None else query.where(self._column.in_(self._subjects)).group_by(self._column)

    def each(self, *what: ColumnElement[Any]) -> Select[Any]:
        """What is told of each row, behind its subject, by whatever index finds it but the subject's."""
        query: Select[Any] = select(self._subject, *what)
        # SQLite prefers what is equal to what is greater, however much more that is; a sum is in no index.
        return query if self._column is None else query.where((self._column + 0).in_(self._subjects))


class LedgerStore:
    """Writes the ledger. Several may do so at once, and may tell the same twice: it is kept once, and counted once."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        """Write to a database; the clock says when."""
        self._database = database
        self._clock = clock or SystemClock()

    async def record(self, calls: Calls, requests: Sequence[RequestDone], events: Events) -> Recorded:
        """Write what is not there yet, all of it or nothing, and add it up.

        A row that the database refuses is set aside; the others are then written apart from each other.

        Raises:
            DatabaseDownError: The database cannot be reached, or cannot write for now; all can be told again.
        """
        if not (calls or requests or events):
            return Recorded()
        try:
            made = await self._made(calls, requests)
            return await self._in_turn(lambda connection: _written(connection, *made, events))
        except DBAPIError as error:
            if not _of_a_row(error):
                raise
            if len(calls) + len(requests) + len(events) == 1:
                ids = [*(begun.id for begun, _ in calls), *(done.id for done in requests), *(id_ for id_, _ in events)]
                return Recorded(rejected=(Rejected(ids[0], str(error.orig)),))
        found = Recorded()
        for part in _parts(calls, requests, events):
            found = found.joined(await self.record(*part))
        return found

    async def spent(
        self,
        scope: str,
        subjects: Collection[int],
        start: datetime,
        end: datetime,
        *,
        recent: timedelta = timedelta(minutes=10),
    ) -> dict[int, Spent]:
        """Return what calls cost that began in a window, and which of them were written within ``recent``; by subject.

        Args:
            scope: ``global``, ``user`` or ``key``.
            subjects: The ids of users or keys; 0 alone is ``global``.
            start: When the window begins.
            end: When it ends; what begins then is outside.
            recent: How long after it was written a call may be told again.
        """
        usage, sums = provider_usage.c, usage_rollups.c
        calls = _Whose({"global": None, "user": usage.user_id, "key": usage.api_key_id}[scope], subjects)
        added = _Whose({"global": None, "user": sums.user_id, "key": sums.api_key_id}[scope], subjects)
        whole = [sums.tag == "", *([sums.user_id == EVERYBODY] if scope == "global" else [])]
        first, last = int(-(-start.timestamp() // HOUR)), int(end.timestamp() // HOUR)
        if scope == "key" and self._database.is_sqlite:
            whole.append(sums.user_id.in_(holders(subjects, first, last)))
        edges = [(start, _at(first)), (_at(last), end)] if first < last else [(start, end)]
        asked = [
            *(added.cost(sums.cost_picodollars, *whole, part) for part in covering(sums, first, last)),
            *(
                calls.cost(usage.cost_picodollars, usage.created_at >= begin, usage.created_at < until)
                for begin, until in edges
                if begin < until
            ),
        ]
        totals, ids = dict.fromkeys(subjects, 0), {subject: set[str]() for subject in subjects}
        async with self._database.reading() as connection:
            for question in asked:
                for subject, cost in await connection.execute(question):
                    totals[subject] += int(cost or 0)
            # Which of them are inside is asked here, so that the database looks only at what was written of late.
            since = datetime.fromtimestamp(self._clock.now(), UTC) - recent
            late = calls.each(usage.call_id, usage.created_at).where(usage.recorded_at >= since)
            for subject, id_, at in await connection.execute(late):
                if start <= at < end:
                    ids[subject].add(id_)
        return {subject: Spent(nanodollars_up(total), frozenset(ids[subject])) for subject, total in totals.items()}

    async def recorded_since(self, moment: datetime) -> frozenset[str]:
        """Return the ids of all calls that were written since a moment."""
        ids = select(provider_usage.c.call_id).where(
            provider_usage.c.recorded_at >= moment, provider_usage.c.call_id.is_not(None)
        )
        async with self._database.reading() as connection:
            return frozenset((await connection.execute(ids)).scalars())

    async def _in_turn(self, work: Callable[[Connection], Recorded]) -> Recorded:
        """Do something in a transaction, again where another transaction stood in its way."""
        for _ in range(_TRIES):
            try:
                return await self._database.write(work)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _AGAIN:
                    raise
        raise DatabaseDownError

    async def _made(self, calls: Calls, done: Sequence[RequestDone]) -> tuple[CallRows, RequestRows]:
        """Make the rows, a few at a time: the event loop has other things to do."""
        moment = texts_of_moments() if self._database.is_sqlite else microseconds
        of_calls, of_requests = CallRows(moment, int(self._clock.now() * MICROSECONDS)), RequestRows(moment)
        for start in range(0, max(len(calls), len(done)), _SLICE):
            of_calls.add(calls[start : start + _SLICE])
            of_requests.add(done[start : start + _SLICE])
            await asyncio.sleep(0)
        return of_calls, of_requests


def _written(connection: Connection, calls: CallRows, requests: RequestRows, events: Events) -> Recorded:
    """Write what is not there."""
    new_calls = frozenset(CALLS.insert(connection, calls.shared, calls.rows))
    new_requests = frozenset(REQUESTS.insert(connection, requests.shared, requests.rows))
    add_up(connection, calls, new_calls)
    return Recorded(new_calls, new_requests, audit.append(connection, events))


def _of_a_row(error: DBAPIError) -> bool:
    """Whether a value of a row was the cause, and not the statement or the database."""
    state = getattr(error.orig, "sqlstate", None)
    return isinstance(error, IntegrityError | DataError) or (isinstance(state, str) and state.startswith(_OF_A_ROW))


def _parts(calls: Calls, requests: Sequence[RequestDone], events: Events) -> Iterable[tuple[Any, Any, Any]]:
    """Smaller batches: one of each kind, or two of the only kind that there is."""
    if sum(map(bool, (calls, requests, events))) > 1:
        return [(calls, (), ()), ((), requests, ()), ((), (), events)]
    half = (len(calls) + len(requests) + len(events) + 1) // 2
    return [(calls[:half], requests[:half], events[:half]), (calls[half:], requests[half:], events[half:])]


def _at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * HOUR, UTC)
