"""Google's Gemini, as the service speaks it."""

from __future__ import annotations

import json
from typing import Any, Final

from genai_spine.testing.upstream import Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.said import Call, Provider, Said, events_of, pieces, sse_event

__all__ = ["GOOGLE"]

MODEL: Final = "gemini-3.1-flash-lite"
SIGNATURE: Final = "c2VhbGVkIGJ5IHRoZSBzY3JpcHQ="
REASONS: Final = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


def _usage(said: Said) -> JsonObject:
    told: JsonObject = {
        "promptTokenCount": said.input_tokens,
        "candidatesTokenCount": said.output_tokens,
        "totalTokenCount": said.input_tokens + said.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": said.input_tokens}],
    }
    return {**told, "cachedContentTokenCount": said.cached} if said.cached else told


def _answer(candidates: list[Json], usage: JsonObject) -> JsonObject:
    return {"candidates": candidates, "usageMetadata": usage, "modelVersion": MODEL, "responseId": "resp-scripted"}


def _calls(said: Said) -> list[Json]:
    """The calls, each whole; of those made at once only the first is signed."""
    told: list[JsonObject] = []
    for call in said.calls:
        inner: JsonObject = {"name": call.name, "args": call.arguments}
        told.append({"functionCall": {"id": call.id, **inner} if call.id else inner})
    if told:
        told[0]["thoughtSignature"] = SIGNATURE
    return list[Json](told)


def _logprobs(said: Said) -> JsonObject:
    if not said.logprobs:
        return {}
    chosen: list[Json] = [
        {"token": token, "logProbability": value, "tokenId": number}
        for number, (token, value) in enumerate(said.logprobs)
    ]
    top: list[Json] = [{"candidates": [token]} for token in chosen]
    return {"logprobsResult": {"chosenCandidates": chosen, "topCandidates": top}}


def _candidate(parts: list[Json], more: JsonObject | None = None, index: int = 0) -> JsonObject:
    return {"index": index, "content": {"role": "model", "parts": parts}, **(more or {})}


def whole(said: Said) -> Scripted:
    """A ``GenerateContentResponse``."""
    parts: list[Json] = []
    if said.thinking:
        parts.append({"text": said.thinking, "thought": True})
    if said.text:
        parts.append({"text": said.text})
    reason = REASONS[said.finish]
    candidates: list[Json] = [_candidate([*parts, *_calls(said)], {"finishReason": reason, **_logprobs(said)})]
    candidates += [
        _candidate([{"text": text}], {"finishReason": reason}, 1 + number) for number, text in enumerate(said.others)
    ]
    return json_reply(_answer(candidates, _usage(said)))


def stream(said: Said) -> Scripted:
    """``data:`` events, each an answer of its own; the last bears why it ended, and nothing marks the end."""
    candidates = [_candidate([{"text": piece, "thought": True}]) for piece in pieces(said.thinking)]
    if said.logprobs:
        candidates += [
            _candidate([{"text": token}], _logprobs(Said(logprobs=((token, value),)))) for token, value in said.logprobs
        ]
    else:
        candidates += [_candidate([{"text": piece}]) for piece in pieces(said.text)]
    if said.calls:
        candidates.append(_candidate(_calls(said)))
    early: JsonObject = {"promptTokenCount": said.input_tokens, "totalTokenCount": said.input_tokens}
    *begun, last = candidates or [_candidate([])]
    events = [sse_event(_answer([candidate], early)) for candidate in begun]
    last = {**last, "finishReason": REASONS[said.finish]}
    return sse_reply([*events, sse_event(_answer([last], _usage(said)))])


def _said(bodies: list[dict[str, Any]]) -> Said:
    reasons = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
    parts = [
        part
        for body in bodies
        for candidate in body["candidates"]
        for part in candidate.get("content", {}).get("parts", ())
    ]
    last = bodies[-1]
    usage = last["usageMetadata"]
    calls = tuple(
        Call(part["functionCall"].get("id", ""), part["functionCall"]["name"], part["functionCall"].get("args", {}))
        for part in parts
        if "functionCall" in part
    )
    return Said(
        text="".join(part.get("text", "") for part in parts if not part.get("thought")),
        thinking="".join(part.get("text", "") for part in parts if part.get("thought")),
        calls=calls,
        finish="tool_calls" if calls else reasons[last["candidates"][0]["finishReason"]],
        input_tokens=usage["promptTokenCount"],
        output_tokens=usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),
        cached=usage.get("cachedContentTokenCount"),
        model=last["modelVersion"],
    )


def read(body: dict[str, Any]) -> Said:
    """Read a ``GenerateContentResponse``."""
    return _said([body])


def read_stream(text: str) -> Said:
    """Read ``data:`` events."""
    return _said(list(events_of(text)))


def failure(status: int, message: str) -> Scripted:
    """``{"error": {...}}``; how long to wait stands among the details."""
    known = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
    known |= {500: "INTERNAL", 503: "UNAVAILABLE"}
    error: JsonObject = {"code": status, "message": message, "status": known[status]}
    if status == 429:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]
    return json_reply({"error": error}, status)


def stream_failure(message: str) -> Scripted:
    """Bare JSON amid the events."""
    begun = stream(Said(text="Half of it")).chunks[0]
    error: JsonObject = {"error": {"code": 500, "message": message, "status": "INTERNAL"}}
    return sse_reply([begun, json.dumps(error, indent=2).encode() + b"\n"])


GOOGLE: Final = Provider(
    name="google",
    model=MODEL,
    answered=MODEL,
    path=f"/v1beta/models/{MODEL}:generateContent",
    stream_path=f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
    whole=whole,
    stream=stream,
    read=read,
    read_stream=read_stream,
    failure=failure,
    stream_failure=stream_failure,
)
