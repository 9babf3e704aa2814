"""Anthropic's Messages, as the service speaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Call, Provider, Said, events_of, pieces, sse_event

__all__ = ["ANTHROPIC"]

ANSWER_ID: Final = "msg_01scripted"
MODEL: Final = "claude-haiku-4-5-20251001"
STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzY3JpcHQ="


def _usage(said: Said) -> JsonObject:
    return {
        "input_tokens": said.input_tokens - (said.cached or 0) - (said.written or 0),
        "cache_creation_input_tokens": said.written or 0,
        "cache_read_input_tokens": said.cached or 0,
        "output_tokens": said.output_tokens,
        "service_tier": "standard",
    }


def _blocks(said: Said) -> list[JsonObject]:
    blocks: list[JsonObject] = []
    if said.thinking:
        blocks.append({"type": "thinking", "thinking": said.thinking, "signature": SIGNATURE})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    blocks += [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in said.calls]
    return blocks


def _stop_reason(said: Said) -> str:
    return "stop_sequence" if said.stopped_by else STOP_REASONS[said.finish]


def _message(said: Said) -> JsonObject:
    return {
        "id": ANSWER_ID,
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list[Json](_blocks(said)),
        "stop_reason": _stop_reason(said),
        "stop_sequence": said.stopped_by,
        "usage": _usage(said),
    }


def whole(said: Said) -> Scripted:
    """A ``message``."""
    return json_reply(_message(said))


def _events(said: Said) -> Iterator[JsonObject]:
    yield {
        "type": "message_start",
        "message": {
            **_message(said),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**_usage(said), "output_tokens": 1},
        },
    }
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(said)):
        deltas: list[JsonObject]
        match block["type"]:
            case "text":
                empty: JsonObject = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in pieces(said.text)]
            case "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(said.thinking)]
                deltas.append({"type": "signature_delta", "signature": SIGNATURE})
            case _:
                empty = {**block, "input": {}}
                text = json.dumps(block["input"])
                halves = ("", text[: len(text) // 2], text[len(text) // 2 :])
                deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    told: JsonObject = {"stop_reason": _stop_reason(said), "stop_sequence": said.stopped_by}
    yield {"type": "message_delta", "delta": told, "usage": {"output_tokens": said.output_tokens}}
    yield {"type": "message_stop"}


def stream(said: Said) -> Scripted:
    """Named events from ``message_start`` to ``message_stop``."""
    return sse_reply([sse_event(event, str(event["type"])) for event in _events(said)])


def _said(message: dict[str, Any], blocks: Sequence[dict[str, Any]], usage: dict[str, Any]) -> Said:
    reasons = {word: name for name, word in STOP_REASONS.items()}
    read, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    return Said(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        calls=tuple(
            Call(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"
        ),
        finish=reasons[message["stop_reason"]],
        input_tokens=usage["input_tokens"] + read + written,
        output_tokens=usage["output_tokens"],
        cached=read,
        written=written,
        model=message["model"],
    )


def read(body: dict[str, Any]) -> Said:
    """Read a ``message``."""
    return _said(body, body["content"], body["usage"])


def read_stream(text: str) -> Said:
    """Read named events; of text alone, for no recording that is used here has more."""
    message: dict[str, Any] = {}
    words = ""
    for event in events_of(text):
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_delta":
            words += event["delta"]["text"]
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    return _said(message, [{"type": "text", "text": words}], message["usage"])


def failure(status: int, message: str) -> Scripted:
    """``{"type": "error", ...}``."""
    known = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    error: JsonObject = {"type": known.get(status, "api_error"), "message": message}
    headers = {"retry-after": "7"} if status == 429 else {}
    return json_reply({"type": "error", "error": error, "request_id": "req_scripted"}, status, headers)


def stream_failure(message: str) -> Scripted:
    """An ``error`` event."""
    begun = [sse_event(event, str(event["type"])) for event in _events(Said(text="Half"))][:4]
    error: Json = {"type": "error", "error": {"type": "api_error", "message": message}}
    return sse_reply([*begun, sse_event(error, "error")])


ANTHROPIC: Final = Provider(
    name="anthropic",
    model="claude-haiku-4-5",
    answered=MODEL,
    path="/v1/messages",
    whole=whole,
    stream=stream,
    read=read,
    read_stream=read_stream,
    failure=failure,
    stream_failure=stream_failure,
)
