"""From the budgets and rates of a caller to the limits that are looked after."""

from __future__ import annotations

from decimal import Decimal

from genai_spine.errors import InvalidFieldError
from genai_spine.money import PICODOLLARS_PER_NANODOLLAR, picodollars_from
from genai_spine.storage.records import BudgetRecord, FoundKey, Rates
from genai_spine.types.limits import MOST, Limit, LimitScope, rates_of

__all__ = ["completed", "limit_of", "limits_of", "nanodollars_of"]


def nanodollars_of(limit_usd: Decimal | str) -> int:
    """Return the limit of a budget as budgets count it.

    Raises:
        InvalidFieldError: It is no number, negative, finer than a nanodollar, or too large.
    """
    try:
        nanodollars, rest = divmod(picodollars_from(limit_usd), PICODOLLARS_PER_NANODOLLAR)
    except ValueError as error:
        message = f"limit_usd: {error}"
        raise InvalidFieldError(message, param="limit_usd") from error
    if rest or not 0 <= nanodollars <= MOST:
        message = "limit_usd: give an amount from 0 to nine million, with at most 9 decimal places"
        raise InvalidFieldError(message, param="limit_usd")
    return nanodollars


def limit_of(budget: BudgetRecord) -> Limit:
    """Return a budget as a limit."""
    return Limit(
        kind="usd",
        scope=budget.scope,
        subject="" if budget.scope == "global" else str(budget.subject),
        window=budget.window,
        amount=budget.nanodollars,
        action=budget.action,
    )


def limits_of(found: FoundKey) -> tuple[Limit, ...]:
    """Return the limits of a key and of its user."""
    limits = [*_rate_limits("key", found.key.id, found.key.facts.rates)]
    if found.user is not None:
        limits += _rate_limits("user", found.user.id, found.user.facts.rates)
    return (*limits, *map(limit_of, found.budgets))


def completed(limits: tuple[Limit, ...], usual: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Return the limits of a key with those that are usual, where it has none of their kind of its own."""
    own = {(limit.kind, limit.window) for limit in limits if limit.scope == "key"}
    return (*limits, *(limit for limit in usual if (limit.kind, limit.window) not in own))


def _rate_limits(scope: LimitScope, subject: int, rates: Rates) -> tuple[Limit, ...]:
    return rates_of(
        scope,
        str(subject),
        requests=rates.requests_per_minute,
        tokens=rates.tokens_per_minute,
        concurrent=rates.max_concurrent,
    )
