"""Ids of tool calls, brought into each provider's alphabet.

The change is a function of the id alone, so that a call and its result, and every later request of the conversation,
get the same one; an id that already fits is left alone.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["nine_characters", "word_characters"]

_WORD: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NINE: Final = re.compile(r"[a-zA-Z0-9]{9}")


def word_characters(call_id: str) -> str:
    """Return an id of letters, digits, ``_`` and ``-``, at most 64 (Anthropic, Bedrock)."""
    if _WORD.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.blake2b(call_id.encode(), digest_size=12).hexdigest()}"


def nine_characters(call_id: str) -> str:
    """Return an id of exactly nine letters and digits (Mistral)."""
    if _NINE.fullmatch(call_id):
        return call_id
    return hashlib.blake2b(call_id.encode(), digest_size=8).hexdigest()[:9]
