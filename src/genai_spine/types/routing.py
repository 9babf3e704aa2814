"""What a caller says of where his request shall go."""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

__all__ = ["NO_WISHES", "Fallback", "Wishes"]

Fallback: TypeAlias = bool | tuple[str, ...] | None
"""What a request says of other models: allowed, forbidden, just these (models, aliases or providers), or nothing."""


class Wishes(Struct, frozen=True, kw_only=True):
    """What a caller says of where his request shall go, beside the model.

    Attributes:
        provider: That provider and no other, unless ``fallback`` allows it.
        strategy: What puts the candidates in order.
        hint: What stands for a strategy, where none is named.
        fallback: What is said of other models.
        preferred: Providers to be asked first, in this order, where they are candidates.
        max_cost: The most that the answer may cost, in picodollars.
    """

    provider: str | None = None
    strategy: str | None = None
    hint: str | None = None
    fallback: Fallback = None
    preferred: tuple[str, ...] = ()
    max_cost: int | None = None


NO_WISHES: Final = Wishes()
"""The choice is the gateway's."""
