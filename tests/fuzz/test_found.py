"""What fuzzing once found: each is told by an error of ours, or read, and stays so."""

from __future__ import annotations

import json
from typing import Final

import pytest

from genai_spine.types.json import Json, JsonObject
from tests.fuzz.targets import TARGETS


def _sse(*values: JsonObject) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values)


_CALL: Final[JsonObject] = {"type": "function_call", "id": "a", "call_id": "a", "name": "f"}
_ADDED: Final[JsonObject] = {"type": "response.output_item.added", "output_index": 0, "item": _CALL}
_WORDS: Final[JsonObject] = {"type": "response.output_text.delta", "output_index": 0, "delta": "a"}
_ARGUMENTS: Final[JsonObject] = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{}"}
_START: Final[JsonObject] = {"type": "message_start", "message": {"id": "a"}}
_ODD: Final[Json] = [{"content": [{"type": [], "text": "a"}], "role": "assistant"}, {"type": [], "id": "a"}]
_FILE: Final[JsonObject] = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,é"}

_FOUND: Final[dict[str, tuple[str, bytes]]] = {
    "usage before anything else": ("stream-openai_chat", _sse({"choices": [], "usage": {"prompt_tokens": 1}})),
    "usage that is no text": ("stream-openai_chat", b'data: {"choices": [], "usage": {"a": "\x93"}}\n\n'),
    "usage that is no text, Gemini": ("stream-gemini", b'data: {"candidates": [], "usageMetadata": {"a": "\x93"}}\n\n'),
    "a null for feedback": ("stream-gemini", b'data: {"promptFeedback": null}\n\n'),
    "words within a call": ("stream-openai_responses", _sse(_ADDED, _WORDS, _ARGUMENTS)),
    "an item announced twice": ("stream-openai_responses", _sse(_ADDED, _ADDED)),
    "an item of no number": ("stream-openai_responses", _sse(_ADDED, {**_ADDED, "output_index": []})),
    "a second start": ("stream-anthropic_messages", _sse(_START, _START)),
    "a second start, Bedrock": ("stream-bedrock_converse", b'messageStart {"role": "assistant"}\n' * 2),
    "types that are no text": ("answer-openai_responses", json.dumps({"status": "completed", "output": _ODD}).encode()),
    "a tool of no type": (
        "request-anthropic_messages",
        b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}], "tools": [{"type": []}]}',
    ),
    "a file that is no base64": (
        "request-openai_responses",
        json.dumps({"model": "m", "input": [{"role": "user", "content": [_FILE]}]}, ensure_ascii=False).encode(),
    ),
    "three line ends": ("framing-sse", b"a\n\n\nb\n\n\n"),
    "halves of line ends": ("framing-sse", b"\ra\r\n\r\n\r"),
}


@pytest.mark.parametrize("name", _FOUND)
def test_what_was_found(name: str) -> None:
    """It is no fault of ours any more."""
    target, body = _FOUND[name]
    TARGETS[target](body)
