"""What an answer says, free of any dialect, and what a provider dialect is to the tests: how its services speak."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from genai_spine.testing.upstream import Scripted
from genai_spine.types.json import Json, JsonObject

__all__ = ["Call", "Provider", "Said", "events_of", "never_recorded", "pieces", "sse_event"]


class Call(Struct, frozen=True):
    """A tool call; the id is empty where the dialect or the client's package has none."""

    id: str
    name: str
    arguments: JsonObject


class Said(Struct, frozen=True, kw_only=True):
    """What an answer says.

    Attributes:
        finish: ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
        input_tokens: All of them, cached ones too.
        cached: Of the input, read from the provider's cache; None where nothing is told of it.
        written: Of the input, written to the cache.
        stopped_by: The stop sequence that ended it.
        logprobs: Each token with the logarithm of its probability.
        others: Texts of the second and further choices.
    """

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    input_tokens: int = 21
    output_tokens: int = 8
    cached: int | None = None
    written: int | None = None
    stopped_by: str | None = None
    logprobs: tuple[tuple[str, float], ...] = ()
    others: tuple[str, ...] = ()
    model: str = ""


class Provider(Struct, frozen=True, kw_only=True):
    """A provider dialect, as a scripted service speaks it.

    Attributes:
        row: The gateway's provider that stands for it, where that is another than ``name``.
        model: A model that it serves.
        answered: The model that its written answers name, a dated one of the same.
        path: Where it takes completions.
        stream_path: Where it takes those that are to be streamed; empty for one that is told in the body.
        whole: Writes an answer.
        stream: Writes an answer as a stream.
        read: Reads a recorded answer.
        read_stream: Reads a recorded stream.
        failure: Writes an error with a status and a message.
        stream_failure: Writes a stream that fails with a message after its first word.
    """

    name: str
    model: str
    answered: str
    path: str
    whole: Callable[[Said], Scripted]
    stream: Callable[[Said], Scripted]
    read: Callable[[Any], Said]
    read_stream: Callable[[str], Said]
    failure: Callable[[int, str], Scripted]
    stream_failure: Callable[[str], Scripted]
    stream_path: str = ""
    row: str = ""

    @property
    def asked_as(self) -> str:
        """The name that the gateway has for it."""
        return self.row or self.name


def pieces(text: str) -> list[str]:
    """Cut words into the pieces that a model might send them in."""
    words = text.split(" ")
    return [word if number == 0 else f" {word}" for number, word in enumerate(words)] if text else []


def events_of(text: str) -> Iterator[dict[str, Any]]:
    """The JSON of each event of a recorded stream."""
    for line in text.splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            yield json.loads(line[5:])


def sse_event(value: Json, event: str = "") -> bytes:
    """Write one event of a stream."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def never_recorded(body: object) -> Said:
    """Stands where a dialect has no recordings to be read."""
    message = f"there is no recording of this dialect: {body!r}"
    raise AssertionError(message)
