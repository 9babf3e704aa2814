"""Gemini: a stream's pieces, in frames of server-sent events or as the elements of one JSON array."""

from __future__ import annotations

from typing import Final, NamedTuple

from genai_spine.dialects.sse import BYTE_ORDER_MARK

__all__ = ["Piece", "cut"]

_FIELDS: Final = (b":", b"event:", b"id:", b"retry:")


class Piece(NamedTuple):
    """What a frame holds: the data of its event, and what is none of an event's lines."""

    data: bytes
    bare: bytes


def cut(raw: bytes) -> Piece:
    """Return what is in a frame. The service tells a failure amid a stream in bare lines, without ``data:``."""
    if raw.startswith(b"data: ") and b"\n" not in raw:
        return Piece(raw[6:], b"")
    data: list[bytes] = []
    bare: list[bytes] = []
    for told in raw.split(b"\n"):
        line = told.removeprefix(BYTE_ORDER_MARK)
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line.startswith(_FIELDS):
            bare.append(line)
    return Piece(b"\n".join(data), b"\n".join(bare).strip())
