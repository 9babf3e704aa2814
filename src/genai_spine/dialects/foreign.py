"""What only another dialect knows, taken out of a request before it is written: tools, and parts of messages.

Where words can say the same they stand instead. What stands for something that the target must be told is refused, and
the rest is left out with a warning.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Message, Opaque, Part, Text, ToolResult
from genai_spine.types.tools import OpaqueTool, Tool, ToolOffer

__all__ = ["without_foreign"]

_REFERENCE: Final = "item_reference"
"""Stands for an item of the conversation that the sender believes to be kept."""
_TOOL_FOUND: Final = "tool_reference"
"""Tells the model that a tool which it searched for is there."""


def without_foreign(request: CompletionRequest, dialect: str, losses: Losses) -> CompletionRequest:
    """Return what of a request can be told in ``dialect``.

    Raises:
        InvalidFieldError: Something must not be lost.
    """
    if request.dialect == dialect:
        return request
    return structs.replace(
        request,
        system=_parts(request.system, dialect, losses),
        messages=tuple(
            told for message in request.messages if (told := _message(message, dialect, losses)) is not None
        ),
        tools=_tools(request, dialect, losses),
    )


def _tools(request: CompletionRequest, dialect: str, losses: Losses) -> tuple[ToolOffer, ...]:
    """The tools without another dialect's own, such as a web search that the provider runs.

    Among tools of the caller's that is one offer of several, and may go; alone, or chosen by name, it is what the
    request is about.
    """
    offered: list[ToolOffer] = []
    among = any(isinstance(tool, Tool) for tool in request.tools)
    chosen = request.tool_choice.names if request.tool_choice is not None else ()
    for tool in request.tools:
        if isinstance(tool, Tool) or tool.dialect == dialect:
            offered.append(tool)
            continue
        name = f"tools ({_kind(tool)})"
        if not among or tool.data.get("name") in chosen:
            raise losses.refuse(name)
        losses.drop(name)
    return tuple(offered)


def _kind(foreign: Opaque | OpaqueTool) -> str:
    told = foreign.data.get("type") or foreign.data.get("name")
    return told if isinstance(told, str) else ", ".join(foreign.data) or "unknown"


def _message(message: Message, dialect: str, losses: Losses) -> Message | None:
    """A message without foreign parts; None where it held nothing else."""
    parts = _parts(message.parts, dialect, losses)
    if parts is message.parts:
        return message
    return structs.replace(message, parts=parts) if parts else None


def _parts(parts: tuple[Part, ...], dialect: str, losses: Losses) -> tuple[Part, ...]:
    """The same parts where none is foreign, as is most often so."""
    changed = False
    kept: list[Part] = []
    for part in parts:
        told: Part | None = part
        if isinstance(part, Opaque) and part.dialect != dialect:
            told = _instead(part, losses)
        elif isinstance(part, ToolResult) and (inner := _parts(part.parts, dialect, losses)) is not part.parts:
            told = structs.replace(part, parts=inner)
        changed = changed or told is not part
        if told is not None:
            kept.append(told)
    return tuple(kept) if changed else parts


def _instead(part: Opaque, losses: Losses) -> Text | None:
    """What can be said in the place of a foreign part."""
    kind = _kind(part)
    if kind == _REFERENCE:
        name = f"input ({kind})"
        raise losses.refuse(name, "send the items themselves, as clients do that are told `store: false`")
    if kind == _TOOL_FOUND:
        return Text(text=f"The tool {part.data.get('tool_name')} is there to be called.")
    losses.drop(f"content of type {kind}")
    return None
