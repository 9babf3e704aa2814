"""Ollama: answers, usage and reasons to stop, read and written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeAlias

from msgspec.structs import replace

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.ollama.errors import told_inside
from genai_spine.dialects.ollama.request import NAME
from genai_spine.dialects.ollama.turns import call_object, decode_call
from genai_spine.errors import MalformedResponseError, ProviderFailedError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.usage import Usage

__all__ = [
    "Shape",
    "chat_shape",
    "decode_finish_reason",
    "decode_response",
    "decode_time",
    "decode_usage",
    "encode_finish_reason",
    "encode_response",
    "encode_time",
    "encode_usage",
    "generate_shape",
    "inner_extras",
    "with_id",
]

Shape: TypeAlias = Callable[[JsonObject], JsonObject]
"""Puts what a message says where the route has it."""

_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, the last that the format can say
_FINISH_REASONS: Final[dict[str, FinishReason]] = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}


def chat_shape(message: JsonObject) -> JsonObject:
    """As ``/api/chat`` has it: in ``message``."""
    return {"message": {"role": "assistant", "content": "", **message}}


def generate_shape(message: JsonObject) -> JsonObject:
    """As ``/api/generate`` has it: the words in ``response``, the rest beside them."""
    rest = dict(message)
    return {"response": rest.pop("content", ""), **rest}


def decode_time(text: str | None) -> int:
    """Return a time in the form of RFC 3339 in seconds since the Unix epoch; 0 for what is none."""
    if not text:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0
    # Go's zero time, of the year 1, says that none was set.
    return max(0, int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()))


def encode_time(seconds: int) -> str:
    """Return seconds since the Unix epoch in the form of RFC 3339."""
    return datetime.fromtimestamp(min(max(0, seconds), _LAST_SECOND), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def with_id(call: ToolCall, created: int, position: int) -> ToolCall:
    """Return a tool call with an id, for older Ollamas give none.

    It is a function of what a streamed and a whole answer have in common, and ``created`` keeps it apart from the same
    call in another turn.
    """
    if call.id:
        return call
    told = f"{created}\n{position}\n{call.name}\n{call.arguments}"
    return replace(call, id=f"call_{hashlib.blake2b(told.encode(), digest_size=12).hexdigest()}")


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``."""
    fields = response_object(body)
    if (failure := told_inside(fields, quirks)) is not None:
        raise failure
    created = decode_time(fields.text("created_at"))
    model = fields.text("model") or ""
    message = fields.need_child("message")
    parts = _decode_parts(message, created)
    logprobs = fields.items("logprobs")
    done = fields.flag("done")
    reason = decode_finish_reason(
        fields.text("done_reason") if done else None,
        quirks,
        with_calls=any(isinstance(part, ToolCall) for part in parts),
    )
    usage = decode_usage(fields)
    left = message.rest()
    choice = Choice(
        parts=parts,
        finish_reason=reason,
        # They are those of the words; where there are none, a stream could not tell them either.
        logprobs=(logprobs or None) if any(isinstance(part, Text) for part in parts) else None,
        extras={"message": left} if left else {},
    )
    extras: JsonObject = {name: value for name, value in fields.rest().items() if value is not None}
    return CompletionResponse(model=model, created=created, choices=(choice,), usage=usage, dialect=NAME, extras=extras)


def _decode_parts(message: Fields, created: int) -> tuple[Part, ...]:
    message.take("role")
    parts: list[Part] = []
    if thinking := message.text("thinking"):
        parts.append(Thinking(text=thinking))
    if content := message.text("content"):
        parts.append(Text(text=content))
    calls = enumerate(message.children("tool_calls"))
    parts.extend(with_id(decode_call(call), created, position) for position, call in calls)
    return tuple(parts)


def decode_finish_reason(told: str | None, quirks: Quirks, *, with_calls: bool) -> FinishReason:
    """Return why the model stopped: with tool calls it says ``stop``. A reason that nobody knows is ``stop``.

    Raises:
        MalformedResponseError: None was told, so that the answer may be half of one.
        ProviderFailedError: The reason is a fault, by the provider's row.
    """
    if not told:
        message = "the provider's answer tells no done_reason"
        raise MalformedResponseError(message)
    reason = quirks.finish_reasons.get(told) or _FINISH_REASONS.get(told, "stop")
    if reason == "error":
        message = "the provider reports that the model failed while writing"
        raise ProviderFailedError(message)
    return "tool_calls" if with_calls and reason == "stop" else reason


def decode_usage(fields: Fields) -> Usage | None:
    """Take the counters; one that is absent is 0, and none at all is no word on usage."""
    read, written = fields.integer("prompt_eval_count"), fields.integer("eval_count")
    if read is None and written is None:
        return None
    return Usage(input_tokens=read or 0, output_tokens=written or 0)


def encode_usage(usage: Usage | None) -> JsonObject:
    """Write the counters."""
    return {} if usage is None else {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}


def encode_finish_reason(reason: FinishReason) -> str:
    """Write why the model stopped: the dialect knows an end and a cut, and takes tool calls and refusals for an end."""
    return "stop" if reason in {"stop", "tool_calls", "content_filter"} else "length"


def encode_response(response: CompletionResponse, reply: Reply, shape: Shape = chat_shape) -> bytes:
    """Write an answer; see ``Dialect.encode_response``. The dialect has room for one choice."""
    own = response.dialect == NAME
    choice = response.choices[0] if response.choices else Choice(finish_reason="error")
    message: JsonObject = {
        "content": "".join(part.text for part in choice.parts if isinstance(part, Text | Refusal)),
    }
    if thinking := "".join(part.text for part in choice.parts if isinstance(part, Thinking)):
        message["thinking"] = thinking
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = [call_object(call, index, own=own) for index, call in enumerate(calls)]
    body: JsonObject = {
        "model": response.model or reply.model,
        "created_at": encode_time(response.created or reply.now),
        **shape(message | inner_extras(choice.extras, own=own)),
    }
    if choice.logprobs is not None:
        body["logprobs"] = choice.logprobs
    body |= {"done": True, "done_reason": encode_finish_reason(choice.finish_reason), **encode_usage(response.usage)}
    return dump(body | response.extras if own else body)


def inner_extras(extras: JsonObject, *, own: bool) -> JsonObject:
    """Return a choice's extras that stand in its message."""
    inner = extras.get("message") if own else None
    return inner if isinstance(inner, dict) else {}
