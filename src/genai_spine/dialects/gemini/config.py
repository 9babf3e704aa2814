"""Gemini: ``generationConfig``, read and written: sampling, limits, the answer's form and how much to think.

Source: https://ai.google.dev/api/generate-content#GenerationConfig and https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from genai_spine.dialects.base import Target
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.gemini.schema import json_schema
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import ModelFacts

__all__ = ["Config", "decode_config", "encode_config"]

_JSON: Final = "application/json"
_AUTOMATIC: Final = -1
"""The ``thinkingBudget`` that leaves it to the model how much to think."""
_BUDGETS: Final = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
"""As the service's own OpenAI-compatible door reads efforts, for models that are told a budget."""
_DEGREES: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SAMPLING: Final = ("temperature", "topP", "topK")


class Config(Struct, frozen=True, kw_only=True):
    """What of ``generationConfig`` the vocabulary has."""

    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: tuple[str, ...]
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    n: int | None
    logprobs: bool | None
    top_logprobs: int | None
    output_schema: OutputSchema | None
    reasoning: Reasoning | None


# Reading.


def decode_config(fields: Fields) -> Config:
    """Take ``generationConfig``; what the vocabulary has not of it stays with the extras."""
    config = fields.child("generationConfig") or Fields({})
    found = Config(
        max_tokens=config.integer("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.integer("topK"),
        stop=config.texts("stopSequences"),
        seed=config.integer("seed"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        n=config.integer("candidateCount"),
        logprobs=config.flag("responseLogprobs"),
        top_logprobs=config.integer("logprobs"),
        output_schema=_decode_output_schema(config),
        reasoning=_decode_thinking(config),
    )
    if left := config.told():
        fields.rest()["generationConfig"] = left
    return found


def _decode_output_schema(fields: Fields) -> OutputSchema | None:
    if fields.peek("responseMimeType") != _JSON:
        # Words, or one word of an enumeration.
        return None
    fields.take("responseMimeType")
    schema = fields.object("responseJsonSchema")
    if schema is None and (own := fields.object("responseSchema")) is not None:
        return OutputSchema(schema=json_schema(own), extras={"responseSchema": own})
    return OutputSchema(schema=schema)


def _decode_thinking(fields: Fields) -> Reasoning | None:
    config = fields.child("thinkingConfig")
    if config is None:
        return None
    level, budget, shown = (
        config.text("thinkingLevel"),
        config.integer("thinkingBudget"),
        config.flag("includeThoughts"),
    )
    if level is not None and level.upper() == "THINKING_LEVEL_UNSPECIFIED":
        level = None
    if level is None and budget is None and not shown:
        # That nothing is shown is no wish to have anything thought.
        left: JsonObject = {} if shown is None else {"includeThoughts": shown}
        if left | config.told():
            fields.rest()["thinkingConfig"] = left | config.told()
        return None
    return Reasoning(
        mode=None if budget is None else "adaptive" if budget < 0 else "enabled" if budget else "disabled",
        effort=None if level is None else level.lower(),
        budget_tokens=budget if budget and budget > 0 else None,
        display=None if shown is None else "summarized" if shown else "omitted",
        extras=config.told(),
    )


# Writing.


def encode_config(request: CompletionRequest, target: Target, losses: Losses, *, native: bool) -> JsonObject:
    """Write ``generationConfig``, empty where there is nothing to say."""
    facts = target.facts
    told: dict[str, Json] = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "stopSequences": list(request.stop) or None,
        "seed": request.seed,
        "presencePenalty": request.presence_penalty,
        "frequencyPenalty": request.frequency_penalty,
        "candidateCount": request.n,
        "responseLogprobs": request.logprobs,
        "logprobs": request.top_logprobs,
    }
    if not facts.sampling:
        for name in _SAMPLING:
            if told.pop(name) is not None:
                losses.drop(name)
    config: JsonObject = {name: value for name, value in told.items() if value is not None}
    if (wanted := request.output_schema) is not None:
        config |= _encode_output_schema(wanted, native=native)
    if (reasoning := request.reasoning) is not None:
        thinking = _native(reasoning) if native else _foreign(reasoning, facts, losses, request.max_tokens)
        if thinking:
            config["thinkingConfig"] = thinking
    return config


def _encode_output_schema(wanted: OutputSchema, *, native: bool) -> JsonObject:
    written: JsonObject = {"responseMimeType": _JSON}
    if native and wanted.extras:
        return written | wanted.extras
    if wanted.schema is not None:
        written["responseJsonSchema"] = wanted.schema
    return written


def _native(wanted: Reasoning) -> JsonObject:
    written: JsonObject = {}
    if wanted.display is not None:
        written["includeThoughts"] = wanted.display == "summarized"
    if wanted.effort is not None:
        written["thinkingLevel"] = wanted.effort.upper()
    if wanted.mode == "adaptive":
        written["thinkingBudget"] = _AUTOMATIC
    elif wanted.mode == "disabled":
        written["thinkingBudget"] = 0
    elif wanted.budget_tokens is not None:
        written["thinkingBudget"] = wanted.budget_tokens
    return written | wanted.extras


def _foreign(wanted: Reasoning, facts: ModelFacts, losses: Losses, limit: int | None) -> JsonObject:
    """Write how much to think in the one way that the model knows; it takes a level or a budget, never both."""
    off = wanted.effort == "none" or wanted.mode == "disabled"
    if facts.thinking is None:
        if not off:
            losses.drop("reasoning")
        return {}
    by_level = facts.thinking != "budget"
    if off and facts.thinks_always:
        losses.change("reasoning", "as little as the model can, for it always thinks")
    written = _level(wanted, facts, off=off) if by_level else _budget(wanted, facts, limit, off=off)
    if not off:
        written["includeThoughts"] = wanted.display != "omitted"
    return written


def _level(wanted: Reasoning, facts: ModelFacts, *, off: bool) -> JsonObject:
    effort = "none" if off else wanted.effort
    if effort is None and (budget := wanted.budget_tokens) is not None:
        effort = next((name for name in ("low", "medium") if budget <= _BUDGETS[name] * 2), "high")
    if effort is None:
        return {}
    wished = _DEGREES.index(effort) if effort in _DEGREES else _DEGREES.index("medium")
    known = facts.efforts or ("minimal", "low", "medium", "high", "xhigh")
    # The nearest of those that it knows; of two as near, the one that thinks more.
    nearest = min(known, key=lambda name: (abs(_DEGREES.index(name) - wished), -_DEGREES.index(name)))
    return {"thinkingLevel": nearest.upper()}


def _budget(wanted: Reasoning, facts: ModelFacts, limit: int | None, *, off: bool) -> JsonObject:
    least, most = facts.thinking_range or (1, _BUDGETS["high"])
    if off:
        return {"thinkingBudget": least if facts.thinks_always else 0}
    budget = wanted.budget_tokens or _BUDGETS.get(wanted.effort or "")
    if budget is None:
        return {"thinkingBudget": _AUTOMATIC}
    if limit is not None and budget >= limit:
        # The answer's limit holds for both: half for the thinking, half for the words.
        budget = limit // 2
    return {"thinkingBudget": min(max(budget, least), most)}
