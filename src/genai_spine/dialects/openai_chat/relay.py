"""OpenAI Chat Completions passing through: the body with few fields changed, the answer read from the side.

What is decoded here is only what must be known; msgspec skips the rest, which is what makes passing through cheap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.fields import Fields, dump, glimpse, request_object, response_fault, response_object
from genai_spine.dialects.limits import check_choices
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_chat.request import PATH
from genai_spine.dialects.openai_chat.response import decode_finish_reason, decode_response, decode_usage
from genai_spine.dialects.openai_chat.stream import DONE, ends_whole, interrupted
from genai_spine.dialects.openai_errors import failure_in, told_inside
from genai_spine.dialects.sse import Frames, frame, is_comment, parse_frame
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.completion import FinishReason
from genai_spine.types.usage import Usage

__all__ = ["ChatWatch", "check_response", "read_envelope", "relay_request"]

_NULL: Final = b"null"
_STANDARD_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class _Turn(Struct):
    role: str


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    messages: list[_Turn]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    tools: list[dict[str, Raw]] | None = None
    reasoning_effort: str | None = None


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.messages:
        message = "messages: must hold at least one message"
        raise InvalidFieldError(message, param="messages")
    options = head.stream_options
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        stream=head.stream or False,
        tools=bool(head.tools),
        images=told_in(fields, "messages", b'"image_url"'),
        schema=told_in(fields, "response_format", b'"json_schema"'),
        max_tokens=_limit(head),
        effort=head.reasoning_effort,
        wants_usage=bool(options and options.include_usage),
    )


def _limit(head: _Head) -> int | None:
    """Return the limit of an answer: of both its names the weaker, for nobody knows by which one a service goes.

    One below 0 is none, and so do some services take it.
    """
    told = [limit for limit in (head.max_completion_tokens, head.max_tokens) if limit]
    return None if not told or min(told) < 0 else max(told)


def relay_request(envelope: Envelope, target: Target) -> Encoded:
    """Write the request as it came; see ``Dialect.relay_request``."""
    losses = Losses(target.provider)
    fields = losses.suited(envelope.fields, target.quirks)
    if envelope.stream and not envelope.wants_usage and target.quirks.stream_usage:
        told = fields.get("stream_options", Raw(_NULL))
        options = {} if bytes(told) == _NULL else request_object(told, "stream_options").rest()
        fields["stream_options"] = Raw(dump({**options, "include_usage": True}))
    return Encoded(PATH, splice(fields, target.model), {}, losses.warnings)


class _Delta(Struct):
    content: str | list[Raw] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Raw] | None = None


class _WatchedChoice(Struct):
    index: int | None = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    error: Raw | UnsetType = UNSET


class _WatchedChunk(Struct):
    object: str | None = None
    choices: list[_WatchedChoice] | None = None
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    x_groq: Raw | UnsetType = UNSET
    base_resp: Raw | UnsetType = UNSET


_chunk: Final = msgspec.json.Decoder(_WatchedChunk)


class ChatWatch(Watch):
    """Reads a stream of chunks that passes through."""

    def __init__(self, quirks: Quirks, *, wants_usage: bool) -> None:
        super().__init__()
        self._quirks = quirks
        self._wants_usage = wants_usage
        self._frames = Frames()
        self._open: set[int] = set()
        self._done: set[int] = set()
        self._calls = False

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            found = parse_frame(raw)
            if found is None:
                self._comment(raw)
                if is_comment(raw):
                    out.append(raw + b"\n\n")
            elif found.data.strip() == DONE:
                out.append(self._finish())
            elif found.event == "error":
                raise failure_in(found.data, self._quirks, certain=True) or interrupted()
            elif found.data:
                out.append(self._look(raw, found.data))

    @override
    def _end(self, out: list[bytes]) -> None:
        tail = self._frames.tail
        if ends_whole(tail):
            self._read(b"\n\n", out)
        if self.over:
            return
        if self._quirks.end_mark or not self._done or self._open:
            if not (self._done or self._open):
                self._comment(tail)
            raise interrupted()
        out.append(self._finish())

    def _comment(self, raw: bytes) -> None:
        """Look at what is no event: a failure may be told as bare JSON."""
        if (failure := failure_in(raw, self._quirks)) is not None:
            raise failure

    def _finish(self) -> bytes:
        if not (self._open or self._done):
            message = "the provider's stream ended without an answer"
            raise MalformedResponseError(message)
        if self._open:
            raise interrupted()
        self.over = True
        if self.finish_reason == "stop" and self._calls:
            self.finish_reason = "tool_calls"
        return frame(DONE)

    def _look(self, raw: bytes, data: bytes) -> bytes:
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"the provider's stream holds a chunk that is malformed: {error}"
            raise MalformedResponseError(message) from error
        if (
            chunk.error is not UNSET
            or chunk.x_groq is not UNSET
            or chunk.base_resp is not UNSET
            or chunk.object == "error"
        ):
            self._look_closely(data)
        if chunk.usage is not UNSET and bytes(chunk.usage) != _NULL:
            self._read_usage(chunk.usage)
            if not chunk.choices and not self._wants_usage:
                return b""
        for choice in chunk.choices or ():
            edited = self._choice(choice, data)
            if edited is not None:
                return edited
        return raw + b"\n\n"

    def _choice(self, choice: _WatchedChoice, data: bytes) -> bytes | None:
        number = choice.index or 0
        if (delta := choice.delta) is not None:
            text = delta.content or delta.reasoning_content or delta.reasoning or delta.refusal
            if text:
                self.content = True
                self.characters += len(text)
            if delta.tool_calls:
                self.content = self._calls = True
                self.characters += sum(map(len, map(bytes, delta.tool_calls))) // 2
        if choice.finish_reason is None:
            if number not in self._done:
                self._open.add(number)
                check_choices(self._open)
            return None
        if choice.error is not UNSET:
            self._look_closely(data)
        reason = decode_finish_reason(choice.finish_reason, self._quirks, with_calls=self._calls)
        self._open.discard(number)
        self._done.add(number)
        check_choices(self._done)
        if number == 0 and (choice.finish_reason or self.finish_reason is None):
            self.finish_reason = reason
        if choice.finish_reason in _STANDARD_REASONS:
            return None
        return frame(_with_reasons(data, self._quirks, with_calls=self._calls))

    def _look_closely(self, data: bytes) -> None:
        fields = response_object(data)
        for place in (fields, *fields.children("choices")):
            if (failure := told_inside(place, self._quirks)) is not None:
                raise failure
        if isinstance(own := fields.peek("x_groq"), dict) and isinstance(usage := own.get("usage"), dict):
            self.usage = decode_usage(Fields(usage, "x_groq.usage", fault=response_fault), self._quirks)

    def _read_usage(self, usage: Raw) -> None:
        self.usage = decode_usage(response_object(usage, "usage"), self._quirks)


def _with_reasons(data: bytes, quirks: Quirks, *, with_calls: bool) -> bytes:
    """Return the chunk or answer with a service's own finish reasons said in the dialect's words."""
    value = response_object(data).rest()
    if isinstance(choices := value.get("choices"), list):
        for choice in choices:
            if isinstance(choice, dict) and isinstance(told := choice.get("finish_reason"), str):
                choice["finish_reason"] = decode_finish_reason(told, quirks, with_calls=with_calls)
    return dump(value)


class _WatchedMessage(Struct):
    tool_calls: list[Raw] | None = None


class _WatchedAnswer(Struct):
    message: _WatchedMessage
    finish_reason: str | None = None
    error: Raw | UnsetType = UNSET


class _WatchedResponse(Struct):
    choices: list[_WatchedAnswer]
    object: str | None = None
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    base_resp: Raw | UnsetType = UNSET


_response: Final = msgspec.json.Decoder(_WatchedResponse)


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    found = glimpse(_response, body)
    if (
        found is None
        or not found.choices
        or found.error is not UNSET
        or found.base_resp is not UNSET
        or found.object == "error"
        or any(choice.error is not UNSET or choice.finish_reason is None for choice in found.choices)
    ):
        # Not what a good answer looks like: the full reader finds out what is wrong with it.
        whole = decode_response(body, quirks)
        return whole.usage, whole.finish_reason
    first = found.choices[0]
    reason = decode_finish_reason(first.finish_reason, quirks, with_calls=bool(first.message.tool_calls))
    usage = None
    if found.usage is not UNSET and bytes(found.usage) != _NULL:
        usage = decode_usage(response_object(found.usage, "usage"), quirks)
    return usage, reason
