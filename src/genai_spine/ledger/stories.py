"""Requests one by one, each with the calls that were made for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.errors import InvalidFieldError, NotFoundError
from genai_spine.ledger.spans import Span, stamp
from genai_spine.ledger.usage import tokens_of
from genai_spine.money import usd_json
from genai_spine.storage.sql.usage import EVERYTHING, UsageFilter, UsageStore
from genai_spine.types.usage import CostByKind

__all__ = ["Page", "Stories"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Page(Struct, frozen=True):
    """Some of many.

    Attributes:
        data: The newest first.
        next: What to give for ``after`` to go on; None at the end.
    """

    data: list[dict[str, Any]]
    next: str | None


class Stories:
    """Tells of requests."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def page(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        which: UsageFilter = EVERYTHING,
        visible: UsageFilter = EVERYTHING,
        request_id: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Return requests, the newest first.

        Raises:
            InvalidFieldError: A word is not understood.
            DatabaseDownError: The database cannot be reached.
        """
        span = Span.read(since, until, self._clock.now())
        rows = await self._store.requests(
            (which, visible),
            span.start,
            span.end,
            before=_read_cursor(after) if after else None,
            request_id=request_id,
            limit=limit + 1,
        )
        more = len(rows) > limit
        return Page([_request(row) for row in rows[:limit]], _cursor(rows[limit - 1]) if more else None)

    async def story(self, id_: str, visible: UsageFilter = EVERYTHING) -> dict[str, Any]:
        """Return a request with its calls; one that was cut by a crash has calls alone.

        Raises:
            NotFoundError: There is none of this id, or the caller may not see it.
            DatabaseDownError: The database cannot be reached.
        """
        request, calls = await self._store.request(id_, (visible,))
        if request is None and not calls:
            message = "there is no request of this id; GET /v1/usage/requests lists them"
            raise NotFoundError(message, param="id")
        return {"request": None if request is None else _request(request), "calls": [_call(call) for call in calls]}


def _cursor(row: Mapping[str, Any]) -> str:
    return f"{(row['created_at'] - _EPOCH) // _MICROSECOND}.{row['id']}"


def _read_cursor(word: str) -> tuple[datetime, str]:
    moment, _, id_ = word.partition(".")
    try:
        return _EPOCH + timedelta(microseconds=int(moment)), id_
    except (ValueError, OverflowError):
        message = "after: give what the last page had for `next`"
        raise InvalidFieldError(message, param="after") from None


def _request(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "request_id": row["request_id"],
        "at": stamp(row["created_at"]),
        **_asked_by(row),
        "door": row["door"],
        "asked_model": row["asked_model"] or None,
        "provider": row["provider_name"] or None,
        "model": row["model_name"] or None,
        "http_status": row["http_status"],
        "attempts": row["attempts"],
        "affinity": row["affinity"],
        "passthrough": row["passthrough"],
        **_ended(row),
    }


def _call(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["call_id"],
        "number": row["number"],
        "at": stamp(row["created_at"]),
        **_asked_by(row),
        "provider": row["provider_name"],
        "model": row["model_name"],
        "provider_key": row["provider_key"] or None,
        "reason": row["reason"],
        "retry": row["retry"],
        "over_held": row["over_held"],
        "cost_usd_by_kind": _cost_by_kind(row),
        "chat": row["chat_id"],
        "message": row["message_id"],
        **_ended(row),
    }


def _asked_by(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "user": row["user_id"],
        "key": row["key_fingerprint"] or None,
        "api_key_id": row["api_key_id"],
        "tags": row["tags"] or [],
    }


def _cost_by_kind(row: Mapping[str, Any]) -> dict[str, Any] | None:
    amounts = {kind: row[f"{kind}_cost_picodollars"] for kind in CostByKind.__struct_fields__}
    if None in amounts.values():
        return None
    return {kind: usd_json(amount) for kind, amount in amounts.items()}


def _ended(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": row["status"],
        "error": row["error"] or None,
        "fallback": row["fallback"],
        "strategy": row["strategy"] or None,
        "stream": row["stream"],
        "tokens": tokens_of(row),
        "cost_usd": usd_json(row["cost_picodollars"]),
        "price_known": row["price_known"],
        "cost_estimated": row["cost_estimated"],
        "seconds": _seconds(row["response_time_ms"]),
        "first_token_seconds": _seconds(row["first_token_ms"]),
    }


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
