"""Who keeps no account of calls, for tests of what makes them."""

from __future__ import annotations

from genai_spine.errors import SpineError
from genai_spine.gateway.context import Call
from genai_spine.gateway.trial import Trial
from genai_spine.quota.budgets import Reserved

__all__ = ["NoAccounts"]


class NoAccounts:
    """Takes no note of anything (``gateway.failover.Accounting``)."""

    async def reserve(self, call: Call, trial: Trial) -> Reserved:  # noqa: ARG002  # as who keeps some
        """Set nothing aside."""
        return Reserved()

    def sending(self, call: Call, trial: Trial) -> None:
        """Take no note."""

    def declined(self, trial: Trial, error: SpineError) -> None:
        """Take no note."""

    async def durable(self, call: Call) -> None:
        """Nothing was written."""

    def ended(self, call: Call, trial: Trial) -> None:
        """Take no note."""
