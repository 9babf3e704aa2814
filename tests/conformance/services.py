"""Scripted services, one a dialect: they list two models and answer every request with the same words.

Written out by hand from the services' documentation, so that a dialect is not held against itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from genai_spine.testing.upstream import Received, Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject

__all__ = ["MODELS", "SERVICES", "unfinished"]

MODELS: Final = ("model-one", "model-two")


def _frames(*events: JsonObject, named: bool = False) -> list[bytes]:
    heads = [f"event: {event['type']}\n".encode() if named else b"" for event in events]
    return [head + b"data: " + msgspec.json.encode(event) + b"\n\n" for head, event in zip(heads, events, strict=True)]


# https://platform.openai.com/docs/api-reference/chat


def _chat(received: Received) -> Scripted:
    if received.method == "GET":
        data: list[Json] = [{"id": model, "object": "model", "created": 1, "owned_by": "them"} for model in MODELS]
        return json_reply({"object": "list", "data": data})
    asked = received.json()
    usage: JsonObject = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    if not asked.get("stream"):
        message: JsonObject = {"role": "assistant", "content": "Hello there."}
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": "stop"}
        return json_reply({**_chat_head(asked, "chat.completion"), "choices": [choice], "usage": usage})
    head = _chat_head(asked, "chat.completion.chunk")
    deltas: list[tuple[JsonObject, str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Hello "}, None),
        ({"content": "there."}, None),
        ({}, "stop"),
    ]
    chunks: list[JsonObject] = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas
    ]
    # Those who are not to be asked for usage tell it with the last chunk of their own accord.
    options = asked.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        chunks.append({**head, "choices": [], "usage": usage})
    else:
        chunks[-1]["usage"] = usage
    return sse_reply([*_frames(*chunks), b"data: [DONE]\n\n"])


def _chat_head(asked: JsonObject, kind: str) -> JsonObject:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked.get("model")}


# https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/api/messages-streaming


def _messages(received: Received) -> Scripted:
    if received.method == "GET":
        data: list[Json] = [
            {"type": "model", "id": model, "display_name": model, "created_at": "2025-01-01T00:00:00Z"}
            for model in MODELS
        ]
        return json_reply({"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
    asked = received.json()
    if "max_tokens" not in asked or "anthropic-version" not in received.headers:
        fault: JsonObject = {"type": "invalid_request_error", "message": "max_tokens: Field required"}
        return json_reply({"type": "error", "error": fault}, status=400)
    head: JsonObject = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.get("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 1},
    }
    if not asked.get("stream"):
        content: JsonObject = {"type": "text", "text": "Hello there."}
        usage: JsonObject = {"input_tokens": 5, "output_tokens": 3}
        return json_reply({**head, "content": [content], "stop_reason": "end_turn", "usage": usage})
    return sse_reply(
        _frames(
            {"type": "message_start", "message": head},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello "}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "there."}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 3},
            },
            {"type": "message_stop"},
            named=True,
        )
    )


# https://docs.ollama.com/api


def _ollama(received: Received) -> Scripted:
    if received.method == "GET":
        models: list[Json] = [
            {"name": model, "model": model, "modified_at": "2025-01-01T00:00:00Z"} for model in MODELS
        ]
        return json_reply({"models": models})
    asked = received.json()
    head: JsonObject = {"model": asked.get("model"), "created_at": "2025-01-01T00:00:00Z"}
    end: JsonObject = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 3}
    # Ollama streams unless told not to.
    if asked.get("stream", True) is False:
        return json_reply({**head, "message": {"role": "assistant", "content": "Hello there."}, **end})
    lines: list[JsonObject] = [
        {**head, "message": {"role": "assistant", "content": text}, "done": False} for text in ("Hello ", "there.")
    ]
    lines.append({**head, "message": {"role": "assistant", "content": ""}, **end})
    chunks = tuple(msgspec.json.encode(line) + b"\n" for line in lines)
    return Scripted(headers={"content-type": "application/x-ndjson"}, chunks=chunks, streamed=True)


# https://ai.google.dev/api/generate-content


def _gemini(received: Received) -> Scripted:
    if received.method == "GET":
        models: list[Json] = [
            {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": ["generateContent"]}
            for model in MODELS
        ]
        return json_reply({"models": models})
    usage: JsonObject = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}
    if ":generateContent" in received.path:
        return json_reply({**_candidate("Hello there.", "STOP"), "usageMetadata": usage})
    return sse_reply(_frames(_candidate("Hello ", None), {**_candidate("there.", "STOP"), "usageMetadata": usage}))


def _candidate(text: str, reason: str | None) -> JsonObject:
    candidate: JsonObject = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], "modelVersion": "model-one", "responseId": "r-1"}


SERVICES: Final[Mapping[str, Callable[[Received], Scripted]]] = {
    "openai_chat": _chat,
    "anthropic_messages": _messages,
    "ollama": _ollama,
    "gemini": _gemini,
}
"""Who answers, by the dialect it is spoken to."""


def unfinished(stream: Scripted) -> Scripted:
    """The same stream, which after its second piece says nothing more."""
    return Scripted(
        status=stream.status, headers=stream.headers, chunks=stream.chunks[:2], streamed=True, silent_after=True
    )
