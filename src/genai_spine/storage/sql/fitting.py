"""Values brought into a form that every database can keep, so that no row is lost for one odd value of it."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["MICROSECONDS", "count", "ident", "microseconds", "milliseconds", "moment", "small", "text"]

MICROSECONDS: Final = 10**6

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds()) * MICROSECONDS
# A column holds eight of them added up.
_MOST: Final = 2**60
_MOST_SMALL: Final = 2**31 - 1
_DIGEST: Final = 32
# Seconds that need no second look.
_USUAL: Final = 10**6


def text(value: str, length: int | None = None) -> str:
    """A text without what PostgreSQL or UTF-8 cannot hold, cut to a length."""
    if not value.isascii() or "\0" in value:
        value = value.encode("utf-8", "replace").decode().replace("\0", "")
    return value[:length]


def ident(value: str, length: int) -> str:
    """An id; one that is too long ends in a digest of the whole, so that it stays unlike all others."""
    if len(fitting := text(value)) <= length and fitting == value:
        return value
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=_DIGEST // 2).hexdigest()
    return fitting[: length - _DIGEST] + digest


def count(value: int | None) -> int:
    """A number of something, or an amount, that can be added up."""
    if not value or value < 0:
        return 0
    return min(value, _MOST)


def small(value: int) -> int:
    """A number that is never large."""
    return min(max(value, 0), _MOST_SMALL)


def milliseconds(seconds: float | None) -> int | None:
    """A duration, rounded; None where it is none."""
    if seconds is not None and 0 <= seconds <= _USUAL:
        return round(seconds * 1000)
    if seconds is None or not math.isfinite(seconds):
        return None
    return round(min(max(seconds * 1000, 0), _MOST_SMALL))


def microseconds(since: int) -> int:
    """A moment, in microseconds since the Unix epoch."""
    return min(max(since, 0), _LAST)


def moment(since: int) -> datetime:
    """The same as such."""
    return _EPOCH + timedelta(microseconds=microseconds(since))
