"""Services that want their seals back: each refuses with a 400 what the real one refuses, by its own rule.

Each calls the tool for two cities at once, then for a third, and then says that it is done; how far a conversation has
come it sees by the results in it.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from genai_spine.testing.upstream import Received, Scripted, json_reply, sse_reply
from genai_spine.types.json import Json, JsonObject
from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.services.anthropic_messages import SIGNATURE

__all__ = ["MODELS", "STAND_IN", "StrictServices", "environ", "sealed_by"]

MODELS: Final = {
    "anthropic": "anthropic/claude-haiku-4-5",
    "google": "google/gemini-3-flash-preview",
    "openai": "openai/gpt-5.5",
    "deepseek": "deepseek/deepseek-chat",
}
STAND_IN: Final = base64.b64encode(b"skip_thought_signature_validator").decode()
_CITIES: Final = (("Rome", "Oslo"), ("Bern",), ())
_STEPS: Final = {0: 0, 2: 1, 3: 2}
DONE: Final = "Done."


def environ(url: str, account: str = "first") -> dict[str, str]:
    """What configures the four providers, with the keys of an account."""
    return {
        "ANTHROPIC_API_KEY": f"sk-ant-{account}-0001",
        "ANTHROPIC_API_URL": url,
        "GOOGLE_API_KEY": f"g-{account}-0002",
        "GOOGLE_API_URL": f"{url}/v1beta",
        "OPENAI_API_KEY": f"sk-{account}-0003",
        "OPENAI_API_URL": f"{url}/v1",
        "DEEPSEEK_API_KEY": f"sk-deep-{account}-0004",
        "DEEPSEEK_API_URL": f"{url}/deepseek",
    }


class Refused(Exception):  # noqa: N818  # it is told as an answer, never raised to a test
    """What a service says to a request that it refuses."""


class _Seals:
    """The seals of one account for one model, and those that a request shows."""

    def __init__(self, account: str, model: str) -> None:
        self._mark = f"{account}|{model}|"
        self.shown: list[str] = []

    def make(self, what: str) -> str:
        """Seal words."""
        return base64.b64encode((self._mark + what).encode()).decode()

    def check(self, seal: Any, what: str) -> None:
        """Refuse a seal that is not the account's, the model's, or of other words."""
        if seal != self.make(what):
            message = f"Invalid signature for {what!r}"
            raise Refused(message)
        self.shown.append(what)


def sealed_by(step: int) -> str:
    """What a model thinks at a step, which is what it seals."""
    return f"Thinking about step {step}."


class StrictServices:
    """The four of them at one address.

    Attributes:
        shown: For each request, which provider it reached, and what was sealed of what the provider was shown.
        refusals: What was refused.
    """

    def __init__(self) -> None:
        self.shown: list[tuple[str, list[str]]] = []
        self.refusals: list[str] = []

    def __call__(self, received: Received) -> Scripted:
        """Answer a request."""
        body: dict[str, Any] = json.loads(received.body)
        path = received.path.partition("?")[0]
        try:
            if path == "/v1/messages":
                return self._anthropic(body, received.headers["x-api-key"])
            if path == "/v1/responses":
                return self._openai(body, received.headers["authorization"])
            if path == "/deepseek/chat/completions":
                return self._deepseek(body)
            model, _, method = path.removeprefix("/v1beta/models/").partition(":")
            return self._gemini(body, received.headers["x-goog-api-key"], model, stream=method != "generateContent")
        except Refused as refused:
            self.refusals.append(f"{path}: {refused}")
            error: JsonObject = {"message": str(refused), "type": "invalid_request_error", "status": "INVALID_ARGUMENT"}
            return json_reply({"type": "error", "error": error}, 400)

    # Anthropic: thinking with the signature that was made for its words; a tool loop begins with it.

    def _anthropic(self, body: dict[str, Any], account: str) -> Scripted:
        seals = _Seals(account, body["model"])
        loop: list[dict[str, Any]] = []
        for turn in body["messages"]:
            blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text"}]
            if turn["role"] == "user" and any(block["type"] != "tool_result" for block in blocks):
                loop = []
            loop.append({"role": turn["role"], "blocks": blocks})
            for block in blocks:
                if block["type"] == "thinking":
                    seals.check(block["signature"], block["thinking"])
        thinks = body.get("thinking", {}).get("type") == "enabled"
        first = next((turn["blocks"][0]["type"] for turn in loop if turn["role"] == "assistant"), "thinking")
        if thinks and first != "thinking":
            message = f"Expected `thinking` or `redacted_thinking`, but found `{first}`"
            raise Refused(message)
        results = sum(block["type"] == "tool_result" for turn in loop for block in turn["blocks"])
        self.shown.append(("anthropic", seals.shown))
        step = _STEPS[results]
        said = _said(step, "toolu", thinking=sealed_by(step) if thinks else "")
        anthropic = PROVIDERS["anthropic"]
        reply = (anthropic.stream if body.get("stream") else anthropic.whole)(said)
        seal = seals.make(said.thinking).encode()
        return Scripted(
            headers=reply.headers,
            chunks=tuple(chunk.replace(SIGNATURE.encode(), seal) for chunk in reply.chunks),
            streamed=reply.streamed,
        )

    # Gemini: the first call of each step of the current turn bears the signature that was made for it.

    def _gemini(self, body: dict[str, Any], account: str, model: str, *, stream: bool) -> Scripted:
        seals = _Seals(account, model)
        results, needed = 0, True
        for content in body["contents"]:
            parts: list[dict[str, Any]] = content["parts"]
            if content["role"] == "user" and any("functionResponse" not in part for part in parts):
                results = 0
            results += sum("functionResponse" in part for part in parts)
            needed = content["role"] == "model"
            for part in parts:
                seal = part.get("thoughtSignature")
                if "functionCall" in part and needed:
                    needed = False
                    if seal is None:
                        message = "Function call is missing a thought_signature"
                        raise Refused(message)
                if seal is not None and seal != STAND_IN:
                    seals.check(seal, _called(part))
        self.shown.append(("google", seals.shown))
        step = _STEPS[results]
        answer: list[JsonObject] = [{"text": sealed_by(step), "thought": True}]
        for number, city in enumerate(_CITIES[step]):
            call: JsonObject = {"functionCall": {"id": f"g_{step}_{number}", "name": "weather", "args": {"city": city}}}
            if number == 0:
                call["thoughtSignature"] = seals.make(_called(call))
            answer.append(call)
        answer += [] if _CITIES[step] else [{"text": DONE}]
        if stream:
            frames = [_gemini_piece([part], last=part is answer[-1]) for part in answer]
            return sse_reply([b"data: %b\n\n" % json.dumps(frame).encode() for frame in frames])
        return json_reply(_gemini_piece(answer, last=True))

    # OpenAI: reasoning items whole, sealed and known; no item with an id that it never gave.

    def _openai(self, body: dict[str, Any], account: str) -> Scripted:
        seals = _Seals(account, body["model"])
        results = 0
        for item in body["input"]:
            results += item.get("type") == "function_call_output"
            if "native" not in item.get("id", "native"):
                message = f"Item with id {item['id']!r} not found"
                raise Refused(message)
            if item.get("type") == "reasoning":
                told = "".join(segment["text"] for segment in item["summary"])
                if "id" not in item or "encrypted_content" not in item:
                    message = f"Reasoning that is not sealed: {told!r}"
                    raise Refused(message)
                seals.check(item["encrypted_content"], told)
        self.shown.append(("openai", seals.shown))
        step = _STEPS[results]
        thought = sealed_by(step)
        reasoning: JsonObject = {
            "type": "reasoning",
            "id": f"rs_native_{step}",
            "summary": [{"type": "summary_text", "text": thought}],
            "encrypted_content": seals.make(thought),
        }
        words: JsonObject = {"type": "output_text", "text": DONE, "annotations": []}
        items: list[JsonObject] = [
            {
                "type": "function_call",
                "id": f"fc_native_{step}_{number}",
                "call_id": f"call_{step}_{number}",
                "name": "weather",
                "arguments": json.dumps({"city": city}),
                "status": "completed",
            }
            for number, city in enumerate(_CITIES[step])
        ] or [
            {
                "type": "message",
                "id": "msg_native",
                "role": "assistant",
                "status": "completed",
                "content": [words],
            }
        ]
        return _responses([reasoning, *items], stream=bool(body.get("stream")))

    # DeepSeek: every turn with tool calls bears its reasoning, even an empty one.

    def _deepseek(self, body: dict[str, Any]) -> Scripted:
        shown: list[str] = []
        results = 0
        for turn in body["messages"]:
            results += turn["role"] == "tool"
            if turn["role"] == "assistant" and turn.get("tool_calls"):
                if "reasoning_content" not in turn:
                    message = "Missing `reasoning_content` field in the assistant message"
                    raise Refused(message)
                shown += [turn["reasoning_content"]] if turn["reasoning_content"] else []
        self.shown.append(("deepseek", shown))
        step = _STEPS[results]
        openai = PROVIDERS["openai"]
        said = _said(step, "call")
        thought: JsonObject = {"reasoning_content": sealed_by(step)}
        if not body.get("stream"):
            whole: dict[str, Any] = json.loads(openai.whole(said).chunks[0])
            whole["choices"][0]["message"] |= thought
            return json_reply(whole)
        chunks = list(openai.stream(said).chunks)
        opening: dict[str, Any] = json.loads(chunks[0].removeprefix(b"data: "))
        opening["choices"][0]["delta"] = thought
        chunks.insert(1, b"data: %b\n\n" % json.dumps(opening).encode())
        return sse_reply(chunks)


def _said(step: int, prefix: str, *, thinking: str = "") -> Said:
    calls = tuple(
        Call(f"{prefix}_{step}_{number}", "weather", {"city": city}) for number, city in enumerate(_CITIES[step])
    )
    return Said(text="" if calls else DONE, thinking=thinking, calls=calls, finish="tool_calls" if calls else "stop")


def _called(part: dict[str, Any]) -> str:
    return f"Calling {json.dumps(part.get('functionCall', {}).get('args'))}"


def _gemini_piece(parts: list[JsonObject], *, last: bool) -> JsonObject:
    candidate: JsonObject = {"index": 0, "content": {"role": "model", "parts": list[Json](parts)}}
    if last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13},
        "modelVersion": "gemini-3-flash-preview",
        "responseId": "g-1",
    }


def _responses(items: list[JsonObject], *, stream: bool) -> Scripted:
    whole: JsonObject = {
        "id": "resp_native",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-5.5",
        "output": list[Json](items),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 13,
        },
    }
    if not stream:
        return json_reply(whole)
    events: list[JsonObject] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    ]
    for number, item in enumerate(items):
        hollow: JsonObject = {name: [] if isinstance(value, list) else value for name, value in item.items()}
        if "arguments" in hollow:
            hollow["arguments"] = ""
        hollow.pop("encrypted_content", None)
        where: JsonObject = {"output_index": number, "item_id": item["id"]}
        events.append({"type": "response.output_item.added", "output_index": number, "item": hollow})
        events += _told(item, where)
        events.append({"type": "response.output_item.done", "output_index": number, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return sse_reply(
        [
            b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), json.dumps(event).encode())
            for event in ({**event, "sequence_number": number} for number, event in enumerate(events))
        ]
    )


def _told(item: JsonObject, where: JsonObject) -> list[JsonObject]:
    """The events of an item between its beginning and its end."""
    if item["type"] == "function_call":
        told: JsonObject = {**where, "name": item["name"], "arguments": item["arguments"]}
        return [
            {"type": "response.function_call_arguments.delta", **where, "delta": item["arguments"]},
            {"type": "response.function_call_arguments.done", **told},
        ]
    summary = item["type"] == "reasoning"
    kind, place = ("reasoning_summary", "summary") if summary else ("content", "content")
    words, part = ("reasoning_summary_text", "summary") if summary else ("output_text", "content")
    pieces: Any = item[place]
    at: JsonObject = {**where, f"{part}_index": 0}
    more: JsonObject = {} if summary else {"logprobs": []}
    return [
        {"type": f"response.{kind}_part.added", **at, "part": {**pieces[0], "text": ""}},
        {"type": f"response.{words}.delta", **at, "delta": pieces[0]["text"], **more},
        {"type": f"response.{words}.done", **at, "text": pieces[0]["text"], **more},
        {"type": f"response.{kind}_part.done", **at, "part": pieces[0]},
    ]
