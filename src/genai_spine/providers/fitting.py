"""What a model is known not to take of a request, in whatever dialect it is told."""

from __future__ import annotations

from msgspec.structs import replace

from genai_spine.dialects.base import Target
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest

__all__ = ["fitted"]


def fitted(request: CompletionRequest, target: Target) -> tuple[CompletionRequest, tuple[str, ...]]:
    """Return a request as the model takes it, and what was changed of it, a line each."""
    losses = Losses(target.provider)
    facts, limit, reasoning = target.facts, request.max_tokens, request.reasoning
    most = facts.max_output_tokens
    if limit is not None and most is not None and limit > most:
        losses.change("max_tokens", f"lowered to {most}, {target.model} writes no more")
        request = replace(request, max_tokens=most)
    if facts.thinks_never and reasoning is not None:
        # To tell it not to would make no difference.
        if reasoning.asked_effort not in {None, "none"}:
            losses.change("reasoning", f"left out, {target.model} does not think")
        request = replace(request, reasoning=None)
    return request, losses.warnings
