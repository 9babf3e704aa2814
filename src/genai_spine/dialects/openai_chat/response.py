"""OpenAI Chat Completions: answers, usage and finish reasons, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.logprobs import openai_logprobs
from genai_spine.dialects.openai_chat.request import assistant_parts
from genai_spine.dialects.openai_chat.turns import IN_CONTENT, NAME, REASONING_FIELDS, combined, tool_call_object
from genai_spine.dialects.openai_errors import told_inside
from genai_spine.errors import MalformedResponseError, OverloadedError, ProviderFailedError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall, text_of
from genai_spine.types.usage import Usage

__all__ = [
    "decode_finish_reason",
    "decode_logprobs",
    "decode_response",
    "decode_usage",
    "encode_finish_reason",
    "encode_logprobs",
    "encode_response",
    "encode_usage",
    "reasoning_field",
    "split_choice_extras",
]

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
    # Of services that speak the dialect: Together's, Mistral's, DeepSeek's, vLLM's.
    "eos": "stop",
    "model_length": "length",
    "insufficient_system_resource": "error",
    "abort": "error",
}

_WITHOUT_CAPACITY: Final = "insufficient_system_resource"


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``."""
    fields = response_object(body)
    if (failure := told_inside(fields, quirks)) is not None:
        raise failure
    fields.take("object")
    response_id = fields.text("id") or ""
    choices = tuple(_decode_choice(choice, quirks, response_id) for choice in fields.children("choices"))
    if not choices:
        message = "the provider's answer holds no choices"
        raise MalformedResponseError(message)
    usage = fields.child("usage")
    return CompletionResponse(
        id=response_id,
        model=fields.text("model") or "",
        created=fields.integer("created") or 0,
        choices=choices,
        usage=None if usage is None else decode_usage(usage, quirks),
        dialect=NAME,
        extras=fields.told(),
    )


def _decode_choice(fields: Fields, quirks: Quirks, response_id: str) -> Choice:
    fields.take("index")
    message = fields.need_child("message")
    message.take("role")
    parts = _answer_parts(assistant_parts(message, response_id))
    if (failure := told_inside(fields, quirks)) is not None:
        raise failure
    reason = decode_finish_reason(
        fields.text("finish_reason"), quirks, with_calls=any(isinstance(part, ToolCall) for part in parts)
    )
    logprobs = decode_logprobs(fields)
    extras = fields.told()
    if left := message.told():
        extras["message"] = left
    return Choice(parts=parts, finish_reason=reason, logprobs=logprobs, extras=extras)


