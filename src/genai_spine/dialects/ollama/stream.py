"""Ollama: streams, read and written."""

from __future__ import annotations

import msgspec
from typing_extensions import override

from genai_spine.dialects.assembly import PartAssembler
from genai_spine.dialects.base import Quirks, Reply, StreamDecoder, StreamEncoder
from genai_spine.dialects.fields import Fields, dump, load, response_object
from genai_spine.dialects.limits import Held, News
from genai_spine.dialects.ndjson import Lines
from genai_spine.dialects.ollama.errors import encode_stream_error, interrupted, told_inside
from genai_spine.dialects.ollama.request import NAME
from genai_spine.dialects.ollama.response import (
    Shape,
    chat_shape,
    decode_finish_reason,
    decode_time,
    decode_usage,
    encode_finish_reason,
    encode_time,
    encode_usage,
    inner_extras,
    with_id,
)
from genai_spine.dialects.ollama.turns import call_object, decode_call
from genai_spine.types.completion import FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import ToolCall
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

__all__ = ["OllamaDecoder", "OllamaEncoder", "last_line"]


def last_line(tail: bytes) -> bytes | None:
    """Return a stream's last line that came without its newline; None if there is none, or it was cut."""
    line = tail.strip()
    try:
        load(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return line


class OllamaDecoder(StreamDecoder):
    """Reads a stream of lines."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._lines = Lines()
        self._parts = PartAssembler()
        self._created = 0
        self._started = False
        self._in_text = False
        self._logprobs: list[Json] = []
        self._news = News()
        self._inner: JsonObject = {}
        self._held = Held()
        self.over = False

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for line in self._lines.feed(data):
            if self.over:
                break
            self._line(response_object(line), events)

    @override
    def _end(self, events: list[Event]) -> None:
        if last_line(self._lines.tail) is not None:
            self._read(b"\n", events)
        if not self.over:
            raise interrupted()

    def _line(self, fields: Fields, events: list[Event]) -> None:
        if (failure := told_inside(fields, self._quirks)) is not None:
            raise failure
        model, created = fields.text("model"), decode_time(fields.text("created_at"))
        message = fields.child("message")
        logprobs = fields.items("logprobs") or []
        done, reason = fields.flag("done") or False, fields.text("done_reason")
        usage = decode_usage(fields) if done else None
        # Lines may repeat what the first one said: only news is told. What the last line says follows the finish.
        news = self._news.add(fields.rest())
        if not self._started:
            self._started = True
            self._created = created
            first = {} if done else news
            events.append(Start(model=model or "", created=created, dialect=NAME, extras=dict(first)))
            news = news if done else {}
        if message is not None:
            self._message(message, logprobs, events)
        if done:
            with_calls = self._parts.has_calls
            events += self._parts.finish()
            finish = decode_finish_reason(reason, self._quirks, with_calls=with_calls)
            if usage is not None:
                events.append(UsageTold(usage=usage))
            self.over = True
            events.append(Finish(reason=finish, extras={"message": self._inner} if self._inner else {}))
        if news:
            events.append(Extension(data=news))

    def _message(self, fields: Fields, logprobs: list[Json], events: list[Event]) -> None:
        fields.take("role")
        if thinking := fields.text("thinking"):
            self._in_text = False
            events += self._parts.words("thinking", thinking)
        if logprobs:
            self._held.add(logprobs)
            self._logprobs += logprobs
        text = fields.text("content")
        if text or (self._in_text and self._logprobs):
            # Those of tokens that show no words wait for words, for they travel with them.
            self._in_text = True
            told, self._logprobs = self._logprobs, []
            events += self._parts.words("text", text or "", logprobs=told or None)
        for call in fields.children("tool_calls"):
            self._in_text = False
            self._call(call, events)
        if inner := fields.told():
            self._held.add(inner)
            self._inner |= inner

    def _call(self, fields: Fields, events: list[Event]) -> None:
        call = with_id(decode_call(fields), self._created, self._parts.call_count)
        number, opened = self._parts.open_call(call.id, call.name, extras=call.extras)
        # A call comes whole: nothing more can come of it.
        events += opened
        events += self._parts.arguments(number, call.arguments)
        events += self._parts.finish()


class OllamaEncoder(StreamEncoder):
    """Writes a stream of lines; ``shape`` puts what each says where the route has it."""

    def __init__(self, reply: Reply, shape: Shape = chat_shape) -> None:
        self._reply = reply
        self._shape = shape
        self._head: JsonObject = {}
        self._own = False
        self._extras: JsonObject = {}
        self._calls: dict[int, PartStart] = {}
        self._arguments: dict[int, list[str]] = {}
        self._count = 0
        self._reason: FinishReason | None = None
        self._inner: JsonObject = {}
        self._usage: Usage | None = None

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case ThinkingDelta():
                return self._line({"thinking": event.text}) if event.text and not event.choice else b""
            case ToolArguments():
                if not event.choice:
                    self._arguments[event.index].append(event.text)
                return b""
            case PartStart():
                if event.part == "tool_call" and not event.choice:
                    self._calls[event.index] = event
                    self._arguments[event.index] = []
                return b""
            case PartEnd():
                return self._part_end(event)
            case Finish():
                if not event.choice:
                    self._reason = event.reason
                    self._inner = inner_extras(event.extras, own=self._own)
                return b""
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
        last: JsonObject = {
            "done": True,
            "done_reason": encode_finish_reason(self._reason or "error"),
            **encode_usage(self._usage),
        }
        return self._line(self._inner, last)

    def _start(self, event: Start) -> None:
        self._head = {
            "model": event.model or self._reply.model,
            "created_at": encode_time(event.created or self._reply.now),
        }
        self._own = event.dialect == NAME
        if self._own:
            self._extras = dict(event.extras)

    def _text(self, event: TextDelta) -> bytes:
        if event.choice or not (event.text or event.logprobs):
            return b""
        return self._line({"content": event.text}, {"logprobs": event.logprobs} if event.logprobs else {})

    def _part_end(self, event: PartEnd) -> bytes:
        """Calls are told whole."""
        start = None if event.choice else self._calls.pop(event.index, None)
        if start is None:
            return b""
        arguments = "".join(self._arguments.pop(event.index))
        call = ToolCall(id=start.id, name=start.name, arguments=arguments, extras=start.extras)
        self._count += 1
        return self._line({"tool_calls": [call_object(call, self._count - 1, own=self._own)]})

    def _extension(self, event: Extension) -> bytes:
        if not self._own:
            return b""
        self._extras |= event.data
        # What follows the finish belongs to the last line, where clients look for the durations.
        return b"" if self._reason is not None else self._line({})

    def _line(self, message: JsonObject, more: JsonObject | None = None) -> bytes:
        if not self._head:
            self._start(Start())
        line: JsonObject = {**self._head, **self._shape(message), "done": False, **(more or {}), **self._extras}
        return dump(line) + b"\n"
