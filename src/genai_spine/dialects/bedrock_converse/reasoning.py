"""Bedrock Converse: how much a model is asked to think, by what the model knows of it.

``thinking`` stands among the fields of the model's maker (``additionalModelRequestFields``), the effort in
``outputConfig``.
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.bedrock_converse.families import Family
from genai_spine.dialects.bedrock_converse.objects import merge
from genai_spine.dialects.bedrock_converse.turns import needs_thinking
from genai_spine.dialects.fields import Fields, text_in
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import ModelFacts

__all__ = ["MAKER", "apply_reasoning", "take_reasoning"]

MAKER: Final = "additionalModelRequestFields"
"""The fields that the service hands on to the model's maker as they are."""

MIN_BUDGET: Final = 1024
"""The least that models take as ``budget_tokens``."""
DEFAULT_MAX_TOKENS: Final = 4096
"""The room for words beside the thinking, where nobody set a limit."""

_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 49_152}
_DEFAULT_BUDGET: Final = 8192


def take_reasoning(maker: Fields | None, output: Fields | None) -> Reasoning | None:
    """Take ``thinking`` and ``effort`` of the two objects that hold them; thinking of an unknown kind is left."""
    effort = None if output is None else output.text("effort")
    told = maker.peek("thinking") if maker is not None else None
    mode = told.get("type") if isinstance(told, dict) else None
    match mode:
        case "enabled" | "disabled" | "adaptive" | "between_tools" if maker is not None:
            inner = maker.need_child("thinking")
            inner.take("type")
            return Reasoning(
                mode=mode,
                effort=effort,
                budget_tokens=inner.integer("budget_tokens"),
                display=inner.text("display"),
                extras=inner.rest(),
            )
    return None if effort is None else Reasoning(effort=effort)


def apply_reasoning(
    body: JsonObject, request: CompletionRequest, facts: ModelFacts, family: Family, losses: Losses, *, native: bool
) -> None:
    """Write what is asked into a body whose other fields are written.

    What came in this dialect goes on as it came. In any other case thinking is left off where the model would refuse
    it: in a tool loop that began without it, and beside a tool that must be called.
    """
    wanted = request.reasoning
    if wanted is None:
        return
    if native:
        _write(body, _native(wanted), wanted.effort)
        return
    _foreign(body, wanted, facts, family, losses)
    thinking = _within(body, MAKER).get("thinking")
    mode = thinking.get("type") if isinstance(thinking, dict) else None
    if mode in {None, "disabled"}:
        return
    if mode == "enabled" and needs_thinking([turn for turn in _list(body["messages"]) if isinstance(turn, dict)]):
        losses.change("thinking", "off for this request, for its tool calls were made without")
        _turn_off(body, facts)
    elif _forces_tool(body):
        losses.change("thinking", "off for this request, for the provider cannot force a tool call with it")
        _turn_off(body, facts)
    else:
        _without_sampling(body, losses)


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
        merge(body, {MAKER: {"thinking": thinking}})
    if effort is not None:
        merge(body, {"outputConfig": {"effort": effort}})


def _foreign(body: JsonObject, wanted: Reasoning, facts: ModelFacts, family: Family, losses: Losses) -> None:
    if wanted.effort == "none" or wanted.mode == "disabled":
        if facts.thinking is not None or facts.thinks_by_default:
            _write(body, {"type": "disabled"}, None)
        elif family.effort is not None:
            losses.drop("reasoning")
        return
    if facts.thinking not in {"adaptive", "budget"}:
        level = family.efforts.get(wanted.effort or _effort_of(wanted.budget_tokens) or "medium")
        if family.effort is None or level is None:
            losses.drop("reasoning")
        else:
            merge(body, {MAKER: {family.effort: level}})
        return
    display: JsonObject = {} if wanted.display is None else {"display": wanted.display}
    if facts.thinking == "adaptive":
        mode = "between_tools" if wanted.mode == "between_tools" else "adaptive"
        effort = wanted.effort or _effort_of(wanted.budget_tokens)
        _write(body, {"type": mode, **display}, "low" if effort == "minimal" else effort)
        return
    wished = wanted.budget_tokens or _BUDGETS.get(wanted.effort or "", _DEFAULT_BUDGET)
    budget = _fit(body, max(MIN_BUDGET, wished), facts, losses)
    _write(body, {"type": "enabled", "budget_tokens": budget, **display}, None)


def _effort_of(budget: int | None) -> str | None:
    if budget is None:
        return None
    return next((name for name in ("low", "medium") if budget <= _BUDGETS[name]), "high")


def _fit(body: JsonObject, budget: int, facts: ModelFacts, losses: Losses) -> int:
    """Return a budget below the limit of the answer, which is raised only where even the least does not fit."""
    limit = _within(body, "inferenceConfig").get("maxTokens")
    if not isinstance(limit, int):
        # Nobody set the limit, so the answer has room beside the thinking.
        limit = facts.max_output_tokens or budget + DEFAULT_MAX_TOKENS
    if budget >= limit > MIN_BUDGET:
        # Half for the thinking, half for the words.
        budget = max(MIN_BUDGET, limit // 2)
    elif budget >= limit:
        losses.change("max_tokens", f"raised by {MIN_BUDGET}, the least that the provider takes for thinking")
        limit, budget = limit + MIN_BUDGET, MIN_BUDGET
    merge(body, {"inferenceConfig": {"maxTokens": limit}})
    return budget


def _forces_tool(body: JsonObject) -> bool:
    choice, maker = _within(body, "toolConfig").get("toolChoice"), _within(body, MAKER).get("tool_choice")
    forced = isinstance(choice, dict) and not {"any", "tool"}.isdisjoint(choice)
    return forced or text_in(maker, "type") in {"any", "tool"}


def _without_sampling(body: JsonObject, losses: Losses) -> None:
    """Leave out the sampling that thinking rules out."""
    config, maker = _within(body, "inferenceConfig"), _within(body, MAKER)
    temperature, top_p = config.get("temperature"), config.get("topP")
    if config.pop("temperature", None) is not None and temperature != 1:
        losses.change("temperature", "left out, the provider takes none beside thinking")
    if isinstance(top_p, int | float) and top_p < 0.95:
        del config["topP"]
        losses.change("top_p", "left out, beside thinking the provider takes none below 0.95")
    if maker.pop("top_k", None) is not None:
        losses.change("top_k", "left out, the provider takes none beside thinking")
    if not config:
        body.pop("inferenceConfig", None)


def _turn_off(body: JsonObject, facts: ModelFacts) -> None:
    maker = _within(body, MAKER)
    del maker["thinking"]
    if facts.thinks_by_default:
        maker["thinking"] = {"type": "disabled"}
    if not maker:
        del body[MAKER]


def _within(body: JsonObject, name: str) -> JsonObject:
    """Return the object in a field; an empty one that is no part of the body where there is none."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
