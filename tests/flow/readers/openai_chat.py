"""Requests to OpenAI's Chat Completions, read by its rules."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from genai_spine.types.json import JsonObject
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["function_tool", "read"]

_SAMPLING: Final = {"temperature", "top_p", "seed", "n", "logprobs", "top_logprobs"}
_FIELDS: Final = _SAMPLING | {
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "reasoning_effort",
}
_MESSAGE: Final = ["role", "content", "tool_calls", "tool_call_id", "refusal", "annotations"]


def _content(content: object) -> tuple[str, tuple[str, ...]]:
    if isinstance(content, str) or content is None:
        return content or "", ()
    assert isinstance(content, list)
    assert content, "a list of parts must not be empty"
    text, images = "", []
    for part in content:
        if part["type"] == "text":
            assert part["text"], "a text part must not be empty"
            text += part["text"]
        else:
            assert "image_url" == part["type"]
            url: str = part["image_url"]["url"]
            assert url.startswith(("data:image/", "https://"))
            images.append(url.partition(";base64,")[2] or url)
    return text, tuple(images)


def _turn(message: dict[str, Any]) -> Turn:
    # The package sends back the messages of its own helpers with all their fields, most of them null.
    told = {name: value for name, value in message.items() if value is not None}
    known(told, _MESSAGE, f"an OpenAI message of the role {message['role']}")
    text, images = _content(message.get("content"))
    if message["role"] == "tool":
        assert () == images, "no image may stand in a tool message"
        return Turn(role="tool", results=(Result(message["tool_call_id"], text),))
    calls = []
    for call in message.get("tool_calls") or []:
        assert "function" == call["type"]
        assert isinstance(call["function"]["arguments"], str)
        calls.append(Call(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])))
    assert text or images or calls, "an OpenAI message says nothing"
    assert "user" == message["role"] or () == images, "only the user shows images"
    return Turn(role=message["role"], text=text, images=images, calls=tuple(calls))


def function_tool(tool: dict[str, Any]) -> ToolSpec:
    """Read a tool."""
    assert "function" == tool["type"]
    function = tool["function"]
    nothing: JsonObject = {"type": "object", "properties": {}}
    strict = function.get("strict") or False
    return ToolSpec(function["name"], function["description"], function.get("parameters", nothing), strict)


def _choice(choice: object) -> str | None:
    if choice is None or isinstance(choice, str):
        return choice
    assert isinstance(choice, dict)
    name: str = choice["function"]["name"]
    assert {"type": "function", "function": {"name": name}} == choice
    return name


def _schema(form: dict[str, Any] | None) -> JsonObject | None:
    if form is None:
        return None
    if form == {"type": "json_object"}:
        return {}
    assert "json_schema" == form["type"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", form["json_schema"]["name"])
    schema: JsonObject = form["json_schema"]["schema"]
    return schema


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/chat/completions``."""
    known(body, _FIELDS, "an OpenAI request")
    stream = body.get("stream") is True
    assert stream or "stream_options" not in body, "stream_options without a stream are refused"
    assert not stream or body["stream_options"]["include_usage"] is True, "a stream must be asked for its usage"
    turns = [_turn(message) for message in body["messages"]]
    system = "".join(turn.text for turn in turns if turn.role in {"system", "developer"})
    tools = tuple(function_tool(tool) for tool in body.get("tools", ()))
    assert tools or "tool_choice" not in body, "tool_choice without tools is refused"
    stop = body.get("stop") or ()
    return Seen(
        model=body["model"],
        stream=stream,
        system=system,
        turns=merged([turn for turn in turns if turn.role not in {"system", "developer"}]),
        tools=tools,
        choice=_choice(body.get("tool_choice")),
        one_call=body.get("parallel_tool_calls") is False,
        schema=_schema(body.get("response_format")),
        effort=body.get("reasoning_effort"),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        temperature=body.get("temperature"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=body.get("seed"),
        n=body.get("n"),
        logprobs=body.get("logprobs", False),
    )
