"""Counts work, so that nobody has to look at a clock: calls that are made, and bytes that are copied."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final

__all__ = ["GROWTH", "Work", "work_of"]

GROWTH: Final = 4.3
"""How much more work four times as much input may make: work in proportion makes it 4, work by the square up to 16."""


class Work:
    """What has been done.

    Attributes:
        calls: Functions called, Python's own among them.
        memory: Bytes asked for within one step at most, over all steps: what is copied needs a place.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.memory = 0

    def _count(self, _frame: FrameType, event: str, _: object) -> None:
        self.calls += event in {"call", "c_call"}


def work_of(do: Callable[[bytes], object], pieces: Iterable[bytes]) -> Work:
    """Hand each piece to ``do`` in turn and count the work."""
    work = Work()
    before = sys.getprofile()
    tracemalloc.start()
    try:
        for piece in pieces:
            start = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            sys.setprofile(work._count)
            try:
                do(piece)
            finally:
                sys.setprofile(before)
            work.memory += tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
    return work
