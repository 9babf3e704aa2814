"""What calls and requests are in the database: their rows, every value in a form that it takes.

Most of what is told of a call is told of others too, word for word: who asked whom, through which door, how it ended.
It is looked at once for all of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, case, func, literal_column

from genai_spine.storage.sql.bulk import Moment, NewRows
from genai_spine.storage.sql.fitting import (
    COUNTS,
    FLAGS,
    IDS,
    MICROSECONDS,
    MOMENTS,
    NEVER,
    OPEN_COUNTS,
    SECONDS,
    SMALL,
    TAGS,
    UNTOLD,
    Row,
    idents,
    microseconds,
    text,
    texts,
)
from genai_spine.storage.sql.tables import provider_usage, requests
from genai_spine.types.ledger import CallBegun, CallEnded, Caller, RequestDone
from genai_spine.types.usage import CostByKind, Usage

__all__ = ["CALLS", "REQUESTS", "CallRows", "RequestRows"]

# Of a request's tags so many are kept, each so long.
_TAGS: Final = 16
_TAG: Final = 100
_HOUR: Final = 3600 * MICROSECONDS
_NO_TOKENS: Final = Usage()
_NO_COSTS: Final = CostByKind()
_UNTOLD: Final = CostByKind(UNTOLD, UNTOLD, UNTOLD, UNTOLD)

_ASKED_BY: Final = {"user_id": IDS, "api_key_id": IDS, "key_fingerprint": texts(16), "tags": TAGS}
_USED: Final = dict.fromkeys(
    (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "cost_picodollars",
    ),
    COUNTS,
)
_TOOK: Final = {"response_time_ms": SECONDS, "first_token_ms": SECONDS}


def _milliseconds(own: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((own >= literal_column("0"), func.round(own * literal_column("1000"))))


_MADE: Final = {
    "response_time_ms": lambda own: _milliseconds(own.response_time_ms),
    "first_token_ms": lambda own: _milliseconds(own.first_token_ms),
}

CALLS: Final = NewRows(
    provider_usage,
    key="call_id",
    own={
        "call_id": idents(64),
        "request": idents(160),
        "request_id": texts(128),
        **_USED,
        **{f"{kind}_cost_picodollars": OPEN_COUNTS for kind in ("input", "output", "cache_read", "cache_write")},
        **_TOOK,
        "created_at": MOMENTS,
    },
    shared={
        **_ASKED_BY,
        "provider_name": texts(50),
        "model_name": texts(255),
        "status": texts(20),
        "price_known": FLAGS,
        "cost_estimated": FLAGS,
        "over_held": FLAGS,
        "number": SMALL,
        "provider_key": texts(16),
        "chat_id": IDS,
        "message_id": IDS,
        "error": texts(100),
        "reason": texts(255),
        "strategy": texts(50),
        "retry": FLAGS,
        "fallback": FLAGS,
        "stream": FLAGS,
        "door": texts(50),
        "recorded_at": MOMENTS,
    },
    made={
        **_MADE,
        "tokens_used": lambda own: own.input_tokens + own.output_tokens,
        "cost": lambda own: own.cost_picodollars.op("/")(literal_column("1e12")),
    },
)
REQUESTS: Final = NewRows(
    requests,
    key="id",
    own={"id": idents(160), "request_id": texts(128), **_USED, **_TOOK, "created_at": MOMENTS},
    shared={
        **_ASKED_BY,
        "door": texts(50),
        "asked_model": texts(255),
        "provider_name": texts(50),
        "model_name": texts(255),
        "status": texts(20),
        "http_status": SMALL,
        "error": texts(100),
        "attempts": SMALL,
        "fallback": FLAGS,
        "strategy": texts(50),
        "affinity": FLAGS,
        "stream": FLAGS,
        "passthrough": FLAGS,
        "price_known": FLAGS,
        "cost_estimated": FLAGS,
    },
    made=_MADE,
)


class _Rows:
    """Rows of a table; what is told twice counts once.

    Attributes:
        shared: What rows have in common, each once.
        rows: What each has for itself.
    """

    def __init__(self, table: NewRows, moment: Moment) -> None:
        self.shared: list[Row] = []
        self.rows: list[Row] = []
        self._table = table
        self._moment = moment
        # Of what rows have in common as it was told: the caller, the other columns, and maybe more.
        self._places: dict[Row, int] = {}
        self._width = len(table.shared) - len(_ASKED_BY) + 1
        self._ids: set[str] = set()

    def _keep(self, rows: list[Row]) -> None:
        """Keep rows, and what they have in common as far as it is new."""
        new = islice(self._places, len(self.shared), None)
        shared = [(*_asked_by(told[0]), *told[1 : self._width]) for told in new]
        self.shared += self._table.fitted_shared(shared)
        self.rows += self._table.fitted(rows)


class CallRows(_Rows):
    """The rows of calls."""

    def __init__(self, moment: Moment, recorded_at: int) -> None:
        """Prepare to make rows that are written at a moment."""
        super().__init__(CALLS, moment)
        self._recorded_at = moment(recorded_at)

    @cached_property
    def hours(self) -> list[int]:
        """In which hour since the Unix epoch calls began that have it in common; asked for when all are there."""
        return [told[-1] for told in self._places]

    def add(self, calls: Iterable[tuple[CallBegun, CallEnded]]) -> None:
        """Make rows of calls."""
        made, ids, places, moment, recorded_at = list[Row](), self._ids, self._places, self._moment, self._recorded_at
        last, place = None, 0
        hour = begins = ends = 0
        for begun, ended in calls:
            if begun.id in ids:
                continue
            ids.add(begun.id)
            if not begins <= begun.at < ends:
                hour = microseconds(begun.at) // _HOUR
                begins, ends = hour * _HOUR, (hour + 1) * _HOUR
            told = _told(begun, ended, recorded_at, hour)
            if told != last:
                last, place = told, places.setdefault(told, len(places))
            usage = ended.usage or _NO_TOKENS
            costs = ended.by_kind or (_UNTOLD if ended.cost else _NO_COSTS)
            made.append(
                (
                    place,
                    begun.id,
                    begun.request,
                    begun.request_id,
                    usage.input_tokens,
                    usage.output_tokens,
                    usage.cache_read_tokens or 0,
                    usage.cache_write_tokens or 0,
                    usage.reasoning_tokens or 0,
                    ended.cost,
                    costs.input,
                    costs.output,
                    costs.cache_read,
                    costs.cache_write,
                    ended.seconds,
                    NEVER if (first := ended.first_token_seconds) is None else first,
                    moment(begun.at),
                )
            )
        self._keep(made)


class RequestRows(_Rows):
    """The rows of requests."""

    def __init__(self, moment: Moment) -> None:
        """Prepare to make rows."""
        super().__init__(REQUESTS, moment)

    def add(self, requests_: Iterable[RequestDone]) -> None:
        """Make rows of requests."""
        made, ids, places, moment = list[Row](), self._ids, self._places, self._moment
        last, place = None, 0
        for done in requests_:
            if done.id in ids:
                continue
            ids.add(done.id)
            told = (
                done.caller,
                done.door,
                done.asked_model,
                done.provider,
                done.model,
                done.outcome,
                done.status,
                done.error,
                done.attempts,
                done.fallback,
                done.strategy,
                done.affinity,
                done.stream,
                done.passthrough,
                done.price_known,
                done.cost_estimated,
            )
            if told != last:
                last, place = told, places.setdefault(told, len(places))
            usage = done.usage or _NO_TOKENS
            made.append(
                (
                    place,
                    done.id,
                    done.request_id,
                    usage.input_tokens,
                    usage.output_tokens,
                    usage.cache_read_tokens or 0,
                    usage.cache_write_tokens or 0,
                    usage.reasoning_tokens or 0,
                    done.cost,
                    done.seconds,
                    NEVER if (first := done.first_token_seconds) is None else first,
                    moment(done.at),
                )
            )
        self._keep(made)


def _told(begun: CallBegun, ended: CallEnded, recorded_at: Any, hour: int) -> Row:
    """What is told of a call that others have in common with it, and the hour, by which they are added up."""
    return (
        begun.caller,
        begun.provider,
        begun.model,
        ended.outcome,
        ended.price_known,
        ended.cost_estimated,
        ended.over_held,
        begun.number,
        begun.key,
        begun.chat,
        begun.message,
        ended.error,
        begun.reason,
        begun.strategy,
        begun.retry,
        begun.fallback,
        begun.stream,
        begun.door,
        recorded_at,
        hour,
    )


def _asked_by(caller: Caller) -> Row:
    tags = dict.fromkeys(tag for each in caller.tags if (tag := text(each, _TAG)))
    return caller.user, caller.api_key, caller.fingerprint, msgspec.json.encode(list(tags)[:_TAGS]).decode()
