"""Gemini: streams, read and written.

A stream has no end mark: it is whole once each candidate has told why it ended. What is written therefore tells that
in the very last piece.
"""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from genai_spine.dialects.base import Quirks, Reply, StreamDecoder, StreamEncoder
from genai_spine.dialects.fields import dump
from genai_spine.dialects.gemini.answer import AnswerReader, is_blocked
from genai_spine.dialects.gemini.errors import error_body, failure_in, interrupted
from genai_spine.dialects.gemini.framing import cut
from genai_spine.dialects.gemini.response import answer_part, body_of, candidate, finished, read_piece
from genai_spine.dialects.gemini.wire import NAME, merge
from genai_spine.dialects.sse import Frames, frame
from genai_spine.errors import MalformedResponseError, SpineError
from genai_spine.types.completion import Choice
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Part, Text, Thinking, ToolCall
from genai_spine.types.stream import (
    Event,
    Extension,
    Failed,
    Finish,
    PartEnd,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
)
from genai_spine.types.usage import Usage

__all__ = ["GeminiDecoder", "GeminiEncoder", "encode_stream_error", "ends_whole"]


def ends_whole(tail: bytes) -> bool:
    """Whether a stream that has ended lacks no more than the blank line after its last frame."""
    piece = cut(tail.strip())
    if piece.bare:
        return failure_in(piece.bare, Quirks()) is not None
    if not piece.data:
        # Nothing, or a comment.
        return True
    try:
        read_piece(piece.data, Quirks())
    except MalformedResponseError:
        return False
    except SpineError:
        return True
    return True


class GeminiDecoder(StreamDecoder):
    """Reads a stream of server-sent events."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._frames = Frames()
        self._reader = AnswerReader(quirks)
        self.over = False

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for raw in self._frames.feed(data):
            self._frame(raw, events)

    def _frame(self, raw: bytes, events: list[Event]) -> None:
        piece = cut(raw)
        if piece.data.strip():
            self._reader.read(read_piece(piece.data.strip(), self._quirks), events)
        if piece.bare and (failure := failure_in(piece.bare, self._quirks)) is not None:
            raise failure

    @override
    def _end(self, events: list[Event]) -> None:
        if ends_whole(self._frames.tail):
            self._read(b"\n\n", events)
        if self._frames.tail.strip() or not self._reader.is_whole:
            raise interrupted()
        self._reader.end(events)


class _Open:
    """A part that is written once it is whole."""

    def __init__(self, start: PartStart) -> None:
        self.start = start
        self.texts: list[str] = []
        self.signature: str | None = None
        self.logprobs: list[Json] = []

    def build(self) -> Part:
        start, text = self.start, "".join(self.texts)
        if start.part == "tool_call":
            return ToolCall(id=start.id, name=start.name, arguments=text, extras=start.extras)
        if start.part == "thinking":
            return Thinking(text=text, signature=self.signature, extras=start.extras)
        return Text(text=text, extras=start.extras)


_ARRAY_ENDS: Final = b"]\n"


class GeminiEncoder(StreamEncoder):
    """Writes a stream of server-sent events, or with ``array`` the elements of one JSON array."""

    def __init__(self, reply: Reply, *, array: bool = False) -> None:
        self._reply = reply
        self._array = array
        self._begun = False
        self._own = False
        self._head: JsonObject = {}
        self._extras: JsonObject = {}
        self._open: dict[tuple[int, int], _Open] = {}
        self._written: set[int] = set()
        self._finishes: dict[int, Finish] = {}
        self._usage: Usage | None = None

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case ThinkingDelta():
                return self._thinking(event)
            case ToolArguments():
                self._open[event.choice, event.index].texts.append(event.text)
                return b""
            case PartStart():
                return self._part_start(event)
            case PartEnd():
                return self._part_end(event)
            case Finish():
                self._finishes[event.choice] = event
                return b""
            case UsageTold():
                self._usage = event.usage
                return b""
            case Start():
                self._start(event)
                return b""
            case Extension():
                if self._own:
                    # From here on it stands in each piece, so that none takes it back.
                    self._extras = self._extras | event.data
                return b""
            case Failed():
                return self._error(event.error)

    @override
    def end(self) -> bytes:
        own = self._own
        numbers = sorted(self._written | self._finishes.keys()) or [0]
        candidates: list[Json] = []
        for number in numbers:
            told = self._finishes.get(number, Finish(reason="error"))
            written = candidate(number, [])
            merge(written, finished(Choice(finish_reason=told.reason, extras=told.extras), own=own))
            candidates.append(written)
        if own and is_blocked(self._extras) and not self._written and self._is_bare():
            candidates = []
        return self._piece(candidates, self._usage) + (_ARRAY_ENDS if self._array else b"")

    def _is_bare(self) -> bool:
        return [*self._finishes.values()] == [Finish(reason="content_filter")]

    def _start(self, event: Start) -> None:
        self._own = event.dialect == NAME
        self._head = {
            "modelVersion": event.model or self._reply.model,
            "responseId": event.id or self._reply.request_id,
        }
        self._extras = event.extras if self._own else {}

    def _part_start(self, event: PartStart) -> bytes:
        key = (event.choice, event.index)
        if event.part == "opaque":
            part = answer_part(event.data, own=self._own) if event.data is not None else None
            return b"" if part is None else self._part(event.choice, part)
        if event.part == "tool_call" or (self._own and event.extras):
            self._open[key] = _Open(event)
        return b""

    def _text(self, event: TextDelta) -> bytes:
        if (part := self._open.get((event.choice, event.index))) is not None:
            part.texts.append(event.text)
            part.logprobs += event.logprobs or []
            return b""
        if not event.text and not event.logprobs:
            return b""
        return self._part(event.choice, {"text": event.text}, event.logprobs)

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if (part := self._open.get((event.choice, event.index))) is not None:
            part.texts.append(event.text)
            part.signature = event.signature or part.signature
            return b""
        told = answer_part(Thinking(text=event.text, signature=event.signature), own=self._own)
        return b"" if told is None else self._part(event.choice, told)

    def _part_end(self, event: PartEnd) -> bytes:
        """Write what was held back: calls are told whole, and what stands beside words stands beside all of them."""
        held = self._open.pop((event.choice, event.index), None)
        part = None if held is None else answer_part(held.build(), own=self._own)
        return b"" if held is None or part is None else self._part(event.choice, part, held.logprobs)

    def _part(self, choice: int, part: JsonObject, logprobs: list[Json] | None = None) -> bytes:
        self._written.add(choice)
        return self._piece([candidate(choice, [part], logprobs)])

    def _piece(self, candidates: list[Json], usage: Usage | None = None) -> bytes:
        if not self._head:
            self._start(Start())
        return self._framed(dump(body_of(candidates, usage, {**self._head, **self._extras}, own=self._own)))

    def _error(self, error: SpineError) -> bytes:
        written = self._framed(error_body(error, self._reply.request_id))
        return written + _ARRAY_ENDS if self._array else written

    def _framed(self, body: bytes) -> bytes:
        if not self._array:
            return frame(body)
        begun, self._begun = self._begun, True
        return b"%b%b\n" % (b"," if begun else b"[", body)


def encode_stream_error(error: SpineError, request_id: str, *, array: bool = False) -> bytes:
    """Write an error inside a stream that has begun: the official client raises on it."""
    body = error_body(error, request_id)
    return b",%b\n%b" % (body, _ARRAY_ENDS) if array else frame(body)
