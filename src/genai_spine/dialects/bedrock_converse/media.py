"""Bedrock Converse: pictures, documents and sounds, read and written.

Their bytes stand in the request, or lie in S3; the service fetches no other address.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from genai_spine.dialects.bedrock_converse.objects import keep, merge
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import is_text, media_type_of
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Audio, Document, Image, Media

__all__ = ["S3", "Documents", "audio_block", "image_block", "take_audio", "take_document", "take_image"]

S3: Final = "s3://"
"""How an address begins that the service reads by itself."""
_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_SOUNDS: Final = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/webm": "webm",
    "audio/mp4": "mp4",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_DOCUMENT_TYPES: Final = {form: kind for kind, form in _DOCUMENTS.items()}

MAX_NAME: Final = 200
_UNNAMED: Final = "Document"
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")


# Reading. What stands somewhere else than in bytes or in S3, or in a form that is not known, is left to be kept whole.


def take_image(fields: Fields) -> Image | None:
    """Take a picture."""
    if not _lies_somewhere(fields.peek("image")):
        return None
    inner = fields.need_child("image")
    media = _take_media(inner, f"image/{inner.need_text('format')}")
    return Image(media=media, extras=keep(fields, "image", inner))


def take_audio(fields: Fields) -> Audio | None:
    """Take a sound."""
    if not _lies_somewhere(fields.peek("audio")):
        return None
    inner = fields.need_child("audio")
    media = _take_media(inner, f"audio/{inner.need_text('format')}")
    return Audio(media=media, extras=keep(fields, "audio", inner))


def take_document(fields: Fields) -> Document | None:
    """Take a document; its name is its title."""
    told = fields.peek("document")
    source = told.get("source") if isinstance(told, dict) else None
    words = isinstance(source, dict) and isinstance(source.get("text"), str)
    form = told.get("format") if isinstance(told, dict) else None
    if not words and not (_lies_somewhere(told) and form in _DOCUMENT_TYPES):
        return None
    inner = fields.need_child("document")
    media = text = None
    if words:
        if inner.peek("format") == "txt":
            inner.take("format")
        there = inner.need_child("source")
        text = there.need_text("text")
        keep(inner, "source", there)
    else:
        media = _take_media(inner, _DOCUMENT_TYPES[inner.need_text("format")])
    title, context = inner.text("name"), inner.text("context")
    return Document(media=media, text=text, title=title, context=context, extras=keep(fields, "document", inner))


def _lies_somewhere(told: Json) -> bool:
    """Whether an object tells a format, and bytes or a place in S3."""
    match told:
        case {"format": str(), "source": {"bytes": str()} | {"s3Location": {"uri": str()}}}:
            return True
    return False


def _take_media(fields: Fields, kind: str) -> Media:
    source = fields.need_child("source")
    data = source.text("bytes")
    url = None
    if data is None:
        place = source.need_child("s3Location")
        url = place.need_text("uri")
        keep(source, "s3Location", place)
    keep(fields, "source", source)
    return Media(data=data, url=url, media_type=kind)


# Writing.


def image_block(part: Image, losses: Losses, *, own: bool, native: bool) -> JsonObject:
    """Write a picture, with the format that its bytes show.

    Raises:
        InvalidFieldError: It is none of the service's formats, or lies where the service cannot fetch it.
    """
    media = part.media
    kind = media.media_type if native and media.media_type else media_type_of(media, "image/jpeg")
    form = kind.removeprefix("image/") if native else _format(kind, _IMAGES, losses, "image")
    block: JsonObject = {"image": {"format": form, "source": _source(media, losses, "image")}}
    return merge(block, part.extras if own else {})


def audio_block(part: Audio, losses: Losses, *, own: bool, native: bool) -> JsonObject:
    """Write a sound; raises as ``image_block`` does."""
    kind = part.media.media_type or "audio/wav"
    form = kind.removeprefix("audio/") if native else _format(kind, _SOUNDS, losses, "audio")
    block: JsonObject = {"audio": {"format": form, "source": _source(part.media, losses, "audio")}}
    return merge(block, part.extras if own else {})


def _format(kind: str, known: Mapping[str, str], losses: Losses, what: str) -> str:
    form = known.get(kind)
    if form is None:
        fault = losses.refuse(f"{what} of type {kind}", f"send {', '.join(sorted(set(known.values())))}")
        raise fault
    return form


def _source(media: Media, losses: Losses, what: str) -> JsonObject:
    if media.data is not None:
        return {"bytes": media.data}
    if media.url is not None and media.url.startswith(S3):
        return {"s3Location": {"uri": media.url}}
    by = "address" if media.file_id is None else "file id"
    fault = losses.refuse(f"{what} {by}", f"send the {what}'s bytes in base64, or its place in S3 (s3://...)")
    raise fault


class Documents:
    """Writes the documents of one request, each under a name of the service's alphabet, given once."""

    def __init__(self, losses: Losses, *, own: bool, native: bool) -> None:
        self._losses = losses
        self._own = own
        self._native = native
        self._names: set[str] = set()

    def block(self, part: Document) -> JsonObject:
        """Write a document.

        Raises:
            InvalidFieldError: It is of a form that the service does not read, or lies where it cannot fetch it.
        """
        form, source = self._content(part)
        told: JsonObject = {"format": form, "name": self._name(part), "source": source}
        if part.context is not None:
            told["context"] = part.context
        return merge({"document": told}, part.extras if self._own else {})

    def _content(self, part: Document) -> tuple[str, JsonObject]:
        media = part.media
        if media is None:
            text = part.text or ""
            # Not every model takes a document in plain words.
            there: JsonObject = {"text": text} if self._native else {"bytes": base64.b64encode(text.encode()).decode()}
            return "txt", there
        kind = media.media_type if self._native and media.media_type else media_type_of(media, "application/pdf")
        kind = kind.partition(";")[0].strip()
        if kind not in _DOCUMENTS and is_text(kind):
            kind = "text/plain"
        form = _format(kind, _DOCUMENTS, self._losses, "document")
        return form, _source(media, self._losses, "document")

    def _name(self, part: Document) -> str:
        title = part.title or (part.media.filename if part.media else None) or ""
        if self._native:
            return title
        stem, dot, ending = title.rpartition(".")
        if dot and ending.lower() in _DOCUMENT_TYPES:
            title = stem
        # The blanks are the last step: the service refuses two in a row.
        name = " ".join(_FORBIDDEN.sub("-", title).split())[:MAX_NAME].strip()
        found = name = name if any(map(str.isalnum, name)) else _UNNAMED
        number = 1
        while found.lower() in self._names:
            number += 1
            found = f"{name[: MAX_NAME - 5].strip()} {number}"
        self._names.add(found.lower())
        return found
