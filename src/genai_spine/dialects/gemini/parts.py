"""Gemini: the parts of a content, read and written; requests and answers share them."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from genai_spine.dialects.arguments import arguments_object
from genai_spine.dialects.fields import Fields, dump_text, load
from genai_spine.dialects.gemini.wire import NAME, merge, standard_base64
from genai_spine.dialects.media import media_type_of
from genai_spine.dialects.seals import is_tag
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Media,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)

__all__ = [
    "ATTRIBUTES",
    "SIGNATURE",
    "AnswerPart",
    "call_part",
    "children",
    "decode_answer_part",
    "decode_part",
    "response_object_of",
    "sealed",
    "thinking_part",
]

SIGNATURE: Final = "thoughtSignature"
ATTRIBUTES: Final = frozenset({SIGNATURE, "mediaResolution", "partMetadata", "videoMetadata"})
"""What may stand beside a part's payload."""

AnswerPart: TypeAlias = Text | Thinking | ToolCall | Opaque

_ANSWERS: Final = ("output", "result")
"""Under which a tool's words usually stand in the object that the dialect demands."""


# Reading.


def children(fields: Fields, name: str) -> list[Fields]:
    """Take an array of objects; the service takes one object for an array of one."""
    if isinstance(fields.peek(name), dict):
        return [fields.need_child(name)]
    return list(fields.children(name))


def decode_answer_part(fields: Fields) -> AnswerPart:
    """Read a part of an answer. The id of a tool call without one is empty, for the caller to make up."""
    if "functionCall" in fields:
        return _decode_call(fields)
    if "text" in fields:
        return _decode_text(fields)
    # Pictures and sounds too: the vocabulary's answers hold none.
    return Opaque(dialect=NAME, data=fields.rest())


def decode_part(fields: Fields) -> Part:
    """Read a part of a conversation. The ids of calls and results without one are empty, for the caller to make up."""
    if "functionResponse" in fields:
        return _decode_result(fields)
    if "inlineData" in fields or "fileData" in fields:
        return _decode_media(fields)
    return decode_answer_part(fields)


def _decode_text(fields: Fields) -> Text | Thinking:
    text = fields.need_text("text")
    if fields.flag("thought"):
        return Thinking(text=text, signature=fields.text(SIGNATURE), extras=fields.told())
    return Text(text=text, extras=fields.told())


def _decode_call(fields: Fields) -> ToolCall:
    inner = fields.need_child("functionCall")
    call_id, name, arguments = inner.text("id") or "", inner.need_text("name"), inner.object("args") or {}
    return ToolCall(id=call_id, name=name, arguments=dump_text(arguments), extras=_both(fields, "functionCall", inner))


def _decode_result(fields: Fields) -> ToolResult:
    inner = fields.need_child("functionResponse")
    call_id, name, response = inner.text("id") or "", inner.text("name"), inner.object("response") or {}
    failed, words = _words_of(response)
    parts: tuple[Part, ...] = (Text(text=words),) if words else ()
    if response_object_of(words, failed=failed) != response:
        inner.rest()["response"] = response
    parts += tuple(_decode_media(part) for part in children(inner, "parts"))
    return ToolResult(
        call_id=call_id,
        name=name,
        parts=parts,
        is_error=failed or None,
        extras=_both(fields, "functionResponse", inner),
    )


def _words_of(response: JsonObject) -> tuple[bool, str]:
    """Return whether a tool's answer is an error, and its words; an object of the tool's own is told as JSON."""
    if len(response) == 1:
        ((name, value),) = response.items()
        if name == "error":
            return True, value if isinstance(value, str) else dump_text(value)
        if name in _ANSWERS:
            return False, value if isinstance(value, str) else dump_text(value)
    return False, dump_text(response) if response else ""


def response_object_of(words: str, *, failed: bool) -> JsonObject:
    """Return the object that tells what a tool answered: its own if its words are one."""
    if failed:
        return {"error": words}
    if words.lstrip().startswith("{"):
        try:
            value: Json = load(words)
        except (msgspec.DecodeError, RecursionError):
            value = None
        if isinstance(value, dict):
            return value
    return {"output": words}


def _decode_media(fields: Fields) -> Part:
    if "inlineData" in fields:
        name = "inlineData"
        inner = fields.need_child(name)
        kind = inner.text("mimeType")
        media = Media(
            data=standard_base64(inner.need_text("data")), media_type=kind, filename=inner.text("displayName")
        )
    elif "fileData" in fields:
        name = "fileData"
        inner = fields.need_child(name)
        kind, uri, filename = inner.text("mimeType"), inner.need_text("fileUri"), inner.text("displayName")
        fetched = uri.startswith(("https://", "http://")) and "//generativelanguage." not in uri
        media = Media(
            url=uri if fetched else None, file_id=None if fetched else uri, media_type=kind, filename=filename
        )
    else:
        return Opaque(dialect=NAME, data=fields.rest())
    extras = _both(fields, name, inner)
    shown = media_type_of(media, "")
    if shown.startswith("image/"):
        return Image(media=media, extras=extras)
    if shown.startswith("audio/") and media.data is not None:
        return Audio(media=media, extras=extras)
    return Document(media=media, extras=extras)


def _both(fields: Fields, name: str, inner: Fields) -> JsonObject:
    """The extras of a part and those of its payload ``name``."""
    left = inner.told()
    return fields.told() | ({name: left} if left else {})


# Writing.


def thinking_part(part: Thinking, *, own: bool) -> JsonObject:
    """Write reasoning; only its own signature is good for a model, a tag stands for another's."""
    written: JsonObject = {"text": part.text, "thought": True}
    if part.signature is not None and (own or is_tag(part.signature)):
        written[SIGNATURE] = part.signature
    return written


def sealed(parts: tuple[Part, ...]) -> JsonObject | None:
    """Return signed reasoning; or the signature of words or of a call alone, which is to stand before them."""
    match parts[-1]:
        case Thinking(signature=str()) as part:
            written = thinking_part(part, own=True)
            merge(written, part.extras)
            return written
        case Text(extras=extras) | ToolCall(extras=extras) if SIGNATURE in extras:
            return {SIGNATURE: extras[SIGNATURE]}
    return None


def call_part(call: ToolCall, extras: JsonObject) -> JsonObject:
    """Write a tool call, whole."""
    written: JsonObject = {"functionCall": {"id": call.id, "name": call.name, "args": arguments_object(call.arguments)}}
    merge(written, extras)
    return written
