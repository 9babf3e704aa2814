"""Tokens used and what they cost, counted one way for every provider."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = ["CostByKind", "Usage"]


class Usage(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Tokens of one answer. Totals include their parts, whatever the provider's own way of counting.

    Written down, which happens with each call, it leaves out what is 0 or not told.

    Attributes:
        input_tokens: All that was read, cached or not.
        output_tokens: All that was written, reasoning included.
        cache_read_tokens: The part of the input served from the provider's cache.
        cache_write_tokens: The part of the input written to it.
        cache_write_1h_tokens: The part of those that is kept for an hour.
        reasoning_tokens: The part of the output spent on thinking; None where the provider does not tell.
        estimated: Counted by the gateway because the provider did not say.
        extras: The provider's further counters under their wire names.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    extras: dict[str, Any] = field(default_factory=dict)  # JSON; what refers to itself is nothing that msgspec reads

    def __add__(self, other: Usage) -> Usage:
        """Both together; a part that either does not tell is that of the other."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=_sum(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=_sum(self.cache_write_tokens, other.cache_write_tokens),
            cache_write_1h_tokens=_sum(self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
            estimated=self.estimated or other.estimated,
        )

    @property
    def input_apart(self) -> tuple[int, int, int]:
        """The input as three counters that add up to it: untouched by the cache, read from it, written to it.

        Some services count tokens as read and as written at once; here each counts once.
        """
        read = min(self.cache_read_tokens or 0, self.input_tokens)
        written = min(self.cache_write_tokens or 0, self.input_tokens - read)
        return self.input_tokens - read - written, read, written

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class CostByKind(Struct, frozen=True, array_like=True, gc=False):
    """What tokens cost, each counted once by its kind, in picodollars.

    Attributes:
        input: What was read and has nothing to do with the cache.
        output: All that was written, reasoning included.
        cache_read: What was read from the cache.
        cache_write: What was written to it.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.input + self.output + self.cache_read + self.cache_write


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other
