"""What the providers answer: recorded bodies where there are any, else bodies written by hand after the wire reference.

``Said`` is what an answer says, free of any dialect. It is known for what is written here, and read out of a recording
by the few plain lines below, which share nothing with the project's own decoders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.conformance import recordings

__all__ = ["PROVIDERS", "RECORDED", "Call", "Provider", "Said", "recorded"]

CREATED: Final = 1_760_000_000
CREATED_AT: Final = "2025-10-09T08:53:20Z"


class Call(Struct, frozen=True):
    """A tool call; the id is empty where the dialect or the client's package has none."""

    id: str
    name: str
    arguments: JsonObject


class Said(Struct, frozen=True, kw_only=True):
    """What an answer says.

    Attributes:
        finish: ``stop``, ``length``, ``tool_calls`` or ``content_filter``.
        input_tokens: All of them, cached ones too.
        cached: Of the input, read from the provider's cache; None where nothing is told of it.
        written: Of the input, written to the cache.
        stopped_by: The stop sequence that ended it.
        logprobs: Each token with the logarithm of its probability.
        others: Texts of the second and further choices.
    """

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    input_tokens: int = 21
    output_tokens: int = 8
    cached: int | None = None
    written: int | None = None
    stopped_by: str | None = None
    logprobs: tuple[tuple[str, float], ...] = ()
    others: tuple[str, ...] = ()
    model: str = ""


class Provider(Struct, frozen=True, kw_only=True):
    """A provider dialect, as a scripted service speaks it.

    Attributes:
        model: A model that it serves.
        answered: The model that its written answers name, a dated one of the same.
        path: Where it takes completions.
        whole: Writes an answer.
        stream: Writes an answer as a stream.
        read: Reads a recorded answer.
        read_stream: Reads a recorded stream.
        failure: Writes an error with a status and a message.
        stream_failure: Writes a stream that fails with a message after its first word.
    """

    name: str
    model: str
    answered: str
    path: str
    whole: Callable[[Said], Scripted]
    stream: Callable[[Said], Scripted]
    read: Callable[[Any], Said]
    read_stream: Callable[[str], Said]
    failure: Callable[[int, str], Scripted]
    stream_failure: Callable[[str], Scripted]


def pieces(text: str) -> list[str]:
    """Cut words into the pieces that a model might send them in."""
    words = text.split(" ")
    return [word if number == 0 else f" {word}" for number, word in enumerate(words)] if text else []


def _events(text: str) -> Iterator[dict[str, Any]]:
    """The JSON of each event of a recorded stream."""
    for line in text.splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            yield json.loads(line[5:])


def _sse(value: Json, event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


# OpenAI.

OPENAI_ID: Final = "chatcmpl-scripted0001"
OPENAI_MODEL: Final = "gpt-4o-mini-2024-07-18"


def _openai_usage(said: Said) -> JsonObject:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
        "prompt_tokens_details": {"cached_tokens": said.cached or 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _openai_logprobs(said: Said) -> Json:
    if not said.logprobs:
        return None
    content: list[Json] = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}
        for token, logprob in said.logprobs
    ]
    return {"content": content, "refusal": None}


def openai_whole(said: Said) -> Scripted:
    """A ``chat.completion``."""
    message: JsonObject = {"role": "assistant", "content": said.text or None, "refusal": None, "annotations": []}
    if said.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in said.calls
        ]
    choices: list[Json] = [
        {"index": 0, "message": message, "logprobs": _openai_logprobs(said), "finish_reason": said.finish}
    ]
    choices += [
        {"index": 1 + number, "message": {**message, "content": text}, "logprobs": None, "finish_reason": said.finish}
        for number, text in enumerate(said.others)
    ]
    return json_reply(
        {
            "id": OPENAI_ID,
            "object": "chat.completion",
            "created": CREATED,
            "model": OPENAI_MODEL,
            "choices": choices,
            "usage": _openai_usage(said),
            "service_tier": "default",
            "system_fingerprint": "fp_scripted",
        }
    )


def _chunk(choices: list[Json], usage: Json = None) -> bytes:
    return _sse(
        {
            "id": OPENAI_ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": OPENAI_MODEL,
            "choices": choices,
            "usage": usage,
        }
    )


