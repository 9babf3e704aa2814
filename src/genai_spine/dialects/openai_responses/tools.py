"""OpenAI Responses: the tools offered, and how the model may choose, read and written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import structs

from genai_spine.dialects.fields import Fields, text_in
from genai_spine.dialects.openai_responses.items import NAME
from genai_spine.dialects.openai_responses.namespaces import (
    NAMESPACE,
    calls_of,
    grouped,
    joint_name,
    joint_name_of,
)
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.tools import OpaqueTool, Tool, ToolChoice, ToolOffer

__all__ = ["decode_tool_choice", "decode_tools", "encode_tool_choice", "encode_tools"]

_GRAMMAR: Final = "grammar"
_NAMED: Final = frozenset({"function", "custom"})


def decode_tools(fields: Fields) -> tuple[ToolOffer, ...]:
    """Take ``tools``; those in a namespace stand among the others."""
    return tuple(offer for tool in fields.children("tools") for offer in _decode_offers(tool))


def _decode_offers(fields: Fields) -> Iterator[ToolOffer]:
    inner = fields.peek("tools")
    if fields.peek("type") != NAMESPACE or _names(inner) is None:
        yield _decode_tool(fields)
        return
    members = [_decode_tool(member) for member in fields.children("tools")]
    fields.take("type")
    name = fields.need_text("name")
    space: JsonObject = {"name": name, **fields.told()}
    for member in members:
        if isinstance(member, Tool):
            extras: JsonObject = {**member.extras, "name": member.name, NAMESPACE: space}
            yield structs.replace(member, name=joint_name(name, member.name), extras=extras)


def _decode_tool(fields: Fields) -> ToolOffer:
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
        return ToolChoice(mode="required", names=(joint_name_of(name, choice.rest())[0],)), None
    if kind == "allowed_tools" and (names := _names(choice.peek("tools"))) is not None:
        mode = choice.text("mode")
        return ToolChoice(mode="required" if mode == "required" else "auto", names=names), None
    return None, value


def _names(tools: Json) -> tuple[str, ...] | None:
    """The names of the tools in a list; None if it holds others than functions and custom ones."""
    names: list[str] = []
    for tool in tools if isinstance(tools, list) else ():
        name = text_in(tool, "name") if text_in(tool, "type") in _NAMED else ""
        if not name or not isinstance(tool, dict):
            return None
        names.append(joint_name_of(name, tool)[0])
    return tuple(names) or None


def encode_tools(request: CompletionRequest) -> list[Json]:
    """Write the tools."""
    tools: list[JsonObject] = []
    came_so = request.dialect == NAME
    for tool in request.tools:
        if isinstance(tool, OpaqueTool):
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
    return grouped(tools)


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
    calls = calls_of(request.tools)
    named: list[Json] = [
        {"type": "custom" if name in custom else "function", "name": name, **calls.get(name, {})}
        for name in choice.names
    ]
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
