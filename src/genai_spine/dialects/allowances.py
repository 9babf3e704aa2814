"""What an answer's headers tell is left of a key's limits: requests and tokens, and when they are counted anew."""

from __future__ import annotations

import re
from datetime import datetime
from math import isfinite
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from genai_spine.dialects.base import Headers

__all__ = ["Allowance", "limits_told"]

Meter: TypeAlias = Literal["requests", "tokens"]


class Allowance(Struct, frozen=True):
    """What is left of a limit.

    Attributes:
        meter: What is counted.
        resets_in: Seconds until it is counted anew.
    """

    meter: Meter
    left: float
    resets_in: float


# OpenAI's, which most who speak like it send; Cerebras', who counts by minute and day; Anthropic's, who also counts
# apart what is read and written.
_LEFT: Final[tuple[tuple[str, Meter], ...]] = (
    ("x-ratelimit-remaining-requests", "requests"),
    ("x-ratelimit-remaining-tokens", "tokens"),
    ("x-ratelimit-remaining-requests-minute", "requests"),
    ("x-ratelimit-remaining-tokens-minute", "tokens"),
    ("x-ratelimit-remaining-requests-day", "requests"),
    ("x-ratelimit-remaining-tokens-day", "tokens"),
    ("anthropic-ratelimit-requests-remaining", "requests"),
    ("anthropic-ratelimit-tokens-remaining", "tokens"),
    ("anthropic-ratelimit-input-tokens-remaining", "tokens"),
    ("anthropic-ratelimit-output-tokens-remaining", "tokens"),
)
_HEADERS: Final = tuple((header, header.replace("remaining", "reset"), meter) for header, meter in _LEFT)

_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_STEP: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)", re.ASCII)
_DURATION: Final = re.compile(rf"(?:{_STEP.pattern})+", re.ASCII)
# Anything longer is no number, duration or date.
_LONGEST: Final = 64


def limits_told(headers: Headers, now: float) -> list[Allowance]:
    """Return what is left, the scarcest of each meter; what cannot be read is left out.

    Args:
        headers: The answer's.
        now: In seconds since the Unix epoch, for limits that are told with a date.
    """
    scarcest: dict[Meter, Allowance] = {}
    for header, reset, meter in _HEADERS:
        if (told := headers.get(header)) is None:
            continue
        left, resets_in = _number(told), _wait(headers.get(reset, ""), now)
        if left is None or resets_in is None:
            continue
        known = scarcest.get(meter)
        if known is None or left < known.left:
            scarcest[meter] = Allowance(meter, left, resets_in)
    return list(scarcest.values())


def _number(text: str) -> float | None:
    try:
        found = float(text) if len(text) <= _LONGEST else -1.0
    except ValueError:
        return None
    return found if isfinite(found) and found >= 0 else None


def _wait(text: str, now: float) -> float | None:
    """The seconds that ``6m0s``, ``20ms``, ``33011.38`` or a date of RFC 3339 tell; a date that has passed tells 0."""
    if len(text) > _LONGEST:
        return None
    if _DURATION.fullmatch(text):
        return sum(float(amount) * _UNITS[unit] for amount, unit in _STEP.findall(text))
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Without a zone it could be any of a day's hours.
    return None if date.tzinfo is None else max(0.0, date.timestamp() - now)
