"""Gemini: whole answers, read and written; what they share with the pieces of a stream."""

from __future__ import annotations

from genai_spine.dialects.base import Quirks, Reply
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.gemini.answer import AnswerReader, encode_finish_reason, is_blocked
from genai_spine.dialects.gemini.errors import told_inside
from genai_spine.dialects.gemini.logprobs import encode_logprobs
from genai_spine.dialects.gemini.parts import call_part, thinking_part
from genai_spine.dialects.gemini.usage import encode_usage
from genai_spine.dialects.gemini.wire import NAME, merge
from genai_spine.types.completion import Choice, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.stream import Collector, Event
from genai_spine.types.usage import Usage

__all__ = ["answer_part", "body_of", "candidate", "decode_response", "encode_response", "finished", "read_piece"]


def read_piece(body: bytes, quirks: Quirks) -> Fields:
    """Read an answer, or a piece of one; a failure may stand in an array.

    Raises:
        MalformedResponseError: It is not of the dialect.
        ProviderError: It tells of a failure.
    """
    fields = response_object(body[1:-1] if body.startswith(b"[") and body.endswith(b"]") else body)
    if (failure := told_inside(fields.rest(), quirks)) is not None:
        raise failure
    return fields


def decode_response(body: bytes, quirks: Quirks) -> CompletionResponse:
    """Read an answer; see ``Dialect.decode_response``."""
    reader, collector = AnswerReader(quirks), Collector()
    events: list[Event] = []
    reader.read(read_piece(body.strip(), quirks), events)
    reader.end(events)
    for event in events:
        collector.add(event)
    return collector.response()


def encode_response(response: CompletionResponse, reply: Reply) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    own = response.dialect == NAME
    choices = response.choices or (Choice(finish_reason="error"),)
    candidates: list[Json] = []
    for number, choice in enumerate(choices):
        parts = [written for part in choice.parts if (written := answer_part(part, own=own)) is not None]
        written = candidate(number, parts, choice.logprobs)
        merge(written, finished(choice, own=own))
        candidates.append(written)
    if own and is_blocked(response.extras) and choices == (Choice(finish_reason="content_filter"),):
        candidates = []
    head: JsonObject = {
        "modelVersion": response.model or reply.model,
        "responseId": response.id or reply.request_id,
        **(response.extras if own else {}),
    }
    return dump(body_of(candidates, response.usage, head, own=own))


def body_of(candidates: list[Json], usage: Usage | None, head: JsonObject, *, own: bool) -> JsonObject:
    """Return an answer, or a piece of one."""
    body: JsonObject = {"candidates": candidates} if candidates else {}
    if usage is not None:
        body["usageMetadata"] = encode_usage(usage, own=own)
    return body | head


def candidate(number: int, parts: list[JsonObject], logprobs: list[Json] | None = None) -> JsonObject:
    """Write a candidate that is not finished yet."""
    written: JsonObject = {"content": {"parts": list[Json](parts), "role": "model"}, "index": number}
    if logprobs:
        written["logprobsResult"] = encode_logprobs(logprobs)
    return written


def finished(choice: Choice, *, own: bool) -> JsonObject:
    """Write what a candidate tells at its end."""
    reason = encode_finish_reason(choice.finish_reason)
    return {"finishReason": reason, **(choice.extras if own else {})}


def answer_part(part: Part, *, own: bool) -> JsonObject | None:
    """Write a part of an answer; None where nothing is left of it."""
    written: JsonObject
    match part:
        case Text():
            written = {"text": part.text}
            extras = part.extras
        case Refusal():
            written, extras = {"text": part.text}, {}
        case Thinking():
            written = thinking_part(part, own=own)
            extras = part.extras
        case ToolCall():
            return call_part(part, part.extras if own else {})
        case Opaque():
            return part.data if part.dialect == NAME else None
        case _:
            # Pictures and sounds of other dialects: none has them in its answers.
            return None
    if own:
        merge(written, extras)
    return written if len(written) > 1 + ("thought" in written) or written["text"] else None
