"""Newline-delimited JSON: one object a line."""

from __future__ import annotations

from typing import Final

from genai_spine.errors import MalformedResponseError

__all__ = ["Lines"]

MAX_LINE_BYTES: Final = 32 * 1024 * 1024


class Lines:
    """Cuts bytes, however they arrive, into whole lines that are not blank."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes.

        Raises:
            MalformedResponseError: A line grows past all reason.
        """
        lines: list[bytes] = []
        if b"\n" in data:
            lines = (bytes(self._held + data) if self._held else data).split(b"\n")
            self._held.clear()
            data = lines.pop()
        # Joined to what is held in place: a long line in small pieces would else be copied with each.
        self._held += data
        if len(self._held) > MAX_LINE_BYTES:
            message = f"the provider sent a stream line of more than {MAX_LINE_BYTES} bytes"
            raise MalformedResponseError(message)
        return [line for line in map(bytes.strip, lines) if line]

    @property
    def tail(self) -> bytes:
        """What has come of a line that is not complete yet."""
        return bytes(self._held)
