"""OpenAI's retired Completions: answers and streams, written."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from typing_extensions import override

from genai_spine.dialects.base import Reply, StreamEncoder
from genai_spine.dialects.fields import dump
from genai_spine.dialects.openai_chat.response import encode_usage
from genai_spine.dialects.openai_chat.stream import DONE, encode_stream_error
from genai_spine.dialects.sse import frame
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Refusal, Text
from genai_spine.types.stream import Event, Failed, Finish, Start, TextDelta, UsageTold
from genai_spine.types.usage import Usage

__all__ = ["CompletionsEncoder", "encode_response"]

_FINISH_REASONS: Final[dict[FinishReason, str]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "stop",
    "content_filter": "content_filter",
    "pause": "length",
    "error": "error",
}


def encode_response(response: CompletionResponse, reply: Reply) -> bytes:
    """Write an answer; see ``Dialect.encode_response``."""
    body = _head(response.id, response.created, response.model, reply)
    body["choices"] = [_choice(index, choice) for index, choice in enumerate(response.choices)]
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, own=False)
    return dump(body)


def _head(answer_id: str, created: int, model: str, reply: Reply) -> JsonObject:
    return {
        "id": answer_id or f"cmpl-{reply.request_id}",
        "object": "text_completion",
        "created": created or reply.now,
        "model": model or reply.model,
    }


def _choice(index: int, choice: Choice) -> JsonObject:
    # A refusal has no field of its own here: it is what the model says.
    text = "".join(part.text for part in choice.parts if isinstance(part, Text | Refusal))
    return {
        "index": index,
        "text": text,
        "logprobs": None if choice.logprobs is None else _old_logprobs(choice.logprobs, 0),
        "finish_reason": _FINISH_REASONS[choice.finish_reason],
    }


def _old_logprobs(records: list[Json], offset: int) -> JsonObject:
    """Write one record a token as the four rows of old; ``offset`` is where the first token begins in the text."""
    known = [record for record in records if isinstance(record, dict)]
    tokens = [str(record.get("token") or "") for record in known]
    begins = list(accumulate(map(len, tokens), initial=offset))
    top: list[Json] = []
    for record in known:
        others = record.get("top_logprobs")
        top.append(
            {
                str(other.get("token") or ""): other.get("logprob")
                for other in (others if isinstance(others, list) else ())
                if isinstance(other, dict)
            }
        )
    return {
        "tokens": list[Json](tokens),
        "token_logprobs": [record.get("logprob") for record in known],
        "top_logprobs": top,
        "text_offset": list[Json](begins[:-1]),
    }


class CompletionsEncoder(StreamEncoder):
    """Writes a stream of chunks: words and no more."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._head: JsonObject = {}
        self._offsets: dict[int, int] = {}
        self._usage: Usage | None = None

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case Finish():
                return self._chunk(event.choice, "", None, _FINISH_REASONS[event.reason])
            case UsageTold():
                self._usage = event.usage
            case Start():
                self._head = _head(event.id, event.created, event.model, self._reply)
            case Failed():
                return encode_stream_error(event.error, self._reply.request_id)
            case _:
                pass
        return b""

    @override
    def end(self) -> bytes:
        last = b""
        if self._usage is not None and self._reply.wants_usage:
            usage = encode_usage(self._usage, own=False)
            last = frame(dump({**self._known_head(), "choices": [], "usage": usage}))
        return last + frame(DONE)

    def _text(self, event: TextDelta) -> bytes:
        if not event.text and not event.logprobs:
            return b""
        offset = self._offsets.get(event.choice, 0)
        self._offsets[event.choice] = offset + len(event.text)
        logprobs = _old_logprobs(event.logprobs, offset) if event.logprobs else None
        return self._chunk(event.choice, event.text, logprobs, None)

    def _known_head(self) -> JsonObject:
        return self._head or _head("", 0, "", self._reply)

    def _chunk(self, index: int, text: str, logprobs: JsonObject | None, reason: str | None) -> bytes:
        choice: JsonObject = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        chunk: JsonObject = {**self._known_head(), "choices": [choice]}
        if self._reply.wants_usage:
            chunk["usage"] = None
        return frame(dump(chunk))
