"""A tool call's arguments, for dialects that say them as an object."""

from __future__ import annotations

from typing import Final

import msgspec

from genai_spine.dialects.fields import load
from genai_spine.types.json import Json, JsonObject

__all__ = ["arguments_object"]

RAW: Final = "raw"


def arguments_object(text: str) -> JsonObject:
    """Return the object that ``text`` says.

    Models write arguments, and not always well: an object said twice over (as a JSON string) is unwrapped, nothing is
    no arguments, and text that is no object is kept under ``raw``, so that the history it stands in can still be sent.
    """
    value: Json = text
    for _ in range(2):
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        try:
            value = load(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            break
    return value if isinstance(value, dict) else {RAW: text}
