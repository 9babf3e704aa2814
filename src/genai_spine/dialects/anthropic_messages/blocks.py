"""Anthropic Messages: content blocks, read and written; requests and answers share them."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from genai_spine.dialects.fields import Fields, dump_text, load
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import media_type_of, words_of
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    CacheMark,
    Document,
    Image,
    Media,
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
    "BlockWriter",
    "argument_object",
    "decode_block",
    "decode_blocks",
    "decode_content",
    "merge",
    "plain",
    "seal",
    "take_cache",
    "text_block",
    "thinking_block",
    "tool_use_block",
]

NAME: Final = "anthropic_messages"

_IMAGE_SOURCES: Final = frozenset({"base64", "url", "file"})
_TTLS: Final = frozenset({"5m", "1h"})


# Reading.


def decode_content(fields: Fields) -> tuple[Part, ...]:
    """Take ``content``: words, a list of blocks, or nothing. Empty words are nothing."""
    return decode_blocks(fields, "content")


def decode_blocks(fields: Fields, name: str) -> tuple[Part, ...]:
    """Take the field ``name``: words, a list of blocks, or nothing."""
    value = fields.peek(name)
    if value is None or isinstance(value, str):
        fields.take(name)
        return (Text(text=value),) if value else ()
    return tuple(decode_block(block) for block in fields.children(name))


def decode_block(fields: Fields) -> Part:
    """Read one block; a kind that the vocabulary has not (a server tool's, say) is kept whole."""
    kind = fields.need_text("type")
    match kind:
        case "text":
            return _decode_text(fields)
        case "thinking":
            # A gateway's door shows foreign reasoning with an empty signature: that is none.
            text, signature = fields.text("thinking"), fields.text("signature")
            return Thinking(text=text or "", signature=signature or None, extras=fields.rest())
        case "redacted_thinking":
            return Thinking(redacted=fields.need_text("data"), extras=fields.rest())
        case "tool_use":
            return _decode_tool_use(fields)
        case "tool_result":
            return _decode_tool_result(fields)
        case "image" if _source_kind(fields) in _IMAGE_SOURCES:
            return Image(media=_decode_media(fields), cache=take_cache(fields), extras=fields.rest())
        case "document" if (found := _decode_document(fields)) is not None:
            return found
        case _:
            return Opaque(dialect=NAME, data={"type": kind, **fields.rest()})


def take_cache(fields: Fields) -> CacheMark | None:
    """Take ``cache_control``; what it says beyond the vocabulary stays with the extras."""
    mark = fields.child("cache_control")
    if mark is None:
        return None
    ttl = mark.text("ttl")
    if mark.peek("type") == "ephemeral":
        mark.take("type")
    if left := mark.rest():
        fields.rest()["cache_control"] = left
    return CacheMark(ttl=ttl)


def _decode_text(fields: Fields) -> Text:
    text = fields.need_text("text")
    citations = [citation.rest() for citation in fields.children("citations")]
    return Text(text=text, citations=citations or None, cache=take_cache(fields), extras=fields.rest())


def _decode_tool_use(fields: Fields) -> ToolCall:
    call_id, name, value = fields.need_text("id"), fields.need_text("name"), fields.take("input")
    arguments = "{}" if value is None else dump_text(value)
    return ToolCall(id=call_id, name=name, arguments=arguments, cache=take_cache(fields), extras=fields.rest())


def _decode_tool_result(fields: Fields) -> ToolResult:
    return ToolResult(
        call_id=fields.need_text("tool_use_id"),
        parts=decode_content(fields),
        is_error=fields.flag("is_error"),
        cache=take_cache(fields),
        extras=fields.rest(),
    )


def _source_kind(fields: Fields) -> str:
    source = fields.peek("source")
    kind = source.get("type") if isinstance(source, dict) else None
    return kind if isinstance(kind, str) else ""


def _decode_media(fields: Fields) -> Media:
    source = fields.need_child("source")
    match source.text("type"):
        case "base64":
            media = Media(data=source.need_text("data"), media_type=source.text("media_type"))
        case "url":
            media = Media(url=source.need_text("url"))
        case _:
            media = Media(file_id=source.need_text("file_id"))
    if left := source.rest():
        fields.rest()["source"] = left
    return media


def _decode_document(fields: Fields) -> Document | None:
    media = text = None
    kind = _source_kind(fields)
    if kind in _IMAGE_SOURCES:
        media = _decode_media(fields)
    elif kind == "text":
        source = fields.need_child("source")
        source.take("type")
        text = source.need_text("data")
        if source.peek("media_type") == "text/plain":
            source.take("media_type")
        if left := source.rest():
            fields.rest()["source"] = left
    elif kind == "content" and (text := _words_of_source(fields.peek("source"))) is not None:
        # The source stays in the extras: citations count its blocks.
        pass
    else:
        return None
    title, context = fields.text("title"), fields.text("context")
    cache = take_cache(fields)
    return Document(media=media, text=text, title=title, context=context, cache=cache, extras=fields.rest())


def _words_of_source(source: Json) -> str | None:
    """The words of a source of kind ``content``; None if it holds anything else."""
    content = source.get("content") if isinstance(source, dict) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    words: list[str] = []
    for block in content:
        text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
        if not isinstance(text, str):
            return None
        words.append(text)
    return "\n\n".join(words)


# Writing.


def seal(block: JsonObject, cache: CacheMark | None, extras: JsonObject, *, own: bool) -> JsonObject:
    """Add to ``block`` its cache mark and, if ``own``, the extras, which may add to its objects."""
    if cache is not None:
        mark: JsonObject = {"type": "ephemeral"}
        if cache.ttl is not None and (own or cache.ttl in _TTLS):
            mark["ttl"] = cache.ttl
        block["cache_control"] = mark
    if own:
        merge(block, extras)
    return block


def merge(into: JsonObject, extras: JsonObject) -> None:
    """Write ``extras`` into an object; where both hold an object, theirs are put together."""
    for name, value in extras.items():
        known = into.get(name)
        into[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value


def text_block(part: Text, *, own: bool) -> JsonObject:
    """Write words."""
    block: JsonObject = {"type": "text", "text": part.text}
    if own and part.citations is not None:
        block["citations"] = list[Json](part.citations)
    return seal(block, part.cache, part.extras, own=own)


def thinking_block(part: Thinking, *, own: bool) -> JsonObject:
    """Write reasoning; that of another dialect carries an empty signature, for none of theirs would be good here."""
    if own and part.redacted is not None:
        return seal({"type": "redacted_thinking", "data": part.redacted}, None, part.extras, own=own)
    signature = part.signature or "" if own else ""
    return seal({"type": "thinking", "thinking": part.text, "signature": signature}, None, part.extras, own=own)


def tool_use_block(call: ToolCall, call_id: str, *, own: bool) -> JsonObject:
    """Write a finished tool call."""
    block: JsonObject = {"type": "tool_use", "id": call_id, "name": call.name, "input": argument_object(call)}
    return seal(block, call.cache, call.extras, own=own)


def argument_object(call: ToolCall) -> JsonObject:
    """Return a call's arguments as the object that the dialect demands.

    JSON that is no object goes in as ``value``; text that is no JSON, and a custom tool's, goes in as ``raw``.
    """
    text = call.arguments
    if call.custom:
        return {"raw": text}
    value: Json
    try:
        value = load(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        try:
            # Weaker models write line breaks into strings as they are.
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return {"raw": text}
    return value if isinstance(value, dict) else {"value": value}


class BlockWriter:
    """Writes the blocks of one request.

    Args:
        own: The extras are this dialect's.
        native: The request came in this dialect: nothing is mended, so that it goes on as it came.
        losses: Where what cannot be said is put down.
    """

    def __init__(self, losses: Losses, *, own: bool, native: bool) -> None:
        self.own = own
        self.native = native
        self._losses = losses

    def content(self, parts: tuple[Part, ...]) -> list[Json]:
        """Write parts that are neither tool calls nor results."""
        written = (self.block(part) for part in parts)
        return [block for block in written if block is not None]

    def block(self, part: Part) -> JsonObject | None:
        """Write one part; None where nothing is left of it."""
        match part:
            case Text():
                # The service refuses blocks of nothing but white space.
                return text_block(part, own=self.own) if self.native or part.text.strip() else None
            case Refusal():
                return {"type": "text", "text": part.text} if part.text.strip() else None
            case Thinking():
                sealed = part.redacted or part.signature
                return thinking_block(part, own=True) if self.own and sealed else None
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case Audio():
                fault = self._losses.refuse("audio", "choose a provider that listens, or send a transcript")
                raise fault
            case Opaque():
                if part.dialect == NAME:
                    return part.data
                self._losses.drop(f"content of type {part.data.get('type', 'unknown')}")
                return None
            case ToolCall():
                return tool_use_block(part, part.id, own=self.own)
            case ToolResult():
                return self.result(part, part.call_id)

    def result(self, part: ToolResult, call_id: str) -> JsonObject:
        """Write what a tool answered."""
        block: JsonObject = {"type": "tool_result", "tool_use_id": call_id}
        if content := self.content(part.parts):
            block["content"] = plain(content)
        if part.is_error is not None:
            block["is_error"] = part.is_error
        return seal(block, part.cache, part.extras, own=self.own)

    def _image(self, part: Image) -> JsonObject:
        source = self._source(part.media, "image/jpeg", "image")
        return seal({"type": "image", "source": source}, part.cache, part.extras, own=self.own)

    def _source(self, media: Media, fallback: str, what: str) -> JsonObject:
        if media.file_id is not None:
            if not self.own:
                fault = self._losses.refuse(f"{what} file id", f"send the {what}'s bytes or its address")
                raise fault
            return {"type": "file", "file_id": media.file_id}
        if media.data is None:
            return {"type": "url", "url": media.url or ""}
        claimed = media.media_type if self.native else None
        return {"type": "base64", "media_type": claimed or media_type_of(media, fallback), "data": media.data}

    def _document(self, part: Document) -> JsonObject:
        media = part.media
        source: JsonObject
        if media is None:
            source = {"type": "text", "media_type": "text/plain", "data": part.text or ""}
            if self.own and isinstance(told := part.extras.get("source"), dict) and told.get("type") == "content":
                source = {}
        elif media.data is not None and not self.native:
            source = self._file(media)
        else:
            source = self._source(media, "application/pdf", "document")
        block: JsonObject = {"type": "document", "source": source}
        if (title := part.title or (media.filename if media else None)) is not None:
            block["title"] = title
        if part.context is not None:
            block["context"] = part.context
        return seal(block, part.cache, part.extras, own=self.own)

    def _file(self, media: Media) -> JsonObject:
        """A file in bytes: a PDF, or plain words, which go in as such."""
        kind = media_type_of(media, "application/pdf")
        if kind == "application/pdf":
            return {"type": "base64", "media_type": kind, "data": media.data}
        if kind.startswith("text/") or kind in {"application/json", "application/xml"}:
            if (words := words_of(media)) is None:
                fault = self._losses.refuse(f"document of type {kind}", "send its words in base64 of UTF-8")
                raise fault
            return {"type": "text", "media_type": "text/plain", "data": words}
        fault = self._losses.refuse(f"document of type {kind}", "send a PDF or plain text")
        raise fault


def plain(content: list[Json]) -> Json:
    """Return content as a string where that says it all."""
    match content:
        case [{"type": "text", "text": str(words), **rest}] if words and not rest:
            return words
    return content
