"""Bedrock Converse: what is not of the vocabulary, kept while reading and put back while writing."""

from __future__ import annotations

from genai_spine.dialects.fields import Fields
from genai_spine.types.json import JsonObject

__all__ = ["keep", "merge"]


def keep(fields: Fields, name: str, inner: Fields) -> JsonObject:
    """Put back what was not taken of the object ``name``, so that it stays with the extras; return those."""
    if left := inner.rest():
        fields.rest()[name] = left
    return fields.rest()


def merge(into: JsonObject, extras: JsonObject) -> JsonObject:
    """Write ``extras`` into an object and return it; where both hold an object, theirs are put together.

    Objects are copied, so that the extras stay as they are whatever is written into the result.
    """
    todo = [(into, extras)]
    while todo:
        target, told = todo.pop()
        for name, value in told.items():
            if isinstance(value, dict):
                known = target.get(name)
                inner: JsonObject = known if isinstance(known, dict) else {}
                target[name] = inner
                todo.append((inner, value))
            else:
                target[name] = value
    return into
