"""The newest records of a journal, kept in memory too: what is shipped soon need not be read from the disk again."""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from genai_spine.ledger.records import Entry

__all__ = ["Noted", "Tail"]

Noted: TypeAlias = tuple[int, int, Entry]
"""Where a record begins and ends, and the record."""

_MOST: Final = 12_000
"""Of so many records at most; of a second or two, where the database answers. Older ones are read from the journal."""


class Tail:
    """Keeps records of one run."""

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most
        self._kept: deque[Noted] = deque()

    def note(self, start: int, end: int, record: Entry) -> None:
        """Keep a record that was appended."""
        if len(self._kept) == self._most:
            self._kept.clear()
        self._kept.append((start, end, record))

    def take(self, after: int, most: int) -> list[Noted]:
        """Return the records that follow a position, in their order, and keep them no longer.

        None may be missing: where the next is not here, there are none.
        """
        kept, taken = self._kept, list[Noted]()
        while kept and kept[0][0] <= after and len(taken) < most:
            noted = kept.popleft()
            if noted[0] == after:
                taken.append(noted)
                after = noted[1]
        return taken
