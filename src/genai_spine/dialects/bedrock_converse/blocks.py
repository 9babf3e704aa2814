"""Bedrock Converse: content blocks, read and written; requests and answers share them.

A block is an object with one field, which names its kind. A cache point is a block of its own, behind what it marks.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from genai_spine.dialects.arguments import arguments_object
from genai_spine.dialects.bedrock_converse.media import (
    Documents,
    audio_block,
    image_block,
    take_audio,
    take_document,
    take_image,
)
from genai_spine.dialects.bedrock_converse.objects import keep, merge
from genai_spine.dialects.fields import Fields, dump_text, load
from genai_spine.dialects.losses import Losses
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    CacheMark,
    Document,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = [
    "NAME",
    "PLACEHOLDER",
    "SERVER_CALL",
    "BlockWriter",
    "cache_point",
    "call_input",
    "decode_blocks",
    "mark_of",
    "text_block",
    "thinking_block",
    "tool_use_block",
]

NAME: Final = "bedrock_converse"
PLACEHOLDER: Final = "(no content)"
"""Stands where there would be nothing, which the service refuses."""
SERVER_CALL: Final = "server_tool_use"
_OWN_CALL: Final = "tool_use"
_TTLS: Final = frozenset({"5m", "1h"})


# Reading.


def decode_blocks(fields: Fields, name: str, *, answer: bool = False) -> tuple[Part, ...]:
    """Take the blocks in the field ``name``.

    Args:
        fields: The object that holds them.
        name: Of the field.
        answer: They are a model's answer. What a stream cannot tell of one in the vocabulary's words (a picture that
            the model made, say) is then kept whole.
    """
    parts: list[Part] = []
    for block in fields.children(name):
        mark = mark_of(block)
        last = parts[-1] if parts else None
        if (
            mark is not None
            and isinstance(last, Text | Image | Document | ToolCall | ToolResult)
            and last.cache is None
        ):
            parts[-1] = msgspec.structs.replace(last, cache=mark)
        else:
            parts.append(_decode_block(block, answer=answer))
    return tuple(parts)


def mark_of(block: Fields) -> CacheMark | None:
    """Return the mark that a block is, if it is a plain cache point; nothing is taken."""
    told = block.rest()
    match told.get("cachePoint"):
        case {"type": "default", **rest} if len(told) == 1 and set(rest) <= {"ttl"}:
            ttl = rest.get("ttl")
            return CacheMark(ttl=ttl) if ttl is None or isinstance(ttl, str) else None
    return None


def _decode_block(fields: Fields, *, answer: bool) -> Part:
    """Read one block; a kind that the vocabulary has not is kept whole."""
    found: Part | None = None
    if "text" in fields:
        found = Text(text=fields.need_text("text"), extras=fields.rest())
    elif "toolUse" in fields:
        found = _take_call(fields)
    elif "reasoningContent" in fields:
        found = _take_thinking(fields)
    elif "citationsContent" in fields:
        found = _take_cited(fields)
    elif not answer:
        found = _take_asked(fields)
    return found or Opaque(dialect=NAME, data=fields.rest())


def _take_asked(fields: Fields) -> Part | None:
    """Read a block of a kind that only requests have in words of the vocabulary."""
    if "toolResult" in fields:
        return _take_result(fields)
    if "json" in fields:
        # Within a tool's result. The object itself stays with the extras, by which it is known again.
        return Text(text=dump_text(fields.peek("json")), extras=fields.rest())
    return take_image(fields) or take_document(fields) or take_audio(fields)


def _kind_within(fields: Fields, name: str) -> Json:
    inner = fields.peek(name)
    return inner.get("type") if isinstance(inner, dict) else None


def _take_call(fields: Fields) -> ToolCall | None:
    if _kind_within(fields, "toolUse") == SERVER_CALL:
        return None
    inner = fields.need_child("toolUse")
    if inner.peek("type") == _OWN_CALL:
        inner.take("type")
    call_id, name, value = inner.need_text("toolUseId"), inner.need_text("name"), inner.take("input")
    arguments = "{}" if value is None else dump_text(value)
    return ToolCall(id=call_id, name=name, arguments=arguments, extras=keep(fields, "toolUse", inner))


def _take_result(fields: Fields) -> ToolResult | None:
    if _kind_within(fields, "toolResult") is not None:
        return None  # a tool's of the service's own
    inner = fields.need_child("toolResult")
    status = inner.peek("status")
    if status in {"success", "error"}:
        inner.take("status")
    call_id, parts = inner.need_text("toolUseId"), decode_blocks(inner, "content")
    is_error = {"error": True, "success": False}.get(status) if isinstance(status, str) else None
    return ToolResult(call_id=call_id, parts=parts, is_error=is_error, extras=keep(fields, "toolResult", inner))


def _take_thinking(fields: Fields) -> Thinking:
    inner = fields.need_child("reasoningContent")
    if (redacted := inner.text("redactedContent")) is not None:
        return Thinking(redacted=redacted, extras=keep(fields, "reasoningContent", inner))
    told = inner.need_child("reasoningText")
    text, signature = told.text("text") or "", told.text("signature")
    keep(inner, "reasoningText", told)
    return Thinking(text=text, signature=signature or None, extras=keep(fields, "reasoningContent", inner))


def _take_cited(fields: Fields) -> Text:
    inner = fields.need_child("citationsContent")
    text = "".join(piece.text("text") or "" for piece in inner.children("content"))
    citations = [citation.rest() for citation in inner.children("citations")]
    return Text(text=text, citations=citations or None, extras=keep(fields, "citationsContent", inner))


# Writing.


def cache_point(mark: CacheMark, *, own: bool) -> JsonObject:
    """Write a cache point."""
    point: JsonObject = {"type": "default"}
    if mark.ttl is not None and (own or mark.ttl in _TTLS):
        point["ttl"] = mark.ttl
    return {"cachePoint": point}


def text_block(part: Text, *, own: bool) -> JsonObject:
    """Write words."""
    if not own:
        return {"text": part.text}
    if "json" in part.extras:
        return dict(part.extras)
    if part.citations is None:
        return merge({"text": part.text}, part.extras)
    cited: JsonObject = {"content": [{"text": part.text}], "citations": list[Json](part.citations)}
    return merge({"citationsContent": cited}, part.extras)


def thinking_block(part: Thinking, *, own: bool) -> JsonObject:
    """Write reasoning; the seal of another dialect would be no good here."""
    if own and part.redacted is not None:
        return merge({"reasoningContent": {"redactedContent": part.redacted}}, part.extras)
    told: JsonObject = {"text": part.text}
    if own and part.signature is not None:
        told["signature"] = part.signature
    return merge({"reasoningContent": {"reasoningText": told}}, part.extras if own else {})


def sealed(parts: tuple[Part, ...]) -> JsonObject | None:
    """Return the block of sealed reasoning."""
    part = parts[-1]
    return thinking_block(part, own=True) if isinstance(part, Thinking) and (part.redacted or part.signature) else None


def tool_use_block(call: ToolCall, call_id: str, *, own: bool) -> JsonObject:
    """Write a finished tool call."""
    told: JsonObject = {"toolUseId": call_id, "name": call.name, "input": call_input(call, own=own)}
    return merge({"toolUse": told}, call.extras if own else {})


def call_input(call: ToolCall, *, own: bool) -> Json:
    """Return a call's arguments as the object that the service demands; ``own`` ones as they came."""
    if call.custom:
        return {"raw": call.arguments}
    if own:
        try:
            value: Json = load(call.arguments)
        except (msgspec.DecodeError, RecursionError):
            return arguments_object(call.arguments)
        return value
    return arguments_object(call.arguments)


