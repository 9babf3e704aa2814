"""What a provider was asked: bodies of requests, read strictly by the rules of each provider's own dialect.

The readers share nothing with the project's decoders. They assert where a body is not of the dialect, so that a request
that only happens to be understood does not pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct

from genai_spine.types.json import JsonObject
from tests.flow.answers import Call

__all__ = ["READERS", "Result", "Seen", "ToolSpec", "Turn"]


class ToolSpec(Struct, frozen=True):
    """A tool that is offered; ``strict`` binds the model to its schema."""

    name: str
    description: str
    parameters: JsonObject
    strict: bool = False


class Result(Struct, frozen=True):
    """What a tool answered; ``name`` is the tool's where the dialect tells it, ``failed`` where it can tell that."""

    call_id: str
    text: str
    name: str = ""
    failed: bool = False


class Turn(Struct, frozen=True, kw_only=True):
    """One turn; neighbouring results of tools are one turn of the role ``tool``. Images are base64 or addresses."""

    role: str
    text: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    results: tuple[Result, ...] = ()
    thinking: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """A request as a provider understands it.

    Attributes:
        choice: ``auto``, ``none``, ``required`` or a tool's name; None where nothing is said.
        one_call: At most one call at a time was asked for.
        schema: That the answer must obey; ``{}`` for any JSON object.
        effort: How hard to think: a level, or a number of tokens.
    """

    model: str
    stream: bool = False
    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    choice: str | None = None
    one_call: bool = False
    schema: JsonObject | None = None
    effort: str | int | bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    logprobs: bool = False


def _known(fields: dict[str, Any], names: Iterable[str], where: str) -> None:
    unknown = sorted(set(fields) - set(names))
    assert [] == unknown, f"unknown fields in {where}: {unknown}"


def _merged(turns: list[Turn]) -> tuple[Turn, ...]:
    """Put neighbouring turns of tools together."""
    merged: list[Turn] = []
    for turn in turns:
        if turn.role == "tool" and merged and merged[-1].role == "tool":
            last = merged[-1]
            merged[-1] = Turn(role="tool", results=(*last.results, *turn.results), images=(*last.images, *turn.images))
        else:
            merged.append(turn)
    return tuple(merged)


# OpenAI.

