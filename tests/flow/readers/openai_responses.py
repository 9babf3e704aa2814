"""Requests to OpenAI's Responses, read by its rules."""

from __future__ import annotations

import json
from typing import Any, Final

from genai_spine.types.json import JsonObject
from tests.flow.readers.openai_chat import check_pairs, document_of, image_of
from tests.flow.readers.rules import check_closed, check_name
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["read"]

_FIELDS: Final = [
    "model",
    "input",
    "instructions",
    "max_output_tokens",
    "stream",
    "store",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "include",
    "temperature",
    "top_p",
    "top_logprobs",
]
_MESSAGE: Final = ["type", "role", "content", "id", "status", "phase"]
_SAID_BY: Final = {"assistant": "output_text", "user": "input_text", "system": "input_text", "developer": "input_text"}


def _content(content: object, words: str) -> Turn:
    """What a message or a tool says; the turn has no role yet."""
    if isinstance(content, str):
        return Turn(role="", text=content)
    assert isinstance(content, list)
    assert content, "a list of parts must not be empty"
    text, images, documents = "", [], []
    for part in content:
        match part["type"]:
            case "input_image":
                known(part, ["type", "image_url", "detail"], "an input_image")
                images.append(image_of(part["image_url"]))
            case "input_file":
                known(part, ["type", "filename", "file_data"], "an input_file")
                documents.append(document_of(part))
            case kind:
                assert words == kind, f"{kind} stands where {words} must"
                assert part["text"], "a text part must not be empty"
                text += part["text"]
    return Turn(role="", text=text, images=tuple(images), documents=tuple(documents))


def _item(item: dict[str, Any]) -> Turn | None:
    match item.get("type", "message"):
        case "message":
            known(item, _MESSAGE, "a message")
            told = _content(item["content"], _SAID_BY[item["role"]])
            role = item["role"]
            return Turn(role=role, text=told.text, images=told.images, documents=told.documents)
        case "function_call":
            known(item, ["type", "id", "call_id", "name", "arguments", "status"], "a function_call")
            assert 1 <= len(item["call_id"]) <= 64
            arguments = json.loads(item["arguments"])
            assert isinstance(arguments, dict), "arguments are an object, written into a string"
            return Turn(role="assistant", calls=(Call(item["call_id"], check_name(item["name"]), arguments),))
        case "function_call_output":
            known(item, ["type", "id", "call_id", "output", "status"], "a function_call_output")
            told = _content(item["output"], "input_text")
            return Turn(role="tool", results=(Result(item["call_id"], told.text),), images=told.images)
        case other:
            assert "reasoning" == other
            assert item["encrypted_content"], "reasoning that is not kept there comes sealed"
            return None


def _joined(turns: list[Turn]) -> list[Turn]:
    """Put the items of one turn of the model together."""
    joined: list[Turn] = []
    for turn in turns:
        if turn.role == "assistant" and joined and joined[-1].role == "assistant":
            last = joined[-1]
            joined[-1] = Turn(role="assistant", text=last.text + turn.text, calls=(*last.calls, *turn.calls))
        else:
            joined.append(turn)
    return joined


def _tool(tool: dict[str, Any]) -> ToolSpec:
    known(tool, ["type", "name", "description", "parameters", "strict"], "a function")
    assert "function" == tool["type"]
    strict = tool.get("strict", True)
    if strict:
        check_closed(tool["parameters"])
    return ToolSpec(check_name(tool["name"]), tool["description"], tool["parameters"], strict)


def _choice(choice: Any) -> str | None:  # Any: a word, or an object
    if choice is None or isinstance(choice, str):
        return choice
    name: str = choice["name"]
    assert {"type": "function", "name": name} == choice
    return name


def _schema(form: dict[str, Any] | None) -> JsonObject | None:
    if form is None or form == {"type": "text"}:
        return None
    if form == {"type": "json_object"}:
        return {}
    known(form, ["type", "name", "schema", "strict", "description"], "a format")
    assert "json_schema" == form["type"]
    check_name(form["name"])
    if form.get("strict"):
        check_closed(form["schema"])
    schema: JsonObject = form["schema"]
    return schema


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/responses``."""
    known(body, _FIELDS, "a Responses request")
    items = body["input"]
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    turns = merged(_joined([turn for item in items if (turn := _item(item)) is not None]))
    check_pairs(turns)
    tools = tuple(_tool(tool) for tool in body.get("tools", ()))
    assert tools or "tool_choice" not in body, "tool_choice without tools is refused"
    text, reasoning = body.get("text", {}), body.get("reasoning", {})
    known(text, ["format", "verbosity"], "text")
    known(reasoning, ["effort", "summary"], "reasoning")
    told = {"system", "developer"}
    instructions = body.get("instructions") or ""
    return Seen(
        model=body["model"],
        stream=body.get("stream") is True,
        system=instructions + "".join(turn.text for turn in turns if turn.role in told),
        turns=tuple(turn for turn in turns if turn.role not in told),
        tools=tools,
        choice=_choice(body.get("tool_choice")),
        one_call=body.get("parallel_tool_calls") is False,
        schema=_schema(text.get("format")),
        effort=reasoning.get("effort"),
        max_tokens=body.get("max_output_tokens"),
        temperature=body.get("temperature"),
        logprobs="message.output_text.logprobs" in body.get("include", ()),
    )
