"""Ollama's own API, as the service speaks it. There are no recordings of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from genai_spine.testing.upstream import Scripted, json_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Provider, Said, never_recorded, pieces

__all__ = ["OLLAMA"]

CREATED_AT: Final = "2025-10-09T08:53:20Z"
MODEL: Final = "llama3.2:latest"


def _line(message: JsonObject, **more: Json) -> JsonObject:
    said: JsonObject = {"role": "assistant", "content": "", **message}
    return {"model": MODEL, "created_at": CREATED_AT, "message": said, "done": False, **more}


def _end(said: Said) -> JsonObject:
    return {
        "done": True,
        "done_reason": "length" if said.finish == "length" else "stop",
        "total_duration": 5_000_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": said.input_tokens,
        "prompt_eval_duration": 200_000_000,
        "eval_count": said.output_tokens,
        "eval_duration": 4_000_000_000,
    }


def _calls(said: Said) -> list[Json]:
    calls: list[Json] = []
    for index, call in enumerate(said.calls):
        function: JsonObject = {"index": index, "name": call.name, "arguments": call.arguments}
        calls.append({"id": call.id, "function": function} if call.id else {"function": function})
    return calls


def _logprobs(said: Said) -> list[Json]:
    return [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in said.logprobs]


def whole(said: Said) -> Scripted:
    """One object with ``done``."""
    message: JsonObject = {"content": said.text}
    if said.thinking:
        message["thinking"] = said.thinking
    if said.calls:
        message["tool_calls"] = _calls(said)
    more: JsonObject = {"logprobs": _logprobs(said)} if said.logprobs else {}
    return json_reply({**_line(message), **more, **_end(said)})


def lines(said: Said) -> list[JsonObject]:
    """The lines of a stream; tool calls come whole, and the last line bears the counters."""
    lines = [_line({"thinking": piece}) for piece in pieces(said.thinking)]
    if said.logprobs:
        lines += [
            _line({"content": token}, logprobs=_logprobs(Said(logprobs=((token, value),))))
            for token, value in said.logprobs
        ]
    else:
        lines += [_line({"content": piece}) for piece in pieces(said.text)]
    if said.calls:
        lines.append(_line({"tool_calls": _calls(said)}))
    return [*lines, {**_line({}), **_end(said)}]


def _ndjson(lines: Sequence[JsonObject]) -> Scripted:
    chunks = tuple(json.dumps(line).encode() + b"\n" for line in lines)
    return Scripted(headers={"content-type": "application/x-ndjson"}, chunks=chunks, streamed=True)


def stream(said: Said) -> Scripted:
    """Lines of JSON."""
    return _ndjson(lines(said))


def failure(status: int, message: str) -> Scripted:
    """``{"error": "text"}``."""
    return json_reply({"error": message}, status, {"retry-after": "7"} if status == 429 else {})


def stream_failure(message: str) -> Scripted:
    """A line ``{"error": "text"}`` after a first word."""
    return _ndjson([_line({"content": "Half"}), {"error": message}])


OLLAMA: Final = Provider(
    name="ollama",
    model="llama3.2:latest",
    answered=MODEL,
    path="/api/chat",
    whole=whole,
    stream=stream,
    read=never_recorded,
    read_stream=never_recorded,
    failure=failure,
    stream_failure=stream_failure,
)
