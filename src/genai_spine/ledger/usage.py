"""Usage for people and programs: a question read from its words, and the answer as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.errors import InvalidFieldError
from genai_spine.ledger.spans import Span, moment_of, stamp
from genai_spine.money import usd_json, usd_text
from genai_spine.storage.sql.rollups import HOURS_PER_DAY
from genai_spine.storage.sql.usage import DIMENSIONS, EVERYTHING, PERCENTILES, Figures, UsageFilter, UsageStore

__all__ = ["MOST_GROUPS", "Report", "UsageReports", "tokens_of"]

MOST_GROUPS: Final = 10_000
"""So many rows a report has at most."""

_NAMES: Final = {"key": ("key", "api_key_id")}
_TOKENS: Final = ("input", "output", "cache_read", "cache_write", "reasoning")
# A spreadsheet takes a text that begins so for a formula, and callers choose the names of models and tags.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class Report(Struct, frozen=True):
    """The answer to a question.

    Attributes:
        by: By what it is told apart.
        start: The beginning of its first hour.
        end: The end of its last.
        totals: Of all calls; those of several tags count once.
        rows: By group.
    """

    by: tuple[str, ...]
    start: datetime
    end: datetime
    totals: Figures
    rows: tuple[Figures, ...]

    def json(self) -> dict[str, Any]:
        """As the gateway's route tells it."""
        return {
            "start": stamp(self.start),
            "end": stamp(self.end),
            "by": self.by,
            "totals": _figures(self.totals),
            "rows": [{**_named(self.by, row.group), **_figures(row)} for row in self.rows],
        }

    def csv(self) -> str:
        """A line for each group, under a line of names."""
        rows = [{**_named(self.by, row.group), **_flat(row)} for row in self.rows]
        names = [name for each in self.by for name in _NAMES.get(each, (each,))] + list(_flat(self.totals))
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(names)
        writer.writerows([_cell(row[name]) for name in names] for row in rows)
        return out.getvalue()


class UsageReports:
    """Answers questions about what was used."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def report(
        self,
        by: Sequence[str] = (),
        *,
        since: str | None = None,
        until: str | None = None,
        which: UsageFilter = EVERYTHING,
        visible: UsageFilter = EVERYTHING,
    ) -> Report:
        """Add up what was used.

        Args:
            by: By what it is told apart; see ``DIMENSIONS``.
            since: A date, a moment, or how long ago, such as ``7d``; times are those of UTC.
            until: The same; what begins then is outside.
            which: Only this.
            visible: What the caller may see.

        Raises:
            InvalidFieldError: A word is not understood, or the report would be too long.
            DatabaseDownError: The database cannot be reached.
        """
        by = tuple(dict.fromkeys(by))
        if unknown := [name for name in by if name not in DIMENSIONS]:
            message = f"by: {unknown[0]!r} is none of {', '.join(DIMENSIONS)}"
            raise InvalidFieldError(message, param="by")
        first, last = Span.read(since, until, self._clock.now()).hours
        filters = (which, visible)
        rows = await self._store.figures(by, filters, first, last, most=MOST_GROUPS + 1) if by else []
        if len(rows) > MOST_GROUPS:
            message = f"by: more than {MOST_GROUPS} rows; ask for less time, or by less"
            raise InvalidFieldError(message, param="by")
        (totals,) = await self._store.figures((), filters, first, last, most=1)
        return Report(by, moment_of(first), moment_of(last), totals, tuple(rows))


def tokens_of(sums: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by kind, out of columns; the input and the output include their parts."""
    return {kind: sums[f"{kind}_tokens"] for kind in _TOKENS}


def _named(by: Sequence[str], group: Sequence[Any]) -> dict[str, Any]:
    """The values of a group by their names; nobody is null."""
    told: dict[str, Any] = {}
    for name, value in zip(by, group, strict=True):
        match name:
            case "day":
                told[name] = moment_of(value * HOURS_PER_DAY).date().isoformat()
            case "hour":
                told[name] = stamp(moment_of(value))
            case "user":
                told[name] = value or None
            case "key":
                told |= zip(_NAMES[name], (value[1] or None, value[0] or None), strict=True)
            case _:
                told[name] = value
    return told


def _figures(figures: Figures) -> dict[str, Any]:
    sums = figures.sums
    return {
        "calls": sums["calls"],
        "errors": figures.errors,
        "tokens": tokens_of(sums),
        "cost_usd": usd_json(sums["cost_picodollars"]),
        "cost_estimated_calls": sums["estimated"],
        "price_unknown_calls": sums["price_unknown"],
        "seconds": _percentiles(figures.total),
        "first_token_seconds": _percentiles(figures.first_token),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float] | None:
    return {f"p{part}": round(value, 6) for part, value in zip(PERCENTILES, values, strict=True)} if values else None


def _flat(figures: Figures) -> dict[str, Any]:
    """The same figures without anything within another."""
    sums = figures.sums
    flat = {
        "calls": sums["calls"],
        "errors": figures.errors,
        **{f"{kind}_tokens": value for kind, value in tokens_of(sums).items()},
        "cost_usd": usd_text(sums["cost_picodollars"]),
        "cost_estimated_calls": sums["estimated"],
        "price_unknown_calls": sums["price_unknown"],
    }
    for name, values in (("seconds", figures.total), ("first_token_seconds", figures.first_token)):
        told = _percentiles(values) or {}
        flat |= {f"{name}_p{part}": told.get(f"p{part}") for part in PERCENTILES}
    return flat


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