_SAMPLING: Final = {"temperature", "top_p", "seed", "n", "logprobs", "top_logprobs"}
_OPENAI_FIELDS: Final = _SAMPLING | {
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
_OPENAI_MESSAGE: Final = ["role", "content", "tool_calls", "tool_call_id", "refusal", "annotations"]


def _openai_content(content: object) -> tuple[str, tuple[str, ...]]:
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


def _openai_turn(message: dict[str, Any]) -> Turn:
    # The package sends back the messages of its own helpers with all their fields, most of them null.
    told = {name: value for name, value in message.items() if value is not None}
    _known(told, _OPENAI_MESSAGE, f"an OpenAI message of the role {message['role']}")
    text, images = _openai_content(message.get("content"))
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


def _openai_tool(tool: dict[str, Any]) -> ToolSpec:
    assert "function" == tool["type"]
    function = tool["function"]
    nothing: JsonObject = {"type": "object", "properties": {}}
    strict = function.get("strict") or False
    return ToolSpec(function["name"], function["description"], function.get("parameters", nothing), strict)


def _openai_choice(choice: object) -> str | None:
    if choice is None or isinstance(choice, str):
        return choice
    assert isinstance(choice, dict)
    name: str = choice["function"]["name"]
    assert {"type": "function", "function": {"name": name}} == choice
    return name


def _openai_schema(form: dict[str, Any] | None) -> JsonObject | None:
    if form is None:
        return None
    if form == {"type": "json_object"}:
        return {}
    assert "json_schema" == form["type"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", form["json_schema"]["name"])
    schema: JsonObject = form["json_schema"]["schema"]
    return schema


def read_openai(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/chat/completions``."""
    _known(body, _OPENAI_FIELDS, "an OpenAI request")
    stream = body.get("stream") is True
    assert stream or "stream_options" not in body, "stream_options without a stream are refused"
    assert not stream or body["stream_options"]["include_usage"] is True, "a stream must be asked for its usage"
    turns = [_openai_turn(message) for message in body["messages"]]
    system = "".join(turn.text for turn in turns if turn.role in {"system", "developer"})
    tools = tuple(_openai_tool(tool) for tool in body.get("tools", ()))
    assert tools or "tool_choice" not in body, "tool_choice without tools is refused"
    stop = body.get("stop") or ()
    return Seen(
        model=body["model"],
        stream=stream,
        system=system,
        turns=_merged([turn for turn in turns if turn.role not in {"system", "developer"}]),
        tools=tools,
        choice=_openai_choice(body.get("tool_choice")),
        one_call=body.get("parallel_tool_calls") is False,
        schema=_openai_schema(body.get("response_format")),
        effort=body.get("reasoning_effort"),
        max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
        temperature=body.get("temperature"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=body.get("seed"),
        n=body.get("n"),
        logprobs=body.get("logprobs", False),
    )


# Anthropic.

_ANTHROPIC_FIELDS: Final = {
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


def _anthropic_image(block: dict[str, Any]) -> str:
    source = block["source"]
    if source["type"] == "url":
        url: str = source["url"]
        return url
    assert "base64" == source["type"]
    assert "image/png" == source["media_type"], "the media type must be the image's own"
    data: str = source["data"]
    return data


def _anthropic_result(block: dict[str, Any]) -> tuple[Result, tuple[str, ...]]:
    content = block.get("content", "")
    failed = block.get("is_error", False)
    if isinstance(content, str):
        return Result(block["tool_use_id"], content, failed=failed), ()
    text = "".join(part["text"] for part in content if part["type"] == "text")
    images = tuple(_anthropic_image(part) for part in content if part["type"] == "image")
    return Result(block["tool_use_id"], text, failed=failed), images


def _anthropic_turns(message: dict[str, Any]) -> list[Turn]:
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
                images.append(_anthropic_image(block))
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
                result, shown = _anthropic_result(block)
                turns.append(Turn(role="tool", results=(result,), images=shown))
    if text or images or calls or thinking:
        turns.append(Turn(role=role, text=text, images=tuple(images), calls=tuple(calls), thinking=thinking))
    return turns


def _anthropic_system(system: object) -> str:
    if isinstance(system, str):
        return system
    assert isinstance(system, list)
    return "".join(block["text"] for block in system)


def _anthropic_tool(tool: dict[str, Any]) -> ToolSpec:
    _known(tool, ["name", "description", "input_schema", "strict", "type"], "an Anthropic tool")
    assert "object" == tool["input_schema"]["type"]
    return ToolSpec(tool["name"], tool["description"], tool["input_schema"], tool.get("strict", False))


def _anthropic_choice(choice: dict[str, Any] | None) -> tuple[str | None, bool]:
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


def read_anthropic(body: dict[str, Any]) -> Seen:
    """Read a request to ``/v1/messages``."""
    _known(body, _ANTHROPIC_FIELDS, "an Anthropic request")
    assert isinstance(body["max_tokens"], int)
    _check_pairs(body["messages"])
    choice, one_call = _anthropic_choice(body.get("tool_choice"))
    config = body.get("output_config", {})
    form = config.get("format")
    assert form is None or form["type"] == "json_schema"
    thinking = body.get("thinking", {})
    return Seen(
        model=body["model"],
        stream=body.get("stream") is True,
        system=_anthropic_system(body.get("system", "")),
        turns=_merged([turn for message in body["messages"] for turn in _anthropic_turns(message)]),
        tools=tuple(_anthropic_tool(tool) for tool in body.get("tools", ())),
        choice=choice,
        one_call=one_call,
        schema=None if form is None else form["schema"],
        effort=thinking.get("budget_tokens", config.get("effort")),
        max_tokens=body["max_tokens"],
        temperature=body.get("temperature"),
        stop=tuple(body.get("stop_sequences", ())),
    )


# Ollama.

_OLLAMA_FIELDS: Final = [
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
_OLLAMA_MESSAGE: Final = ["role", "content", "images", "tool_calls", "tool_name", "tool_call_id", "thinking"]


def _ollama_turn(message: dict[str, Any]) -> Turn:
    _known(message, _OLLAMA_MESSAGE, "an Ollama message")
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


def read_ollama(body: dict[str, Any]) -> Seen:
    """Read a request to ``/api/chat``."""
    _known(body, _OLLAMA_FIELDS, "an Ollama request")
    assert isinstance(body["stream"], bool), "left out, it would mean true"
    turns = [_ollama_turn(message) for message in body["messages"]]
    form = body.get("format") or None
    options = body.get("options") or {}
    return Seen(
        model=body["model"],
        stream=body["stream"],
        system="".join(turn.text for turn in turns if turn.role == "system"),
        turns=_merged([turn for turn in turns if turn.role != "system"]),
        tools=tuple(_openai_tool(tool) for tool in body.get("tools") or ()),
        schema={} if form == "json" else form,
        effort=body.get("think"),
        max_tokens=options.get("num_predict"),
        temperature=options.get("temperature"),
        stop=tuple(options.get("stop", ())),
        seed=options.get("seed"),
        logprobs=body.get("logprobs", False),
    )


READERS: Final[dict[str, Callable[[dict[str, Any]], Seen]]] = {
    "openai": read_openai,
    "anthropic": read_anthropic,
    "ollama": read_ollama,
}
"""The reader of a provider's requests."""
