"""Gemini's bodies and streams as they stand on the wire, and short ways to read and write them."""

from __future__ import annotations

import json
from typing import Final

from genai_spine.dialects.base import Encoded, Quirks, Reply, Target
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Message, Part, Role, Text
from genai_spine.types.models import ModelFacts
from genai_spine.types.stream import Collector, Event

__all__ = [
    "BUDGET",
    "GEMINI",
    "LEVEL",
    "PLAIN",
    "REPLY",
    "TARGET",
    "answer",
    "asked",
    "candidate",
    "collected",
    "config_of",
    "decoded",
    "encoded",
    "events_of_stream",
    "fields_of",
    "one_turn",
    "read_answer",
    "sent",
    "sse",
    "turns_of",
]

GEMINI: Final = Gemini()
PLAIN: Final = Quirks()
TARGET: Final = Target(model="gemini-x", provider="google")
REPLY: Final = Reply(model="gemini-x", request_id="request-1", now=1_700_000_000)
LEVEL: Final = ModelFacts(thinking="level", efforts=("minimal", "low", "medium", "high"), media_results=True)
BUDGET: Final = ModelFacts(thinking="budget", thinking_range=(128, 32_768))


def fields_of(body: bytes) -> JsonObject:
    """Return a body, decoded."""
    value: Json = json.loads(body)
    assert isinstance(value, dict)
    return value


def decoded(**fields: Json) -> CompletionRequest:
    """Return the request that a body of these fields says; one turn of the user's where it has no contents."""
    body: JsonObject = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **fields}
    return GEMINI.decode_request(json.dumps(body).encode())


def asked(*parts: Part, role: Role = "user") -> Message:
    """Return a turn."""
    return Message(role=role, parts=parts)


def one_turn(*parts: Part) -> tuple[Message, ...]:
    """Return a conversation of one turn of the user's."""
    return (asked(*(parts or (Text(text="Hi"),))),)


def encoded(request: CompletionRequest, facts: ModelFacts | None = None, quirks: Quirks | None = None) -> Encoded:
    """Return a request as it is sent to Google."""
    target = Target(model="gemini-x", provider="google", facts=facts or ModelFacts(), quirks=quirks or PLAIN)
    return GEMINI.encode_request(request, target)


def sent(request: CompletionRequest, facts: ModelFacts | None = None, quirks: Quirks | None = None) -> JsonObject:
    """Return the body that is sent to Google."""
    return fields_of(encoded(request, facts, quirks).body)


def turns_of(*messages: Message, facts: ModelFacts | None = None, dialect: str | None = "openai_chat") -> Json:
    """Return the contents that are sent for a conversation from elsewhere."""
    return sent(CompletionRequest(messages=messages, dialect=dialect), facts)["contents"]


def config_of(request: CompletionRequest, facts: ModelFacts | None = None) -> Json:
    """Return the configuration that is sent to Google."""
    return sent(request, facts).get("generationConfig")


def candidate(*parts: JsonObject, reason: str | None = "STOP", **more: Json) -> JsonObject:
    """Return a candidate; it goes on where ``reason`` is None."""
    written: JsonObject = {"content": {"parts": [*parts], "role": "model"}, "index": 0}
    return written | ({} if reason is None else {"finishReason": reason}) | more


def answer(*candidates: JsonObject, **more: Json) -> bytes:
    """Return an answer, or a piece of one."""
    head: JsonObject = {"modelVersion": "gemini-x", "responseId": "answer-1"}
    return json.dumps({"candidates": [*candidates], **head, **more}).encode()


def read_answer(*candidates: JsonObject, **more: Json) -> CompletionResponse:
    """Return an answer, read."""
    return GEMINI.decode_response(answer(*candidates, **more), PLAIN)


def sse(*bodies: bytes) -> bytes:
    """Return a stream of pieces."""
    return b"".join(b"data: %b\n\n" % body for body in bodies)


def events_of_stream(body: bytes) -> list[Event]:
    """Return the events of a stream."""
    decoder = GEMINI.stream_decoder(PLAIN)
    return decoder.feed(body) + decoder.close()


def collected(body: bytes) -> CompletionResponse:
    """Return what a stream collects to."""
    collector = Collector()
    for event in events_of_stream(body):
        collector.add(event)
    return collector.response()
