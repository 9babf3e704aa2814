"""Tells when JSON text that comes in pieces is complete, at the cost of reading it once."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from genai_spine.dialects.limits import Held

__all__ = ["WholeJson"]

_MARKS: Final = re.compile(r'\\.|["\\{}\[\]]', re.DOTALL)
# Numbers and words end without a sign: such a text is looked at whole, while it is short enough to be one.
_WORD: Final = 64


class WholeJson:
    """JSON text while its pieces come in.

    The pieces are looked at only when somebody asks, each once; only what its brackets and quotes close is parsed, and
    that once: what is whole stays so until more than blanks follow, what is closed and is no JSON never becomes any.
    """

    __slots__ = ("_begun", "_depth", "_escaped", "_held", "_in_text", "_looked_at", "_pieces", "_size", "_whole")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._held = Held()
        self._looked_at = 0
        self._begun = self._in_text = self._escaped = False
        self._depth = 0
        # Once it is known; from then on no piece is kept.
        self._whole: bool | None = None

    def __bool__(self) -> bool:
        """Whether anything has come."""
        return self._size > 0

    def add(self, text: str) -> None:
        """Take the next piece.

        Raises:
            MalformedResponseError: The text grows past all reason.
        """
        self._size += len(text)
        if self._whole is None:
            self._held.add(text)
            self._pieces.append(text)
        elif self._whole and text and not text.isspace():
            self._whole = False

    def is_whole(self) -> bool:
        """Whether nothing more can come: what has come is complete JSON."""
        if self._whole is None and self._looked_at < len(self._pieces):
            for piece in self._pieces[self._looked_at :]:
                self._look(piece)
            self._looked_at = len(self._pieces)
            if self._begun and not self._in_text and self._depth <= 0:
                self._whole = self._is_json()
                self._pieces.clear()
        if self._begun:
            return self._whole or False
        return 0 < self._size <= _WORD and self._is_json()

    def _look(self, text: str) -> None:
        start = int(self._escaped)
        self._escaped = False
        for found in _MARKS.finditer(text, start):
            match found.group():
                case '"':
                    self._begun, self._in_text = True, not self._in_text
                case "\\":
                    self._escaped = self._in_text
                case "{" | "[" if not self._in_text:
                    self._begun = True
                    self._depth += 1
                case "}" | "]" if not self._in_text:
                    self._depth -= 1
                case _:
                    pass

    def _is_json(self) -> bool:
        try:
            msgspec.json.decode("".join(self._pieces), type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True
