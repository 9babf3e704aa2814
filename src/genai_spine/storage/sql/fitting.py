"""Values brought into a form that every database can keep, so that no row is lost for one odd value of it.

Hardly any value is odd, and a request brings thirty of them: of many rows it is asked by column whether all are as they
should be, and only where they are not is each value looked at.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import JSON, BigInteger, Boolean, Float, Integer, String
from sqlalchemy.types import TypeEngine

__all__ = [
    "COUNTS",
    "FLAGS",
    "IDS",
    "MICROSECONDS",
    "MOMENTS",
    "NEVER",
    "OPEN_COUNTS",
    "SECONDS",
    "SMALL",
    "TAGS",
    "UNTOLD",
    "Kind",
    "Row",
    "count",
    "fitted",
    "ident",
    "idents",
    "microseconds",
    "moment",
    "seconds",
    "small",
    "text",
    "texts",
]

Row: TypeAlias = tuple[Any, ...]

MICROSECONDS: Final = 10**6

NEVER: Final = -1.0
"""The seconds of what did not happen."""

UNTOLD: Final = -1
"""The count of what nobody has counted."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = int((datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH).total_seconds()) * MICROSECONDS
# A column holds eight of them added up.
_MOST: Final = 2**60
_MOST_SMALL: Final = 2**31 - 1
_MOST_SECONDS: Final = 2_000_000.0
_DIGEST: Final = 32


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


def count(value: int) -> int:
    """A number of something, or an amount, that can be added up."""
    return min(max(value, 0), _MOST)


def small(value: int) -> int:
    """A number that is never large."""
    return min(max(value, 0), _MOST_SMALL)


def seconds(value: float) -> float:
    """A duration, the milliseconds of which are a small number; ``NEVER`` where it is none."""
    return min(value, _MOST_SECONDS) if value >= 0 else NEVER


def microseconds(since: int) -> int:
    """A moment, in microseconds since the Unix epoch."""
    return min(max(since, 0), _LAST)


def moment(since: int) -> datetime:
    """The same as such."""
    return _EPOCH + timedelta(microseconds=microseconds(since))


class Kind(NamedTuple):
    """A kind of values.

    Attributes:
        type: What they are to a driver.
        usual: Whether many are as they should be, one and all.
        fit: Makes one so.
    """

    type: TypeEngine[Any]
    usual: Callable[[Sequence[Any]], bool]
    fit: Callable[[Any], Any]


def fitted(kinds: Sequence[Kind], rows: Sequence[Row]) -> Sequence[Row]:
    """Return rows of values of these kinds with each in a form that the database takes."""
    if all(kind.usual(column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=False)):
        return rows
    return [tuple(kind.fit(value) for kind, value in zip(kinds, row, strict=True)) for row in rows]


def idents(length: int) -> Kind:
    """Ids of a length at most."""
    return Kind(String(length), lambda column: _usual_texts(column, length), lambda value: ident(value, length))


def texts(length: int) -> Kind:
    """Texts of a length at most."""
    return Kind(String(length), lambda column: _usual_texts(column, length), lambda value: text(value, length))


def _usual_texts(column: Sequence[str], length: int) -> bool:
    whole = "".join(column)
    return whole.isascii() and "\0" not in whole and max(map(len, column)) <= length


def _usual_counts(column: Sequence[int]) -> bool:
    try:
        # It takes nothing below zero, and a fourth of the time of comparing them.
        array("Q", column)
    except OverflowError:
        return False
    return sum(column) <= _MOST


COUNTS: Final = Kind(BigInteger(), _usual_counts, count)
OPEN_COUNTS: Final = Kind(BigInteger(), _usual_counts, lambda value: None if value == UNTOLD else count(value))
# A sum with what is no number is none either, and is not below anything.
SECONDS: Final = Kind(Float(), lambda column: sum(column) <= _MOST_SECONDS, seconds)
SMALL: Final = Kind(Integer(), lambda column: min(column) >= 0 and max(column) <= _MOST_SMALL, small)


def _as_told(type_: TypeEngine[Any]) -> Kind:
    return Kind(type_, lambda _: True, lambda value: value)


FLAGS: Final = _as_told(Boolean())
IDS: Final = _as_told(BigInteger())
TAGS: Final = _as_told(JSON())
MOMENTS: Final = _as_told(BigInteger())
"""As they were made for the driver: see ``Moment``."""
