"""Answers read by somebody else: plain readers of each wire format that share no line with the dialects.

They read what a caller sees first: the words, the calls, why it ended, the tokens; whole, or out of a stream's frames.
What they say is the measure for the dialects' own decoders and encoders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # it has no types

__all__ = ["READERS", "Gist", "Reader", "arguments_value"]


class Gist(NamedTuple):
    """What an answer says.

    Attributes:
        calls: Names and arguments, in order; the arguments as values, or as text where they are none.
        finish: The wire format's own word for why it ended.
        usage: Tokens read, cached ones included, and tokens written, thoughts included; None where not told.
    """

    text: str
    calls: tuple[tuple[str, Any], ...]
    finish: str
    usage: tuple[int, int] | None


class Reader(NamedTuple):
    """Reads one wire format.

    Attributes:
        finishes: The project's word for each of the format's own reasons.
    """

    whole: Callable[[bytes], Gist]
    stream: Callable[[bytes], Gist]
    finishes: Mapping[str, str]


def arguments_value(text: str) -> Any:
    """The value of arguments in JSON; the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text or {}


def _frames(body: bytes) -> Iterator[dict[str, Any]]:
    """The objects in an event stream's data, whatever else is in it."""
    for frame in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in frame.split(b"\n") if line.startswith(b"data:")]
        if lines and lines != [b"[DONE]"]:
            yield json.loads(b"\n".join(lines))


def _total(usage: dict[str, Any] | None, read: tuple[str, ...], written: tuple[str, ...]) -> tuple[int, int] | None:
    if not usage:
        return None
    return sum(usage.get(name) or 0 for name in read), sum(usage.get(name) or 0 for name in written)


# OpenAI Chat Completions.


def _chat_words(content: Any) -> str:
    if isinstance(content, list):
        return "".join(piece.get("text") or "" for piece in content if piece.get("type") == "text")
    return content or ""


def _chat_call(call: dict[str, Any]) -> tuple[str, Any]:
    if "custom" in call:
        return call["custom"]["name"], call["custom"]["input"]
    return call["function"]["name"], arguments_value(call["function"].get("arguments") or "")


def _chat(body: bytes) -> Gist:
    answer = json.loads(body)
    choice = answer["choices"][0]
    message = choice["message"]
    return Gist(
        _chat_words(message.get("content")),
        tuple(_chat_call(call) for call in message.get("tool_calls") or ()),
        choice["finish_reason"],
        _total(answer.get("usage"), ("prompt_tokens",), ("completion_tokens",)),
    )


def _chat_stream(body: bytes) -> Gist:
    text, finish, usage = "", "", None
    calls: dict[Any, dict[str, Any]] = {}
    for chunk in _frames(body):
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage") or usage
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text += _chat_words(delta.get("content"))
            finish = choice.get("finish_reason") or finish
            for piece in delta.get("tool_calls") or ():
                kind = "custom" if "custom" in piece else "function"
                field = "input" if kind == "custom" else "arguments"
                known = calls.setdefault(piece.get("index", piece.get("id")), {kind: {"name": "", field: ""}})
                known[kind]["name"] += (piece[kind].get("name") or "") if not known[kind]["name"] else ""
                known[kind][field] += piece[kind].get(field) or ""
    tokens = _total(usage, ("prompt_tokens",), ("completion_tokens",))
    return Gist(text, tuple(map(_chat_call, calls.values())), finish, tokens)


_CHAT_FINISHES: Final = {name: name for name in ("stop", "length", "tool_calls", "content_filter", "error")} | {
    "eos": "stop"
}


# OpenAI Completions: words alone.


def _completion(body: bytes) -> Gist:
    answer = json.loads(body)
    choice = answer["choices"][0]
    tokens = _total(answer.get("usage"), ("prompt_tokens",), ("completion_tokens",))
    return Gist(choice["text"], (), choice["finish_reason"], tokens)


