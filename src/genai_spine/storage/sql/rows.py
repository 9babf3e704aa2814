"""What calls and requests are in the database: their rows, every value in a form that it takes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec

from genai_spine.storage.sql.bulk import Forms, NewRows, Row
from genai_spine.storage.sql.fitting import count, ident, microseconds, milliseconds, small, text
from genai_spine.storage.sql.tables import provider_usage, requests
from genai_spine.types.ledger import CallBegun, CallEnded, Caller, RequestDone
from genai_spine.types.usage import Usage

__all__ = ["CALLS", "REQUESTS", "call_key", "call_row", "request_key", "request_row"]

CALLS: Final = NewRows(provider_usage, "call_id")
REQUESTS: Final = NewRows(requests, "id")

# Of a request's tags so many are kept, each so long.
_TAGS: Final = 16
_TAG: Final = 100
_UNTOLD: Final = (None, None, None, None)

# A text of which there are few: most rows have the same.
_word: Final = lru_cache(maxsize=4096)(text)


def call_key(begun: CallBegun) -> str:
    """Return by what its row is known."""
    return ident(begun.id, 64)


def call_row(key: str, begun: CallBegun, ended: CallEnded, recorded_at: Any, forms: Forms) -> Row:
    """Return the row of a call: the columns of ``provider_usage`` in their order."""
    read, wrote, *kinds_of_tokens = _tokens(ended.usage)
    cost = count(ended.cost)
    return (
        key,
        ident(begun.request, 160),
        text(begun.request_id, 128),
        small(begun.number),
        *_asked_by(begun.caller),
        _word(begun.provider, 50),
        _word(begun.model, 255),
        _word(begun.key, 16),
        begun.chat,
        begun.message,
        count(read + wrote),
        read,
        wrote,
        *kinds_of_tokens,
        cost,
        *_by_kind(ended),
        forms.usd(cost),
        ended.price_known,
        ended.cost_estimated,
        ended.over_held,
        milliseconds(ended.seconds),
        milliseconds(ended.first_token_seconds),
        _word(ended.outcome, 20),
        _word(ended.error, 100),
        _word(begun.reason, 255),
        _word(begun.strategy, 50),
        begun.retry,
        begun.fallback,
        begun.stream,
        _word(begun.door, 50),
        forms.moment(microseconds(begun.at)),
        recorded_at,
    )


def request_key(done: RequestDone) -> str:
    """Return by what its row is known."""
    return ident(done.id, 160)


def request_row(key: str, done: RequestDone, forms: Forms) -> Row:
    """Return the row of a request: the columns of ``requests`` in their order."""
    return (
        key,
        text(done.request_id, 128),
        *_asked_by(done.caller),
        _word(done.door, 50),
        _word(done.asked_model, 255),
        _word(done.provider, 50),
        _word(done.model, 255),
        _word(done.outcome, 20),
        small(done.status),
        _word(done.error, 100),
        small(done.attempts),
        done.fallback,
        _word(done.strategy, 50),
        done.affinity,
        done.stream,
        done.passthrough,
        *_tokens(done.usage),
        count(done.cost),
        done.price_known,
        done.cost_estimated,
        milliseconds(done.seconds),
        milliseconds(done.first_token_seconds),
        forms.moment(microseconds(done.at)),
    )


@lru_cache(maxsize=4096)
def _asked_by(caller: Caller) -> Row:
    tags = dict.fromkeys(tag for each in caller.tags if (tag := text(each, _TAG)))
    fingerprint = text(caller.fingerprint, 16)
    return caller.user, caller.api_key, fingerprint, msgspec.json.encode(list(tags)[:_TAGS]).decode()


def _tokens(usage: Usage | None) -> tuple[int, int, int, int, int]:
    if usage is None:
        return 0, 0, 0, 0, 0
    return (
        count(usage.input_tokens),
        count(usage.output_tokens),
        count(usage.cache_read_tokens),
        count(usage.cache_write_tokens),
        count(usage.reasoning_tokens),
    )


def _by_kind(ended: CallEnded) -> Row:
    costs = ended.by_kind
    if costs is None:
        return _UNTOLD if ended.cost else (0, 0, 0, 0)
    return count(costs.input), count(costs.output), count(costs.cache_read), count(costs.cache_write)
