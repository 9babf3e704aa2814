"""What calls and requests are in the database: their rows, every value in a form that it takes.

Most of what is told of a call is told of others too, word for word: who asked whom, through which door, how it ended.
It is looked at once for all of these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, case, func, literal_column

from genai_spine.storage.sql.bulk import Moment, NewRows, Row
from genai_spine.storage.sql.fitting import (
    COUNTS,
    MICROSECONDS,
    MOMENTS,
    NEVER,
    OPEN_COUNTS,
    SECONDS,
    UNTOLD,
    idents,
    microseconds,
    small,
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

_ASKED_BY: Final = ("user_id", "api_key_id", "key_fingerprint", "tags")
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
    shared=(
        *_ASKED_BY,
        "provider_name",
        "model_name",
        "status",
        "price_known",
        "cost_estimated",
        "over_held",
        "number",
        "provider_key",
        "chat_id",
        "message_id",
        "error",
        "reason",
        "strategy",
        "retry",
        "fallback",
        "stream",
        "door",
        "recorded_at",
    ),
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
    shared=(
        *_ASKED_BY,
        "door",
        "asked_model",
        "provider_name",
        "model_name",
        "status",
        "http_status",
        "error",
        "attempts",
        "fallback",
        "strategy",
        "affinity",
        "stream",
        "passthrough",
        "price_known",
        "cost_estimated",
    ),
    made=_MADE,
)


class CallRows:
    """The rows of calls; what is told twice counts once.

    Attributes:
        shared: What rows have in common, each once.
        hours: In which hour since the Unix epoch calls began that have it in common.
        rows: What each has for itself.
    """

    def __init__(self, moment: Moment, recorded_at: int) -> None:
        self.shared: list[Row] = []
        self.hours: list[int] = []
        self.rows: list[Row] = []
        self._moment = moment
        self._recorded_at = moment(recorded_at)
        self._places: dict[Row, int] = {}
        self._ids: set[str] = set()

    def add(self, calls: Iterable[tuple[CallBegun, CallEnded]]) -> None:
        """Make rows of calls."""
        made, ids, places, moment = list[Row](), self._ids, self._places, self._moment
        last, place = None, 0
        hour = begins = ends = 0
        for begun, ended in calls:
            if begun.id in ids:
                continue
            ids.add(begun.id)
            if not begins <= begun.at < ends:
                hour = microseconds(begun.at) // _HOUR
                begins, ends = hour * _HOUR, (hour + 1) * _HOUR
            told = _alike(hour, begun, ended)
            if told != last:
                last = told
                if (place := places.get(told, -1)) < 0:
                    place = places[told] = len(self.shared)
                    self.shared.append(self._shared(begun, ended))
                    self.hours.append(hour)
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
        self.rows += CALLS.fitted(made)

    def _shared(self, begun: CallBegun, ended: CallEnded) -> Row:
        """What a call has in common with others: the shared columns of ``CALLS``."""
        return (
            *_asked_by(begun.caller),
            text(begun.provider, 50),
            text(begun.model, 255),
            text(ended.outcome, 20),
            ended.price_known,
            ended.cost_estimated,
            ended.over_held,
            small(begun.number),
            text(begun.key, 16),
            begun.chat,
            begun.message,
            text(ended.error, 100),
            text(begun.reason, 255),
            text(begun.strategy, 50),
            begun.retry,
            begun.fallback,
            begun.stream,
            text(begun.door, 50),
            self._recorded_at,
        )


class RequestRows:
    """The rows of requests; what is told twice counts once.

    Attributes:
        shared: What rows have in common, each once.
        rows: What each has for itself.
    """

    def __init__(self, moment: Moment) -> None:
        self.shared: list[Row] = []
        self.rows: list[Row] = []
        self._moment = moment
        self._places: dict[Row, int] = {}
        self._ids: set[str] = set()

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
                last = told
                if (place := places.get(told, -1)) < 0:
                    place = places[told] = len(self.shared)
                    self.shared.append(_shared_by_request(done))
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
        self.rows += REQUESTS.fitted(made)


def _alike(hour: int, begun: CallBegun, ended: CallEnded) -> Row:
    """What calls are alike in that share the rest of their rows."""
    return (
        hour,
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
    )


def _shared_by_request(done: RequestDone) -> Row:
    """What a request has in common with others: the shared columns of ``REQUESTS``."""
    return (
        *_asked_by(done.caller),
        text(done.door, 50),
        text(done.asked_model, 255),
        text(done.provider, 50),
        text(done.model, 255),
        text(done.outcome, 20),
        small(done.status),
        text(done.error, 100),
        small(done.attempts),
        done.fallback,
        text(done.strategy, 50),
        done.affinity,
        done.stream,
        done.passthrough,
        done.price_known,
        done.cost_estimated,
    )


def _asked_by(caller: Caller) -> Row:
    tags = dict.fromkeys(tag for each in caller.tags if (tag := text(each, _TAG)))
    fingerprint = text(caller.fingerprint, 16)
    return caller.user, caller.api_key, fingerprint, msgspec.json.encode(list(tags)[:_TAGS]).decode()
