"""Requests to Anthropic's Messages, read by its rules."""

from __future__ import annotations

import re
from typing import Any, Final

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
    assert "image/png" == source["media_type"], "the media type must be the image's own"
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
    calls: list[Call] = []
    turns: list[Turn] = []
    for block in content:
        match block["type"]:
            case "text":
                assert block["text"], "an empty text block is refused"
                text += block["text"]
            case "image":
                images.append(_image(block))
            case "thinking":
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
    if text or images or calls or thinking:
        turns.append(Turn(role=role, text=text, images=tuple(images), calls=tuple(calls), thinking=thinking))
    return turns


def _system(system: object) -> str:
    if isinstance(system, str):
        return system
    assert isinstance(system, list)
    return "".join(block["text"] for block in system)


def _tool(tool: dict[str, Any]) -> ToolSpec:
    known(tool, ["name", "description", "input_schema", "strict", "type"], "an Anthropic tool")
    assert "object" == tool["input_schema"]["type"]
    return ToolSpec(tool["name"], tool["description"], tool["input_schema"], tool.get("strict", False))


def _choice(choice: dict[str, Any] | None) -> tuple[str | None, bool]:
    if choice is None:
        return None, False
    names = {"auto": "auto", "any": "required", "none": "none", "tool": choice.get("name")}
    return names[choice["type"]], choice.get("disable_parallel_tool_use") is True


def _check_pairs(messages: list[dict[str, Any]]) -> None:
    """Each call must have its result in the very next message; roles must take turns."""
    for number, message in enumerate(messages):
        assert number == 0 or messages[number - 1]["role"] != message["role"], "roles must take turns"
        blocks = message["content"] if isinstance(message["content"], list) else []
        called = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if called:
            after = messages[number + 1]["content"]
            assert called == [block["tool_use_id"] for block in after if block["type"] == "tool_result"]


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/messages``."""
    known(body, _FIELDS, "an Anthropic request")
    assert isinstance(body["max_tokens"], int)
    _check_pairs(body["messages"])
    choice, one_call = _choice(body.get("tool_choice"))
    config = body.get("output_config", {})
    form = config.get("format")
    assert form is None or form["type"] == "json_schema"
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
