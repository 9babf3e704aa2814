"""Requests to Ollama's own API, read by its rules."""

from __future__ import annotations

from typing import Any, Final

from tests.flow.readers.openai_chat import function_tool
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, Turn, known, merged

__all__ = ["read"]

_FIELDS: Final = [
    "model",
    "messages",
    "stream",
    "tools",
    "format",
    "options",
    "think",
    "logprobs",
    "top_logprobs",
    "truncate",
    "keep_alive",
]
_MESSAGE: Final = ["role", "content", "images", "tool_calls", "tool_name", "tool_call_id", "thinking"]


def _turn(message: dict[str, Any]) -> Turn:
    known(message, _MESSAGE, "an Ollama message")
    content = message.get("content", "")
    assert isinstance(content, str)
    if message["role"] == "tool":
        result = Result(message.get("tool_call_id", ""), content, message["tool_name"])
        return Turn(role="tool", results=(result,), images=tuple(message.get("images", ())))
    calls = []
    for call in message.get("tool_calls") or []:
        assert isinstance(call["function"]["arguments"], dict)
        calls.append(Call(call.get("id", ""), call["function"]["name"], call["function"]["arguments"]))
    images = tuple(message.get("images") or ())
    assert not any(image.startswith(("data:", "http")) for image in images), "images are bare base64"
    return Turn(
        role=message["role"], text=content, images=images, calls=tuple(calls), thinking=message.get("thinking", "")
    )


def read(body: dict[str, Any]) -> Seen:
    """Read a request to ``/api/chat``."""
    known(body, _FIELDS, "an Ollama request")
    assert isinstance(body["stream"], bool), "left out, it would mean true"
    turns = [_turn(message) for message in body["messages"]]
    form = body.get("format") or None
    options = body.get("options") or {}
    return Seen(
        model=body["model"],
        stream=body["stream"],
        system="".join(turn.text for turn in turns if turn.role == "system"),
        turns=merged([turn for turn in turns if turn.role != "system"]),
        tools=tuple(function_tool(tool) for tool in body.get("tools") or ()),
        schema={} if form == "json" else form,
        effort=body.get("think"),
        max_tokens=options.get("num_predict"),
        temperature=options.get("temperature"),
        stop=tuple(options.get("stop", ())),
        seed=options.get("seed"),
        logprobs=body.get("logprobs", False),
    )
