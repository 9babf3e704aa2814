"""Times as they are asked for and told, all in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from genai_spine.errors import InvalidFieldError

__all__ = ["HOUR", "Span", "moment_of", "stamp"]

HOUR: Final = timedelta(hours=1)

_RANGE: Final = timedelta(days=30)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"(\d{1,5})([mhdw])")


class Span(Struct, frozen=True):
    """A time: ``end`` is outside."""

    start: datetime
    end: datetime

    @classmethod
    def read(cls, since: str | None, until: str | None, now: float) -> Span:
        """Read it from words: a date, a moment, or how long ago; by default the last 30 days.

        Raises:
            InvalidFieldError: A word is none of these, or the end comes before the beginning.
        """
        at = datetime.fromtimestamp(now, UTC)
        end = _moment("until", until, at) if until else at
        start = _moment("since", since, at) if since else end - _RANGE
        if start >= end:
            message = "since: it must come before until"
            raise InvalidFieldError(message, param="since")
        return cls(start, end)

    @property
    def hours(self) -> tuple[int, int]:
        """The whole hours that it touches, since the Unix epoch; the second is outside."""
        return (self.start - _EPOCH) // HOUR, -((_EPOCH - self.end) // HOUR)


def moment_of(hour: int) -> datetime:
    """The beginning of an hour, given in hours since the Unix epoch."""
    return _EPOCH + hour * HOUR


def stamp(moment: datetime) -> str:
    """A moment as ISO 8601 has it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(name: str, word: str, now: datetime) -> datetime:
    if ago := _AGO.fullmatch(word):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        # A space is what `+` becomes in a query.
        found = datetime.fromisoformat(word.replace(" ", "+") if "T" in word else word)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{name}: write a date, a moment such as 2026-11-01T09:00Z, or how long ago, such as 7d, 24h or 30m"
        raise InvalidFieldError(message, param=name) from None