def _completion_stream(body: bytes) -> Gist:
    text, finish, usage = "", "", None
    for chunk in _frames(body):
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text += choice["text"]
            finish = choice["finish_reason"] or finish
    return Gist(text, (), finish, _total(usage, ("prompt_tokens",), ("completion_tokens",)))


# OpenAI Responses.


def _response(answer: dict[str, Any]) -> Gist:
    text, calls = "", []
    for item in answer["output"]:
        match item["type"]:
            case "message":
                text += "".join(piece["text"] for piece in item["content"] if piece["type"] == "output_text")
            case "function_call":
                calls.append((item["name"], arguments_value(item["arguments"])))
            case "custom_tool_call":
                calls.append((item["name"], item["input"]))
            case _:
                pass
    details = answer.get("incomplete_details") or {}
    finish = details.get("reason") or answer["status"]
    return Gist(text, tuple(calls), finish, _total(answer.get("usage"), ("input_tokens",), ("output_tokens",)))


def _responses_stream(body: bytes) -> Gist:
    """Its pieces for the words and arguments, its items for the names; its last event for the rest."""
    text, last = "", {}
    calls: dict[int, list[str]] = {}
    for event in _frames(body):
        kind = event["type"]
        if kind == "response.output_text.delta":
            text += event["delta"]
        elif kind == "response.output_item.added" and event["item"]["type"] in {"function_call", "custom_tool_call"}:
            calls[event["output_index"]] = [event["item"]["name"], "", event["item"]["type"]]
        elif kind in {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}:
            calls[event["output_index"]][1] += event["delta"]
        elif kind in {"response.completed", "response.incomplete"}:
            last = event["response"]
    whole = _response({"output": [], **last})
    told = [
        (name, said if kind == "custom_tool_call" else arguments_value(said)) for name, said, kind in calls.values()
    ]
    return whole._replace(text=text, calls=tuple(told))


_RESPONSES_FINISHES: Final = {
    "completed": "stop",
    "complete": "stop",
    "max_output_tokens": "length",
    "content_filter": "content_filter",
    "in_progress": "pause",
    "queued": "pause",
}


# Anthropic Messages.

_READ: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def _message(body: bytes) -> Gist:
    answer = json.loads(body)
    blocks = answer["content"]
    return Gist(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"),
        answer["stop_reason"],
        _total(answer["usage"], _READ, ("output_tokens",)),
    )


def _message_stream(body: bytes) -> Gist:
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    finish = ""
    for event in _frames(body):
        match event["type"]:
            case "message_start":
                usage |= event["message"].get("usage") or {}
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                if delta["type"] == "text_delta":
                    block["text"] += delta["text"]
                elif delta["type"] == "input_json_delta":
                    block["json"] += delta["partial_json"]
            case "message_delta":
                finish = event["delta"].get("stop_reason") or finish
                usage |= {name: value for name, value in event["usage"].items() if value is not None}
            case _:
                pass
    found = list(blocks.values())
    return Gist(
        "".join(block["text"] for block in found if block["type"] == "text"),
        tuple((block["name"], arguments_value(block["json"])) for block in found if block["type"] == "tool_use"),
        finish,
        _total(usage, _READ, ("output_tokens",)),
    )


_MESSAGES_FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "compaction": "pause",
    "refusal": "content_filter",
}


# Gemini.


def _gemini_pieces(pieces: list[dict[str, Any]]) -> Gist:
    text, finish = "", ""
    usage: dict[str, Any] = {}
    calls: list[tuple[str, Any]] = []
    for piece in pieces:
        usage = piece.get("usageMetadata") or usage
        for candidate in (piece.get("candidates") or ())[:1]:
            finish = candidate.get("finishReason") or finish
            for part in (candidate.get("content") or {}).get("parts") or ():
                if "functionCall" in part:
                    calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))
                elif not part.get("thought"):
                    text += part.get("text") or ""
        finish = finish or ("SAFETY" if (piece.get("promptFeedback") or {}).get("blockReason") else "")
    total = usage.get("totalTokenCount")
    tokens = _total(
        usage, ("promptTokenCount", "toolUsePromptTokenCount"), ("candidatesTokenCount", "thoughtsTokenCount")
    )
    if tokens and total == sum(tokens) - usage.get("thoughtsTokenCount", 0):
        tokens = (tokens[0], total - tokens[0])  # the thoughts are counted among the rest
    return Gist(text, tuple(calls), finish, tokens)


