"""OpenAI Chat Completions: streams, read and written."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from genai_spine.dialects.assembly import PartAssembler
from genai_spine.dialects.base import Quirks, Reply, StreamDecoder, StreamEncoder
from genai_spine.dialects.fields import Fields, dump, response_fault, response_object
from genai_spine.dialects.limits import News, check_choices
from genai_spine.dialects.openai_chat.gathering import Gathered
from genai_spine.dialects.openai_chat.request import decode_arguments, thinking_text
from genai_spine.dialects.openai_chat.response import (
    decode_finish_reason,
    decode_logprobs,
    decode_usage,
    encode_finish_reason,
    encode_usage,
    reasoning_field,
    split_choice_extras,
)
from genai_spine.dialects.openai_chat.turns import NAME, REASONING_FIELDS, combined
from genai_spine.dialects.openai_errors import error_object, failure_in, told_inside
from genai_spine.dialects.sse import Frames, frame, parse_frame
from genai_spine.errors import MalformedResponseError, SpineError, StreamInterruptedError
from genai_spine.types.completion import FinishReason
from genai_spine.types.json import Json, JsonObject
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

__all__ = ["DONE", "ChatDecoder", "ChatEncoder", "encode_stream_error", "ends_whole", "interrupted"]

DONE: Final = b"[DONE]"
# Random padding that hides the length of tokens from onlookers; it says nothing.
_PADDING: Final = "obfuscation"


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")


def ends_whole(tail: bytes) -> bool:
    """Whether a stream that has ended lacks no more than the blank line after its last frame."""
    found = parse_frame(tail.strip())
    if found is None or found.data == DONE:
        return found is not None
    try:
        response_object(found.data)
    except MalformedResponseError:
        return False
    return True


class _Choice:
    """What the decoder remembers of one choice."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.parts = PartAssembler(number)
        self.calls: dict[int | str, int] = {}
        self.call_ids: list[str] = []
        self.extras = Gathered()
        self.inner = Gathered()
        self.reason: FinishReason | None = None


