"""What fuzzing starts from: the recorded exchanges, each where its kind is read, and what they never hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from genai_spine.dialects.base import Reply
from genai_spine.dialects.eventstream import EventMessages
from genai_spine.errors import OverloadedError
from genai_spine.testing.dialects import encode_stream
from genai_spine.types.completion import Choice, CompletionResponse
from genai_spine.types.messages import Text, Thinking, ToolCall
from genai_spine.types.stream import events_of
from genai_spine.types.usage import Usage
from tests.conformance.members import DIALECTS, DialectMember
from tests.conformance.recordings import exchanges

__all__ = ["MAX_SEED", "seeds"]

MAX_SEED: Final = 6000
"""Longer ones are no better to begin with, and slow."""

_ANSWER: Final = CompletionResponse(
    id="answer-1",
    model="m",
    created=1_700_000_000,
    choices=(
        Choice(
            parts=(Thinking(text="Well"), Text(text="Grüße"), ToolCall(id="call_1", name="a", arguments='{"b": [1]}')),
            finish_reason="tool_calls",
        ),
    ),
    usage=Usage(input_tokens=3, output_tokens=5, cache_read_tokens=1, reasoning_tokens=1),
)
_REPLY: Final = Reply(model="m", request_id="request-1", now=1_700_000_000)


def _lines_of(body: bytes) -> bytes:
    """Return the messages of an event stream as the target reads them: a line each, its kind and its payload."""
    return b"\n".join(
        message.text(":event-type").encode() + b" " + message.payload for message in EventMessages().feed(body)
    )


def _own(member: DialectMember) -> Iterator[tuple[str, bytes]]:
    dialect = member.dialect
    stream = encode_stream(dialect, events_of(_ANSWER))
    failed = stream[: len(stream) // 2] + dialect.encode_stream_error(OverloadedError("busy"), "request-1")
    binary = dialect.name == "bedrock_converse"
    yield f"stream-{dialect.name}", _lines_of(stream) if binary else stream
    if not binary:
        yield f"stream-{dialect.name}", failed
    yield f"answer-{dialect.name}", dialect.encode_response(_ANSWER, _REPLY)
    yield f"failure-{dialect.name}", dialect.encode_error(OverloadedError("busy"), "request-1").body
    yield "framing-eventstream" if binary else "framing-ndjson" if dialect.name == "ollama" else "framing-sse", stream


def _recorded(member: DialectMember) -> Iterator[tuple[str, bytes]]:
    name = member.dialect.name
    for exchange in member.recorded():
        yield f"request-{name}", exchange.request
        if exchange.status >= 400:
            yield f"failure-{name}", exchange.body
        elif exchange.is_stream:
            yield f"stream-{name}", _lines_of(exchange.body) if name == "bedrock_converse" else exchange.body
        else:
            yield f"answer-{name}", exchange.body


def seeds(target: str) -> list[bytes]:
    """Return what to begin with at a target; without recordings only what the project can write itself."""
    found = [body for member in DIALECTS for at, body in (*_own(member), *_recorded(member)) if at == target]
    if target.startswith("embeddings-"):
        found += [body for exchange in exchanges("*/embeddings") for body in (exchange.request, exchange.body)]
    return sorted({body[:MAX_SEED] for body in found if body}, key=len)
