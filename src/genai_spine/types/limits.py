"""What a caller may use: money, requests, tokens, and how many at once."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

__all__ = ["MOST", "Limit", "LimitAction", "LimitKind", "LimitScope", "LimitWindow", "rates_of"]

LimitKind: TypeAlias = Literal["usd", "requests", "tokens", "concurrent"]
LimitScope: TypeAlias = Literal["global", "user", "key"]
LimitWindow: TypeAlias = Literal["request", "minute", "hour", "day", "month", "none"]
LimitAction: TypeAlias = Literal["block", "warn", "fallback"]

MOST: Final = 2**53 - 1
"""No amount is larger: past it the numbers of some places that count are no longer exact."""

_WINDOWS: Final[dict[LimitKind, frozenset[LimitWindow]]] = {
    "usd": frozenset({"request", "hour", "day", "month", "none"}),
    "requests": frozenset({"minute", "hour", "day", "month"}),
    "tokens": frozenset({"minute", "hour", "day", "month"}),
    "concurrent": frozenset({"none"}),
}


class Limit(Struct, frozen=True, kw_only=True, cache_hash=True):
    """One limit of one caller.

    Attributes:
        kind: What is limited.
        scope: Whose use counts together: everybody's, that of a user's keys, or one key's.
        subject: The id of that user or key; empty for everybody.
        window: For how long it counts, by the calendar in UTC: ``request`` is each one for itself, ``none`` for ever.
        amount: How much at most; money in nanodollars.
        action: What is done where money does not suffice: the call is refused, or let through with a warning, or
            refused where it costs, so that a free candidate may answer.

    Raises:
        ValueError: The amount is none, or the parts do not go together.
    """

    kind: LimitKind
    scope: LimitScope
    subject: str = ""
    window: LimitWindow
    amount: int
    action: LimitAction = "block"

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= MOST:
            message = f"a limit is from 0 to {MOST}, not {self.amount}"
            raise ValueError(message)
        if self.window not in _WINDOWS[self.kind]:
            known = ", ".join(sorted(_WINDOWS[self.kind]))
            message = f"a limit of {self.kind} has no window {self.window!r}; known windows: {known}"
            raise ValueError(message)
        if (self.scope == "global") != (not self.subject):
            message = "a limit for everybody has no subject, and any other has one"
            raise ValueError(message)
        if self.action != "block" and self.kind != "usd":
            message = f"a limit of {self.kind} blocks; only one of usd may {self.action}"
            raise ValueError(message)


def rates_of(
    scope: LimitScope, subject: str, *, requests: int | None, tokens: int | None, concurrent: int | None
) -> tuple[Limit, ...]:
    """Return rates as limits: requests and tokens a minute, and requests at once; None sets none."""
    rates: tuple[tuple[LimitKind, LimitWindow, int | None], ...] = (
        ("requests", "minute", requests),
        ("tokens", "minute", tokens),
        ("concurrent", "none", concurrent),
    )
    return tuple(
        Limit(kind=kind, scope=scope, subject=subject, window=window, amount=amount)
        for kind, window, amount in rates
        if amount is not None
    )
