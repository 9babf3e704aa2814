"""Bodies, chunks and calls as they stand on the wire, and short ways to read and write them."""

from __future__ import annotations

import json
from typing import Final

from genai_spine.dialects.base import Encoded, Quirks, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.errors import SpineError
from genai_spine.testing.dialects import check_broken_stream
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import ModelFacts
from genai_spine.types.stream import (
    Collector,
    Event,
)

__all__ = [
    "CHAT",
    "DONE",
    "MISTRAL",
    "PLAIN",
    "answer_of",
    "body_of",
    "body_with",
    "call_of",
    "chunk_of",
    "collected",
    "encoded",
    "events_in",
    "failure_of",
    "sent_fields",
    "sent_turns",
]

CHAT: Final = OpenAIChat()
PLAIN: Final = Quirks()
DONE: Final = b"data: [DONE]\n\n"
MISTRAL: Final = Quirks(
    rename={"seed": "random_seed", "max_completion_tokens": "max_tokens"},
    drop=("logit_bias", "user"),
    message_names=False,
    tool_call_id="nine",
    stream_usage=False,
    reasoning_field="content",
)


def body_of(**fields: Json) -> bytes:
    """Return a request of one short message with ``fields``."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def body_with(*messages: JsonObject, **fields: Json) -> bytes:
    """Return a request of ``messages``."""
    return json.dumps({"model": "m", "messages": list(messages), **fields}).encode()


def answer_of(message: JsonObject, reason: str | None = "stop", **fields: Json) -> bytes:
    """Return an answer of one choice."""
    choice: JsonObject = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return json.dumps({"id": "a1", "model": "m", "created": 7, "choices": [choice], **fields}).encode()


def chunk_of(delta: JsonObject | None = None, reason: str | None = None, **fields: Json) -> bytes:
    """Return one chunk of a stream; without a delta, one without choices."""
    choices: list[Json] = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    chunk: JsonObject = {"id": "a1", "model": "m", "created": 7, "choices": choices, **fields}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def events_in(*chunks: bytes, quirks: Quirks = PLAIN) -> list[Event]:
    """Return the events of a stream that arrives chunk by chunk."""
    decoder = CHAT.stream_decoder(quirks)
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


def collected(*chunks: bytes, quirks: Quirks = PLAIN) -> CompletionResponse:
    """Return the answer that a stream adds up to."""
    collector = Collector()
    for event in events_in(*chunks, quirks=quirks):
        collector.add(event)
    return collector.response()


def failure_of(*chunks: bytes, quirks: Quirks = PLAIN) -> SpineError:
    """Return the failure that a broken stream ends in, decoded and passing through alike."""
    return check_broken_stream(CHAT, b"".join(chunks), quirks)


def encoded(request: CompletionRequest, quirks: Quirks = PLAIN, facts: ModelFacts | None = None) -> Encoded:
    """Return a request as it goes to a service."""
    return CHAT.encode_request(request, Target(model="m", provider="acme", quirks=quirks, facts=facts or ModelFacts()))


def sent_fields(request: CompletionRequest, quirks: Quirks = PLAIN) -> dict[str, Json]:
    """Return the fields of a request as it goes to a service."""
    value: dict[str, Json] = json.loads(encoded(request, quirks).body)
    return value


def sent_turns(request: CompletionRequest, quirks: Quirks = PLAIN) -> list[dict[str, Json]]:
    """Return the messages of a request as it goes to a service."""
    turns: list[dict[str, Json]] = json.loads(encoded(request, quirks).body)["messages"]
    return turns


def call_of(index: int | None, call_id: str | None, name: str | None, arguments: Json) -> JsonObject:
    """Return a tool call, or a fragment of one; None leaves a field out."""
    call: JsonObject = {"function": {"arguments": arguments} | ({} if name is None else {"name": name})}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call |= {"id": call_id, "type": "function"}
    return call
