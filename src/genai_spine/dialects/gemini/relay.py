"""Gemini passing through: the body with few fields changed, the answer read from the side.

What is decoded here is only what must be known; msgspec skips the rest, which is what makes passing through cheap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.fields import glimpse, response_object
from genai_spine.dialects.gemini.answer import decode_finish_reason, is_blocked
from genai_spine.dialects.gemini.errors import failure_in, interrupted
from genai_spine.dialects.gemini.framing import cut
from genai_spine.dialects.gemini.response import decode_response, read_piece
from genai_spine.dialects.gemini.stream import ends_whole
from genai_spine.dialects.gemini.usage import decode_usage
from genai_spine.dialects.gemini.wire import CAMEL, COUNT, GENERATE, STREAM, method_path
from genai_spine.dialects.limits import check_choices
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.sse import Frames
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.completion import FinishReason
from genai_spine.types.usage import Usage

__all__ = [
    "CONFIGS",
    "GeminiWatch",
    "check_response",
    "read_count_envelope",
    "read_envelope",
    "relay_count_request",
    "relay_request",
]


class _Content(Struct):
    role: str | None = None
    parts: list[dict[str, Raw]] | dict[str, Raw] | None = None


class _Config(Struct, rename="camel"):
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: float | None = None  # an integer, which may be written as 3.0
    candidate_count: float | None = None


class _Head(Struct, rename="camel"):
    """The fields of a request whose types are checked before anything is sent."""

    contents: list[_Content] | _Content | None = None
    model: str | None = None
    generation_config: _Config | None = None
    tools: list[dict[str, Raw]] | dict[str, Raw] | None = None


_head: Final = msgspec.json.Decoder(_Head)
CONFIGS: Final = ("generationConfig", "generation_config")
# With what parts the name from the value: alone, the quotation mark of a text that speaks of it would do.
_PICTURE: Final = (b':"image/', b': "image/')
_SCHEMAS: Final = tuple(
    b'"%b"' % name for name in (b"responseSchema", b"responseJsonSchema", b"response_schema", b"response_json_schema")
)
_WRAPPERS: Final = ("generateContentRequest", "generate_content_request")


def read_envelope(body: bytes, headers: Headers, *, model: str | None = None, stream: bool = False) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``. Model and stream are told by the path."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.contents:
        message = "contents: is required and must hold at least one content"
        raise InvalidFieldError(message, param="contents")
    config = next((name for name in CONFIGS if name in fields), "")
    most = head.generation_config.max_output_tokens if head.generation_config else None
    return Envelope(
        fields=fields,
        model=model or head.model,
        wishes=read_wishes(fields, headers),
        stream=stream,
        tools=bool(head.tools),
        images=told_in(fields, "contents", *_PICTURE),
        schema=told_in(fields, config, *_SCHEMAS),
        max_tokens=None if most is None else int(most),
        # Usage is part of every stream.
        wants_usage=True,
    )


def read_count_envelope(body: bytes, headers: Headers, *, model: str | None = None) -> Envelope:
    """Read a question for a count of tokens: the request to count may stand in it, or be it."""
    fields = read_fields(body)
    wrapped = next((fields[name] for name in _WRAPPERS if name in fields), None)
    return read_envelope(body if wrapped is None else bytes(wrapped), headers, model=model)


def relay_request(envelope: Envelope, target: Target) -> Encoded:
    """Write the request as it came; see ``Dialect.relay_request``."""
    losses = Losses(target.provider)
    fields = _changed(envelope, target, losses)
    method = STREAM if envelope.stream else GENERATE
    return Encoded(method_path(target.model, method), splice(fields, None), {}, losses.warnings)


def relay_count_request(envelope: Envelope, target: Target) -> Encoded:
    """Write the question for a count of tokens as it came."""
    losses = Losses(target.provider)
    fields = _changed(envelope, target, losses)
    body = splice(fields, None)
    if set(read_fields(body)) != {"contents"}:
        name = target.model if "/" in target.model else f"models/{target.model}"
        body = msgspec.json.encode({"generateContentRequest": Raw(splice(fields, name))})
    return Encoded(method_path(target.model, COUNT), body, {}, losses.warnings)


def _changed(envelope: Envelope, target: Target, losses: Losses) -> dict[str, Raw]:
    quirks = target.quirks
    # Callers may spell a field in another way than the row does.
    told = {*quirks.drop, *quirks.rename}
    spelt = {name: CAMEL.get(name, name) for name in envelope.fields}
    fields = {spelt[name] if spelt[name] in told else name: value for name, value in envelope.fields.items()}
    return losses.suited(fields, quirks)


class _WatchedPart(Struct, rename="camel"):
    text: str | None = None
    function_call: Raw | UnsetType = UNSET


class _WatchedContent(Struct):
    parts: list[_WatchedPart] | None = None


class _WatchedCandidate(Struct, rename="camel"):
    index: int | None = None
    content: _WatchedContent | None = None
    finish_reason: str | None = None


class _WatchedAnswer(Struct, rename="camel"):
    candidates: list[_WatchedCandidate] | None = None
    usage_metadata: Raw | UnsetType = UNSET
    prompt_feedback: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_answer: Final = msgspec.json.Decoder(_WatchedAnswer)
_NULL: Final = b"null"
_UNSPECIFIED: Final = "FINISH_REASON_UNSPECIFIED"


def _usage(found: _WatchedAnswer) -> Usage | None:
    if found.usage_metadata is UNSET or bytes(found.usage_metadata) == _NULL:
        return None
    return decode_usage(response_object(found.usage_metadata, "usageMetadata"))


class _Seen:
    """What has been seen of an answer's candidates."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._told: dict[int, str | None] = {}
        self._calls: set[int] = set()
        self.blocked = False

    def look(self, found: _WatchedAnswer) -> int:
        """Look at an answer or a piece of one; return the length of what the model wrote in it."""
        if found.prompt_feedback is not UNSET and bytes(found.prompt_feedback) != _NULL:
            feedback = response_object(found.prompt_feedback, "promptFeedback").rest()
            self.blocked = self.blocked or is_blocked({"promptFeedback": feedback})
        written = 0
        for position, one in enumerate(found.candidates or ()):
            number = position if one.index is None else one.index
            self._told.setdefault(number, None)
            check_choices(self._told)
            for part in (one.content.parts if one.content else None) or ():
                written += len(part.text or "")
                if part.function_call is not UNSET and bytes(part.function_call) != _NULL:
                    self._calls.add(number)
                    written += -(-len(bytes(part.function_call)) // 2)
            if one.finish_reason is not None and one.finish_reason != _UNSPECIFIED:
                decode_finish_reason(one.finish_reason, self._quirks, with_calls=False)
                self._told[number] = one.finish_reason
        return written

    @property
    def is_whole(self) -> bool:
        """Whether all that has begun has ended."""
        return self.blocked or (bool(self._told) and None not in self._told.values())

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first candidate ended, once all is whole."""
        number = min(self._told, default=0)
        told = self._told.get(number)
        if told is None:
            return "content_filter"
        return decode_finish_reason(told, self._quirks, with_calls=number in self._calls)


class GeminiWatch(Watch):
    """Reads a stream of server-sent events that passes through."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__()
        self._quirks = quirks
        self._frames = Frames()
        self._seen = _Seen(quirks)

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for raw in self._frames.feed(data):
            piece = cut(raw)
            if piece.data.strip():
                self._look(piece.data.strip())
                # Only the event: comments and bare lines are JSON to the official client, and broken.
                out.append(raw + b"\n\n" if raw.startswith(b"data: ") and b"\n" not in raw else _event(piece.data))
            if piece.bare and (failure := failure_in(piece.bare, self._quirks)) is not None:
                raise failure

    @override
    def _end(self, out: list[bytes]) -> None:
        if ends_whole(self._frames.tail):
            self._read(b"\n\n", out)
        if self._frames.tail.strip() or not self._seen.is_whole:
            raise interrupted()
        self.over = True
        self.finish_reason = self._seen.finish_reason

    def _look(self, data: bytes) -> None:
        try:
            found = _answer.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # An array tells of a failure; the rest is none of the dialect's.
            read_piece(data, self._quirks)
            message = f"the provider's stream holds a piece that is malformed: {error}"
            raise MalformedResponseError(message) from error
        if found.error is not UNSET:
            read_piece(data, self._quirks)
        if written := self._seen.look(found):
            self.content = True
            self.characters += written
        if self._seen.is_whole:
            self.finish_reason = self._seen.finish_reason
        self.usage = _usage(found) or self.usage


def _event(data: bytes) -> bytes:
    return b"".join([b"data: %b\n" % line for line in data.split(b"\n")]) + b"\n"


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    found = glimpse(_answer, body)
    seen = _Seen(quirks)
    if found is not None and found.error is UNSET:
        seen.look(found)
    if found is None or not seen.is_whole:
        # Not what a good answer looks like: the full reader finds out what is wrong with it.
        whole = decode_response(body, quirks)
        return whole.usage, whole.finish_reason
    return _usage(found), seen.finish_reason
