"""Bedrock Converse: answers, usage and stop reasons, read and written.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_ResponseSyntax
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Quirks
from genai_spine.dialects.bedrock_converse.blocks import (
    NAME,
    decode_blocks,
    text_block,
    thinking_block,
    tool_use_block,
)
from genai_spine.dialects.bedrock_converse.errors import error_inside
from genai_spine.dialects.bedrock_converse.objects import keep, merge
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import MalformedResponseError, ProviderFailedError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.usage import Usage

__all__ = [
    "decode_finish_reason",
    "decode_response",
    "decode_usage",
    "encode_response",
    "encode_stop_reason",
    "encode_usage",
    "stop_extras",
]

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}

_STOP_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    # The dialect has no word for it; that the answer is whole is what must not be said.
    "pause": "max_tokens",
    "error": "malformed_model_output",
}
_HOUR: Final = "1h"


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``. It names neither itself nor the model."""
    fields = response_object(body)
    if (failure := error_inside(fields.rest(), quirks)) is not None:
        raise failure
    output = fields.child("output")
    told = None if output is None else output.child("message")
    if output is None or told is None:
        message = "the provider's answer holds no message"
        raise MalformedResponseError(message)
    told.take("role")
    parts = decode_blocks(told, "content", answer=True)
    keep(output, "message", told)
    keep(fields, "output", output)
    usage, stop = fields.child("usage"), fields.text("stopReason")
    reason = decode_finish_reason(stop, quirks, with_calls=any(isinstance(part, ToolCall) for part in parts))
    return CompletionResponse(
        choices=(Choice(parts=parts, finish_reason=reason, extras=stop_extras(stop, reason)),),
        usage=None if usage is None else decode_usage(usage),
        dialect=NAME,
        extras=fields.rest(),
    )


def decode_finish_reason(told: str | None, quirks: Quirks, *, with_calls: bool) -> FinishReason:
    """Read why an answer ended.

    Raises:
        MalformedResponseError: None was told: the answer may be cut.
        ProviderFailedError: The model failed.
    """
    if told is None:
        message = "the provider's answer does not say why it ended; it may not be complete"
        raise MalformedResponseError(message)
    reason = quirks.finish_reasons.get(told) or _FINISH_REASONS.get(told, "stop")
    if reason == "error":
        message = "the provider reports that the model failed while writing"
        raise ProviderFailedError(message, code=told)
    return "tool_calls" if with_calls and reason == "stop" else reason


def encode_stop_reason(reason: FinishReason, stop_sequence: str | None) -> str:
    """Write why an answer ended."""
    return "stop_sequence" if reason == "stop" and stop_sequence is not None else _STOP_REASONS[reason]


def stop_extras(told: str | None, reason: FinishReason) -> JsonObject:
    """Keep a stop reason that the vocabulary has not."""
    return {} if told is None or told == _STOP_REASONS[reason] else {"stopReason": told}


def decode_usage(fields: Fields) -> Usage:
    """Read usage. What was read from the cache and written to it is counted apart by the service, and here as input."""
    read, written = fields.integer("cacheReadInputTokens"), fields.integer("cacheWriteInputTokens")
    tokens, output = fields.integer("inputTokens") or 0, fields.integer("outputTokens") or 0
    hour = 0
    details = fields.peek("cacheDetails")
    for detail in details if isinstance(details, list) else ():
        match detail:
            case {"ttl": "1h", "inputTokens": int(count)}:
                hour += count
    total = tokens + (read or 0) + (written or 0)
    if fields.peek("totalTokens") == total + output:
        fields.take("totalTokens")
    return Usage(
        input_tokens=total,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour or None,
        extras=fields.rest(),
    )


def encode_usage(usage: Usage, *, own: bool) -> JsonObject:
    """Write usage; ``own`` keeps the extras."""
    fresh, read, written = usage.input_apart
    body: JsonObject = {
        "inputTokens": fresh,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
    }
    if usage.cache_read_tokens is not None:
        body["cacheReadInputTokens"] = read
    if usage.cache_write_tokens is not None:
        body["cacheWriteInputTokens"] = written
    if (hour := usage.cache_write_1h_tokens) is not None and not own:
        body["cacheDetails"] = [
            {"ttl": "5m", "inputTokens": max(0, written - hour)},
            {"ttl": _HOUR, "inputTokens": hour},
        ]
    return merge(body, usage.extras) if own else body


def encode_response(response: CompletionResponse) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    own = response.dialect == NAME
    choice = response.choices[0] if response.choices else Choice(finish_reason="error")
    content = [block for part in choice.parts if (block := _encode_part(part, own=own)) is not None]
    body: JsonObject = {
        "output": {"message": {"role": "assistant", "content": list[Json](content)}},
        "stopReason": encode_stop_reason(choice.finish_reason, choice.stop_sequence),
    }
    if response.usage is not None or not own:
        body["usage"] = encode_usage(response.usage or Usage(), own=own)
    if own:
        merge(body, choice.extras)
        merge(body, response.extras)
    return dump(body)


def _encode_part(part: Part, *, own: bool) -> JsonObject | None:
    match part:
        case Text():
            return text_block(part, own=own) if own or part.text else None
        case Refusal():
            return {"text": part.text} if part.text else None
        case Thinking():
            return thinking_block(part, own=own) if own or part.text else None
        case ToolCall():
            return tool_use_block(part, part.id if own else word_characters(part.id), own=own)
        case Opaque():
            return part.data if part.dialect == NAME else None
        case _:
            # Pictures and sounds: no block of an answer holds one in words of the vocabulary.
            return None
