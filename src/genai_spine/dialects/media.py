"""Media in messages: data addresses, and the type that bytes really have."""

from __future__ import annotations

import base64
from typing import Final

from msgspec import structs

from genai_spine.types.messages import Media

__all__ = ["from_address", "media_type_of", "to_address", "words_of"]

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


def media_type_of(media: Media, fallback: str) -> str:
    """Return the type that the bytes show; else the type claimed; else ``fallback``.

    Providers refuse an image whose claimed type is not its real one, and senders often claim a wrong one.
    """
    data = media.data or ""
    for signature, found in _SIGNATURES.items():
        if data.startswith(signature) and (found != "image/webp" or data[12:16] == _WEBP):
            return found
    return media.media_type or fallback


def words_of(media: Media) -> str | None:
    """Return the words of a text file; None where its bytes are no UTF-8 in base64."""
    try:
        return base64.b64decode("".join((media.data or "").split()), validate=True).decode()
    except ValueError:
        return None
