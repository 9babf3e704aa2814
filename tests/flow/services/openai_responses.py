"""OpenAI's Responses, as the service speaks it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Call, Provider, Said, events_of, pieces, sse_event
from tests.flow.services.openai_chat import failure

__all__ = ["RESPONSES"]

MODEL: Final = "gpt-4o-mini"
ANSWERED: Final = "gpt-4o-mini-2024-07-18"
INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _usage(said: Said) -> JsonObject:
    return {
        "input_tokens": said.input_tokens,
        "input_tokens_details": {"cached_tokens": said.cached or 0, "cache_write_tokens": said.written or 0},
        "output_tokens": said.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.input_tokens + said.output_tokens,
    }


def _logprobs(said: Said) -> list[Json]:
    return [
        {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": []}
        for token, value in said.logprobs
    ]


def _words(said: Said) -> JsonObject:
    return {"type": "output_text", "annotations": [], "logprobs": _logprobs(said), "text": said.text}


def _items(said: Said) -> list[JsonObject]:
    status = "incomplete" if said.finish in INCOMPLETE else "completed"
    items: list[JsonObject] = []
    if said.thinking:
        summary: JsonObject = {"type": "summary_text", "text": said.thinking}
        items.append({"id": "rs_scripted", "type": "reasoning", "summary": [summary], "encrypted_content": "c2VhbGVk"})
    if said.text:
        head: JsonObject = {"id": "msg_scripted", "type": "message", "role": "assistant", "status": status}
        items.append({**head, "content": [_words(said)]})
    items += [
        {
            "id": f"fc_scripted_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": json.dumps(call.arguments),
            "status": "completed",
        }
        for number, call in enumerate(said.calls)
    ]
    return items


def _response(said: Said | None, status: str = "") -> JsonObject:
    """The whole answer; before there is one, what is known then."""
    if said is not None:
        status = "incomplete" if said.finish in INCOMPLETE else "completed"
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": INCOMPLETE[said.finish]} if said and said.finish in INCOMPLETE else None,
        "instructions": None,
        "model": ANSWERED,
        "output": list[Json](_items(said)) if said else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
        "usage": _usage(said) if said else None,
    }


def whole(said: Said) -> Scripted:
    """A ``response``."""
    return json_reply(_response(said))


def _text_events(said: Said, index: int) -> Iterator[JsonObject]:
    where: JsonObject = {"item_id": "msg_scripted", "output_index": index, "content_index": 0}
    empty: JsonObject = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    yield {"type": "response.content_part.added", **where, "part": empty}
    told = [(piece, said.logprobs[number : number + 1]) for number, piece in enumerate(pieces(said.text))]
    for piece, probability in told:
        logprobs = _logprobs(Said(logprobs=probability))
        yield {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": logprobs}
    yield {"type": "response.output_text.done", **where, "text": said.text, "logprobs": _logprobs(said)}
    yield {"type": "response.content_part.done", **where, "part": _words(said)}


def _reasoning_events(said: Said, index: int) -> Iterator[JsonObject]:
    where: JsonObject = {"item_id": "rs_scripted", "output_index": index, "summary_index": 0}
    kind = "response.reasoning_summary"
    yield {"type": f"{kind}_part.added", **where, "part": {"type": "summary_text", "text": ""}}
    for piece in pieces(said.thinking):
        yield {"type": f"{kind}_text.delta", **where, "delta": piece}
    yield {"type": f"{kind}_text.done", **where, "text": said.thinking}
    yield {"type": f"{kind}_part.done", **where, "part": {"type": "summary_text", "text": said.thinking}}


def _call_events(item: JsonObject, index: int) -> Iterator[JsonObject]:
    where: JsonObject = {"item_id": item["id"], "output_index": index}
    text = str(item["arguments"])
    for half in (text[: len(text) // 2], text[len(text) // 2 :]):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": half}
    yield {"type": "response.function_call_arguments.done", **where, "arguments": text}


def _events(said: Said) -> Iterator[JsonObject]:
    for kind in ("created", "in_progress"):
        yield {"type": f"response.{kind}", "response": _response(None, "in_progress")}
    for index, item in enumerate(_items(said)):
        empty: dict[str, JsonObject] = {
            "message": {"content": [], "status": "in_progress"},
            "reasoning": {"summary": [], "encrypted_content": ""},
            "function_call": {"arguments": "", "status": "in_progress"},
        }
        kind = str(item["type"])
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty[kind]}}
        match kind:
            case "message":
                yield from _text_events(said, index)
            case "reasoning":
                yield from _reasoning_events(said, index)
            case _:
                yield from _call_events(item, index)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    end = "incomplete" if said.finish in INCOMPLETE else "completed"
    yield {"type": f"response.{end}", "response": _response(said)}


def _framed(events: list[JsonObject]) -> Scripted:
    return sse_reply(
        [sse_event({**event, "sequence_number": number}, str(event["type"])) for number, event in enumerate(events)]
    )


def stream(said: Said) -> Scripted:
    """Numbered, named events up to the one that holds the whole answer."""
    return _framed(list(_events(said)))


def read(body: dict[str, Any]) -> Said:
    """Read a ``response``."""
    reasons = {word: name for name, word in INCOMPLETE.items()}
    calls = tuple(
        Call(item["call_id"], item["name"], json.loads(item["arguments"]))
        for item in body["output"]
        if item["type"] == "function_call"
    )
    cut = (body["incomplete_details"] or {}).get("reason")
    usage = body["usage"]
    return Said(
        text="".join(part["text"] for item in body["output"] if item["type"] == "message" for part in item["content"]),
        calls=calls,
        finish=reasons[cut] if cut else "tool_calls" if calls else "stop",
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cached=usage["input_tokens_details"]["cached_tokens"],
        model=body["model"],
    )


def read_stream(text: str) -> Said:
    """Read a stream by its last event, which holds all."""
    *_, last = events_of(text)
    return read(last["response"])


def stream_failure(message: str) -> Scripted:
    """A ``response.failed`` after a first word."""
    begun = [event for event in _events(Said(text="Half")) if "done" not in str(event["type"])][:5]
    error: JsonObject = {"code": "server_error", "message": message}
    failed: JsonObject = {**_response(None, "failed"), "error": error}
    return _framed([*begun, {"type": "response.failed", "response": failed}])


RESPONSES: Final = Provider(
    name="responses",
    model=MODEL,
    answered=ANSWERED,
    path="/v1/responses",
    whole=whole,
    stream=stream,
    read=read,
    read_stream=read_stream,
    failure=failure,
    stream_failure=stream_failure,
)