_GEMINI_FINISHES: Final = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "MODEL_ARMOR": "content_filter",
}


# Ollama.


def _ollama_lines(lines: list[dict[str, Any]]) -> Gist:
    messages = [line["message"] for line in lines if "message" in line]
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    last = lines[-1]
    assert last["done"]
    counted = "prompt_eval_count" in last or "eval_count" in last
    return Gist(
        "".join(message.get("content") or "" for message in messages),
        tuple((call["name"], call["arguments"]) for call in calls),
        last["done_reason"],
        _total(last, ("prompt_eval_count",), ("eval_count",)) if counted else None,
    )


# Bedrock Converse.

_CONVERSE_READ: Final = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def _converse(body: bytes) -> Gist:
    answer = json.loads(body)
    blocks = answer["output"]["message"]["content"]
    calls = [block["toolUse"] for block in blocks if "toolUse" in block]
    cited = [piece for block in blocks for piece in block.get("citationsContent", {}).get("content", ())]
    return Gist(
        "".join(block["text"] for block in (*blocks, *cited) if "text" in block),
        tuple((call["name"], call["input"]) for call in calls if call.get("type") != "server_tool_use"),
        answer["stopReason"],
        _total(answer["usage"], _CONVERSE_READ, ("outputTokens",)),
    )


def _converse_stream(body: bytes) -> Gist:
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    text, finish, usage = "", "", None
    calls: dict[int, list[str]] = {}
    for message in buffer:
        kind, event = message.headers[":event-type"], json.loads(message.payload)
        if kind == "contentBlockStart" and event["start"].get("toolUse", {}).get("type") != "server_tool_use":
            if "toolUse" in event["start"]:
                calls[event["contentBlockIndex"]] = [event["start"]["toolUse"]["name"], ""]
        elif kind == "contentBlockDelta":
            text += event["delta"].get("text", "")
            if event["contentBlockIndex"] in calls:
                calls[event["contentBlockIndex"]][1] += event["delta"]["toolUse"]["input"]
        elif kind == "messageStop":
            finish = event["stopReason"]
        elif kind == "metadata":
            usage = event["usage"]
    told = tuple((name, arguments_value(said)) for name, said in calls.values())
    return Gist(text, told, finish, _total(usage, _CONVERSE_READ, ("outputTokens",)))


_CONVERSE_FINISHES: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


READERS: Final[dict[str, Reader]] = {
    "openai_chat": Reader(_chat, _chat_stream, _CHAT_FINISHES),
    "openai_completions": Reader(_completion, _completion_stream, _CHAT_FINISHES),
    "openai_responses": Reader(lambda body: _response(json.loads(body)), _responses_stream, _RESPONSES_FINISHES),
    "anthropic_messages": Reader(_message, _message_stream, _MESSAGES_FINISHES),
    "gemini": Reader(
        lambda body: _gemini_pieces([json.loads(body)]),
        lambda body: _gemini_pieces(list(_frames(body))),
        _GEMINI_FINISHES,
    ),
    "ollama": Reader(
        lambda body: _ollama_lines([json.loads(body)]),
        lambda body: _ollama_lines([json.loads(line) for line in body.splitlines()]),
        {"stop": "stop", "length": "length"},
    ),
    "bedrock_converse": Reader(_converse, _converse_stream, _CONVERSE_FINISHES),
}
"""The readers by the dialect's name."""
