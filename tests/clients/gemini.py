"""Gemini's side of a conversation: requests read by the rules of its dialect, and streams and answers written."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from genai_spine.testing.upstream import Received, Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.answers import Call, Said, pieces
from tests.flow.wire import Result, Seen, ToolSpec, Turn

__all__ = ["read", "stream", "whole"]

_ROLES = {"user": "user", "model": "assistant"}


def _turn(content: dict[str, Any]) -> Turn:
    assert content["parts"], "a turn must say something"
    text = ""
    calls: list[Call] = []
    results: list[Result] = []
    for part in content["parts"]:
        if call := part.get("functionCall"):
            assert calls or part.get("thoughtSignature"), (
                "a turn's first call needs a signature, or what stands for one"
            )
            calls.append(Call(call.get("id", ""), call["name"], call["args"]))
        elif answer := part.get("functionResponse"):
            assert isinstance(answer["response"], dict)
            results.append(Result(answer.get("id", ""), json.dumps(answer["response"]), answer["name"]))
        else:
            assert part["text"], "empty text is refused"
            text += part["text"]
    role = "tool" if results else _ROLES[content["role"]]
    return Turn(role=role, text=text, calls=tuple(calls), results=tuple(results))


def read(received: Received) -> Seen:
    """Read a request to ``:generateContent`` or ``:streamGenerateContent``."""
    path, _, method = received.path.partition("?")[0].rpartition(":")
    body: dict[str, Any] = json.loads(received.body)
    config = body.get("generationConfig", {})
    turns = tuple(_turn(content) for content in body["contents"])
    for before, after in pairwise(turns):
        assert [call.name for call in before.calls] == [result.name for result in after.results]
    return Seen(
        model=path.rpartition("/")[2],
        stream=method == "streamGenerateContent",
        system="".join(part["text"] for part in body.get("systemInstruction", {}).get("parts", ())),
        turns=turns,
        tools=tuple(
            ToolSpec(tool["name"], tool.get("description", ""), tool.get("parametersJsonSchema", {}))
            for entry in body.get("tools", ())
            for tool in entry["functionDeclarations"]
        ),
        schema=config.get("responseJsonSchema"),
        max_tokens=config.get("maxOutputTokens"),
    )


def _answer(parts: list[Json], said: Said, *, last: bool) -> JsonObject:
    candidate: JsonObject = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "STOP"
    usage: JsonObject = {
        "promptTokenCount": said.input_tokens,
        "candidatesTokenCount": said.output_tokens,
        "totalTokenCount": said.input_tokens + said.output_tokens,
    }
    head: JsonObject = {"modelVersion": "gemini-3.1-flash-lite", "responseId": "scripted"}
    return {"candidates": [candidate], "usageMetadata": usage, **head}


def _calls(said: Said) -> list[Json]:
    calls: list[Json] = []
    for number, call in enumerate(said.calls):
        part: JsonObject = {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}
        # The first call of a turn bears the seal for all.
        calls.append(part if number else {**part, "thoughtSignature": "c2VhbGVk"})
    return calls


def whole(said: Said) -> Scripted:
    """One answer."""
    words: list[Json] = [{"text": said.text}] if said.text else []
    return json_reply(_answer([*words, *_calls(said)], said, last=True))


def stream(said: Said) -> Scripted:
    """The words in pieces, then the calls."""
    parts: list[list[Json]] = [[{"text": piece}] for piece in pieces(said.text)]
    if said.calls:
        parts.append(_calls(said))
    answers = [_answer(part, said, last=number == len(parts)) for number, part in enumerate(parts, 1)]
    return sse_reply([b"data: %b\r\n\r\n" % json.dumps(answer).encode() for answer in answers])
