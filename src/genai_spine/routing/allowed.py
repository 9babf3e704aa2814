"""Who may not be asked, because the caller's API key does not allow it."""

from __future__ import annotations

from collections.abc import Sequence

from genai_spine.errors import PermissionDeniedError
from genai_spine.routing.options import Option
from genai_spine.routing.shortlist import Tier
from genai_spine.types.principal import Allowance

__all__ = ["allowed"]


def allowed(tiers: Sequence[Tier], allowance: Allowance, *, named: bool) -> tuple[Tier, ...]:
    """Return the tiers without the places that a caller may not use.

    Args:
        tiers: The places.
        allowance: What he may use.
        named: The request named a model or a provider itself: where he may not use that, no other answers for it.

    Raises:
        PermissionDeniedError: Nobody is left; or nobody with the model that he named.
    """
    left = tuple(Tier(tuple(one for one in tier.options if _may(one, allowance)), tier.by) for tier in tiers)
    options = [one for tier in left for one in tier.options]
    if not options or (named and not any(one.same_model for one in options)):
        asked = tiers[0].options[0].candidate
        message = (
            f"the API key may not use {asked.provider}/{asked.model}"
            if named
            else ("the API key may use none of the providers and models that could answer")
        )
        raise PermissionDeniedError(message, param="model")
    return tuple(tier for tier in left if tier.options)


def _may(option: Option, allowance: Allowance) -> bool:
    return allowance.allows(option.candidate.provider, option.candidate.model)
