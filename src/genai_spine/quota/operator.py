"""The limits that the operator sets in the settings: budgets of everybody together, and rates of each key."""

from __future__ import annotations

from decimal import Decimal

from genai_spine.money import nanodollars_from
from genai_spine.settings import FileSettings
from genai_spine.types.limits import Limit, LimitWindow, rates_of

__all__ = ["budgets_in", "limits_in", "rates_in"]


def budgets_in(values: FileSettings) -> tuple[Limit, ...]:
    """Return the budgets that everybody shares; none where none is set."""
    amounts: dict[LimitWindow, Decimal | None] = {
        "request": values.budget_per_request,
        "hour": values.budget_hourly,
        "day": values.budget_daily,
        "month": values.budget_monthly,
    }
    return tuple(
        Limit(kind="usd", scope="global", window=window, amount=nanodollars_from(amount), action=values.budget_action)
        for window, amount in amounts.items()
        if amount is not None
    )


def rates_in(values: FileSettings, key: str) -> tuple[Limit, ...]:
    """Return the rates of one key, by whatever it is known; none where none is set."""
    return rates_of(
        "key",
        key,
        requests=values.rate_limit_requests_per_minute,
        tokens=values.rate_limit_tokens_per_minute,
        concurrent=values.rate_limit_concurrent,
    )


def limits_in(values: FileSettings, key: str) -> tuple[Limit, ...]:
    """Return all that counts for a key of which nothing else is said."""
    return (*budgets_in(values), *rates_in(values, key))
