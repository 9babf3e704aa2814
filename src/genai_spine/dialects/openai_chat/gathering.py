"""OpenAI Chat Completions: what a stream's deltas tell beyond the vocabulary, put together."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.limits import Held
from genai_spine.types.json import JsonObject

__all__ = ["Gathered"]

# Fields of a delta's objects (`audio`, the retired `function_call`) whose values come in pieces.
_PIECES: Final = frozenset({"arguments", "data", "transcript"})


class Gathered:
    """Fields told piece by piece: lists grow, so do the pieces of sound, all else is replaced."""

    __slots__ = ("_fields", "_held", "_pieces")

    def __init__(self) -> None:
        self._fields: JsonObject = {}
        # What follows the text that stands in an object's field; joined once, at the end.
        self._pieces: dict[str, dict[str, list[str]]] = {}
        self._held = Held()

    def add(self, told: JsonObject) -> None:
        """Take what a delta tells; it is kept, and changed by what follows.

        Raises:
            MalformedResponseError: It has grown past all reason.
        """
        if told:
            self._held.add(told)
        for name, value in told.items():
            known = self._fields.get(name)
            if isinstance(known, list) and isinstance(value, list):
                known += value
            elif isinstance(known, dict) and isinstance(value, dict):
                self._grow(name, known, value)
            else:
                self._fields[name] = value
                self._pieces.pop(name, None)

    def _grow(self, name: str, known: JsonObject, told: JsonObject) -> None:
        pieces = self._pieces.setdefault(name, {})
        for inner, piece in told.items():
            if inner in _PIECES and isinstance(known.get(inner), str) and isinstance(piece, str):
                pieces.setdefault(inner, []).append(piece)
            else:
                known[inner] = piece
                pieces.pop(inner, None)

    def whole(self) -> JsonObject:
        """Return all that was told."""
        for name, fields in self._pieces.items():
            known = self._fields[name]
            if isinstance(known, dict):
                known |= {inner: "".join([str(known[inner]), *pieces]) for inner, pieces in fields.items()}
        self._pieces.clear()
        return self._fields
