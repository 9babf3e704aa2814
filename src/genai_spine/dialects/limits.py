"""How much of one stream its reader keeps, at most: what an upstream sends without end must not fill the memory."""

from __future__ import annotations

from collections.abc import Sized
from typing import Final

import msgspec

from genai_spine.errors import MalformedResponseError
from genai_spine.types.json import Json, JsonObject

__all__ = ["MAX_CHOICES", "MAX_HELD", "MAX_REPEATED", "MAX_USAGE", "Held", "News", "check_choices", "check_usage"]

MAX_HELD: Final = 32 * 1024 * 1024
"""Characters that are kept: until a tool call's arguments end, or a part that came before, or the answer."""
MAX_REPEATED: Final = 256 * 1024
"""Bytes of fields that the vocabulary has not and that an encoder of the same dialect repeats in each chunk."""
MAX_USAGE: Final = 16 * 1024
"""Bytes of counters."""
MAX_CHOICES: Final = 256
"""Answers in one; no service gives more than 128."""

_THING: Final = 100
"""What it costs to keep anything at all, in characters."""


class Held:
    """Counts what a reader keeps of a stream."""

    __slots__ = ("_total",)

    def __init__(self) -> None:
        self._total = 0

    def add(self, *values: Json) -> None:
        """Count one thing more that is kept.

        Raises:
            MalformedResponseError: It has grown past all reason.
        """
        self._total += _THING
        for value in values:
            if value is not None:
                self._total += len(value) if isinstance(value, str) else _size(value)
        if self._total > MAX_HELD:
            message = f"the provider's stream makes its reader keep more than {MAX_HELD} characters"
            raise MalformedResponseError(message)


class News:
    """Fields beyond the vocabulary that most pieces of a stream repeat: only what is new is told.

    Attributes:
        fields: All of them, as they were told last.
    """

    __slots__ = ("_most", "_size", "_sizes", "fields")

    def __init__(self, most: int = MAX_REPEATED) -> None:
        self.fields: JsonObject = {}
        self._most = most
        self._size = 0
        self._sizes: dict[str, int] = {}

    def add(self, told: JsonObject) -> JsonObject:
        """Take the fields of a piece; return those that are new, or told anew.

        Raises:
            MalformedResponseError: They have grown past all reason.
        """
        news: JsonObject = {
            name: value for name, value in told.items() if value is not None and self.fields.get(name) != value
        }
        for name, value in news.items():
            self.fields[name] = value
            size = len(name) + _size(value)
            self._size += size - self._sizes.get(name, 0)
            self._sizes[name] = size
        _check_fields(self._size, self._most)
        return news


def _size(value: Json) -> int:
    return len(msgspec.json.encode(value))


def check_usage(told: JsonObject) -> None:
    """Raise MalformedResponseError where usage, which is read anew whenever it is told, has grown past all reason."""
    _check_fields(_size(told), MAX_USAGE)


def _check_fields(size: int, most: int) -> None:
    if size > most:
        message = f"the provider's stream tells more than {most} bytes of further fields"
        raise MalformedResponseError(message)


def check_choices(choices: Sized) -> None:
    """Raise MalformedResponseError where a stream has begun more answers than anybody asks for."""
    if len(choices) > MAX_CHOICES:
        message = f"the provider's stream holds more than {MAX_CHOICES} answers"
        raise MalformedResponseError(message)
