"""OpenAI Responses: the tools offered, and how the model may choose, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.fields import Fields, text_in
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_responses.items import NAME
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["decode_tool", "decode_tool_choice", "encode_tool_choice", "encode_tools"]

_GRAMMAR: Final = "grammar"
_NAMED: Final = frozenset({"function", "custom"})


def decode_tool(fields: Fields) -> ToolOffer:
    """Read one tool; a kind that the vocabulary has not (the provider's own web search, say) is kept whole."""
    kind = fields.text("type")
    if kind == "function":
        return Tool(
            name=fields.need_text("name"),
            description=fields.text("description"),
            parameters=fields.object("parameters"),
            strict=fields.flag("strict"),
            extras=fields.told(),
        )
    if kind == "custom":
        return Tool(
            name=fields.need_text("name"),
            description=fields.text("description"),
            grammar=_nested(fields.object("format") or {}),
            extras=fields.told(),
        )
    if kind is None:
        fault = fields.wrong("type", "is required and must be a string")
        raise fault
    return OpaqueTool(dialect=NAME, data={"type": kind, **fields.rest()})


def _nested(form: JsonObject) -> JsonObject:
    """Return a free text's form as the vocabulary has it: a grammar stands in an object of its own."""
    if form.get("type") != _GRAMMAR or isinstance(form.get(_GRAMMAR), dict):
        return form
    return {"type": _GRAMMAR, _GRAMMAR: {name: value for name, value in form.items() if name != "type"}}


def _flat(form: JsonObject) -> JsonObject:
    inner = form.get(_GRAMMAR)
    return {"type": _GRAMMAR, **inner} if isinstance(inner, dict) else form


def decode_tool_choice(fields: Fields) -> tuple[ToolChoice | None, Json]:
    """Take ``tool_choice``; return it in the vocabulary's words, and else as it is (a provider's own tool, say)."""
    value = fields.take("tool_choice")
    match value:
        case None:
            return None, None
        case "none" | "auto" | "required":
            return ToolChoice(mode=value), None
        case str() | bool() | int() | float() | list():
            fault = fields.wrong("tool_choice", f"must be none, auto, required or an object; got {value!r}")
            raise fault
        case _:
            choice = Fields(value, fields.at("tool_choice"))
    kind = choice.text("type")
    if kind in _NAMED and isinstance(name := choice.peek("name"), str):
        return ToolChoice(mode="required", names=(name,)), None
    if kind == "allowed_tools" and (names := _names(choice.peek("tools"))) is not None:
        mode = choice.text("mode")
        return ToolChoice(mode="required" if mode == "required" else "auto", names=names), None
    return None, value


def _names(tools: Json) -> tuple[str, ...] | None:
    """The names of the tools in a list; None if it holds others than functions and custom ones."""
    names: list[str] = []
    for tool in tools if isinstance(tools, list) else ():
        name = text_in(tool, "name") if text_in(tool, "type") in _NAMED else ""
        if not name:
            return None
        names.append(name)
    return tuple(names) or None


def encode_tools(request: CompletionRequest, losses: Losses) -> list[Json]:
    """Write the tools.

    Raises:
        InvalidFieldError: One is another dialect's own.
    """
    tools: list[Json] = []
    came_so = request.dialect == NAME
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
            if tool.dialect != NAME:
                refusal = losses.refuse(f"tools ({tool.data.get('type') or tool.data.get('name')})")
                raise refusal
            tools.append(tool.data)
            continue
        written: JsonObject = {"type": "function" if tool.grammar is None else "custom", "name": tool.name}
        if tool.description is not None:
            written["description"] = tool.description
        if tool.grammar:
            written["format"] = _flat(tool.grammar)
        elif tool.grammar is None:
            _write_function(written, tool, came_so=came_so)
        tools.append(written | tool.extras if request.dialect in {None, NAME} else written)
    return tools


def _write_function(written: JsonObject, tool: Tool, *, came_so: bool) -> None:
    if tool.parameters is not None:
        written["parameters"] = tool.parameters
    elif not came_so:
        written["parameters"] = {"type": "object", "properties": {}}
    if tool.strict is not None:
        written["strict"] = tool.strict
    elif not came_so:
        # Left out it means true here, and false everywhere else.
        written["strict"] = False


def encode_tool_choice(request: CompletionRequest) -> Json:
    """Write how the model may choose; None for what goes without saying."""
    choice = request.tool_choice
    if choice is None or not (request.tools or request.dialect == NAME):
        return None
    if not choice.names:
        return choice.mode
    custom = {tool.name for tool in request.tools if isinstance(tool, Tool) and tool.grammar is not None}
    named: list[Json] = [{"type": "custom" if name in custom else "function", "name": name} for name in choice.names]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
