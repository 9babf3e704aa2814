"""Media in messages: addresses, the type that bytes really have, and the words of documents that are text."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Final

from msgspec import structs

from genai_spine.dialects.losses import Losses
from genai_spine.types.messages import Document, Media

__all__ = [
    "addresses_in",
    "file_address",
    "from_address",
    "is_text",
    "media_type_of",
    "shown_type",
    "titled",
    "to_address",
    "words_of",
]

# The first base64 characters of each format's signature.
_SIGNATURES: Final = {
    "/9j/": "image/jpeg",
    "iVBORw0KGgo": "image/png",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}
# `UklGR` is any RIFF file, sound too; the last three letters of WEBP stand alone at this place in base64.
_WEBP: Final = "RUJQ"

# Words, though their type does not begin with `text/`.
_WORDS: Final = frozenset({"application/json", "application/xml", "application/yaml"})

_ADDRESS: Final = re.compile(rb'"(?:url|image_url|file_url|fileUri|file_uri)"\s*:\s*"(https?:[^"]*)"', re.IGNORECASE)


def addresses_in(body: bytes) -> Iterator[str]:
    """Yield the web addresses that stand in a request's body where media may be told; perhaps one that is none.

    The body is not decoded, for this is asked of requests that may pass through. Inside a text an address would not be
    found: its quotation marks are escaped there.
    """
    for found in _ADDRESS.finditer(body):
        yield found[1].decode(errors="replace")


def from_address(address: str) -> Media:
    """Read an address; one of the form ``data:image/png;base64,...`` yields its bytes, with the type that they show."""
    if address.startswith("data:"):
        head, comma, data = address[5:].partition(",")
        media_type, _, coding = head.rpartition(";")
        if comma and coding == "base64":
            found = Media(data=data, media_type=media_type or None)
            return structs.replace(found, media_type=media_type_of(found, "") or None)
    return Media(url=address)


def to_address(media: Media, fallback: str) -> str:
    """Write media that has bytes or an address as an address; ``fallback`` is the type of bytes of unknown kind."""
    if media.data is None:
        return media.url or ""
    return f"data:{media_type_of(media, fallback)};base64,{media.data}"


def file_address(media: Media, losses: Losses) -> str:
    """Write the bytes of a file as an address, for a service that reads files of paper.

    Raises:
        InvalidFieldError: It is a film.
    """
    kind = media_type_of(media, "application/pdf")
    if kind.startswith("video/"):
        refused = losses.refuse(f"document of type {kind}", "choose a provider that watches films")
        raise refused
    return to_address(media, kind)


def media_type_of(media: Media, fallback: str) -> str:
    """Return the type that the bytes show; else the type claimed; else ``fallback``.

    Providers refuse an image whose claimed type is not its real one, and senders often claim a wrong one.
    """
    return shown_type(media.data or "") or media.media_type or fallback


def shown_type(data: str) -> str | None:
    """Return the type that bytes in base64 show by how they begin; None where nothing is known that begins so."""
    for signature, found in _SIGNATURES.items():
        if data.startswith(signature) and (found != "image/webp" or data[12:16] == _WEBP):
            return found
    return None


def is_text(kind: str) -> bool:
    """Return whether a type is one of plain words."""
    kind = kind.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _WORDS


def words_of(part: Document, losses: Losses) -> str | None:
    """Return the words of a document that is text; None where it is something else.

    Raises:
        InvalidFieldError: It claims to be text, and is not.
    """
    media = part.media
    if media is None:
        return part.text
    if media.data is None or not is_text(media_type_of(media, "application/pdf")):
        return None
    try:
        return base64.b64decode("".join(media.data.split()), validate=True).decode()
    except ValueError as error:
        refused = losses.refuse("document", "it claims to be text but is not UTF-8 text in base64")
        raise refused from error


def titled(part: Document, words: str) -> str:
    """Return a document's words with its title and context before them, for where it can be no more than words."""
    title = part.title or (part.media.filename if part.media else None)
    return "\n\n".join(piece for piece in (title, part.context, words) if piece)
