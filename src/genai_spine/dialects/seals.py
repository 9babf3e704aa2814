"""Seals of a model's turn, put into a tag that names their origin, so that clients of another dialect carry them.

A provider seals what it wants handed back unchanged: reasoning, the thought behind a tool call. Its own clients have a
place for its seals; those of another dialect have one for their own provider's, and there the tag stands. It is base64
as a whole, for one dialect's clients decode and encode it again.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
from msgspec import Struct

__all__ = ["EMPTY", "Seal", "holds_tags", "is_tag", "read_tag", "tag_of"]

# Twelve signs of base64: what follows is decoded for itself.
MARK: Final = "SpineSeal001"
EMPTY: Final = MARK
"""The tag of no seal: it tells no more than that what it stands with is another provider's."""
_IN_BODY: Final = b'"SpineSeal001'
# Google's client writes the alphabet for addresses.
_STANDARD: Final = str.maketrans("-_", "+/")


class Seal(Struct, frozen=True):
    """What is sealed, as its provider's dialect writes it.

    Attributes:
        origin: Who made it and alone can read it.
        dialect: Of ``data``.
    """

    origin: str
    dialect: str
    data: dict[str, Any]  # Any: msgspec reads no type that holds itself


_seal: Final = msgspec.json.Decoder(Seal)


def tag_of(seal: Seal) -> str:
    """Return the tag for a seal."""
    return MARK + base64.b64encode(msgspec.json.encode(seal)).decode()


def is_tag(text: str | None) -> bool:
    """Whether a signature, or whatever a dialect calls it, is a tag."""
    return text is not None and text.startswith(MARK)


def read_tag(text: str) -> Seal | None:
    """Return the seal in a tag; None where the tag was damaged on its way."""
    try:
        return _seal.decode(base64.b64decode(text.removeprefix(MARK).translate(_STANDARD), validate=True))
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None


def holds_tags(body: bytes) -> bool:
    """Whether a body holds a tag anywhere, so that it must not go on as it came."""
    return _IN_BODY in body
