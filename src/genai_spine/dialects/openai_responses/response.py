"""OpenAI Responses: answers, usage and how they ended, read and written.

There is no finish reason here: it follows from the status, from what was left incomplete and from the tool calls.
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.dialects.fields import Fields, dump, response_object, text_in
from genai_spine.dialects.logprobs import openai_logprobs
from genai_spine.dialects.openai_errors import told_inside
from genai_spine.dialects.openai_responses.items import CALL_BODIES, MADE_UP, NAME, ItemWriter, decode_item
from genai_spine.dialects.openai_responses.namespaces import calls_of
from genai_spine.errors import MalformedResponseError, ProviderFailedError, SpineError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Part, Refusal, Text, ToolCall
from genai_spine.types.usage import Usage

__all__ = [
    "CUT",
    "Ids",
    "decode_finish",
    "decode_response",
    "decode_token_count",
    "decode_usage",
    "encode_outcome",
    "encode_response",
    "encode_token_count",
    "failure_of",
    "finished",
    "whole_response",
]

CUT: Final = frozenset({"length", "pause", "content_filter"})
"""Finish reasons of answers that are incomplete."""

_INCOMPLETE: Final[dict[str, FinishReason]] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "content_filter",
    "steered": "pause",
}
_CANONICAL: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_WAITING: Final = frozenset({"queued", "in_progress"})
_FAILED: Final = frozenset({"failed", "cancelled"})
_ID_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
}
_COUNT_OBJECT: Final = "response.input_tokens"

# Fields that the official client's model knows, as they are where nothing was asked for or nothing is known.
_NOTHING_ASKED: Final[JsonObject] = {
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "previous_response_id": None,
    "temperature": None,
    "top_p": None,
}
_DEMANDED: Final[JsonObject] = {"metadata": {}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}


# Reading.


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``."""
    fields = response_object(body)
    if (failure := failure_of(fields, quirks)) is not None:
        raise failure
    logprobs: list[Json] = []
    parts: list[Part] = []
    for item in fields.children("output"):
        apart = bool(parts) and isinstance(parts[-1], Text | Refusal)
        parts += decode_item(item, apart=apart, keep_status=False, logprobs=logprobs)
    calls = any(isinstance(part, ToolCall) for part in parts)
    reason, extras = decode_finish(fields, quirks, with_calls=calls)
    usage = fields.child("usage")
    fields.take("object")
    return CompletionResponse(
        id=fields.text("id") or "",
        model=fields.text("model") or "",
        created=int(fields.number("created_at") or 0),
        choices=(Choice(parts=tuple(parts), finish_reason=reason, logprobs=logprobs or None, extras=extras),),
        usage=None if usage is None else decode_usage(usage),
        dialect=NAME,
        extras=fields.told(),
    )


def failure_of(fields: Fields, quirks: Quirks) -> SpineError | None:
    """Take the failure that an answer tells of, if any."""
    failure = told_inside(fields, quirks)
    fields.take("error")
    return failure


def decode_finish(
    fields: Fields, quirks: Quirks, *, with_calls: bool, default: str | None = None
) -> tuple[FinishReason, JsonObject]:
    """Take how an answer ended: its finish reason, and what that does not say.

    Args:
        fields: The answer.
        quirks: Of the service.
        with_calls: The model wants tools called.
        default: The status of an answer that tells none, as its last event implies it.

    Raises:
        MalformedResponseError: It does not tell, so that the answer may be half of one.
        ProviderFailedError: The model failed, or was made to stop, while it wrote.
    """
    status, details = fields.text("status") or default, fields.child("incomplete_details")
    if status is None:
        message = "the provider's answer tells no status"
        raise MalformedResponseError(message)
    if status in _FAILED:
        message = f"the provider reports that the answer is {status}, and no reason"
        raise ProviderFailedError(message, code=f"response_{status}")
    if status in _WAITING:
        # A background answer, which is to be fetched later.
        return "pause", {"status": status}
    extras: JsonObject = {} if status in {"completed", "incomplete"} else {"status": status}
    if status != "incomplete":
        known = quirks.finish_reasons.get(status, "stop")
        return ("tool_calls" if with_calls and known == "stop" else known), extras
    told = (details.text("reason") if details else None) or ""
    reason = quirks.finish_reasons.get(told) or _INCOMPLETE.get(told, "length")
    rest = details.told() if details else {}
    if rest or _CANONICAL.get(reason) != told:
        extras["incomplete_details"] = {"reason": told or None, **rest}
    return reason, extras


def decode_usage(fields: Fields) -> Usage:
    """Read the usage of an answer."""
    fields.take("total_tokens")
    extras: JsonObject = {}
    read = written = reasoning = None
    if (details := fields.child("input_tokens_details")) is not None:
        read, written = details.integer("cached_tokens"), details.integer("cache_write_tokens")
        if left := details.told():
            extras["input_tokens_details"] = left
    if (details := fields.child("output_tokens_details")) is not None:
        reasoning = details.integer("reasoning_tokens")
        if left := details.told():
            extras["output_tokens_details"] = left
    return Usage(
        input_tokens=fields.integer("input_tokens") or 0,
        output_tokens=fields.integer("output_tokens") or 0,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
        extras={**fields.told(), **extras},
    )


