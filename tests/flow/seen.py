"""A request as a provider understands it, free of any dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from genai_spine.types.json import JsonObject
from tests.flow.said import Call

__all__ = ["Result", "Seen", "ToolSpec", "Turn", "known", "merged"]


class ToolSpec(Struct, frozen=True):
    """A tool that is offered; ``strict`` binds the model to its schema."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool = False


class Result(Struct, frozen=True):
    """What a tool answered; ``name`` is the tool's where the dialect tells it, ``failed`` where it can tell that."""

    call_id: str
    text: str
    name: str = ""
    failed: bool = False


class Turn(Struct, frozen=True, kw_only=True):
    """One turn; neighbouring results of tools are one turn of the role ``tool``.

    Images are base64 or addresses; so are documents, but for those that are words.
    """

    role: str
    text: str = ""
    images: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()
    thinking: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """A request as a provider understands it.

    Attributes:
        choice: ``auto``, ``none``, ``required`` or a tool's name; None where nothing is said.
        one_call: At most one call at a time was asked for.
        schema: That the answer must obey; ``{}`` for any JSON object.
        effort: How hard to think: a level, or a number of tokens.
    """

    model: str
    stream: bool = False
    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    one_call: bool = False
    schema: JsonObject | None = None
    effort: str | int | bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    logprobs: bool = False


def known(fields: dict[str, Any], names: Iterable[str], where: str) -> None:
    """Refuse fields that a dialect has not."""
    unknown = sorted(set(fields) - set(names))
    assert [] == unknown, f"unknown fields in {where}: {unknown}"


def merged(turns: list[Turn]) -> tuple[Turn, ...]:
    """Put neighbouring turns of tools together."""
    found: list[Turn] = []
    for turn in turns:
        if turn.role == "tool" and found and found[-1].role == "tool":
            last = found[-1]
            found[-1] = Turn(role="tool", results=(*last.results, *turn.results), images=(*last.images, *turn.images))
        else:
            found.append(turn)
    return tuple(found)