class BlockWriter:
    """Writes the blocks of one request.

    Args:
        losses: Where what cannot be said is put down.
        own: The extras are this dialect's.
        native: The request came in this dialect: nothing is mended, so that it goes on as it came.
        caches: The model takes cache points.
    """

    def __init__(self, losses: Losses, *, own: bool, native: bool, caches: bool) -> None:
        self.own = own
        self.native = native
        self._losses = losses
        self._caches = caches
        self._documents = Documents(losses, own=own, native=native)

    def content(self, parts: Iterable[Part]) -> list[Json]:
        """Write parts, each with its cache point behind it."""
        return [block for part in parts for block in self.blocks(part)]

    def blocks(self, part: Part) -> list[Json]:
        """Write one part; nothing where nothing is left of it."""
        block = self._block(part)
        return [] if block is None else self.marked(block, part)

    def marked(self, block: JsonObject, part: Part) -> list[Json]:
        """Return a block with the part's cache point behind it."""
        mark = part.cache if isinstance(part, Text | Image | Document | ToolCall | ToolResult) else None
        if mark is None or not (self.native or self._caches):
            return [block]
        return [block, cache_point(mark, own=self.own)]

    def result(self, part: ToolResult, call_id: str) -> JsonObject:
        """Write what a tool answered. Within it there are no cache points."""
        content = [block for inner in part.parts if (block := self._block(inner)) is not None]
        if not content and not self.native:
            content = [{"text": PLACEHOLDER}]
        told: JsonObject = {"toolUseId": call_id, "content": list[Json](content)}
        if part.is_error is not None:
            told["status"] = "error" if part.is_error else "success"
        return merge({"toolResult": told}, part.extras if self.own else {})

    def _block(self, part: Part) -> JsonObject | None:
        match part:
            case Text():
                # The service refuses blocks of nothing but white space.
                return text_block(part, own=self.own) if self.native or part.text.strip() else None
            case Refusal():
                return {"text": part.text} if part.text.strip() else None
            case Thinking():
                sealed = part.redacted or part.signature
                return thinking_block(part, own=True) if self.native or (self.own and sealed) else None
            case Image():
                return image_block(part, self._losses, own=self.own, native=self.native)
            case Document():
                return self._documents.block(part)
            case Audio():
                return audio_block(part, self._losses, own=self.own, native=self.native)
            case Opaque():
                return part.data
            case ToolCall():
                return tool_use_block(part, part.id, own=self.own)
            case ToolResult():
                return self.result(part, part.call_id)
