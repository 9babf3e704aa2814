"""Gemini: tools, and how a model may choose among them, read and written."""

from __future__ import annotations

from typing import Final, Literal

from genai_spine.dialects.fields import Fields
from genai_spine.dialects.gemini.parts import children
from genai_spine.dialects.gemini.schema import json_schema
from genai_spine.dialects.gemini.wire import NAME
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["decode_tool_choice", "decode_tools", "encode_tool_choice", "encode_tools"]

_MODES: Final[dict[str, Literal["auto", "none", "required"]]] = {
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
    # The model may answer in words, but calls are held to their schemas.
    "VALIDATED": "auto",
}
_UNSPECIFIED: Final = "MODE_UNSPECIFIED"


# Reading.


def decode_tools(fields: Fields) -> tuple[ToolOffer, ...]:
    """Take ``tools``: functions, and the tools that the service runs."""
    offered: list[ToolOffer] = []
    for entry in children(fields, "tools"):
        offered += [_decode_tool(tool) for tool in children(entry, "functionDeclarations")]
        if rest := entry.told():
            offered.append(OpaqueTool(dialect=NAME, data=rest))
    return tuple(offered)


def _decode_tool(fields: Fields) -> Tool:
    name, description = fields.need_text("name"), fields.text("description")
    schema = fields.object("parametersJsonSchema")
    if schema is None and (own := fields.object("parameters")) is not None:
        schema = json_schema(own)
        fields.rest()["parameters"] = own
    return Tool(name=name, description=description, parameters=schema, extras=fields.told())


def decode_tool_choice(fields: Fields) -> ToolChoice | None:
    """Take the choice out of ``toolConfig``; what else that holds stays with the extras."""
    config = fields.child("toolConfig")
    if config is None:
        return None
    calling = config.child("functionCallingConfig")
    choice = None if calling is None else _decode_calling(calling)
    if calling is not None and (left := calling.told()):
        config.rest()["functionCallingConfig"] = left
    if rest := config.told():
        fields.rest()["toolConfig"] = rest
    return choice


def _decode_calling(fields: Fields) -> ToolChoice | None:
    told, names = fields.text("mode"), fields.texts("allowedFunctionNames")
    if told is None or told.upper() == _UNSPECIFIED:
        return ToolChoice(mode="auto", names=names) if names else None
    mode = _MODES.get(told.upper())
    if mode is None:
        message = f"must be one of {', '.join(_MODES)}; got {told!r}"
        fault = fields.wrong("mode", message)
        raise fault
    if told.upper() == "VALIDATED" and not names:
        fields.rest()["mode"] = "VALIDATED"
    return ToolChoice(mode=mode, names=names)


# Writing.


def encode_tools(request: CompletionRequest, losses: Losses, *, own: bool) -> list[Json]:
    """Write ``tools``: functions that follow one another in one entry, each other tool in its own."""
    entries: list[Json] = []
    functions: list[Json] = []
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            entries.append(tool.data)
            functions = []
            continue
        if not functions:
            entries.append({"functionDeclarations": functions})
        functions.append(_encode_tool(tool, losses, own=own))
    return entries


def _encode_tool(tool: Tool, losses: Losses, *, own: bool) -> JsonObject:
    if tool.grammar is not None:
        fault = losses.refuse(f"tools ({tool.name})", "it takes only tools with a JSON schema, none with free text")
        raise fault
    if tool.strict:
        losses.drop("tools.strict")
    written: JsonObject = {"name": tool.name}
    if tool.description is not None:
        written["description"] = tool.description
    extras = tool.extras if own else {}
    # JSON Schema, for the service's own kind of schema knows but few of its words; the one or the other, not both.
    if tool.parameters and "parameters" not in extras:
        written["parametersJsonSchema"] = tool.parameters
    return written | extras


def encode_tool_choice(request: CompletionRequest, losses: Losses, *, native: bool) -> JsonObject | None:
    """Write ``toolConfig``; None where there is nothing to say, or no function to choose.

    Raises:
        InvalidFieldError: The tools to choose from are not offered.
    """
    offered = [tool.name for tool in request.tools if isinstance(tool, Tool)]
    if request.parallel_tool_calls is False and offered:
        losses.drop("parallel_tool_calls")
    choice = request.tool_choice
    if choice is None or not (offered or native):
        return None
    if not native and not set(choice.names) <= set(offered):
        message = f"tool_choice: not all of the tools {', '.join(choice.names)} are among the tools offered"
        raise InvalidFieldError(message, param="tool_choice")
    if choice.mode == "none":
        return {"functionCallingConfig": {"mode": "NONE"}}
    mode = "ANY" if choice.mode == "required" else "VALIDATED" if choice.names else "AUTO"
    calling: JsonObject = {"mode": mode}
    if choice.names:
        # Names go with these two modes only.
        calling["allowedFunctionNames"] = list[Json](choice.names)
    return {"functionCallingConfig": calling}
