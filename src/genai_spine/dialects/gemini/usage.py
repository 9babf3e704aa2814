"""Gemini: usage, read and written.

Source: https://ai.google.dev/api/generate-content#UsageMetadata
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.fields import Fields
from genai_spine.types.json import JsonObject
from genai_spine.types.usage import Usage

__all__ = ["decode_usage", "encode_usage"]

_OF_TOOLS: Final = "toolUsePromptTokenCount"


def decode_usage(fields: Fields) -> Usage:
    """Read usage.

    What the service's own tools read is input. Thoughts are counted beside the answer, but for some answers within it:
    the total tells which, and they are not to be counted twice.
    """
    prompt, of_tools = fields.integer("promptTokenCount") or 0, fields.integer(_OF_TOOLS)
    answer, thoughts = fields.integer("candidatesTokenCount") or 0, fields.integer("thoughtsTokenCount")
    total, cached = fields.integer("totalTokenCount"), fields.integer("cachedContentTokenCount")
    within = thoughts is not None and answer >= thoughts and prompt + (of_tools or 0) + answer == total
    extras = fields.told()
    if of_tools is not None:
        extras[_OF_TOOLS] = of_tools
    return Usage(
        input_tokens=prompt + (of_tools or 0),
        output_tokens=answer if within else answer + (thoughts or 0),
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
        extras=extras,
    )


def encode_usage(usage: Usage, *, own: bool) -> JsonObject:
    """Write usage; ``own`` keeps the extras."""
    extras = usage.extras if own else {}
    of_tools = extras.get(_OF_TOOLS)
    thoughts = usage.reasoning_tokens
    apart = min(thoughts or 0, usage.output_tokens)
    written: JsonObject = {
        "promptTokenCount": max(0, usage.input_tokens - (of_tools if isinstance(of_tools, int) else 0)),
        "candidatesTokenCount": usage.output_tokens - apart,
        "totalTokenCount": usage.total_tokens,
    }
    if usage.cache_read_tokens is not None:
        written["cachedContentTokenCount"] = usage.cache_read_tokens
    if thoughts is not None:
        written["thoughtsTokenCount"] = apart
    return written | extras
