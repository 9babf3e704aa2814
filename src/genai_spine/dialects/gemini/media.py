"""Gemini: pictures, sounds and documents, written."""

from __future__ import annotations

import base64
from typing import Final

from genai_spine.dialects.losses import Losses
from genai_spine.dialects.media import media_type_of
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Audio, Document, Image, Media

__all__ = ["MediaWriter", "is_held"]

_HELD: Final = (
    "gs://",
    "https://generativelanguage.googleapis.com/",
    "https://www.youtube.com/watch",
    "https://youtube.com/watch",
    "https://m.youtube.com/watch",
    "https://youtu.be/",
)
# The service's own files, Google's storage and YouTube's videos.

_FALLBACKS: Final = {Image: "image/jpeg", Audio: "audio/wav", Document: "application/pdf"}
_NOUNS: Final = {Image: "image", Audio: "audio", Document: "document"}
_TYPES: Final = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"} | {
    "gif": "image/gif",
    "pdf": "application/pdf",
    "mp4": "video/mp4",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "txt": "text/plain",
}


def is_held(address: str) -> bool:
    """Return whether the service reads an address by itself, though it fetches no others."""
    return address.startswith(_HELD)


class MediaWriter:
    """Writes the media of one request.

    Args:
        losses: Where what cannot be said is refused.
        native: The request came in this dialect: nothing is mended.
        fetches: The service fetches any address, not only those of Google's own.
    """

    def __init__(self, losses: Losses, *, native: bool, fetches: bool) -> None:
        self._losses = losses
        self._native = native
        self._fetches = fetches

    def part(self, part: Image | Audio | Document) -> JsonObject:
        """Return a part that holds it, or points to it.

        Raises:
            InvalidFieldError: The service can neither read nor fetch it.
        """
        media = part.media
        if media is None:
            return _words(part) if isinstance(part, Document) else {}
        if media.data is None:
            return self._pointer(part, media)
        claimed = media.media_type if self._native else None
        inner: JsonObject = {
            "mimeType": claimed or media_type_of(media, _FALLBACKS[type(part)]),
            "data": media.data,
        }
        if self._native and media.filename is not None:
            inner["displayName"] = media.filename
        return {"inlineData": inner}

    def _pointer(self, part: Image | Audio | Document, media: Media) -> JsonObject:
        noun = _NOUNS[type(part)]
        uri = media.file_id or media.url or ""
        if not self._native and not is_held(uri):
            if media.file_id is not None:
                fault = self._losses.refuse(f"{noun} file id", f"send the {noun}'s bytes")
                raise fault
            if not self._fetches:
                fault = self._losses.refuse(f"{noun} address", f"send the {noun}'s bytes in base64")
                raise fault
        inner: JsonObject = {"fileUri": uri}
        kind = media.media_type if self._native else media.media_type or _type_by_name(uri)
        if kind is not None:
            inner["mimeType"] = kind
        if self._native and media.filename is not None:
            inner["displayName"] = media.filename
        return {"fileData": inner}


def _words(part: Document) -> JsonObject:
    """A document in plain words goes in as a text file, its title and context before them."""
    words = "\n\n".join(piece for piece in (part.title, part.context, part.text) if piece)
    return {"inlineData": {"mimeType": "text/plain", "data": base64.b64encode(words.encode()).decode()}}


def _type_by_name(uri: str) -> str | None:
    """The type that an address's ending tells, for the service wants one."""
    name = uri.partition("?")[0].rpartition("/")[2]
    return _TYPES.get(name.rpartition(".")[2].lower()) if "." in name else None