def _delta(delta: JsonObject, finish: str | None = None, logprobs: Json = None) -> bytes:
    return _chunk([{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}])


def openai_stream(said: Said) -> Scripted:
    """``chat.completion.chunk`` events with usage in a last one, and ``[DONE]``."""
    chunks = [_delta({"role": "assistant", "content": None if said.calls else "", "refusal": None})]
    if said.logprobs:
        for token, logprob in said.logprobs:
            one = Said(logprobs=((token, logprob),))
            chunks.append(_delta({"content": token}, logprobs=_openai_logprobs(one)))
    else:
        chunks += [_delta({"content": piece}) for piece in pieces(said.text)]
    for number, call in enumerate(said.calls):
        opened: JsonObject = {"name": call.name, "arguments": ""}
        chunks.append(
            _delta({"tool_calls": [{"index": number, "id": call.id, "type": "function", "function": opened}]})
        )
        text = json.dumps(call.arguments)
        for half in (text[: len(text) // 2], text[len(text) // 2 :]):
            chunks.append(_delta({"tool_calls": [{"index": number, "function": {"arguments": half}}]}))
    chunks += [_delta({}, said.finish), _chunk([], _openai_usage(said)), b"data: [DONE]\n\n"]
    return sse_reply(chunks)


def read_openai(body: dict[str, Any]) -> Said:
    """Read a ``chat.completion``."""
    choice, usage = body["choices"][0], body["usage"]
    calls = choice["message"].get("tool_calls") or []
    return Said(
        text=choice["message"]["content"] or "",
        calls=tuple(
            Call(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ),
        finish=choice["finish_reason"],
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
        model=body["model"],
    )


def read_openai_stream(text: str) -> Said:
    """Read ``chat.completion.chunk`` events."""
    words, finish = "", ""
    calls: dict[int, list[str]] = {}
    last: dict[str, Any] = {}
    for last in _events(text):
        for choice in last["choices"]:
            words += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls") or []:
                known = calls.setdefault(call["index"], ["", "", ""])
                known[0] += call.get("id") or ""
                known[1] += call["function"].get("name") or ""
                known[2] += call["function"].get("arguments") or ""
    usage = last["usage"]
    return Said(
        text=words,
        calls=tuple(Call(ident, name, json.loads(arguments)) for ident, name, arguments in calls.values()),
        finish=finish,
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        cached=usage["prompt_tokens_details"]["cached_tokens"],
        model=last["model"],
    )


def openai_failure(status: int, message: str) -> Scripted:
    """``{"error": {...}}``."""
    known = {400: "invalid_request_error", 401: "invalid_request_error", 429: "rate_limit_error", 500: "server_error"}
    code = {400: "unsupported_value", 401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
    error: JsonObject = {"message": message, "type": known.get(status, "invalid_request_error"), "param": None}
    headers = {"retry-after": "7"} if status == 429 else {}
    return json_reply({"error": {**error, "code": code.get(status)}}, status, headers)


def openai_stream_failure(message: str) -> Scripted:
    """A ``data:`` event with an ``error``."""
    error: Json = {"error": {"message": message, "type": "server_error", "param": None, "code": "server_error"}}
    return sse_reply([_delta({"role": "assistant", "content": ""}), _delta({"content": "Half"}), _sse(error)])


# Anthropic.

ANTHROPIC_ID: Final = "msg_01scripted"
ANTHROPIC_MODEL: Final = "claude-haiku-4-5-20251001"
STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
SIGNATURE: Final = "c2lnbmVkIGJ5IHRoZSBzY3JpcHQ="


def _anthropic_usage(said: Said) -> JsonObject:
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
        "id": ANTHROPIC_ID,
        "type": "message",
        "role": "assistant",
        "model": ANTHROPIC_MODEL,
        "content": list[Json](_blocks(said)),
        "stop_reason": _stop_reason(said),
        "stop_sequence": said.stopped_by,
        "usage": _anthropic_usage(said),
    }


def anthropic_whole(said: Said) -> Scripted:
    """A ``message``."""
    return json_reply(_message(said))


def _anthropic_events(said: Said) -> Iterator[JsonObject]:
    yield {
        "type": "message_start",
        "message": {
            **_message(said),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {**_anthropic_usage(said), "output_tokens": 1},
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


def anthropic_stream(said: Said) -> Scripted:
    """Named events from ``message_start`` to ``message_stop``."""
    return sse_reply([_sse(event, str(event["type"])) for event in _anthropic_events(said)])


def _anthropic_said(message: dict[str, Any], blocks: Sequence[dict[str, Any]], usage: dict[str, Any]) -> Said:
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


def read_anthropic(body: dict[str, Any]) -> Said:
    """Read a ``message``."""
    return _anthropic_said(body, body["content"], body["usage"])


def read_anthropic_stream(text: str) -> Said:
    """Read named events; of text alone, for no recording that is used here has more."""
    message: dict[str, Any] = {}
    words = ""
    for event in _events(text):
        if event["type"] == "message_start":
            message = event["message"]
        elif event["type"] == "content_block_delta":
            words += event["delta"]["text"]
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    return _anthropic_said(message, [{"type": "text", "text": words}], message["usage"])


def anthropic_failure(status: int, message: str) -> Scripted:
    """``{"type": "error", ...}``."""
    known = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    error: JsonObject = {"type": known.get(status, "api_error"), "message": message}
    headers = {"retry-after": "7"} if status == 429 else {}
    return json_reply({"type": "error", "error": error, "request_id": "req_scripted"}, status, headers)


def anthropic_stream_failure(message: str) -> Scripted:
    """An ``error`` event."""
    begun = [_sse(event, str(event["type"])) for event in _anthropic_events(Said(text="Half"))][:4]
    error: Json = {"type": "error", "error": {"type": "api_error", "message": message}}
    return sse_reply([*begun, _sse(error, "error")])


# Ollama. There are no recordings of its own API.

OLLAMA_MODEL: Final = "llama3.2:latest"


def _ollama_line(message: JsonObject, **more: Json) -> JsonObject:
    said: JsonObject = {"role": "assistant", "content": "", **message}
    return {"model": OLLAMA_MODEL, "created_at": CREATED_AT, "message": said, "done": False, **more}


def _ollama_end(said: Said) -> JsonObject:
    return {
        "done": True,
        "done_reason": "length" if said.finish == "length" else "stop",
        "total_duration": 5_000_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": said.input_tokens,
        "prompt_eval_duration": 200_000_000,
        "eval_count": said.output_tokens,
        "eval_duration": 4_000_000_000,
    }


def _ollama_calls(said: Said) -> list[Json]:
    calls: list[Json] = []
    for index, call in enumerate(said.calls):
        function: JsonObject = {"index": index, "name": call.name, "arguments": call.arguments}
        calls.append({"id": call.id, "function": function} if call.id else {"function": function})
    return calls


def _ollama_logprobs(said: Said) -> list[Json]:
    return [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in said.logprobs]


def ollama_whole(said: Said) -> Scripted:
    """One object with ``done``."""
    message: JsonObject = {"content": said.text}
    if said.thinking:
        message["thinking"] = said.thinking
    if said.calls:
        message["tool_calls"] = _ollama_calls(said)
    more: JsonObject = {"logprobs": _ollama_logprobs(said)} if said.logprobs else {}
    return json_reply({**_ollama_line(message), **more, **_ollama_end(said)})


def ollama_lines(said: Said) -> list[JsonObject]:
    """The lines of a stream; tool calls come whole, and the last line bears the counters."""
    lines = [_ollama_line({"thinking": piece}) for piece in pieces(said.thinking)]
    if said.logprobs:
        lines += [
            _ollama_line({"content": token}, logprobs=_ollama_logprobs(Said(logprobs=((token, value),))))
            for token, value in said.logprobs
        ]
    else:
        lines += [_ollama_line({"content": piece}) for piece in pieces(said.text)]
    if said.calls:
        lines.append(_ollama_line({"tool_calls": _ollama_calls(said)}))
    return [*lines, {**_ollama_line({}), **_ollama_end(said)}]


def _ndjson(lines: Sequence[JsonObject]) -> Scripted:
    chunks = tuple(json.dumps(line).encode() + b"\n" for line in lines)
    return Scripted(headers={"content-type": "application/x-ndjson"}, chunks=chunks, streamed=True)


def ollama_stream(said: Said) -> Scripted:
    """Lines of JSON."""
    return _ndjson(ollama_lines(said))


def ollama_failure(status: int, message: str) -> Scripted:
    """``{"error": "text"}``."""
    return json_reply({"error": message}, status, {"retry-after": "7"} if status == 429 else {})


def ollama_stream_failure(message: str) -> Scripted:
    """A line ``{"error": "text"}`` after a first word."""
    return _ndjson([_ollama_line({"content": "Half"}), {"error": message}])


def _never_recorded(body: object) -> Said:
    message = f"there is no recording of Ollama's own API: {body!r}"
    raise AssertionError(message)


PROVIDERS: Final = {
    "openai": Provider(
        name="openai",
        model="gpt-4o-mini",
        answered=OPENAI_MODEL,
        path="/v1/chat/completions",
        whole=openai_whole,
        stream=openai_stream,
        read=read_openai,
        read_stream=read_openai_stream,
        failure=openai_failure,
        stream_failure=openai_stream_failure,
    ),
    "anthropic": Provider(
        name="anthropic",
        model="claude-haiku-4-5",
        answered=ANTHROPIC_MODEL,
        path="/v1/messages",
        whole=anthropic_whole,
        stream=anthropic_stream,
        read=read_anthropic,
        read_stream=read_anthropic_stream,
        failure=anthropic_failure,
        stream_failure=anthropic_stream_failure,
    ),
    "ollama": Provider(
        name="ollama",
        model="llama3.2:latest",
        answered=OLLAMA_MODEL,
        path="/api/chat",
        whole=ollama_whole,
        stream=ollama_stream,
        read=_never_recorded,
        read_stream=_never_recorded,
        failure=ollama_failure,
        stream_failure=ollama_stream_failure,
    ),
}

RECORDED: Final = {
    ("openai", "text"): "test_openai/test_valid_response#0",
    ("openai", "stream"): "test_openai/test_run_stream_sync_streams_real_model#1",
    ("openai", "tools"): "test_openai/test_openai_tool_output#0",
    ("openai", "tools_stream"): "test_openai/test_run_stream_sync_streams_real_model#0",
    ("openai", "image"): "test_openai/test_image_url_tool_response#1",
    ("openai", "schema"): "test_openai/test_openai_native_output#1",
    ("openai", "error"): "test_openai/test_openai_o1_mini_system_role[[]system[]]#0",
    ("anthropic", "text"): "test_anthropic/test_extra_headers#0",
    ("anthropic", "stream"): "test_anthropic/test_request_stream_fallback_for_high_max_tokens#0",
    ("anthropic", "tools"): "test_anthropic/test_anthropic_tool_output#0",
    ("anthropic", "parallel_tools"): "test_anthropic/test_multiple_parallel_tool_calls#0",
    ("anthropic", "parallel_results"): "test_anthropic/test_multiple_parallel_tool_calls#1",
    ("anthropic", "image"): "test_anthropic/test_image_url_input#0",
    ("anthropic", "schema"): "test_output/test_no_tools_native_output_strict_true#0",
    ("anthropic", "cached_usage"): "test_anthropic/test_anthropic_cache_real_api#1",
    ("anthropic", "error"): "test_anthropic/test_anthropic_explicit_effort_xhigh_unsupported_model_errors#0",
}
"""The recording that serves for a provider and a scene."""


def recorded(provider: Provider, scene: str) -> tuple[Scripted, Said]:
    """Return a recorded answer, and what it says; for an error, nothing. Skips the test where recordings are absent."""
    recordings.require()
    (found,) = recordings.exchanges(path=RECORDED[provider.name, scene])
    if found.is_stream:
        return sse_reply(found.body), provider.read_stream(found.body.decode())
    said = Said() if found.status >= 400 else provider.read(json.loads(found.body))
    return json_reply(found.body, found.status), said
