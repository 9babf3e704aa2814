"""Requests to OpenAI's Chat Completions, read by its rules."""

from __future__ import annotations

import json
from typing import Any, Final

from genai_spine.types.json import JsonObject
from tests.flow.readers.rules import check_closed, check_name, check_paired, check_png, words_of
from tests.flow.said import Call
from tests.flow.seen import Result, Seen, ToolSpec, Turn, known, merged

__all__ = ["check_pairs", "document_of", "function_tool", "image_of", "read"]

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


def image_of(url: str) -> str:
    """The bytes of an image as base64, else its address."""
    if url.startswith("https://"):
        return url
    head, _, data = url.partition(";base64,")
    return check_png(head.removeprefix("data:"), data)


def document_of(told: dict[str, Any]) -> str:
    """The bytes of a file as base64, or its words."""
    head, _, data = told["file_data"].partition(";base64,")
    assert told["filename"], "a file has a name"
    if head == "data:text/plain":
        return words_of(data)
    assert "data:application/pdf" == head
    return str(data)


def _content(content: object) -> Turn:
    """What a message says; the turn has no role yet."""
    if isinstance(content, str) or content is None:
        return Turn(role="", text=content or "")
    assert isinstance(content, list)
    assert content, "a list of parts must not be empty"
    text, images, documents = "", [], []
    for part in content:
        match part["type"]:
            case "text":
                assert part["text"], "a text part must not be empty"
                text += part["text"]
            case "file":
                known(part["file"], ["filename", "file_data"], "a file")
                documents.append(document_of(part["file"]))
            case other:
                assert "image_url" == other
                images.append(image_of(part["image_url"]["url"]))
    return Turn(role="", text=text, images=tuple(images), documents=tuple(documents))


def _turn(message: dict[str, Any]) -> Turn:
    # The package sends back the messages of its own helpers with all their fields, most of them null.
    told = {name: value for name, value in message.items() if value is not None}
    known(told, _MESSAGE, f"an OpenAI message of the role {message['role']}")
    said = _content(message.get("content"))
    if message["role"] == "tool":
        assert () == said.images + said.documents, "a tool message holds words alone"
        return Turn(role="tool", results=(Result(message["tool_call_id"], said.text),))
    calls = []
    for call in message.get("tool_calls") or []:
        assert "function" == call["type"]
        assert isinstance(call["function"]["arguments"], str)
        arguments = json.loads(call["function"]["arguments"])
        assert isinstance(arguments, dict), "arguments are an object, written into a string"
        calls.append(Call(call["id"], check_name(call["function"]["name"]), arguments))
    assert said.text or said.images or said.documents or calls, "an OpenAI message says nothing"
    assert "user" == message["role"] or () == said.images + said.documents, "only the user shows anything"
    return Turn(role=message["role"], text=said.text, images=said.images, documents=said.documents, calls=tuple(calls))


def check_pairs(turns: tuple[Turn, ...]) -> None:
    """Every call has a result of its own before anybody else speaks, and every result a call before it."""
    for number, turn in enumerate(turns):
        if turn.role == "tool" or turn.calls:
            place = number - 1 if turn.role == "tool" else number
            assert place >= 0, "a result before any call"
            after = turns[place + 1].results if place + 1 < len(turns) else ()
            check_paired([call.id for call in turns[place].calls], [result.call_id for result in after])


def function_tool(tool: dict[str, Any]) -> ToolSpec:
    """Read a tool."""
    assert "function" == tool["type"]
    function = tool["function"]
    nothing: JsonObject = {"type": "object", "properties": {}}
    strict = function.get("strict") or False
    if strict:
        check_closed(function["parameters"])
    name = check_name(function["name"])
    return ToolSpec(name, function["description"], function.get("parameters", nothing), strict)


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
    check_name(form["json_schema"]["name"])
    schema: JsonObject = form["json_schema"]["schema"]
    if form["json_schema"].get("strict"):
        check_closed(schema)
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
    told = merged([turn for turn in turns if turn.role not in {"system", "developer"}])
    check_pairs(told)
    stop = body.get("stop") or ()
    return Seen(
        model=body["model"],
        stream=stream,
        system=system,
        turns=told,
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