def decode_token_count(body: bytes) -> int:
    """Read a count of tokens; see ``CountsTokens.decode_token_count``."""
    fields = response_object(body)
    count = fields.integer("input_tokens")
    if count is None:
        message = "the provider's answer holds no input_tokens"
        raise MalformedResponseError(message)
    return count


# Writing.


class Ids:
    """Ids for an answer and its items, made from the request's own where the provider gave none."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def response(self) -> str:
        """The answer's."""
        return f"resp_{self._request_id}"

    def item(self, kind: Json, number: int) -> str:
        """That of the item at place ``number``."""
        prefix = _ID_PREFIXES.get(kind, "item") if isinstance(kind, str) else "item"
        return f"{prefix}{MADE_UP}{self._request_id}_{number}"


def home_of(item_id: str) -> str | None:
    """Return the id of the answer in which an item stands, whose id was made here; None of any other."""
    request_id = item_id.partition(MADE_UP)[2].rpartition("_")[0]
    return Ids(request_id).response() if request_id else None


def encode_response(response: CompletionResponse, reply: Reply) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    own = response.dialect == NAME
    ids = Ids(reply.request_id)
    choice = response.choices[0] if response.choices else Choice(finish_reason="error")
    writer = ItemWriter(own=own, calls=calls_of(reply.tools))
    logprobs = choice.logprobs if own else openai_logprobs(choice.logprobs or [])
    for part in choice.parts:
        if isinstance(part, Text):
            writer.add(part, logprobs or [])
            logprobs = None
        else:
            writer.add(part)
    output: list[Json] = []
    for number, item in enumerate(writer.items):
        cut = number == len(writer.items) - 1 and choice.finish_reason in CUT
        output.append(finished(item, ids.item(item.get("type"), number), own=own, cut=cut))
    outcome = encode_outcome(choice.finish_reason, choice.extras, own=own)
    body = whole_response(
        {
            "id": response.id if own and response.id else ids.response(),
            "created_at": response.created or reply.now,
            "model": response.model or reply.model,
        },
        output,
        response.usage,
        outcome,
        response.extras if own else None,
    )
    return dump(body)


def finished(item: JsonObject, item_id: str, *, own: bool, cut: bool) -> JsonObject:
    """Return an item with its id and status; one that only this dialect knows is as it came.

    Tool calls may do without an id, and so they stay if they came so.
    """
    kind = text_in(item, "type")
    if kind not in _ID_PREFIXES or "status" in item:
        return item
    whole: JsonObject = item if own and kind in CALL_BODIES else {"id": item_id, **item}
    if kind in {"message", "function_call"}:
        whole["status"] = "incomplete" if cut else "completed"
    return whole


def encode_outcome(reason: FinishReason, extras: JsonObject, *, own: bool) -> JsonObject:
    """Write how an answer ended."""
    if own and "status" in extras:
        # One that the vocabulary has not, such as that of an answer to be fetched later.
        return dict(extras)
    outcome: JsonObject = {"status": "completed"}
    if reason in CUT:
        outcome = {
            "status": "incomplete",
            "incomplete_details": {"reason": _CANONICAL.get(reason, "max_output_tokens")},
        }
    elif reason == "error":
        error: JsonObject = {"code": "server_error", "message": "the model failed while writing"}
        outcome = {"status": "failed", "error": error}
    return outcome | extras if own else outcome


def whole_response(
    head: JsonObject, output: list[Json], usage: Usage | None, outcome: JsonObject, extras: JsonObject | None
) -> JsonObject:
    """Write an answer's object; ``extras`` is None for one that came in another dialect."""
    return {
        **head,
        "object": "response",
        **_NOTHING_ASKED,
        **(_DEMANDED if extras is None else extras),
        **outcome,
        "output": output,
        "usage": None if usage is None else encode_usage(usage, own=extras is not None),
    }


def encode_usage(usage: Usage, *, own: bool) -> JsonObject:
    """Write usage; ``own`` keeps what was told, and no more than that."""
    extras = dict(usage.extras) if own else {}
    read: JsonObject = {}
    wrote: JsonObject = {}
    for details, name, value in (
        (read, "cached_tokens", usage.cache_read_tokens),
        (read, "cache_write_tokens", usage.cache_write_tokens),
        (wrote, "reasoning_tokens", usage.reasoning_tokens),
    ):
        if value is not None or not own:
            # The official client's model demands all three.
            details[name] = value or 0
    for details, name in ((read, "input_tokens_details"), (wrote, "output_tokens_details")):
        if isinstance(more := extras.pop(name, None), dict):
            details.update(more)
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": read,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": wrote,
        "total_tokens": usage.total_tokens,
        **extras,
    }


def encode_token_count(count: int) -> bytes:
    """Write a count of tokens."""
    return dump({"object": _COUNT_OBJECT, "input_tokens": count})
