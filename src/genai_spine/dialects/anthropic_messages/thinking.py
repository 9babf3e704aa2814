"""Anthropic Messages: how much a model is asked to think, by what the model knows of it."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.anthropic_messages.blocks import merge
from genai_spine.dialects.anthropic_messages.turns import needs_thinking
from genai_spine.dialects.fields import text_in
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import ModelFacts

__all__ = ["apply_reasoning"]

MIN_BUDGET: Final = 1024
"""The least that the service takes as ``budget_tokens``."""

_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 49_152}
_DEFAULT_BUDGET: Final = 8192


def apply_reasoning(
    body: JsonObject, request: CompletionRequest, facts: ModelFacts, losses: Losses, *, native: bool
) -> None:
    """Write ``thinking`` and ``output_config.effort`` into a body whose other fields are written.

    What came in this dialect goes on as it came. In either case thinking is left off where the conversation stands in a
    tool loop that began without it, for the service then refuses it.
    """
    wanted = request.reasoning
    if wanted is None:
        return
    if native:
        _write(body, _native(wanted), wanted.effort)
    else:
        _foreign(body, wanted, facts, losses, limited=request.max_tokens is not None)
    thinking = body.get("thinking")
    mode = thinking.get("type") if isinstance(thinking, dict) else None
    if mode in {None, "disabled"}:
        return
    if mode == "enabled" and needs_thinking([turn for turn in _list(body["messages"]) if isinstance(turn, dict)]):
        losses.change("thinking", "off for this request, for its tool calls were made without")
        _turn_off(body, facts)
    elif not native:
        _reconcile(body, facts, losses)


def _native(wanted: Reasoning) -> JsonObject | None:
    if wanted.mode is None:
        return None
    written: JsonObject = {"type": wanted.mode}
    if wanted.budget_tokens is not None:
        written["budget_tokens"] = wanted.budget_tokens
    if wanted.display is not None:
        written["display"] = wanted.display
    return written | wanted.extras


def _write(body: JsonObject, thinking: JsonObject | None, effort: str | None) -> None:
    if thinking is not None:
        body["thinking"] = thinking
    if effort is not None:
        merge(body, {"output_config": {"effort": effort}})


def _foreign(body: JsonObject, wanted: Reasoning, facts: ModelFacts, losses: Losses, *, limited: bool) -> None:
    off = wanted.effort == "none" or wanted.mode == "disabled"
    if off:
        if facts.thinking is not None or facts.thinks_by_default:
            body["thinking"] = {"type": "disabled"}
        return
    if facts.thinking is None:
        losses.drop("reasoning")
        return
    display: JsonObject = {} if wanted.display is None else {"display": wanted.display}
    if facts.thinking == "adaptive":
        mode = "between_tools" if wanted.mode == "between_tools" else "adaptive"
        effort = wanted.effort
        if effort is None and (budget := wanted.budget_tokens) is not None:
            effort = next((name for name in ("low", "medium") if budget <= _BUDGETS[name]), "high")
        _write(body, {"type": mode, **display}, "low" if effort == "minimal" else effort)
        return
    wished = wanted.budget_tokens or _BUDGETS.get(wanted.effort or "", _DEFAULT_BUDGET)
    budget = _fit(body, max(MIN_BUDGET, wished), facts, losses, limited=limited)
    body["thinking"] = {"type": "enabled", "budget_tokens": budget, **display}


def _fit(body: JsonObject, budget: int, facts: ModelFacts, losses: Losses, *, limited: bool) -> int:
    """Return a budget below the limit of the answer, which is raised only where even the least does not fit."""
    limit = body["max_tokens"]
    if not isinstance(limit, int) or budget < limit:
        return budget
    if not limited and facts.max_output_tokens is None:
        # Nobody set the limit, so the answer has the default's room beside the thinking.
        body["max_tokens"] = limit + budget
        return budget
    if limit > MIN_BUDGET:
        # Half for the thinking, half for the words.
        return max(MIN_BUDGET, limit // 2)
    losses.change("max_tokens", f"raised by {MIN_BUDGET}, the least that the provider takes for thinking")
    body["max_tokens"] = limit + MIN_BUDGET
    return MIN_BUDGET


def _reconcile(body: JsonObject, facts: ModelFacts, losses: Losses) -> None:
    """Leave off thinking beside a tool that must be called, and beside thinking the sampling that it rules out."""
    if text_in(body.get("tool_choice"), "type") in {"any", "tool"}:
        losses.change("thinking", "off for this request, for the provider cannot force a tool call with it")
        _turn_off(body, facts)
        return
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if body.pop("temperature", None) is not None and temperature != 1:
        losses.change("temperature", "left out, the provider takes none beside thinking")
    if isinstance(top_p, int | float) and top_p < 0.95:
        del body["top_p"]
        losses.change("top_p", "left out, beside thinking the provider takes none below 0.95")
    if body.pop("top_k", None) is not None:
        losses.change("top_k", "left out, the provider takes none beside thinking")


def _turn_off(body: JsonObject, facts: ModelFacts) -> None:
    del body["thinking"]
    if facts.thinks_by_default:
        body["thinking"] = {"type": "disabled"}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