class ChatDecoder(StreamDecoder):
    """Reads a stream of chunks."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._frames = Frames()
        self._choices: dict[int, _Choice] = {}
        self._id = ""
        self._started = False
        self._news = News()
        self._usage: Usage | None = None
        self.over = False

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            self._frame(raw, events)

    @override
    def _end(self, events: list[Event]) -> None:
        tail = self._frames.tail
        if ends_whole(tail):
            self._read(b"\n\n", events)
        if self.over:
            return
        if self._quirks.end_mark or not self._choices:
            failure = None if self._choices else failure_in(tail, self._quirks)
            raise failure or interrupted()
        self._finish(events)

    def _frame(self, raw: bytes, events: list[Event]) -> None:
        found = parse_frame(raw)
        if found is None:
            # A comment; or a failure told as bare JSON, as by a service that had not begun to stream.
            if (failure := failure_in(raw, self._quirks)) is not None:
                raise failure
        elif found.data.strip() == DONE:
            self._finish(events)
        elif found.event == "error":
            raise failure_in(found.data, self._quirks, certain=True) or interrupted()
        elif found.data:
            self._chunk(response_object(found.data), events)

    def _finish(self, events: list[Event]) -> None:
        """The answer is whole: add its last events."""
        if not self._choices:
            message = "the provider's stream ended without an answer"
            raise MalformedResponseError(message)
        if any(choice.reason is None for choice in self._choices.values()):
            raise interrupted()
        self.over = True
        for number, choice in self._choices.items():
            events += choice.parts.finish()
            reason = choice.reason or "error"
            if reason == "stop" and choice.parts.has_calls:
                reason = "tool_calls"
            extras, inner = choice.extras.whole(), choice.inner.whole()
            if inner:
                extras["message"] = inner
            events.append(Finish(reason=reason, choice=number, extras=extras))

    def _chunk(self, fields: Fields, events: list[Event]) -> None:
        if (failure := told_inside(fields, self._quirks)) is not None:
            raise failure
        fields.take("object")
        fields.take(_PADDING)
        self._id = fields.text("id") or self._id
        model, created = fields.text("model"), fields.integer("created")
        choices = list(fields.children("choices"))
        usage = fields.child("usage")
        if usage is None and isinstance(own := fields.peek("x_groq"), dict) and isinstance(own.get("usage"), dict):
            usage = Fields(own["usage"], "x_groq.usage", fault=response_fault)
        self._told_extras(fields.rest(), events)
        if (choices or usage is not None) and not self._started:
            self._started = True
            extras = dict(self._news.fields)
            events.append(Start(id=self._id, model=model or "", created=created or 0, dialect=NAME, extras=extras))
        for choice in choices:
            self._choice(choice, events)
        if usage is not None and (told := decode_usage(usage, self._quirks)) != self._usage:
            self._usage = told
            events.append(UsageTold(usage=told))

    def _told_extras(self, extras: JsonObject, events: list[Event]) -> None:
        """Most chunks repeat the same fields: only news is told, and what comes before the start goes with it."""
        if (news := self._news.add(extras)) and self._started:
            events.append(Extension(data=news))

    def _choice(self, fields: Fields, events: list[Event]) -> None:
        number = fields.integer("index") or 0
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Choice(number)
            check_choices(self._choices)
        logprobs = decode_logprobs(fields)
        if (delta := fields.child("delta")) is not None:
            self._delta(choice, delta, logprobs, events)
        told = fields.text("finish_reason")
        fields.take("message")  # Perplexity repeats the whole answer so far beside each delta
        if (failure := told_inside(fields, self._quirks)) is not None:
            raise failure
        choice.extras.add(fields.told())
        if told is not None and (told or choice.reason is None):
            # It is passed on at the end: some services tell it more than once, or go on writing after it.
            choice.reason = decode_finish_reason(told, self._quirks, with_calls=choice.parts.has_calls)

    def _delta(self, choice: _Choice, fields: Fields, logprobs: list[Json] | None, events: list[Event]) -> None:
        fields.take("role")
        thought = False
        for name in REASONING_FIELDS:
            if isinstance(fields.peek(name), str):
                thoughts = fields.text(name)
                if thoughts and not thought:
                    thought = True
                    events += choice.parts.words("thinking", thoughts, wire_field=name)
        content = fields.peek("content")
        if isinstance(content, list):
            for piece in fields.children("content"):
                _content_piece(choice, piece, events)
        elif (text := fields.text("content")) or (text is not None and logprobs):
            # A token of half a character has logprobs, but no text.
            events += choice.parts.words("text", text or "", logprobs=logprobs)
        if text := fields.text("refusal"):
            events += choice.parts.words("refusal", text)
        for call in fields.children("tool_calls"):
            self._call(choice, call, events)
        choice.inner.add(fields.told())

    def _call(self, choice: _Choice, fields: Fields, events: list[Event]) -> None:
        index, call_id, kind = fields.integer("index"), fields.text("id"), fields.text("type")
        custom = kind == "custom" or "custom" in fields
        inner = fields.child("custom" if custom else "function")
        name = None if inner is None else inner.text("name")
        text = "" if inner is None else (inner.text("input") or "") if custom else decode_arguments(inner)
        number = _known_call(choice, index, call_id, name)
        if number is None:
            if not name:
                message = "the provider sent a tool call without a name"
                raise MalformedResponseError(message)
            count = choice.parts.call_count
            call_id = call_id or (f"call_{self._id}_{count}" if self._id else f"call_{count}")
            extras = fields.told()
            if inner is not None and (left := inner.told()):
                extras["custom" if custom else "function"] = left
            number, opened = choice.parts.open_call(call_id, name, custom=custom, extras=extras)
            choice.calls[call_id if index is None else index] = number
            choice.call_ids.append(call_id)
            events += opened
        if text:
            events += choice.parts.arguments(number, text)


def _known_call(choice: _Choice, index: int | None, call_id: str | None, name: str | None) -> int | None:
    """Return which of the calls so far a delta goes on with; None for a new one.

    Calls go by index. Of services that give none, or the same for all, a delta with another id is a new call, and so
    is one with a name where the call before is complete.
    """
    if index is not None:
        number = choice.calls.get(index)
    elif call_id:
        number = choice.calls.get(call_id)
    elif name:
        number = None
    else:
        number = len(choice.call_ids) - 1 if choice.call_ids else None
    if number is None or not name:
        return number
    if call_id and choice.call_ids[number] != call_id:
        return None
    return None if not call_id and choice.parts.is_whole(number) else number


def _content_piece(choice: _Choice, fields: Fields, events: list[Event]) -> None:
    """Mistral's deltas may hold lists: words and thinking in turn."""
    if fields.peek("type") == "thinking":
        if thoughts := thinking_text(fields):
            events += choice.parts.words("thinking", thoughts, wire_field=reasoning_field(None))
    elif text := fields.text("text"):
        events += choice.parts.words("text", text)


