"""Durations by logarithmic bucket: counts that can be added up, and percentiles out of them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Final

__all__ = ["ERROR", "bucket_of", "buckets_of", "seconds_of"]

_GROWTH: Final = 1.1
ERROR: Final = (_GROWTH - 1) / (_GROWTH + 1)
"""How far a duration told by its bucket may be from the true one, as a part of it: below 5 %."""

_SCALE: Final = 1 / math.log(_GROWTH)
_MICROSECONDS: Final = 1e6
# A year; nothing takes longer.
_LAST: Final = 330
_LONGEST: Final = _GROWTH ** (_LAST - 0.5)


def bucket_of(seconds: float) -> int:
    """The bucket of a duration: number ``n`` holds what takes up to ``1.1 ** n`` microseconds."""
    microseconds = seconds * _MICROSECONDS
    # Written so that what is no number counts as none.
    if not microseconds > 1:
        return 0
    return math.ceil(math.log(microseconds) * _SCALE) if microseconds < _LONGEST else _LAST


def buckets_of(seconds: Iterable[float]) -> dict[int, int]:
    """How many durations are in each bucket; what is below zero is none.

    Looked at in their order, for there are fewer buckets than durations.
    """
    ordered, found = sorted(seconds), dict[int, int]()
    start = bisect_left(ordered, 0.0)
    while start < len(ordered):
        bucket = bucket_of(ordered[start])
        end = bisect_right(ordered, _GROWTH**bucket / _MICROSECONDS, start + 1)
        found[bucket] = found.get(bucket, 0) + end - start
        start = end
    return found


def seconds_of(bucket: int) -> float:
    """The duration by which a bucket is told: as far from its ends, measured by themselves."""
    return 2 * _GROWTH**bucket / (_GROWTH + 1) / _MICROSECONDS
