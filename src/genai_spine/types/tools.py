"""Tools that a model is offered, and how it may choose among them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

from genai_spine.types.json import JsonObject
from genai_spine.types.messages import CacheMark

__all__ = ["OpaqueTool", "Tool", "ToolChoice", "ToolOffer"]


class Tool(Struct, frozen=True, tag="tool", kw_only=True):
    """A function that the caller will run.

    Attributes:
        parameters: JSON Schema of its arguments; None for a tool without any.
        strict: Whether the model must keep to the schema exactly.
        grammar: For a tool that takes free text: its ``format`` object as OpenAI writes it, ``{}`` for none.
    """

    name: str
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None
    grammar: JsonObject | None = None
    cache: CacheMark | None = None
    extras: JsonObject = field(default_factory=dict)


class OpaqueTool(Struct, frozen=True, tag="opaque", kw_only=True):
    """A tool that only ``dialect`` knows (a provider's own web search, say)."""

    dialect: str
    data: JsonObject


ToolOffer: TypeAlias = Tool | OpaqueTool


class ToolChoice(Struct, frozen=True, kw_only=True):
    """How the model may choose.

    Attributes:
        mode: ``auto`` as it likes, ``none`` no tool, ``required`` at least one.
        names: With ``auto`` or ``required``: only these tools. ``required`` with one name calls that tool.
    """

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()
