"""OpenAI's Chat Completions, as the service speaks it."""

from __future__ import annotations

import json
from typing import Any, Final

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Call, Provider, Said, events_of, pieces, sse_event

__all__ = ["OPENAI", "failure"]

CREATED: Final = 1_760_000_000
ANSWER_ID: Final = "chatcmpl-scripted0001"
MODEL: Final = "gpt-4o-mini-2024-07-18"


def _usage(said: Said) -> JsonObject:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "prompt_tokens_details": {"cached_tokens": said.cached or 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _logprobs(said: Said) -> Json:
    if not said.logprobs:
        return None
    content: list[Json] = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}
        for token, logprob in said.logprobs
    ]
    return {"content": content, "refusal": None}


def whole(said: Said) -> Scripted:
    """A ``chat.completion``."""
    message: JsonObject = {"role": "assistant", "content": said.text or None, "refusal": None, "annotations": []}
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in said.calls
        ]
    choices: list[Json] = [{"index": 0, "message": message, "logprobs": _logprobs(said), "finish_reason": said.finish}]
    choices += [
        {"index": 1 + number, "message": {**message, "content": text}, "logprobs": None, "finish_reason": said.finish}
        for number, text in enumerate(said.others)
    ]
    return json_reply(
        {
            "id": ANSWER_ID,
            "object": "chat.completion",
            "created": CREATED,
            "model": MODEL,
            "choices": choices,
            "usage": _usage(said),
            "service_tier": "default",
            "system_fingerprint": "fp_scripted",
        }
    )


def _chunk(choices: list[Json], usage: Json = None) -> bytes:
    return sse_event(
        {
            "id": ANSWER_ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": MODEL,
            "choices": choices,
            "usage": usage,
        }
    )


def _delta(delta: JsonObject, finish: str | None = None, logprobs: Json = None) -> bytes:
    return _chunk([{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}])


def stream(said: Said) -> Scripted:
    """``chat.completion.chunk`` events with usage in a last one, and ``[DONE]``."""
    chunks = [_delta({"role": "assistant", "content": None if said.calls else "", "refusal": None})]
    if said.logprobs:
        for token, logprob in said.logprobs:
            one = Said(logprobs=((token, logprob),))
            chunks.append(_delta({"content": token}, logprobs=_logprobs(one)))
    else:
        chunks += [_delta({"content": piece}) for piece in pieces(said.text)]
    for number, call in enumerate(said.calls):
        opened: JsonObject = {"name": call.name, "arguments": ""}
        chunks.append(
            _delta({"tool_calls": [{"index": number, "id": call.id, "type": "function", "function": opened}]})
        )
        text = json.dumps(call.arguments)
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            chunks.append(_delta({"tool_calls": [{"index": number, "function": {"arguments": half}}]}))
    chunks += [_delta({}, said.finish), _chunk([], _usage(said)), b"data: [DONE]\n\n"]
    return sse_reply(chunks)


def read(body: dict[str, Any]) -> Said:
    """Read a ``chat.completion``."""
    choice, usage = body["choices"][0], body["usage"]
    calls = choice["message"].get("tool_calls") or []
    return Said(
        text=choice["message"]["content"] or "",
        calls=tuple(
            Call(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ),
        finish=choice["finish_reason"],
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
        model=body["model"],
    )


def read_stream(text: str) -> Said:
    """Read ``chat.completion.chunk`` events."""
    words, finish = "", ""
    calls: dict[int, list[str]] = {}
    last: dict[str, Any] = {}
    for last in events_of(text):
        for choice in last["choices"]:
            words += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls") or []:
                known = calls.setdefault(call["index"], ["", "", ""])
                known[0] += call.get("id") or ""
                known[1] += call["function"].get("name") or ""
                known[2] += call["function"].get("arguments") or ""
    usage = last["usage"]
    return Said(
        text=words,
        calls=tuple(Call(ident, name, json.loads(arguments)) for ident, name, arguments in calls.values()),
        finish=finish,
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
        model=last["model"],
    )


def failure(status: int, message: str) -> Scripted:
    """``{"error": {...}}``."""
    known = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_error", 500: "server_error"}
    code = {400: "unsupported_value", 401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error: JsonObject = {"message": message, "type": known.get(status, "invalid_request_error"), "param": None}
    headers = {"retry-after": "7"} if status == 429 else {}
    return json_reply({"error": {**error, "code": code.get(status)}}, status, headers)


def stream_failure(message: str) -> Scripted:
    """A ``data:`` event with an ``error``."""
    error: Json = {"error": {"message": message, "type": "server_error", "param": None, "code": "server_error"}}
    return sse_reply([_delta({"role": "assistant", "content": ""}), _delta({"content": "Half"}), sse_event(error)])


OPENAI: Final = Provider(
    name="openai",
    # The built-in provider speaks Responses too, where a caller does.
    row="chat",
    model="gpt-4o-mini",
    answered=MODEL,
    path="/v1/chat/completions",
    whole=whole,
    stream=stream,
    read=read,
    read_stream=read_stream,
    failure=failure,
    stream_failure=stream_failure,
)
