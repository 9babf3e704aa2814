"""Requests to Anthropic's Messages, read by its rules."""

from __future__ import annotations

import re
from typing import Any, Final

from tests.flow.readers.rules import check_name, check_open, check_paired, check_png
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["read"]

_FIELDS: Final = {
    "model",
    "messages",
    "system",
    "max_tokens",
    "stream",
    "tools",
    "tool_choice",
    "output_config",
    "thinking",
    "temperature",
    "stop_sequences",
}


def _image(block: dict[str, Any]) -> str:
    source = block["source"]
    if source["type"] == "url":
        url: str = source["url"]
        return url
    assert "base64" == source["type"]
    return check_png(source["media_type"], source["data"])


def _document(block: dict[str, Any]) -> str:
    known(block, ["type", "source", "title"], "a document")
    source = block["source"]
    kinds = {"base64": "application/pdf", "text": "text/plain"}
    assert kinds[source["type"]] == source["media_type"]
    data: str = source["data"]
    return data


def _result(block: dict[str, Any]) -> tuple[Result, tuple[str, ...]]:
    content = block.get("content", "")
    failed = block.get("is_error", False)
    if isinstance(content, str):
        return Result(block["tool_use_id"], content, failed=failed), ()
    text = "".join(part["text"] for part in content if part["type"] == "text")
    images = tuple(_image(part) for part in content if part["type"] == "image")
    return Result(block["tool_use_id"], text, failed=failed), images


def _turns(message: dict[str, Any]) -> list[Turn]:
    """The turns that a message stands for: results first, then what else is said."""
    role, content = message["role"], message["content"]
    assert role in {"user", "assistant"}
    if isinstance(content, str):
        assert content, "empty text is refused"
        return [Turn(role=role, text=content)]
    assert content, "a message must say something"
    text = thinking = ""
    images: list[str] = []
    documents: list[str] = []
    calls: list[Call] = []
    turns: list[Turn] = []
    for block in content:
        match block["type"]:
            case "text":
                assert block["text"], "an empty text block is refused"
                text += block["text"]
            case "image":
                images.append(_image(block))
            case "document":
                documents.append(_document(block))
            case "thinking":
                assert block["signature"], "thinking without its seal"
                thinking += block["thinking"]
            case "tool_use":
                assert re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"]), "the id of a tool_use has other characters"
                assert isinstance(block["input"], dict)
                calls.append(Call(block["id"], block["name"], block["input"]))
            case other:
                assert "tool_result" == other
                assert "user" == role
                assert "" == text, "results stand before words"
                result, shown = _result(block)
                turns.append(Turn(role="tool", results=(result,), images=shown))
    if text or images or documents or calls or thinking:
        turns.append(
            Turn(
                role=role,
                text=text,
                images=tuple(images),
                documents=tuple(documents),
                calls=tuple(calls),
                thinking=thinking,
            )
        )
    return turns


def _system(system: object) -> str:
    if isinstance(system, str):
        return system
    assert isinstance(system, list)
    return "".join(block["text"] for block in system)


def _tool(tool: dict[str, Any]) -> ToolSpec:
    known(tool, ["name", "description", "input_schema", "strict", "type"], "an Anthropic tool")
    assert "object" == tool["input_schema"]["type"]
    return ToolSpec(check_name(tool["name"]), tool["description"], tool["input_schema"], tool.get("strict", False))


def _choice(choice: dict[str, Any] | None) -> tuple[str | None, bool]:
    if choice is None:
        return None, False
    names = {"auto": "auto", "any": "required", "none": "none", "tool": choice.get("name")}
    return names[choice["type"]], choice.get("disable_parallel_tool_use") is True


def _check_pairs(messages: list[dict[str, Any]]) -> None:
    """Each call has its result in the very next message, each result its call; roles take turns, the user begins."""
    called: list[str] = []
    for number, message in enumerate(messages):
        assert ["user", "assistant"][number % 2] == message["role"], "roles must take turns, the user begins"
        blocks = message["content"] if isinstance(message["content"], list) else []
        check_paired(called, [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"])
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
    assert [] == called, "a call without a result"


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/messages``."""
    known(body, _FIELDS, "an Anthropic request")
    assert isinstance(body["max_tokens"], int)
    _check_pairs(body["messages"])
    choice, one_call = _choice(body.get("tool_choice"))
    config = body.get("output_config", {})
    form = config.get("format")
    if form is not None:
        assert "json_schema" == form["type"]
        check_open(form["schema"])
    thinking = body.get("thinking", {})
    return Seen(
        model=body["model"],
        stream=body.get("stream") is True,
        system=_system(body.get("system", "")),
        turns=merged([turn for message in body["messages"] for turn in _turns(message)]),
        tools=tuple(_tool(tool) for tool in body.get("tools", ())),
        choice=choice,
        one_call=one_call,
        schema=None if form is None else form["schema"],
        effort=thinking.get("budget_tokens", config.get("effort")),
        max_tokens=body["max_tokens"],
        temperature=body.get("temperature"),
        stop=tuple(body.get("stop_sequences", ())),
    )
