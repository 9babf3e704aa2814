"""Bedrock Converse: the tools that a model is offered, read and written.

The service has no word for "call no tool", and refuses a conversation with calls or results that comes without tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from genai_spine.dialects.bedrock_converse.blocks import NAME, cache_point, mark_of
from genai_spine.dialects.bedrock_converse.families import Family
from genai_spine.dialects.bedrock_converse.objects import keep, merge
from genai_spine.dialects.bedrock_converse.turns import called_tools
from genai_spine.dialects.fields import Fields
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["encode_tools", "take_tools"]

_NO_PARAMETERS: Final[JsonObject] = {"type": "object", "properties": {}}


# Reading.


def take_tools(fields: Fields) -> tuple[tuple[ToolOffer, ...], ToolChoice | None]:
    """Take ``toolConfig``."""
    config = fields.child("toolConfig")
    if config is None:
        return (), None
    tools: list[ToolOffer] = []
    for told in config.children("tools"):
        mark = mark_of(told)
        last = tools[-1] if tools else None
        if mark is not None and isinstance(last, Tool) and last.cache is None:
            tools[-1] = structs.replace(last, cache=mark)
        else:
            tools.append(_take_tool(told))
    choice = _take_choice(config)
    keep(fields, "toolConfig", config)
    return tuple(tools), choice


def _take_tool(fields: Fields) -> ToolOffer:
    if "toolSpec" not in fields:
        return OpaqueTool(dialect=NAME, data=fields.rest())
    spec = fields.need_child("toolSpec")
    parameters = None
    if (schema := spec.child("inputSchema")) is not None:
        parameters = schema.object("json")
        keep(spec, "inputSchema", schema)
    return Tool(
        name=spec.need_text("name"),
        description=spec.text("description"),
        parameters=None if parameters == _NO_PARAMETERS else parameters,
        strict=spec.flag("strict"),
        extras=keep(fields, "toolSpec", spec),
    )


def _take_choice(config: Fields) -> ToolChoice | None:
    choice = config.child("toolChoice")
    if choice is None:
        return None
    found = None
    for name, mode in (("auto", "auto"), ("any", "required")):
        if (inner := choice.child(name)) is not None:
            found = ToolChoice(mode="auto" if mode == "auto" else "required")
            keep(choice, name, inner)
    if (tool := choice.child("tool")) is not None:
        found = ToolChoice(mode="required", names=(tool.need_text("name"),))
        keep(choice, "tool", tool)
    keep(config, "toolChoice", choice)
    return found


# Writing.


def encode_tools(
    body: JsonObject, request: CompletionRequest, family: Family, losses: Losses, *, own: bool, native: bool
) -> None:
    """Write ``toolConfig``.

    Raises:
        InvalidFieldError: A tool is of a kind that the service has not.
    """
    offered, choice = (request.tools, request.tool_choice) if native else _mended(request, losses)
    tools = [block for tool in offered for block in _tool_blocks(tool, family, losses, own=own, native=native)]
    if not tools:
        return
    config: JsonObject = {"tools": list[Json](tools)}
    body["toolConfig"] = config
    if not native and request.parallel_tool_calls is False:
        if family.one_call:
            written = {**_maker_choice(choice), "disable_parallel_tool_use": True}
            merge(body, {"additionalModelRequestFields": {"tool_choice": written}})
            return
        losses.drop("parallel_tool_calls")
    if choice is not None:
        config["toolChoice"] = _choice(choice)


def _mended(request: CompletionRequest, losses: Losses) -> tuple[Sequence[ToolOffer], ToolChoice | None]:
    """Return the tools and the choice as the service can be told of them."""
    offered: Sequence[ToolOffer] = request.tools
    choice, called = request.tool_choice, called_tools(request)
    if choice is not None and choice.names and (choice.mode == "auto" or len(choice.names) > 1):
        # The service cannot allow some of the tools: it is offered only those.
        offered = [tool for tool in offered if isinstance(tool, Tool) and tool.name in choice.names]
        if not offered:
            message = f"tool_choice: none of the tools {', '.join(choice.names)} is among the tools offered"
            raise InvalidFieldError(message, param="tool_choice")
        choice = ToolChoice(mode=choice.mode)
    if choice is not None and choice.mode == "none":
        if not called:
            return (), None
        choice = None
        if offered:
            losses.change("tool_choice", "left to the model, the provider cannot forbid tools once one was called")
    if not offered and called:
        losses.change("tools", "those called before are offered again, the provider demands it")
        offered = [Tool(name=name) for name in called]
    return offered, choice


def _tool_blocks(tool: ToolOffer, family: Family, losses: Losses, *, own: bool, native: bool) -> list[JsonObject]:
    if isinstance(tool, OpaqueTool):
        return [tool.data]
    if tool.grammar is not None:
        fault = losses.refuse(f"tools ({tool.name})", "it takes only tools with a JSON schema, none with free text")
        raise fault
    schema = _NO_PARAMETERS if tool.parameters is None else tool.parameters
    if not native and "type" not in schema:
        schema = {**_NO_PARAMETERS, **schema}
    spec: JsonObject = {"name": tool.name}
    if tool.description is not None and (native or tool.description.strip()):
        spec["description"] = tool.description
    spec["inputSchema"] = {"json": schema}
    if tool.strict is not None and (native or tool.strict):
        spec["strict"] = tool.strict
    block = merge({"toolSpec": spec}, tool.extras if own else {})
    if tool.cache is None or not (native or family.caches):
        return [block]
    return [block, cache_point(tool.cache, own=own)]


def _choice(choice: ToolChoice) -> JsonObject:
    if choice.names:
        return {"tool": {"name": choice.names[0]}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}


def _maker_choice(choice: ToolChoice | None) -> JsonObject:
    """The choice in the words of the models' maker, which are needed for what the service's own do not tell."""
    if choice is None or choice.mode == "auto":
        return {"type": "auto"}
    return {"type": "tool", "name": choice.names[0]} if choice.names else {"type": "any"}
