"""Amazon Bedrock's Converse, as the service speaks it; the framing of its streams is written after AWS's own words.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final
from urllib.parse import quote
from zlib import crc32

from genai_spine.testing.upstream import Scripted, json_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Call, Provider, Said, never_recorded, pieces

__all__ = ["BEDROCK"]

MODEL: Final = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzY3JpcHQ="
STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "guardrail_intervened",
}
METRICS: Final[JsonObject] = {"latencyMs": 321}


def _message(payload: JsonObject, **headers: str) -> bytes:
    """One message of an event stream: lengths and their checksum, headers, payload, and the checksum of it all."""
    told = b""
    for name, value in headers.items():
        head, text = f":{name.replace('_', '-')}".encode(), value.encode()
        told += struct.pack(">B", len(head)) + head + struct.pack(">BH", 7, len(text)) + text
    body = json.dumps(payload).encode()
    lengths = struct.pack(">II", 4 + 4 + 4 + len(told) + len(body) + 4, len(told))
    message = lengths + struct.pack(">I", crc32(lengths)) + told + body
    return message + struct.pack(">I", crc32(message))


def _event(kind: str, payload: JsonObject) -> bytes:
    return _message(payload, event_type=kind, content_type="application/json", message_type="event")


def _framed(chunks: list[bytes]) -> Scripted:
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    return Scripted(headers=headers, chunks=tuple(chunks), streamed=True)


def _usage(said: Said) -> JsonObject:
    told: JsonObject = {
        "inputTokens": said.input_tokens - (said.cached or 0) - (said.written or 0),
        "outputTokens": said.output_tokens,
        "totalTokens": said.input_tokens + said.output_tokens,
    }
    if said.cached is not None:
        told |= {"cacheReadInputTokens": said.cached, "cacheWriteInputTokens": said.written or 0}
    return told


def _stop_reason(said: Said) -> str:
    return "stop_sequence" if said.stopped_by else STOP_REASONS[said.finish]


def whole(said: Said) -> Scripted:
    """A ``ConverseResponse``."""
    blocks: list[Json] = []
    if said.thinking:
        blocks.append({"reasoningContent": {"reasoningText": {"text": said.thinking, "signature": SIGNATURE}}})
    if said.text:
        blocks.append({"text": said.text})
    blocks += [{"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}} for call in said.calls]
    return json_reply(
        {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": _stop_reason(said),
            "usage": _usage(said),
            "metrics": METRICS,
        }
    )


def _block(index: int, deltas: list[JsonObject], start: JsonObject | None = None) -> list[bytes]:
    """A block; only a call has a start."""
    begun = [] if start is None else [_event("contentBlockStart", {"contentBlockIndex": index, "start": start})]
    told = [_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}) for delta in deltas]
    return [*begun, *told, _event("contentBlockStop", {"contentBlockIndex": index})]


def stream(said: Said) -> Scripted:
    """Framed events from ``messageStart`` to ``metadata``, which alone tells what was used."""
    chunks = [_event("messageStart", {"role": "assistant"})]
    index = 0
    if said.thinking:
        deltas: list[JsonObject] = [{"reasoningContent": {"text": piece}} for piece in pieces(said.thinking)]
        chunks += _block(index, [*deltas, {"reasoningContent": {"signature": SIGNATURE}}])
        index += 1
    if said.text:
        chunks += _block(index, [{"text": piece} for piece in pieces(said.text)])
        index += 1
    for call in said.calls:
        text = json.dumps(call.arguments)
        halves = (text[: len(text) // 2], text[len(text) // 2 :])
        start: JsonObject = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        chunks += _block(index, [{"toolUse": {"input": half}} for half in halves], start)
        index += 1
    chunks.append(_event("messageStop", {"stopReason": _stop_reason(said)}))
    chunks.append(_event("metadata", {"usage": _usage(said), "metrics": METRICS}))
    return _framed(chunks)


def read(body: dict[str, Any]) -> Said:
    """Read a ``ConverseResponse``; the service names no model in it."""
    reasons = {word: name for name, word in STOP_REASONS.items()}
    blocks, usage = body["output"]["message"]["content"], body["usage"]
    used = [block["toolUse"] for block in blocks if "toolUse" in block]
    cached, written = usage.get("cacheReadInputTokens", 0), usage.get("cacheWriteInputTokens", 0)
    return Said(
        text="".join(block.get("text", "") for block in blocks),
        calls=tuple(Call(call["toolUseId"], call["name"], call["input"]) for call in used),
        finish=reasons[body["stopReason"]],
        input_tokens=usage["inputTokens"] + cached + written,
        output_tokens=usage["outputTokens"],
        cached=cached,
        written=written,
        model=MODEL,
    )


def failure(status: int, message: str) -> Scripted:
    """``{"message": "text"}``, and the exception's name in a header. The service asks nobody to wait."""
    known = {
        400: "ValidationException",
        401: "UnrecognizedClientException",
        404: "ResourceNotFoundException",
        429: "ThrottlingException",
        500: "InternalServerException",
        503: "ServiceUnavailableException",
    }
    source = ":http://internal.amazon.com/coral/com.amazon.bedrock/"
    headers = {"x-amzn-errortype": known[status] + source}
    return json_reply({"message": message}, 403 if status == 401 else status, headers)


def stream_failure(message: str) -> Scripted:
    """An exception amid the events."""
    begun = list(stream(Said(text="Half")).chunks[:2])
    kind = {"exception_type": "internalServerException", "content_type": "application/json"}
    return _framed([*begun, _message({"message": message}, message_type="exception", **kind)])


BEDROCK: Final = Provider(
    name="bedrock",
    model=MODEL,
    answered=MODEL,
    path=f"/model/{quote(MODEL, safe='')}/converse",
    stream_path=f"/model/{quote(MODEL, safe='')}/converse-stream",
    whole=whole,
    stream=stream,
    read=read,
    # A recorder keeps framed streams as text that lost bytes on the way.
    read_stream=never_recorded,
    failure=failure,
    stream_failure=stream_failure,
)
