"""OpenAI Responses passing through: the body with few fields changed, the answer read from the side.

What is decoded here is only what must be known; msgspec skips the rest, which is what makes passing through cheap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.fields import Fields, glimpse, response_fault, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_errors import failure_in, told_inside
from genai_spine.dialects.openai_responses.items import CALL_BODIES
from genai_spine.dialects.openai_responses.request import COUNT_PATH, INSTEAD_OF_INPUT, PATH, SAMPLING
from genai_spine.dialects.openai_responses.response import decode_finish, decode_response, decode_usage, failure_of
from genai_spine.dialects.openai_responses.stream import ENDS, interrupted, kind_of
from genai_spine.dialects.sse import Frames, is_comment, parse_frame
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.completion import FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = ["ResponsesWatch", "check_response", "read_envelope", "relay_count_request", "relay_request"]


class _Item(Struct):
    type: str | None = None
    role: str | None = None


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    input: str | list[_Item] | None = None
    model: str | None = None
    stream: bool | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[dict[str, Raw]] | None = None
    previous_response_id: str | None = None
    store: bool | None = None


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if (head.input is None or head.input == []) and not any(name in fields for name in INSTEAD_OF_INPUT):
        message = "input: is required and must be a string or an array of at least one item"
        raise InvalidFieldError(message, param="input")
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        stream=head.stream or False,
        tools=bool(head.tools),
        images=told_in(fields, "input", b'"input_image"'),
        schema=told_in(fields, "text", b'"json_schema"'),
        max_tokens=head.max_output_tokens,
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
    return Encoded(path, splice(fields, target.model), {}, losses.warnings)


_WRITTEN: Final = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
    }
)
"""Events that tell more of what the model writes."""
_HEADS: Final = frozenset(b"event: " + kind.encode() for kind in _WRITTEN)


class _Piece(Struct):
    delta: str


_piece: Final = msgspec.json.Decoder(_Piece)


class ResponsesWatch(Watch):
    """Reads a stream of events that passes through."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__()
        self._quirks = quirks
        self._frames = Frames()
        self._calls = False
        self._begun = False
        # Characters counted when the item under way began.
        self._before = 0

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            head, _, rest = raw.partition(b"\ndata: ")
            if head in _HEADS and b"\n" not in rest:
                # How nearly all of a stream comes.
                self._count(rest)
                out.append(raw + b"\n\n")
            elif self._look(raw):
                out.append(raw + b"\n\n")

    @override
    def _end(self, out: list[bytes]) -> None:
        failure = None if self._begun else failure_in(self._frames.tail, self._quirks)
        raise failure or interrupted()

    def _count(self, data: bytes) -> None:
        try:
            delta = _piece.decode(data).delta
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"the provider's stream holds an event that is malformed: {error}"
            raise MalformedResponseError(message) from error
        self._wrote(len(delta))

    def _wrote(self, length: int) -> None:
        if length:
            self.content = True
            self.characters += length

    def _look(self, raw: bytes) -> bool:
        """Look closely at a frame; return whether it goes on."""
        found = parse_frame(raw)
        if found is None:
            if (failure := failure_in(raw, self._quirks)) is not None:
                raise failure
            return is_comment(raw)
        if not found.data or found.data.strip() == b"[DONE]":
            return bool(found.data)
        fields = response_object(found.data)
        kind = kind_of(fields, found.event)
        if kind == "error":
            raise failure_in(found.data, self._quirks, certain=True) or interrupted()
        self._begun = True
        if kind in _WRITTEN:
            self._wrote(len(fields.text("delta") or ""))
        elif kind in ENDS:
            self._finish(kind, fields.need_child("response"))
        elif kind == "response.output_item.added":
            self._before = self.characters
            self._item(fields.need_child("item"))
        elif kind == "response.output_item.done":
            self._item_done(fields.need_child("item"))
        elif (failure := told_inside(fields, self._quirks)) is not None:
            raise failure
        return True

    def _item(self, item: Fields) -> None:
        if (kind := item.text("type")) in CALL_BODIES:
            self._calls = True
            if kind == "function_call":
                # A call without arguments is something too.
                self.content = True

    def _item_done(self, item: Fields) -> None:
        """Count what a service has not told in pieces."""
        self._wrote(max(0, _length(item) - self.characters + self._before))
        self._item(item)
        self._before = self.characters

    def _finish(self, kind: str, response: Fields) -> None:
        if (failure := failure_of(response, self._quirks)) is not None:
            raise failure
        for item in response.children("output"):
            if not self.content:
                self._wrote(_length(item))
            self._item(item)
        self.finish_reason, _ = decode_finish(response, self._quirks, with_calls=self._calls, default=ENDS[kind])
        if (usage := response.child("usage")) is not None:
            self.usage = decode_usage(usage)
        self.over = True


def _length(item: Fields) -> int:
    """How many characters of a model's own an item holds."""
    found: list[Json] = [item.peek("arguments"), item.peek("input")]
    for name in ("content", "summary"):
        pieces = item.peek(name)
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                found += [piece.get("text"), piece.get("refusal")]
    return sum(len(text) for text in found if isinstance(text, str))


class _WatchedItem(Struct):
    type: str = ""


class _WatchedDetails(Struct):
    reason: str | None = None


class _WatchedResponse(Struct):
    output: list[_WatchedItem] = field(default_factory=list)
    status: str | None = None
    object: str | None = None
    incomplete_details: _WatchedDetails | None = None
    usage: Raw | UnsetType = UNSET
    error: Raw | None = None
    base_resp: Raw | UnsetType = UNSET


_NULL: Final = b"null"
_response: Final = msgspec.json.Decoder(_WatchedResponse)


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    found = glimpse(_response, body)
    if (
        found is None
        or found.error is not None
        or found.base_resp is not UNSET
        or found.object == "error"
        or found.status not in {"completed", "incomplete"}
    ):
        # Not what a good answer looks like: the full reader finds out what is wrong with it.
        whole = decode_response(body, quirks)
        return whole.usage, whole.finish_reason
    details: JsonObject | None = None
    if found.incomplete_details is not None:
        details = {"reason": found.incomplete_details.reason}
    calls = any(item.type in CALL_BODIES for item in found.output)
    outcome: JsonObject = {"status": found.status, "incomplete_details": details}
    reason, _ = decode_finish(Fields(outcome, fault=response_fault), quirks, with_calls=calls)
    usage = None
    if found.usage is not UNSET and bytes(found.usage) != _NULL:
        usage = decode_usage(response_object(found.usage, "usage"))
    return usage, reason
