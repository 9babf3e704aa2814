"""What a request needs, against what is known of each place: who cannot serve it, and why."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, Literal

from msgspec import Struct

from genai_spine.errors import ContextLengthError, InvalidFieldError, InvalidRequestError, SpineError
from genai_spine.money import usd_text
from genai_spine.routing.options import MILLION, Ability, Needs, Option

__all__ = ["Dropped", "Filter", "has_longer_context", "nobody_fits", "obstacle", "too_dear"]

_ABILITIES: Final = {
    "vision": "it takes no images",
    "tools": "it calls no tools",
    "structured_output": "it keeps to no schema",
    "streaming": "it does not stream",
}


class Dropped(Struct, frozen=True):
    """A candidate that was left out.

    Attributes:
        kind: What stood in its way: an ability, the length of its context, its price, that it cannot be used, or that
            the request forbids to move on, or its caller's key does not allow it.
        why: The same for people to read.
    """

    provider: str
    model: str
    kind: Literal["ability", "context", "cost", "unusable", "forbidden"]
    why: str


class Filter:
    """What some places can do, worked out so that little is left to be done for each request.

    ``fitting`` gives those that can serve a request, ``obstacle`` says of one why it cannot; both judge alike.
    """

    def __init__(self, options: Sequence[Option]) -> None:
        self._options = options
        self._able: dict[frozenset[Ability], tuple[Sequence[Option], float]] = {}
        _, self._shortest = self._with(frozenset())

    def fitting(self, needs: Needs) -> Sequence[Option]:
        """Return the places that can serve a request."""
        able = self._able.get(needs.abilities)
        if able is None:
            able = self._able[needs.abilities] = self._with(needs.abilities)
        options, shortest = able
        if (length := _length(needs)) > shortest:
            options = [one for one in options if (context := one.traits.context) is None or length <= context]
        if needs.max_cost is not None:
            # As `too_dear` for each, in a third of its time.
            read, written, most = needs.input_tokens, needs.output_tokens, needs.max_cost * MILLION
            options = [
                one
                for one in options
                if (traits := one.traits).input_price is None
                or traits.output_price is None
                or read * traits.input_price + written * traits.output_price <= most
            ]
        return options

    def is_tight(self, needs: Needs) -> bool:
        """Return whether the length of a request keeps it from some of the places."""
        return _length(needs) > self._shortest

    def _with(self, abilities: frozenset[Ability]) -> tuple[Sequence[Option], float]:
        options = [one for one in self._options if abilities.isdisjoint(one.traits.lacks)]
        shortest = min((one.traits.context for one in options if one.traits.context is not None), default=inf)
        return options, shortest


def obstacle(option: Option, needs: Needs) -> Dropped | None:
    """Return why a place cannot serve a request; None where it can, or where it is not known that it cannot."""
    traits = option.traits
    kind: Literal["ability", "context", "cost"]
    if too_dear(option, needs):
        cost, most = traits.cost(needs.input_tokens, needs.output_tokens) or 0, needs.max_cost or 0
        kind, why = "cost", f"it would cost up to {usd_text(cost)} USD, over the {usd_text(most)} allowed"
    elif lacking := needs.abilities & traits.lacks:
        kind, why = "ability", " and ".join(_ABILITIES[ability] for ability in sorted(lacking))
    elif traits.context is not None and _length(needs) > traits.context:
        kind, why = "context", f"its context of {traits.context:,} tokens is too short for about {_length(needs):,}"
    else:
        return None
    return Dropped(option.candidate.provider, option.candidate.model, kind, why)


def has_longer_context(option: Option, other: Option) -> bool:
    """Return whether a place is known to take longer conversations than another, which found one too long."""
    mine, theirs = option.traits.context, other.traits.context
    return mine is not None and theirs is not None and mine > theirs


def too_dear(option: Option, needs: Needs) -> bool:
    """Return whether a place is known to cost more than a request allows."""
    if needs.max_cost is None:
        return False
    cost = option.traits.cost(needs.input_tokens, needs.output_tokens)
    return cost is not None and cost > needs.max_cost


def nobody_fits(dropped: Sequence[Dropped]) -> SpineError:
    """Return the error for a request that no place can serve."""
    reasons = "; ".join(f"{one.provider}/{one.model}: {one.why}" for one in dropped)
    message = f"no candidate can serve the request: {reasons}"
    kinds = {one.kind for one in dropped}
    if kinds == {"context"}:
        return ContextLengthError(message)
    if "cost" in kinds:
        return InvalidFieldError(message, param="routing.max_cost_usd")
    return InvalidRequestError(message)


def _length(needs: Needs) -> int:
    """The tokens that a context must hold. An estimate that may be a fifth too high must turn nobody away."""
    return needs.input_tokens * 4 // 5 + (needs.max_tokens or 0)
