"""Anthropic Messages: answers, usage and stop reasons, read and written; and the answer to a count of tokens."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.anthropic_messages.blocks import (
    NAME,
    decode_content,
    merge,
    text_block,
    thinking_block,
    tool_use_block,
)
from genai_spine.dialects.anthropic_messages.errors import error_of
from genai_spine.dialects.base import Quirks, Reply
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.seals import is_tag
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import MalformedResponseError, ProviderFailedError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.usage import Usage

__all__ = [
    "decode_finish_reason",
    "decode_response",
    "decode_token_count",
    "decode_usage",
    "encode_response",
    "encode_stop_reason",
    "encode_token_count",
    "encode_usage",
    "message_id",
    "stop_extras",
]

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    # Beta: the conversation was made shorter, and is to be sent again.
    "compaction": "pause",
    "refusal": "content_filter",
}

_STOP_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "pause": "pause_turn",
    "content_filter": "refusal",
    # The dialect has no word for it; that the answer is whole is what must not be said.
    "error": "max_tokens",
}


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``."""
    fields = response_object(body)
    if (failure := error_of(fields.rest(), 0, {}, quirks)) is not None:
        raise failure
    fields.take("type")
    fields.take("role")
    if "content" not in fields:
        message = "the provider's answer holds no content"
        raise MalformedResponseError(message)
    parts = decode_content(fields)
    usage = fields.child("usage")
    told, stop_sequence = fields.text("stop_reason"), fields.text("stop_sequence")
    reason = decode_finish_reason(told, quirks, with_calls=any(isinstance(part, ToolCall) for part in parts))
    choice = Choice(
        parts=parts,
        finish_reason=reason,
        stop_sequence=stop_sequence,
        extras=stop_extras(told, reason, stop_sequence),
    )
    return CompletionResponse(
        id=fields.text("id") or "",
        model=fields.text("model") or "",
        choices=(choice,),
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
        raise ProviderFailedError(message)
    return "tool_calls" if with_calls and reason == "stop" else reason


def encode_stop_reason(reason: FinishReason, stop_sequence: str | None) -> str:
    """Write why an answer ended."""
    return "stop_sequence" if reason == "stop" and stop_sequence is not None else _STOP_REASONS[reason]


def stop_extras(told: str | None, reason: FinishReason, stop_sequence: str | None) -> JsonObject:
    """Keep a stop reason that the vocabulary has not."""
    return {} if told is None or told == encode_stop_reason(reason, stop_sequence) else {"stop_reason": told}


def decode_usage(fields: Fields) -> Usage:
    """Read usage. What was read from the cache and written to it is counted apart by the service, and here as input."""
    read, written = fields.integer("cache_read_input_tokens"), fields.integer("cache_creation_input_tokens")
    hour = reasoning = None
    extras: JsonObject = {}
    if (created := fields.child("cache_creation")) is not None:
        hour = created.integer("ephemeral_1h_input_tokens")
        if written is None:
            short = created.peek("ephemeral_5m_input_tokens")
            written = (short if isinstance(short, int) else 0) + (hour or 0)
        if left := created.rest():
            extras["cache_creation"] = left
    if (details := fields.child("output_tokens_details")) is not None:
        reasoning = details.integer("thinking_tokens")
        if left := details.rest():
            extras["output_tokens_details"] = left
    return Usage(
        input_tokens=(fields.integer("input_tokens") or 0) + (read or 0) + (written or 0),
        output_tokens=fields.integer("output_tokens") or 0,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=hour,
        reasoning_tokens=reasoning,
        extras={**fields.rest(), **extras},
    )


def encode_usage(usage: Usage | None, *, own: bool) -> JsonObject:
    """Write usage, all zero where none was told; ``own`` keeps the extras.

    Clients add up the cache's counters without asking whether they are there, so they always are.
    """
    usage = usage or Usage()
    fresh, read, written = usage.input_apart
    body: JsonObject = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": None if own and usage.cache_write_tokens is None else written,
        "cache_read_input_tokens": None if own and usage.cache_read_tokens is None else read,
    }
    if (hour := usage.cache_write_1h_tokens) is not None:
        short: JsonObject = {} if own else {"ephemeral_5m_input_tokens": max(0, written - hour)}
        body["cache_creation"] = {**short, "ephemeral_1h_input_tokens": hour}
    body["output_tokens"] = usage.output_tokens
    if usage.reasoning_tokens is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if own:
        merge(body, usage.extras)
    return body


def message_id(told: str, request_id: str, *, own: bool) -> str:
    """Return the id of an answer: the one told if it is of this dialect, else one made from the request's."""
    return told if own and told else f"msg_{request_id}"


def encode_response(response: CompletionResponse, reply: Reply) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    own = response.dialect == NAME
    choice = response.choices[0] if response.choices else Choice(finish_reason="error")
    body: JsonObject = {
        "id": message_id(response.id, reply.request_id, own=own),
        "type": "message",
        "role": "assistant",
        "model": response.model or reply.model,
        "content": [block for part in choice.parts if (block := _encode_part(part, own=own)) is not None],
        "stop_reason": encode_stop_reason(choice.finish_reason, choice.stop_sequence),
        "stop_sequence": choice.stop_sequence,
        "usage": encode_usage(response.usage, own=own),
    }
    if own:
        body.update(choice.extras)
        body.update(response.extras)
    return dump(body)


def _encode_part(part: Part, *, own: bool) -> Json:
    match part:
        case Text():
            return text_block(part, own=own) if own or part.text else None
        case Refusal():
            return {"type": "text", "text": part.text} if part.text else None
        case Thinking():
            return thinking_block(part, own=own) if own or part.text or is_tag(part.signature) else None
        case ToolCall():
            return tool_use_block(part, part.id if own else word_characters(part.id), own=own)
        case Opaque():
            return part.data if part.dialect == NAME else None
        case _:
            # Pictures and sounds: no block of an answer holds one.
            return None


def decode_token_count(body: bytes) -> int:
    """Read the answer to a count of tokens.

    Raises:
        MalformedResponseError: It tells no count.
    """
    count = response_object(body).integer("input_tokens")
    if count is None:
        message = "the provider's answer tells no count of tokens"
        raise MalformedResponseError(message)
    return count


def encode_token_count(count: int) -> bytes:
    """Write the answer to a count of tokens."""
    return dump({"input_tokens": count})
