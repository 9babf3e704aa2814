"""Where a request would go and why, told without calling anybody."""

from __future__ import annotations

from genai_spine.gateway.asking import asked_in
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.planning import Planner
from genai_spine.money import usd_json
from genai_spine.routing.router import Considered

__all__ = ["explained"]


def explained(planner: Planner, question: Question) -> dict[str, object]:
    """Return a request's plan with its reasons, ready to be written as JSON; the candidates are best first.

    Raises:
        SpineError: Nobody can serve it, or it names what there is not.
    """
    found = planner.explain(asked_in(question))
    return {
        "strategy": found.strategy,
        "chosen_by": found.chosen_by,
        "candidates": [_told(one) for one in found.considered],
        "dropped": [
            {"provider": one.provider, "model": one.model, "kind": one.kind, "why": one.why} for one in found.dropped
        ],
    }


def _told(one: Considered) -> dict[str, object]:
    return {
        "provider": one.candidate.provider,
        "model": one.candidate.model,
        "reason": one.candidate.reason,
        "same_model": one.same_model,
        "local": one.local,
        "quality_rank": one.rank,
        "cost_usd": None if one.cost is None else usd_json(one.cost),
        "seconds": round(one.seconds, 3),
        "in_flight": one.in_flight,
        "trouble": one.trouble,
    }
