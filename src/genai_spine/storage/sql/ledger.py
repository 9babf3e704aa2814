"""The ledger's rows: calls, requests and events of the audit, each written once and added up in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, func, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.clock import Clock, SystemClock
from genai_spine.errors import DatabaseDownError
from genai_spine.money import nanodollars_up
from genai_spine.storage.sql import audit, fitting
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.rollups import HOUR, Sums, covering, insert_for
from genai_spine.storage.sql.tables import EVERYBODY, provider_usage, requests, usage_rollups
from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, Caller, RequestDone
from genai_spine.types.usage import CostByKind, Usage

__all__ = ["LedgerStore", "Recorded", "Rejected", "Spent"]

Calls = Sequence[tuple[CallBegun, CallEnded]]
Events = Sequence[tuple[str, AuditEvent]]

# Of a request's tags so many are kept, each so long.
_TAGS: Final = 16
_TAG: Final = 100
_TRIES: Final = 5
# SQLSTATE: two transactions stood in each other's way; a value, or a constraint.
_AGAIN: Final = ("40001", "40P01")
_OF_A_ROW: Final = ("22", "23")
_PICODIGITS: Final = -12


class Rejected(NamedTuple):
    """What the database refuses whatever is done, set aside so that the rest gets in.

    Attributes:
        id: Of the call, request or event.
        reason: What the database said.
    """

    id: str
    reason: str


class Recorded(NamedTuple):
    """What became of a batch: the ids of what was not there before, and what is to be kept elsewhere."""

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
            return await self._in_turn(lambda connection: self._write(connection, calls, requests, events))
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
        self, scope: str, subject_id: int, start: datetime, end: datetime, *, recent: timedelta = timedelta(minutes=10)
    ) -> Spent:
        """Return what calls cost that began in a window, and which of them were written within ``recent``.

        Args:
            scope: ``global``, ``user`` or ``key``.
            subject_id: Of the user or key; nothing to ``global``.
            start: When the window begins.
            end: When it ends; what begins then is outside.
            recent: How long after it was written a call may be told again.
        """
        usage, sums = provider_usage.c, usage_rollups.c
        cost = func.coalesce(func.sum(usage.cost_picodollars), 0)
        of_row = {"global": None, "user": usage.user_id == subject_id, "key": usage.api_key_id == subject_id}[scope]
        mine = [] if of_row is None else [of_row]
        of_sum = {
            "global": sums.user_id == EVERYBODY,
            "user": sums.user_id == subject_id,
            "key": sums.api_key_id == subject_id,
        }[scope]
        first, last = int(-(-start.timestamp() // HOUR)), int(end.timestamp() // HOUR)
        since = datetime.fromtimestamp(self._clock.now(), UTC) - recent
        async with self._database.reading() as connection:
            total = 0
            if first < last:
                for part in covering(sums, first, last):
                    added = select(func.coalesce(func.sum(sums.cost_picodollars), 0))
                    added = added.where(of_sum, sums.tag == "", part)
                    total += int((await connection.execute(added)).scalar_one())
                edges = [(start, _at(first)), (_at(last), end)]
            else:
                edges = [(start, end)]
            for begin, until in edges:
                if begin < until:
                    there = select(cost).where(*mine, usage.created_at >= begin, usage.created_at < until)
                    total += int((await connection.execute(there)).scalar_one())
            # Which of them are inside is asked here, so that the database looks only at what was written of late.
            late = select(usage.call_id, usage.created_at).where(*mine, usage.recorded_at >= since)
            ids = frozenset(id_ for id_, at in await connection.execute(late) if start <= at < end)
        return Spent(nanodollars_up(total), ids)

    async def recorded_since(self, moment: datetime) -> frozenset[str]:
        """Return the ids of all calls that were written since a moment."""
        ids = select(provider_usage.c.call_id).where(
            provider_usage.c.recorded_at >= moment, provider_usage.c.call_id.is_not(None)
        )
        async with self._database.reading() as connection:
            return frozenset((await connection.execute(ids)).scalars())

    async def _in_turn(self, work: Callable[[AsyncConnection], Any]) -> Recorded:
        """Do something in a transaction, again where another transaction stood in its way."""
        for _ in range(_TRIES):
            try:
                async with self._database.writing() as connection:
                    found: Recorded = await work(connection)
                    return found
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _AGAIN:
                    raise
        raise DatabaseDownError

    async def _write(
        self, connection: AsyncConnection, calls: Calls, done: Sequence[RequestDone], events: Events
    ) -> Recorded:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        pairs = {fitting.ident(begun.id, 64): (begun, ended) for begun, ended in calls}
        rows = {id_: _call(id_, begun, ended, now) for id_, (begun, ended) in pairs.items()}
        new_calls = await _insert(connection, provider_usage, "call_id", rows)
        over = {fitting.ident(one.id, 160): one for one in done}
        new_requests = await _insert(connection, requests, "id", {id_: _request(id_, one) for id_, one in over.items()})
        sums = Sums()
        for id_ in new_calls:
            ended = pairs[id_][1]
            sums.add(rows[id_], ended.seconds, ended.first_token_seconds)
        await sums.write(connection)
        return Recorded(
            frozenset(pairs[id_][0].id for id_ in new_calls),
            frozenset(over[id_].id for id_ in new_requests),
            await audit.append(connection, events),
        )


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


async def _insert(
    connection: AsyncConnection, table: Table, key: str, rows: dict[str, dict[str, Any]]
) -> Sequence[str]:
    """Insert the rows that are not there, and return their keys."""
    if not rows:
        return ()
    # In one order, as everybody does it: two who write the same wait for each other, and never crosswise.
    values = [rows[id_] for id_ in sorted(rows)]
    insert = insert_for(connection, table).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
    return (await connection.execute(insert, values)).scalars().all()


def _asked_by(caller: Caller) -> dict[str, Any]:
    tags = dict.fromkeys(tag for each in caller.tags if (tag := fitting.text(each, _TAG)))
    return {
        "user_id": caller.user,
        "api_key_id": caller.api_key,
        "key_fingerprint": fitting.text(caller.fingerprint, 16),
        "tags": list(tags)[:_TAGS],
    }


def _used(usage: Usage | None, cost: int) -> dict[str, Any]:
    usage = usage or Usage()
    return {
        "input_tokens": fitting.count(usage.input_tokens),
        "output_tokens": fitting.count(usage.output_tokens),
        "cache_read_tokens": fitting.count(usage.cache_read_tokens),
        "cache_write_tokens": fitting.count(usage.cache_write_tokens),
        "reasoning_tokens": fitting.count(usage.reasoning_tokens),
        "cost_picodollars": fitting.count(cost),
    }


def _cost_by_kind(ended: CallEnded) -> dict[str, int | None]:
    by_kind = ended.by_kind or (None if ended.cost else CostByKind())
    return {
        f"{kind}_cost_picodollars": None if by_kind is None else fitting.count(getattr(by_kind, kind))
        for kind in CostByKind.__struct_fields__
    }


def _call(id_: str, begun: CallBegun, ended: CallEnded, now: datetime) -> dict[str, Any]:
    used = _used(ended.usage, ended.cost)
    return {
        "call_id": id_,
        "request": fitting.ident(begun.request, 160),
        "request_id": fitting.text(begun.request_id, 128),
        "number": fitting.small(begun.number),
        **_asked_by(begun.caller),
        "provider_name": fitting.text(begun.provider, 50),
        "model_name": fitting.text(begun.model, 255),
        "provider_key": fitting.text(begun.key, 16),
        "chat_id": begun.chat,
        "message_id": begun.message,
        "tokens_used": fitting.count(used["input_tokens"] + used["output_tokens"]),
        **used,
        **_cost_by_kind(ended),
        "cost": Decimal(used["cost_picodollars"]).scaleb(_PICODIGITS),
        "price_known": ended.price_known,
        "cost_estimated": ended.cost_estimated,
        "over_held": ended.over_held,
        "response_time_ms": fitting.milliseconds(ended.seconds),
        "first_token_ms": fitting.milliseconds(ended.first_token_seconds),
        "status": fitting.text(ended.outcome, 20),
        "error": fitting.text(ended.error, 100),
        "reason": fitting.text(begun.reason, 255),
        "strategy": fitting.text(begun.strategy, 50),
        "retry": begun.retry,
        "fallback": begun.fallback,
        "stream": begun.stream,
        "door": fitting.text(begun.door, 50),
        "created_at": fitting.moment(begun.at),
        "recorded_at": now,
    }


def _request(id_: str, done: RequestDone) -> dict[str, Any]:
    return {
        "id": id_,
        "request_id": fitting.text(done.request_id, 128),
        **_asked_by(done.caller),
        "door": fitting.text(done.door, 50),
        "asked_model": fitting.text(done.asked_model, 255),
        "provider_name": fitting.text(done.provider, 50),
        "model_name": fitting.text(done.model, 255),
        "status": fitting.text(done.outcome, 20),
        "http_status": fitting.small(done.status),
        "error": fitting.text(done.error, 100),
        "attempts": fitting.small(done.attempts),
        "fallback": done.fallback,
        "strategy": fitting.text(done.strategy, 50),
        "affinity": done.affinity,
        "stream": done.stream,
        "passthrough": done.passthrough,
        **_used(done.usage, done.cost),
        "price_known": done.price_known,
        "cost_estimated": done.cost_estimated,
        "response_time_ms": fitting.milliseconds(done.seconds),
        "first_token_ms": fitting.milliseconds(done.first_token_seconds),
        "created_at": fitting.moment(done.at),
    }


def _at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * HOUR, UTC)
