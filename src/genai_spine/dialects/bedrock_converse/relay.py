"""Bedrock Converse passing through: the body with few fields changed, the answer read from the side."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.bedrock_converse.blocks import SERVER_CALL
from genai_spine.dialects.bedrock_converse.errors import error_in_stream
from genai_spine.dialects.bedrock_converse.request import path_of
from genai_spine.dialects.bedrock_converse.response import (
    decode_finish_reason,
    decode_response,
    decode_usage,
    encode_stop_reason,
)
from genai_spine.dialects.bedrock_converse.stream import (
    decode_block_delta,
    encode_event,
    interrupted,
    malformed,
    unfinished,
)
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.eventstream import EventMessage, EventMessages
from genai_spine.dialects.fields import response_object
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import FinishReason
from genai_spine.types.usage import Usage

__all__ = ["ConverseWatch", "check_response", "read_envelope", "relay_request"]


class _Turn(Struct):
    role: str


class _Sampling(Struct):
    maxTokens: float | None = None  # noqa: N815  # the service's own name; an integer, which may be written as 3.0
    temperature: float | None = None
    topP: float | None = None  # noqa: N815  # the service's own name


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    messages: list[_Turn]
    model: str | None = None
    stream: bool | None = None
    inferenceConfig: _Sampling | None = None  # noqa: N815  # the service's own name


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.messages:
        message = "messages: must hold at least one message"
        raise InvalidFieldError(message, param="messages")
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        stream=head.stream or False,
        tools="toolConfig" in fields,
        images=told_in(fields, "messages", b'"image"'),
        schema=told_in(fields, "outputConfig", b'"textFormat"'),
        max_tokens=_limit(head.inferenceConfig),
    )


def _limit(sampling: _Sampling | None) -> int | None:
    limit = sampling.maxTokens if sampling else None
    return None if limit is None else int(limit)


def relay_request(envelope: Envelope, target: Target) -> Encoded:
    """Write the request as it came; see ``Dialect.relay_request``."""
    losses = Losses(target.provider)
    fields = losses.suited(envelope.fields, target.quirks)
    fields.pop("stream", None)
    path = path_of(target.model, stream=envelope.stream)
    return Encoded(path, splice(fields, None), {}, losses.warnings)


class ConverseWatch(Watch):
    """Reads a stream of events that passes through."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__()
        self._quirks = quirks
        self._messages = EventMessages()
        self._calls = False

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for message in self._messages.feed(data):
            if self.over:
                break
            out.append(self._look(message))

    @override
    def _end(self, out: list[bytes]) -> None:
        if self._quirks.end_mark or self.finish_reason is None:
            raise interrupted()

    def _look(self, message: EventMessage) -> bytes:
        """Look at a message; return it as it goes on."""
        if (failure := error_in_stream(message, self._quirks)) is not None:
            raise failure
        match message.text(":event-type"):
            case "contentBlockDelta":
                length = decode_block_delta(message.payload).delta.length
                self.characters += length
                self.content = self.content or length > 0
            case "contentBlockStart":
                self.content = True
                call = response_object(message.payload).need_child("start").child("toolUse")
                if call is not None:
                    self.characters += len(call.text("name") or "")
                    self._calls = self._calls or call.peek("type") != SERVER_CALL
            case "messageStop":
                return self._stop(message)
            case "metadata":
                if self.finish_reason is None:
                    raise unfinished()
                usage = response_object(message.payload).child("usage")
                self.usage = None if usage is None else decode_usage(usage)
                self.over = True
        return message.raw

    def _stop(self, message: EventMessage) -> bytes:
        """Note why the model stopped; return the message anew where a service told it in words of its own."""
        fields = response_object(message.payload)
        told = fields.peek("stopReason")
        if not isinstance(told, str | None):
            fault = malformed("a reason to stop that is no text")
            raise fault
        self.finish_reason = decode_finish_reason(told, self._quirks, with_calls=self._calls)
        if told not in self._quirks.finish_reasons:
            return message.raw
        return encode_event(
            "messageStop", {**fields.rest(), "stopReason": encode_stop_reason(self.finish_reason, None)}
        )


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    whole = decode_response(body, quirks)
    return whole.usage, whole.finish_reason
