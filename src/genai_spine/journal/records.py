"""How a record stands in a file, and how the records of a run are read back.

::

    mark 4 | checksum 4 | length 4 | kind 1 | payload

A **position** is a place in the bytes of a whole run: the segments follow each other, each named by the position at
which it begins, and a record is known by the position of its end. Mark and checksum depend on the run's name, the
checksum on the position too: what only looks like a record, because a payload holds the bytes of one, is not taken for
one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from itertools import zip_longest
from pathlib import Path
from struct import Struct as Layout
from typing import Final, NamedTuple
from zlib import crc32

from genai_spine.journal.failures import translated

__all__ = ["HEADER_BYTES", "MOST_PAYLOAD", "Damage", "Record", "Seal", "read", "segment_name"]

MOST_PAYLOAD: Final = 1 << 20
"""The longest payload."""

_SUFFIX: Final = ".segment"
_FORMAT: Final = b"genai-spine journal 1 "
_WINDOW: Final = 1 << 18
_HEADER: Final = Layout("<4sIIB")
HEADER_BYTES: Final = _HEADER.size


class Record(NamedTuple):
    """What was appended.

    Attributes:
        position: Where it ends, as ``append`` returned it.
        kind: What the payload is, by the caller's own numbers.
        payload: The bytes.
    """

    position: int
    kind: int
    payload: bytes


class Damage(NamedTuple):
    """Bytes that hold no record, where there should be some.

    Attributes:
        position: Where they end; reading goes on there.
        size: How many they are.
        torn: Nothing readable follows, and nothing tells how far the run went: most likely a record that was being
            written when the process or the machine stopped. Else it was whole once.
    """

    position: int
    size: int
    torn: bool


class Seal:
    """What tells the records of one run from any other bytes."""

    __slots__ = ("_salt", "mark")

    def __init__(self, run: str) -> None:
        digest = blake2b(_FORMAT + run.encode(), digest_size=8).digest()
        self.mark = digest[:4]
        self._salt = int.from_bytes(digest[4:], "little")

    def record(self, start: int, kind: int, payload: bytes) -> bytes:
        """Return the bytes of a record that starts at a position."""
        length = len(payload)
        # It begins with what is beside the payload: another place, length or kind is another checksum.
        checksum = crc32(payload, (self._salt + start + (length << 8) + kind) & 0xFFFFFFFF)
        return _HEADER.pack(self.mark, checksum, length, kind) + payload

    def opened(self, start: int, header: bytes, payload: bytes) -> bool:
        """Whether these are header and payload of a record that starts at a position."""
        return self.record(start, header[-1], payload) == header + payload


def segment_name(base: int) -> str:
    """Return the name of the segment that begins at a position; names sort as positions do."""
    return f"{base:020d}{_SUFFIX}"


def read(folder: Path, after: int = 0, until: int | None = None) -> Iterator[Record | Damage]:
    """Return what stands in a run's folder, in the order in which it was appended, and what of it cannot be read.

    Memory is bounded, and what comes before ``after`` is not looked at: a run is followed cheaply while it grows.

    Args:
        folder: The run's; its name is part of each checksum.
        after: The position from which on to read: of a record or damage that was read before, else 0.
        until: How far the run went, where that is known. Else its last segment ends with its last readable record.

    Raises:
        JournalError: A file cannot be read at all.
    """
    seal = Seal(folder.name)
    with translated(f"the journal in {folder} cannot be read"):
        bases = sorted(int(path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem.isdecimal())
        for base, following in zip_longest(bases, bases[1:]):
            end = min((end for end in (following, until) if end is not None), default=None)
            if end is None or end > max(after, base):
                yield from _read_segment(folder / segment_name(base), seal, base, max(after, base), end)


def _read_segment(path: Path, seal: Seal, base: int, at: int, end: int | None) -> Iterator[Record | Damage]:
    """Return what stands in a segment from a position on; without ``end`` it goes as far as there is something."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        window = _Window(descriptor, seal, base, base + os.fstat(descriptor).st_size if end is None else end)
        while at < window.end:
            if (record := window.record(at)) is not None:
                yield record
                at = record.position
                continue
            if (following := window.following(at)) is not None:
                yield Damage(following, following - at, torn=False)
                at = following
                continue
            last = window.end if end is not None else window.last(at)
            if last > at:
                yield Damage(last, last - at, torn=end is None)
            return
    finally:
        os.close(descriptor)


class _Window:
    """A piece of a segment in memory, moved along as it is read."""

    def __init__(self, descriptor: int, seal: Seal, base: int, end: int) -> None:
        self.end = end
        self._descriptor = descriptor
        self._seal = seal
        self._base = base
        self._start = base
        self._held = b""

    def record(self, at: int) -> Record | None:
        """Return the record that starts at a position, if one does."""
        header = self._bytes(at, HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            return None
        mark, _, length, kind = _HEADER.unpack(header)
        position = at + HEADER_BYTES + length
        if mark != self._seal.mark or length > MOST_PAYLOAD or position > self.end:
            return None
        payload = self._bytes(at + HEADER_BYTES, length)
        return Record(position, kind, payload) if self._seal.opened(at, header, payload) else None

    def following(self, at: int) -> int | None:
        """Return where the next record starts after a position at which none does."""
        at += 1
        while at < self.end:
            piece = self._bytes(at, _WINDOW)
            if len(piece) < HEADER_BYTES:
                return None
            found = piece.find(self._seal.mark)
            if found < 0:
                at += len(piece) - len(self._seal.mark) + 1
            elif self.record(at + found) is not None:
                return at + found
            else:
                at += found + 1
        return None

    def last(self, at: int) -> int:
        """Return where the last byte from a position on ends that is not zero; unused space is."""
        last = at
        while piece := self._bytes(at, _WINDOW):
            if filled := piece.rstrip(b"\0"):
                last = at + len(filled)
            at += len(piece)
        return last

    def _bytes(self, at: int, size: int) -> bytes:
        """Return so many bytes from a position on, fewer where the segment or its file ends."""
        size = min(size, self.end - at)
        offset = at - self._start
        if offset < 0 or offset + size > len(self._held):
            self._start, offset = at, 0
            self._held = os.pread(self._descriptor, min(max(size, _WINDOW), self.end - at), at - self._base)
        return self._held[offset : offset + size]
