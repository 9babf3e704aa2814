"""Newline-delimited JSON: one object a line."""

from __future__ import annotations

from typing import Final

from genai_spine.errors import MalformedResponseError

__all__ = ["Lines"]

MAX_LINE_BYTES: Final = 32 * 1024 * 1024


class Lines:
    """Cuts bytes, however they arrive, into whole lines that are not blank."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes.

        Raises:
            MalformedResponseError: A line grows past all reason.
        """
        if b"\n" not in data:
            # Joined only once the line ends: a long line in small pieces would else be copied with each.
            self._keep(data)
            return []
        lines = (b"".join([*self._pieces, data]) if self._pieces else data).split(b"\n")
        self._pieces, self._size = [], 0
        self._keep(lines.pop())
        return [line for line in map(bytes.strip, lines) if line]

    @property
    def tail(self) -> bytes:
        """What has come of a line that is not complete yet."""
        return b"".join(self._pieces)

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._size += len(data)
        if self._size > MAX_LINE_BYTES:
            message = f"the provider sent a stream line of more than {MAX_LINE_BYTES} bytes"
            raise MalformedResponseError(message)
