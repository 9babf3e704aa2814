"""How budgets stand: what is spent and set aside of each, what is left, and when it begins anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from genai_spine.errors import UnavailableError
from genai_spine.identity.limits import limit_of
from genai_spine.identity.office import Office
from genai_spine.quota.budgets import Budgets
from genai_spine.shared_state.meters import Reading
from genai_spine.storage.records import BudgetRecord
from genai_spine.types.limits import Limit
from genai_spine.types.principal import Principal

__all__ = ["Standing", "Standings"]

_EACH: Final = "it binds each request by itself, and adds nothing up"


class Standing(Struct, frozen=True, kw_only=True):
    """A budget, and how it stands.

    Attributes:
        limit: What it says.
        record: Its row of the database; None where the settings say it.
        reading: How it stands; None where that cannot be told.
        reason: Why it cannot; empty where it can.
    """

    limit: Limit
    record: BudgetRecord | None = None
    reading: Reading | None = None
    reason: str = ""

    @property
    def left(self) -> int | None:
        """What may still be spent, in nanodollars; None where that cannot be told."""
        if self.reading is None:
            return None
        return max(0, self.limit.amount - self.reading.used - self.reading.held)


class Standings:
    """Tells how budgets stand, to those whom they bind."""

    def __init__(self, office: Office, budgets: Budgets, everybodys: Callable[[], Sequence[Limit]]) -> None:
        """Tell of budgets.

        Args:
            office: Keeps those of the database.
            budgets: Count what is spent.
            everybodys: Returns those of the settings.
        """
        self._office = office
        self._budgets = budgets
        self._everybodys = everybodys

    async def seen_by(self, by: Principal, *, after: int = 0, limit: int = 100) -> list[Standing]:
        """Return budgets; of one who does not administer, those that bind him.

        Those of the settings stand before the first page, and come on top of its length.
        """
        records = await self._office.budgets(by, after=after, limit=limit)
        found: list[tuple[Limit, BudgetRecord | None]] = [(limit_of(record), record) for record in records]
        if not after:
            found = [*((one, None) for one in self._everybodys()), *found]
        readings, trouble = dict[Limit, Reading](), ""
        try:
            readings = await self._budgets.standing([one for one, _ in found])
        except UnavailableError as error:
            trouble = error.message
        return [_standing(one, record, readings.get(one), trouble) for one, record in found]


def _standing(limit: Limit, record: BudgetRecord | None, reading: Reading | None, trouble: str) -> Standing:
    reason = "" if reading is not None else _EACH if limit.window == "request" else trouble
    return Standing(limit=limit, record=record, reading=reading, reason=reason)
