"""Bodies, blocks and events as they stand on the wire, and short ways to read and write them."""

from __future__ import annotations

import json
from typing import Any, Final

from genai_spine.dialects.base import Quirks, Reply, Target
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.eventstream import encode_message
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Part, Text
from genai_spine.types.models import ModelFacts
from genai_spine.types.stream import Collector, Event

__all__ = [
    "CLAUDE",
    "CONVERSE",
    "END",
    "NO_FACTS",
    "PNG",
    "REPLY",
    "START",
    "answer",
    "body_of",
    "collected",
    "delta",
    "event",
    "events_of_stream",
    "read_request",
    "request",
    "stop",
    "told",
    "user",
]

CONVERSE: Final = BedrockConverse()
CLAUDE: Final = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
REPLY: Final = Reply(model="m", request_id="r", now=5)
NO_FACTS: Final = ModelFacts()


def user(*parts: Part | str) -> Message:
    """The user's turn."""
    return Message(role="user", parts=tuple(Text(text=part) if isinstance(part, str) else part for part in parts))


def request(*messages: Message, **fields: Any) -> CompletionRequest:
    """A request from another dialect, unless ``dialect`` says otherwise."""
    return CompletionRequest(messages=messages or (user("Hi"),), **({"dialect": "openai_chat"} | fields))


def told(asked: CompletionRequest, model: str = CLAUDE, facts: ModelFacts = NO_FACTS) -> tuple[Any, tuple[str, ...]]:
    """The body by which a request is told to a model, and what was lost."""
    encoded = CONVERSE.encode_request(asked, Target(model=model, provider="bedrock", facts=facts))
    return json.loads(encoded.body), encoded.warnings


def body_of(asked: CompletionRequest, model: str = CLAUDE, facts: ModelFacts = NO_FACTS) -> Any:
    """The body by which a request is told, nothing of which was lost."""
    body, warnings = told(asked, model, facts)
    assert () == warnings
    return body


def read_request(**fields: Any) -> CompletionRequest:
    """What is read of a body; it has one message if none is given."""
    body = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]} | fields
    return CONVERSE.decode_request(json.dumps(body).encode())


def answer(*content: JsonObject, **fields: Any) -> CompletionResponse:
    """What is read of an answer with this content."""
    output = {"message": {"role": "assistant", "content": list(content)}}
    body = {"output": output, "stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 2}} | fields
    return CONVERSE.decode_response(json.dumps(body).encode(), Quirks())


def event(kind: str, **body: Any) -> bytes:
    """One event of a stream."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, json.dumps(body).encode())


def delta(index: int, **piece: Any) -> bytes:
    """A piece of a block."""
    return event("contentBlockDelta", contentBlockIndex=index, delta=piece, p="abcdef")


def stop(index: int) -> bytes:
    """The end of a block."""
    return event("contentBlockStop", contentBlockIndex=index, p="ab")


START: Final = event("messageStart", role="assistant", p="abc")
END: Final = event("messageStop", stopReason="end_turn", p="a") + event(
    "metadata", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, metrics={"latencyMs": 7}, p="abcd"
)


def events_of_stream(*pieces: bytes, quirks: Quirks | None = None) -> list[Event]:
    """All events of a stream that then ends."""
    decoder = CONVERSE.stream_decoder(quirks or Quirks())
    events = [found for piece in pieces for found in decoder.feed(piece)]
    return events + decoder.close()


def collected(*pieces: bytes) -> CompletionResponse:
    """What a stream adds up to."""
    collector = Collector()
    for found in events_of_stream(*pieces):
        collector.add(found)
    return collector.response()
