"""Bodies, items and events as they stand on the wire, and short ways to read and write them."""

from __future__ import annotations

import json
from typing import Final

from genai_spine.dialects.base import Encoded, Quirks, Reply, Target
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import SpineError
from genai_spine.testing.dialects import check_broken_stream
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Part
from genai_spine.types.models import ModelFacts
from genai_spine.types.stream import Collector, Event

__all__ = [
    "PLAIN",
    "REPLY",
    "RESPONSES",
    "answer_of",
    "body_of",
    "call_item",
    "collected",
    "encoded",
    "end_of",
    "event_of",
    "events_in",
    "failure_of",
    "message_item",
    "parts_read",
    "sent_fields",
    "sent_items",
    "start_of",
    "told_in",
    "written",
]

RESPONSES: Final = OpenAIResponses()
PLAIN: Final = Quirks()
REPLY: Final = Reply(model="m", request_id="r1", now=9)


def body_of(*items: JsonObject, **fields: Json) -> bytes:
    """Return a request of ``items``; without any, one of a short prompt."""
    return json.dumps({"model": "m", "input": list(items) or "hi", **fields}).encode()


def message_item(*content: JsonObject, **fields: Json) -> JsonObject:
    """Return a finished message of the model's."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": list(content) or [{"type": "output_text", "text": "Hi", "annotations": []}],
        **fields,
    }


def call_item(call_id: str, name: str = "f", arguments: Json = "{}", **fields: Json) -> JsonObject:
    """Return a tool call."""
    return {
        "id": f"fc_{call_id}",
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        **fields,
    }


def answer_of(*items: JsonObject, **fields: Json) -> bytes:
    """Return an answer."""
    answer: JsonObject = {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "model": "m",
        "status": "completed",
        "output": list(items),
        **fields,
    }
    return json.dumps(answer).encode()


def event_of(kind: str, **fields: Json) -> bytes:
    """Return one frame of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start_of(**fields: Json) -> bytes:
    """Return the first frame of a stream."""
    response: JsonObject = {"id": "resp_1", "created_at": 7, "model": "m", "status": "in_progress", "output": []}
    return event_of("response.created", response=response | fields)


def end_of(*items: JsonObject, kind: str = "completed", **fields: Json) -> bytes:
    """Return the last frame of a stream."""
    response: Json = json.loads(answer_of(*items, status=kind, **fields))
    return event_of(f"response.{kind}", response=response)


def events_in(*frames: bytes, quirks: Quirks = PLAIN) -> list[Event]:
    """Return the events of a stream that arrives frame by frame."""
    decoder = RESPONSES.stream_decoder(quirks)
    return [event for frame in frames for event in decoder.feed(frame)] + decoder.close()


def collected(*frames: bytes) -> CompletionResponse:
    """Return the answer that a stream adds up to."""
    collector = Collector()
    for event in events_in(*frames):
        collector.add(event)
    return collector.response()


def failure_of(*frames: bytes) -> SpineError:
    """Return the failure that a broken stream ends in, decoded and passing through alike."""
    return check_broken_stream(RESPONSES, b"".join(frames))


def told_in(events: list[Event]) -> list[JsonObject]:
    """Return the data of the frames of a stream that is written from ``events``."""
    encoder = RESPONSES.stream_encoder(REPLY)
    body = b"".join(encoder.encode(event) for event in events) + encoder.end()
    frames = body.decode().split("\n\n")[:-1]
    return [json.loads(frame.partition("\ndata: ")[2]) for frame in frames]


def parts_read(*items: JsonObject) -> list[tuple[str, tuple[Part, ...]]]:
    """Return the turns that ``items`` of a request make."""
    return [(message.role, message.parts) for message in RESPONSES.decode_request(body_of(*items)).messages]


def encoded(request: CompletionRequest, quirks: Quirks = PLAIN, facts: ModelFacts | None = None) -> Encoded:
    """Return a request as it goes to a service."""
    target = Target(model="m", provider="acme", quirks=quirks, facts=facts or ModelFacts())
    return RESPONSES.encode_request(request, target)


def sent_fields(request: CompletionRequest, quirks: Quirks = PLAIN) -> dict[str, Json]:
    """Return the fields of a request as it goes to a service."""
    value: dict[str, Json] = json.loads(encoded(request, quirks).body)
    return value


def sent_items(request: CompletionRequest, quirks: Quirks = PLAIN) -> list[Json]:
    """Return the items of a request as it goes to a service."""
    items = sent_fields(request, quirks)["input"]
    assert isinstance(items, list)
    return items


def written(response: CompletionResponse) -> dict[str, Json]:
    """Return an answer as it goes to a caller."""
    value: dict[str, Json] = json.loads(RESPONSES.encode_response(response, REPLY))
    return value
