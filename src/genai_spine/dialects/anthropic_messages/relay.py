"""Anthropic Messages passing through: the body with few fields changed, the answer read from the side.

What is decoded here is only what must be known; msgspec skips the rest, which is what makes passing through cheap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.anthropic_messages.errors import error_of
from genai_spine.dialects.anthropic_messages.request import COUNT_PATH, PATH, SAMPLING, VERSION
from genai_spine.dialects.anthropic_messages.response import (
    decode_finish_reason,
    decode_response,
    decode_usage,
    encode_stop_reason,
)
from genai_spine.dialects.anthropic_messages.stream import (
    UsageMerger,
    delta_data,
    interrupted,
    malformed,
    unfinished,
)
from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.fields import Fields, dump, glimpse, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.sse import Frames, frame, is_comment, parse_frame
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import FinishReason
from genai_spine.types.usage import Usage

__all__ = [
    "FORWARDED",
    "MessagesWatch",
    "check_response",
    "read_envelope",
    "relay_count_request",
    "relay_request",
]

FORWARDED: Final = ("anthropic-version", "anthropic-beta")
_SCHEMA: Final = b'"json_schema"'


class _Turn(Struct):
    role: str


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    messages: list[_Turn]
    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Raw]] | None = None


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers, *, counting: bool = False) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``. Only a request to count tokens has no ``max_tokens``."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.messages:
        message = "messages: must hold at least one message"
        raise InvalidFieldError(message, param="messages")
    if head.max_tokens is None and not counting:
        message = "max_tokens: is required; say how many tokens the answer may have"
        raise InvalidFieldError(message, param="max_tokens")
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        stream=head.stream or False,
        tools=bool(head.tools),
        images=told_in(fields, "messages", b'"image"'),
        schema=told_in(fields, "output_config", _SCHEMA) or told_in(fields, "output_format", _SCHEMA),
        max_tokens=head.max_tokens,
        headers={name: headers[name] for name in FORWARDED if name in headers},
    )


def relay_request(envelope: Envelope, target: Target) -> Encoded:
    """Write the request as it came; see ``Dialect.relay_request``."""
    return _relay(envelope, target, PATH)


def relay_count_request(envelope: Envelope, target: Target) -> Encoded:
    """Write a request to count tokens as it came."""
    return _relay(envelope, target, COUNT_PATH)


def _relay(envelope: Envelope, target: Target, path: str) -> Encoded:
    losses = Losses(target.provider)
    fields = losses.suited(envelope.fields, target.quirks, () if target.facts.sampling else SAMPLING)
    headers = {"anthropic-version": VERSION, **envelope.headers}
    return Encoded(path, splice(fields, target.model), headers, losses.warnings)


class _Delta(Struct):
    text: str = ""
    thinking: str = ""
    partial_json: str = ""


class _DeltaEvent(Struct):
    delta: _Delta


_delta_event: Final = msgspec.json.Decoder(_DeltaEvent)
# Blocks that hold nothing yet when they start.
_EMPTY_STARTS: Final = frozenset({"text", "thinking"})


class MessagesWatch(Watch):
    """Reads a stream of events that passes through."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__()
        self._quirks = quirks
        self._frames = Frames()
        self._merger = UsageMerger()
        self._calls = False

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            plain = delta_data(raw)
            if plain is None or not self._count(plain):
                found = parse_frame(raw)
                if found and found.data:
                    out.append(self._look(raw, found.event, found.data) + b"\n\n")
                elif is_comment(raw):
                    out.append(raw + b"\n\n")
            else:
                out.append(raw + b"\n\n")

    @override
    def _end(self, out: list[bytes]) -> None:
        if self._quirks.end_mark or self.finish_reason is None:
            raise interrupted()

    def _count(self, data: bytes) -> bool:
        """Count the words of a piece of a block; return whether it is one."""
        try:
            delta = _delta_event.decode(data).delta
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False  # the full reader finds out what it is
        if length := len(delta.text) + len(delta.thinking) + len(delta.partial_json):
            self.characters += length
            self.content = True
        return True

    def _look(self, raw: bytes, event: str, data: bytes) -> bytes:
        """Look closely at a frame; return it as it goes on."""
        fields = response_object(data)
        kind = fields.text("type")
        if (failure := error_of(fields.rest(), 0, {}, self._quirks)) is not None:
            raise failure
        match kind:
            case "error":
                message = "an error without a word"
                raise malformed(message)
            case "message_start":
                self.usage = self._merger.add(fields.need_child("message").object("usage")) or self.usage
            case "content_block_start":
                told = fields.need_child("content_block").text("type")
                self._calls = self._calls or told == "tool_use"
                self.content = self.content or told not in _EMPTY_STARTS
            case "content_block_delta" if not self._count(data):
                message = "a piece of a block that cannot be read"
                raise malformed(message)
            case "message_delta":
                self.usage = self._merger.add(fields.object("usage")) or self.usage
                if (edited := self._stop(fields, data)) is not None:
                    data, event = edited, ""
            case "message_stop":
                if self.finish_reason is None:
                    raise unfinished()
                self.over = True
        # Clients pass over events without a name.
        return raw if event or kind is None else frame(data, kind)[:-2]

    def _stop(self, fields: Fields, data: bytes) -> bytes | None:
        """Note why the model stopped; return the event anew where a service told it in words of its own."""
        delta = fields.object("delta") or {}
        told = delta.get("stop_reason")
        if not isinstance(told, str):
            return None
        reason = decode_finish_reason(told, self._quirks, with_calls=self._calls)
        self.finish_reason = self.finish_reason or reason
        if told not in self._quirks.finish_reasons:
            return None
        delta = {**delta, "stop_reason": encode_stop_reason(reason, None)}
        return dump({**response_object(data).rest(), "delta": delta})


class _WatchedBlock(Struct):
    type: str


class _WatchedResponse(Struct):
    content: list[_WatchedBlock]
    stop_reason: str | None = None
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_NULL: Final = b"null"
_response: Final = msgspec.json.Decoder(_WatchedResponse)


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    found = glimpse(_response, body)
    if found is None or found.error is not UNSET:
        # Not what a good answer looks like: the full reader finds out what is wrong with it.
        whole = decode_response(body, quirks)
        return whole.usage, whole.finish_reason
    calls = any(block.type == "tool_use" for block in found.content)
    reason = decode_finish_reason(found.stop_reason, quirks, with_calls=calls)
    usage = None
    if found.usage is not UNSET and bytes(found.usage) != _NULL:
        usage = decode_usage(response_object(found.usage, "usage"))
    return usage, reason
