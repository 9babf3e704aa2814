"""What is routed by: what a request needs, and what is known of each place that could serve it."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from genai_spine.types.candidate import Candidate

__all__ = ["ASSUMED_OUTPUT", "MILLION", "Ability", "Needs", "Option", "Traits"]

Ability: TypeAlias = Literal["vision", "tools", "structured_output", "streaming"]

ASSUMED_OUTPUT: Final = 1000
"""Tokens that an answer is taken to have where its request sets no limit."""

MILLION: Final = 1_000_000
"""Tokens that a price is for."""


class Needs(Struct, frozen=True, kw_only=True):
    """What a request needs.

    Attributes:
        input_tokens: An estimate, within a fifth of the truth.
        max_tokens: The limit that the request sets its answer.
        abilities: What the model must be able to do.
        max_cost: The most that it may cost, in picodollars.
    """

    input_tokens: int = 0
    max_tokens: int | None = None
    abilities: frozenset[Ability] = frozenset()
    max_cost: int | None = None

    @property
    def output_tokens(self) -> int:
        """How long the answer may become."""
        return ASSUMED_OUTPUT if self.max_tokens is None else self.max_tokens


class Traits(Struct, frozen=True, kw_only=True):
    """What is known of a model at a provider; None where nobody knows.

    Attributes:
        context: Tokens of input and output that it takes together.
        lacks: What it is known not to be able to do; of the rest it is either known that it can, or nothing.
        rank: Its place by quality among all models, 1 the best.
        input_price: Picodollars for a million tokens read; 0 where it costs nothing.
        output_price: Picodollars for a million tokens written.
        weight: Its share of the requests where they are spread; none at 0.
    """

    context: int | None = None
    lacks: frozenset[Ability] = frozenset()
    rank: int | None = None
    input_price: int | None = None
    output_price: int | None = None
    weight: float = 1.0

    @property
    def free(self) -> bool:
        """Whether it is known to cost nothing."""
        return self.input_price == self.output_price == 0

    def cost(self, input_tokens: int, output_tokens: int) -> int | None:
        """Return what so many tokens cost in picodollars, rounded up; None where the price is not known."""
        if self.input_price is None or self.output_price is None:
            return None
        return -(-(input_tokens * self.input_price + output_tokens * self.output_price) // MILLION)


class Option(Struct, frozen=True, kw_only=True):
    """A candidate, and what is known of it.

    Attributes:
        local: It runs on the user's own machines.
        link: Its provider's place in the operator's fallback chain, 0 the first; past its end for all others.
        same_model: It serves the model that the request named, no other in its place.
        name: ``provider/model``, by which its speed and its troubles are known; follows from the candidate.
    """

    candidate: Candidate
    traits: Traits = Traits()
    local: bool = False
    link: int = 0
    same_model: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        # Put together once: it is looked up for each request.
        force_setattr(self, "name", self.candidate.name)