def _answer_parts(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Bring lists of content, which few services send and few callers expect in an answer, into the usual form."""
    thoughts = [part for part in parts if isinstance(part, Thinking)]
    others = tuple(part for part in parts if not isinstance(part, Thinking))
    if all(part.signature is None for part in thoughts):
        text = "".join(part.text for part in thoughts)
        named = next((part.wire_field for part in thoughts if part.wire_field in REASONING_FIELDS), REASONING_FIELDS[0])
        parts = (Thinking(text=text, wire_field=named), *others) if text else others
    words = [part for part in others if isinstance(part, Text)]
    if len(words) > 1 and not any(
        isinstance(part, Opaque) or (isinstance(part, Text) and part.extras) for part in parts
    ):
        joined = Text(text=text_of(tuple(words)))
        parts = tuple(joined if part is words[0] else part for part in parts if part is words[0] or part not in words)
    return parts


def decode_logprobs(fields: Fields) -> list[Json] | None:
    """Take a choice's logprobs: those of the words; the model's refusals have none here."""
    inner = fields.child("logprobs")
    return None if inner is None else inner.items("content") or None


def decode_finish_reason(told: str | None, quirks: Quirks, *, with_calls: bool) -> FinishReason:
    """Return why a choice ended. Calls count for more than ``stop``; a reason that nobody knows is ``stop``.

    Raises:
        MalformedResponseError: None was told, so that the answer may be half of one.
        OverloadedError: The provider gave up for want of capacity.
        ProviderFailedError: The model failed while it wrote.
    """
    if told is None:
        message = "the provider's answer tells no finish_reason"
        raise MalformedResponseError(message)
    reason = quirks.finish_reasons.get(told) or _FINISH_REASONS.get(told, "stop")
    if reason == "error":
        message = f"the provider reports that the model failed while writing (finish_reason {told!r})"
        raise (OverloadedError if told == _WITHOUT_CAPACITY else ProviderFailedError)(message, code=told)
    return "tool_calls" if with_calls and reason == "stop" else reason


def decode_usage(fields: Fields, quirks: Quirks) -> Usage:
    """Read the usage of an answer or of a stream's chunk.

    Where reasoning is counted apart, so are Perplexity's tokens of citations, and they too are paid for as output.
    """
    fields.take("total_tokens")
    extras: JsonObject = {}
    read = written = reasoning = None
    if (details := fields.child("prompt_tokens_details")) is not None:
        read, written = details.integer("cached_tokens"), details.integer("cache_write_tokens")
        if left := details.rest():
            extras["prompt_tokens_details"] = left
    if (details := fields.child("completion_tokens_details")) is not None:
        reasoning = details.integer("reasoning_tokens")
        if left := details.rest():
            extras["completion_tokens_details"] = left
    if read is None and isinstance(hit := fields.peek("prompt_cache_hit_tokens"), int):
        read = hit  # DeepSeek's own name
    if reasoning is None:
        reasoning = fields.integer("reasoning_tokens")  # Perplexity's place for it
    output = fields.integer("completion_tokens") or 0
    if quirks.reasoning_apart:
        cited = fields.peek("citation_tokens")
        output += (reasoning or 0) + (cited if isinstance(cited, int) else 0)
    return Usage(
        input_tokens=fields.integer("prompt_tokens") or 0,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        extras={**fields.rest(), **extras},
    )


def encode_usage(usage: Usage, *, own: bool) -> JsonObject:
    """Write usage; ``own`` keeps the extras."""
    extras = dict(usage.extras) if own else {}
    prompt = _details(extras.pop("prompt_tokens_details", None))
    completion = _details(extras.pop("completion_tokens_details", None))
    for details, name, value in (
        (prompt, "cached_tokens", usage.cache_read_tokens),
        (prompt, "cache_write_tokens", usage.cache_write_tokens),
        (completion, "reasoning_tokens", usage.reasoning_tokens),
    ):
        if value is not None:
            details[name] = value
    written: JsonObject = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if prompt:
        written["prompt_tokens_details"] = prompt
    if completion:
        written["completion_tokens_details"] = completion
    return {**written, **extras}


def _details(value: Json) -> JsonObject:
    return dict(value) if isinstance(value, dict) else {}


def split_choice_extras(extras: JsonObject, *, own: bool) -> tuple[JsonObject, JsonObject]:
    """Return the extras that stand in the choice, and those that stand in its message."""
    if not own:
        return {}, {}
    outer = dict(extras)
    return outer, _details(outer.pop("message", None))


def encode_response(response: CompletionResponse, reply: Reply) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    own = response.dialect == NAME
    body: JsonObject = {
        "id": response.id or f"chatcmpl-{reply.request_id}",
        "object": "chat.completion",
        "created": response.created or reply.now,
        "model": response.model or reply.model,
        "choices": [_encode_choice(index, choice, own=own) for index, choice in enumerate(response.choices)],
    }
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, own=own)
    return dump(body | response.extras if own else body)


def _encode_choice(index: int, choice: Choice, *, own: bool) -> JsonObject:
    outer, inner = split_choice_extras(choice.extras, own=own)
    refusals = [part.text for part in choice.parts if isinstance(part, Refusal)]
    calls: list[Json] = [
        tool_call_object(part, part.id, own=own) for part in choice.parts if isinstance(part, ToolCall)
    ]
    pieces = [piece for part in choice.parts if (piece := _content_piece(part)) is not None] if own else []
    as_list = any(list(piece) != ["type", "text"] for piece in pieces)
    message: JsonObject = {
        "role": "assistant",
        "content": list(pieces) if as_list else text_of(choice.parts) or (None if calls or refusals else ""),
        "refusal": "".join(refusals) or None,
    }
    thoughts = [
        part for part in choice.parts if isinstance(part, Thinking) and not (own and part.wire_field == IN_CONTENT)
    ]
    if text := "".join(part.text for part in thoughts):
        message[reasoning_field(thoughts[0].wire_field)] = text
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": combined(message, inner),
        "logprobs": None if choice.logprobs is None else encode_logprobs(choice.logprobs, own=own),
        "finish_reason": encode_finish_reason(choice.finish_reason),
        **outer,
    }


def encode_logprobs(records: list[Json], *, own: bool) -> JsonObject:
    """Write how probable the tokens were."""
    return {"content": records if own else openai_logprobs(records), "refusal": None}


def reasoning_field(told: str | None) -> str:
    """Return the field to tell thinking in: the one that it came in, if it is one of the dialect's."""
    return told if told in REASONING_FIELDS else REASONING_FIELDS[0]


def _content_piece(part: Part) -> JsonObject | None:
    """A part as it stands in a list of content; None for one that stands elsewhere."""
    match part:
        case Text():
            return {"type": "text", "text": part.text, **part.extras}
        case Opaque():
            return part.data if part.dialect == NAME else None
        case Thinking() if part.wire_field == IN_CONTENT:
            thinking: JsonObject = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
            return thinking | {"signature": part.signature} | part.extras
        case _:
            return None


def encode_finish_reason(reason: FinishReason) -> str:
    """Write why a choice ended; a pause, which the dialect has no word for, is a cut at a limit."""
    return "length" if reason == "pause" else reason
