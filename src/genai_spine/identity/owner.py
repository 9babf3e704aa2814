"""The program that uses the library: it needs no key, and is bound by the limits of everybody."""

from __future__ import annotations

from genai_spine.identity.limits import limit_of
from genai_spine.quota.operator import limits_in
from genai_spine.settings import FileSettings
from genai_spine.storage.sql.budgets import BudgetStore
from genai_spine.types.limits import Limit
from genai_spine.types.principal import Principal

__all__ = ["Owner"]

_NAME = "library"


class Owner:
    """Whose requests those are that come in by no door.

    Attributes:
        principal: He himself, with the limits that bind him now.
    """

    def __init__(self, budgets: BudgetStore, values: FileSettings) -> None:
        """Begin with the limits of the settings; those of the database come with ``refresh``."""
        self._budgets = budgets
        self._shared: tuple[Limit, ...] = ()
        self.follow(values)

    def follow(self, values: FileSettings) -> None:
        """Go by the limits of these settings."""
        self._own = limits_in(values, _NAME)
        self._bind()

    async def refresh(self) -> None:
        """Read the budgets of everybody anew; where that fails, they stay.

        Raises:
            DatabaseDownError: The database cannot be reached.
        """
        self._shared = tuple(map(limit_of, await self._budgets.shared()))
        self._bind()

    def _bind(self) -> None:
        self.principal = Principal("", (*self._own, *self._shared))