class ChatEncoder(StreamEncoder):
    """Writes a stream of chunks."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._head: JsonObject = {}
        self._extras: JsonObject = {}
        self._greeted: set[int] = set()
        self._calls: dict[tuple[int, int], int] = {}
        self._counts: dict[int, int] = {}
        self._custom: set[tuple[int, int]] = set()
        self._fields: dict[tuple[int, int], str] = {}
        self._usage: Usage | None = None
        self._own = False

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case ToolArguments():
                return self._arguments(event.choice, event.index, event.text)
            case ThinkingDelta():
                if not event.text:
                    return b""
                return self._delta(event.choice, {self._fields[event.choice, event.index]: event.text})
            case PartStart():
                return self._part_start(event)
            case PartEnd():
                return b""
            case Finish():
                return self._finish(event)
            case UsageTold():
                self._usage = event.usage
                return b""
            case Start():
                self._start(event)
                return b""
            case Extension():
                return self._extension(event)
            case Failed():
                return encode_stream_error(event.error, self._reply.request_id)

    @override
    def end(self) -> bytes:
        last = b""
        if self._usage is not None and self._reply.wants_usage:
            last = self._chunk([], {"usage": encode_usage(self._usage, own=self._own)})
        return last + frame(DONE)

    def _start(self, event: Start) -> None:
        self._head = {
            "id": event.id or f"chatcmpl-{self._reply.request_id}",
            "object": "chat.completion.chunk",
            "created": event.created or self._reply.now,
            "model": event.model or self._reply.model,
        }
        self._own = event.dialect == NAME
        self._extras = event.extras if self._own else {}

    def _extension(self, event: Extension) -> bytes:
        if not self._own:
            return b""
        # From here on it stands in each chunk, so that none takes it back.
        self._extras = self._extras | event.data
        return self._chunk([])

    def _text(self, event: TextDelta) -> bytes:
        logprobs: Json = None if not event.logprobs else {"content": event.logprobs, "refusal": None}
        if not event.text and logprobs is None:
            return b""
        field = self._fields.get((event.choice, event.index), "content")
        return self._delta(event.choice, {field: event.text}, logprobs)

    def _part_start(self, event: PartStart) -> bytes:
        key = (event.choice, event.index)
        if event.part == "thinking":
            self._fields[key] = reasoning_field(event.wire_field)
        elif event.part == "refusal":
            self._fields[key] = "refusal"
        elif event.part == "tool_call":
            number = self._counts.get(event.choice, 0)
            self._counts[event.choice] = number + 1
            self._calls[key] = number
            if event.custom:
                self._custom.add(key)
            kind, body = ("custom", "input") if event.custom else ("function", "arguments")
            call: JsonObject = {"index": number, "id": event.id, "type": kind, kind: {"name": event.name, body: ""}}
            return self._delta(event.choice, {"tool_calls": [combined(call, event.extras) if self._own else call]})
        return b""

    def _arguments(self, choice: int, index: int, text: str) -> bytes:
        kind, body = ("custom", "input") if (choice, index) in self._custom else ("function", "arguments")
        call: JsonObject = {"index": self._calls[choice, index], kind: {body: text}}
        return self._delta(choice, {"tool_calls": [call]})

    def _finish(self, event: Finish) -> bytes:
        outer, inner = split_choice_extras(event.extras, own=self._own)
        delta: JsonObject = inner if event.choice in self._greeted else {"role": "assistant", "content": "", **inner}
        return self._chunk(
            [
                {
                    "index": event.choice,
                    "delta": delta,
                    "logprobs": None,
                    "finish_reason": encode_finish_reason(event.reason),
                    **outer,
                }
            ]
        )

    def _delta(self, choice: int, delta: JsonObject, logprobs: Json = None) -> bytes:
        if choice not in self._greeted:
            self._greeted.add(choice)
            greeting: JsonObject = {"role": "assistant", "content": ""}
            delta = greeting | delta
        return self._chunk([{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": None}])

    def _chunk(self, choices: list[Json], more: JsonObject | None = None) -> bytes:
        if not self._head:
            self._start(Start())
        chunk: JsonObject = {**self._head, "choices": choices, **self._extras}
        if self._reply.wants_usage:
            chunk["usage"] = None
        return frame(dump(chunk | more if more else chunk))


def encode_stream_error(error: SpineError, request_id: str) -> bytes:
    """Write an error inside a stream: the official client raises on it, and no finish reason follows."""
    return frame(dump(error_object(error, request_id)))
