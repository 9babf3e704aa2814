"""Anthropic Messages: streams, read and written.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from typing_extensions import override

from genai_spine.dialects.anthropic_messages.blocks import NAME, argument_object
from genai_spine.dialects.anthropic_messages.errors import encode_stream_error, error_of
from genai_spine.dialects.anthropic_messages.response import (
    decode_finish_reason,
    decode_usage,
    encode_stop_reason,
    encode_usage,
    message_id,
    stop_extras,
)
from genai_spine.dialects.base import Quirks, Reply, StreamDecoder, StreamEncoder
from genai_spine.dialects.fields import Fields, dump, dump_text, response_fault, response_object
from genai_spine.dialects.limits import Held, check_usage
from genai_spine.dialects.seals import is_tag
from genai_spine.dialects.sse import Frames, frame, parse_frame
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import MalformedResponseError, StreamInterruptedError
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Opaque, ToolCall
from genai_spine.types.stream import (
    Event,
    Extension,
    Failed,
    Finish,
    PartEnd,
    PartKind,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
)
from genai_spine.types.usage import Usage

__all__ = ["MessagesDecoder", "MessagesEncoder", "UsageMerger", "delta_data", "interrupted", "malformed", "unfinished"]

_DELTA_HEAD: Final = b"event: content_block_delta\ndata: "

# Fields that stand beside the delta of the last but one event; all others stand within it.
_BESIDE: Final = frozenset({"context_management"})


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")


def unfinished() -> MalformedResponseError:
    """The error of a stream that ended without saying why the model stopped."""
    return MalformedResponseError("the provider's stream ended without a reason to stop")


def malformed(what: str) -> MalformedResponseError:
    """The error of a stream that is not of the dialect."""
    return MalformedResponseError(f"the provider's stream is malformed: {what}")


def delta_data(raw: bytes) -> bytes | None:
    """Return the data of a frame if it is plainly a piece of a block, by far the most frequent kind; else None."""
    if raw.startswith(_DELTA_HEAD) and raw.find(b"\n", len(_DELTA_HEAD)) < 0:
        return raw[len(_DELTA_HEAD) :]
    return None


class UsageMerger:
    """Puts together the usage told at the start of a stream and at its end: each is a total, the later one counts."""

    def __init__(self) -> None:
        self._told: JsonObject = {}

    def add(self, told: JsonObject | None) -> Usage | None:
        """Take usage as it was told; return what is known now, None if nothing was told."""
        if not told:
            return None
        self._told.update((name, value) for name, value in told.items() if value is not None or name not in self._told)
        check_usage(self._told)
        return decode_usage(Fields(self._told, "usage", fault=response_fault))


class _Delta(Struct):
    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""


class _DeltaEvent(Struct):
    index: int
    delta: _Delta


_delta_event: Final = msgspec.json.Decoder(_DeltaEvent)
_PLAIN: Final = frozenset({"text_delta", "input_json_delta", "thinking_delta", "signature_delta"})


class _Block:
    """A block while its pieces come in."""

    __slots__ = ("arguments", "data", "held", "index", "input", "kind", "number", "words")

    def __init__(self, number: int, kind: PartKind, index: int) -> None:
        self.number = number
        self.kind = kind
        self.index = index
        # A tool call's arguments as told at once, and whether any came in pieces.
        self.input = ""
        self.arguments: list[str] = []
        # All that is known of a block that the vocabulary has not.
        self.data: JsonObject = {}
        # What follows the words in its fields; joined once, at the end.
        self.words: dict[str, list[str]] = {}
        self.held = Held()


class MessagesDecoder(StreamDecoder):
    """Reads a stream of events."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._frames = Frames()
        self._block: _Block | None = None
        self._parts = 0
        self._calls = False
        self._started = False
        self._finished = False
        self.over = False
        self._usage = UsageMerger()
        self._told: Usage | None = None

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            if (plain := delta_data(raw)) is not None and self._plain_delta(plain, events):
                continue
            if (found := parse_frame(raw)) is not None and found.data:
                self._event(response_object(found.data), events)

    @override
    def _end(self, events: list[Event]) -> None:
        if self._quirks.end_mark or not self._finished:
            raise interrupted()

    def _plain_delta(self, data: bytes, events: list[Event]) -> bool:
        """Take a piece of one of the four frequent kinds; return whether it was one."""
        block = self._block
        try:
            found = _delta_event.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False  # the full reader finds out what it is
        delta = found.delta
        if block is None or block.kind == "opaque" or found.index != block.number or delta.type not in _PLAIN:
            return False
        match delta.type:
            case "text_delta" if block.kind == "text":
                if delta.text:
                    events.append(TextDelta(index=block.index, text=delta.text))
            case "input_json_delta" if block.kind == "tool_call":
                if delta.partial_json:
                    block.arguments.append(delta.partial_json)
                    events.append(ToolArguments(index=block.index, text=delta.partial_json))
            case "thinking_delta" if block.kind == "thinking":
                if delta.thinking:
                    events.append(ThinkingDelta(index=block.index, text=delta.thinking))
            case "signature_delta" if block.kind == "thinking":
                if delta.signature:
                    events.append(ThinkingDelta(index=block.index, signature=delta.signature))
            case _:
                fault = malformed(f"{delta.type} in a block of kind {block.kind}")
                raise fault
        return True

    def _event(self, fields: Fields, events: list[Event]) -> None:
        kind = fields.text("type")
        if (failure := error_of(fields.rest(), 0, {}, self._quirks)) is not None:
            raise failure
        match kind:
            case "error":
                fault = malformed("an error without a word")
                raise fault
            case "message_start":
                self._start(fields.need_child("message"), events)
            case "content_block_start":
                self._block_start(fields, events)
            case "content_block_delta":
                self._block_delta(fields, events)
            case "content_block_stop":
                self._block_stop(events)
            case "message_delta":
                self._message_delta(fields, events)
            case "message_stop":
                if not self._finished:
                    raise unfinished()
                self.over = True
            case _:
                # `ping`, and what later versions may add.
                pass

    def _start(self, message: Fields, events: list[Event]) -> None:
        for name in ("type", "role", "content", "stop_reason", "stop_sequence"):
            message.take(name)
        usage = message.object("usage")
        if self._started:
            twice = "a second start"
            raise malformed(twice)
        self._started = True
        events.append(
            Start(id=message.text("id") or "", model=message.text("model") or "", dialect=NAME, extras=message.rest())
        )
        self._tell_usage(usage, events)

    def _tell_usage(self, told: JsonObject | None, events: list[Event]) -> None:
        usage = self._usage.add(told)
        if usage is not None and usage != self._told:
            self._told = usage
            events.append(UsageTold(usage=usage))

    def _block_start(self, fields: Fields, events: list[Event]) -> None:
        if not self._started:
            message = "a block before the message's start"
            raise malformed(message)
        self._block_stop(events)
        number, inner = fields.integer("index"), fields.need_child("content_block")
        kind = inner.need_text("type")
        names: dict[str, PartKind] = {
            "text": "text",
            "thinking": "thinking",
            "redacted_thinking": "thinking",
            "tool_use": "tool_call",
        }
        part = names.get(kind, "opaque")
        block = self._block = _Block(self._parts if number is None else number, part, self._parts)
        self._parts += 1
        if part == "opaque":
            block.data = {"type": kind, **inner.rest()}
            return
        words = inner.text("text" if kind == "text" else "thinking") if kind != "tool_use" else None
        citations = [citation.rest() for citation in inner.children("citations")]
        call_id = name = ""
        signature = redacted = None
        if kind == "tool_use":
            self._calls = True
            call_id, name = inner.need_text("id"), inner.need_text("name")
            block.input = dump_text(told) if (told := inner.take("input")) else ""
        elif part == "thinking":
            signature, redacted = inner.text("signature") or None, inner.text("data")
        events.append(PartStart(index=block.index, part=part, id=call_id, name=name, extras=inner.rest()))
        if part == "text" and (words or citations):
            events.append(TextDelta(index=block.index, text=words or "", citations=citations or None))
        elif words or signature or redacted is not None:
            events.append(ThinkingDelta(index=block.index, text=words or "", signature=signature, redacted=redacted))

    def _block_delta(self, fields: Fields, events: list[Event]) -> None:
        block, number, delta = self._block, fields.integer("index"), fields.need_child("delta")
        if block is None or number not in {None, block.number}:
            message = "a piece of a block that is not open"
            raise malformed(message)
        kind = delta.text("type")
        if block.kind == "opaque":
            _grow(block, kind, delta)
        elif kind == "citations_delta":
            if block.kind == "text" and (citation := delta.object("citation")) is not None:
                events.append(TextDelta(index=block.index, citations=[citation]))
        elif kind in _PLAIN:
            # A plain piece in another framing.
            whole: JsonObject = {"index": block.number, "delta": {"type": kind, **delta.rest()}}
            if not self._plain_delta(dump(whole), events):
                fault = malformed(f"{kind} with a field of the wrong type")
                raise fault

    def _block_stop(self, events: list[Event]) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        if block.kind == "opaque":
            block.data |= {name: "".join([str(block.data[name]), *more]) for name, more in block.words.items()}
            if text := "".join(block.arguments):
                block.data["input"] = argument_object(ToolCall(id="", name="", arguments=text))
            data = Opaque(dialect=NAME, data=block.data)
            events.append(PartStart(index=block.index, part="opaque", data=data))
        elif block.kind == "tool_call" and not block.arguments:
            # Whoever reads the arguments may rely on their being JSON.
            events.append(ToolArguments(index=block.index, text=block.input or "{}"))
        events.append(PartEnd(index=block.index))

    def _message_delta(self, fields: Fields, events: list[Event]) -> None:
        if not self._started:
            message = "an end before the message's start"
            raise malformed(message)
        delta, usage = fields.child("delta"), fields.object("usage")
        if delta is not None:
            told, stop_sequence = delta.text("stop_reason"), delta.text("stop_sequence")
            if extras := {**fields.rest(), **delta.rest()}:
                events.append(Extension(data=extras))
            if told is not None and not self._finished:
                self._block_stop(events)
                self._finished = True
                reason = decode_finish_reason(told, self._quirks, with_calls=self._calls)
                extras = stop_extras(told, reason, stop_sequence)
                events.append(Finish(reason=reason, stop_sequence=stop_sequence, extras=extras))
        self._tell_usage(usage, events)


def _grow(block: _Block, kind: str | None, delta: Fields) -> None:
    """Add a piece to a block that the vocabulary has not: words go on, anything else is replaced."""
    block.held.add(delta.rest())
    if kind == "input_json_delta":
        block.arguments.append(delta.text("partial_json") or "")
        return
    for name, value in delta.rest().items():
        if isinstance(value, str) and isinstance(block.data.get(name), str):
            block.words.setdefault(name, []).append(value)
        else:
            block.data[name] = value
            block.words.pop(name, None)


class MessagesEncoder(StreamEncoder):
    """Writes a stream of events."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._own = False
        # The start waits for the usage that may come right after it.
        self._head: Start | None = Start()
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._extras: JsonObject = {}
        # The part that is open; its block opens with its first words, unless it is this dialect's own.
        self._part: PartStart | None = None
        self._index = -1
        self._open = False
        self._signature = ""
        self._raw: list[str] = []

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta():
                return self._text(event)
            case ToolArguments():
                return self._arguments(event)
            case ThinkingDelta():
                return self._thinking(event)
            case PartStart():
                return self._begin() + self._part_start(event)
            case PartEnd():
                return self._part_end() if event.choice == 0 else b""
            case UsageTold():
                self._usage = event.usage
                return self._begin()
            case Start():
                self._own = event.dialect == NAME
                self._head = event
            case Finish():
                if event.choice == 0:
                    self._finish = event
            case Extension():
                if self._own:
                    self._extras.update(event.data)
            case Failed():
                return encode_stream_error(event.error, self._reply.request_id)
        return b""

    @override
    def end(self) -> bytes:
        finish = self._finish or Finish(reason="error")
        delta: JsonObject = {
            "stop_reason": encode_stop_reason(finish.reason, finish.stop_sequence),
            "stop_sequence": finish.stop_sequence,
        }
        beside: JsonObject = {}
        if self._own:
            delta.update(finish.extras)
            for name, value in self._extras.items():
                (beside if name in _BESIDE else delta)[name] = value
        usage = encode_usage(self._usage, own=self._own)
        return (
            self._begin()
            + self._part_end()
            + _event("message_delta", {"delta": delta, "usage": usage, **beside})
            + _event("message_stop", {})
        )

    def _begin(self) -> bytes:
        head, self._head = self._head, None
        if head is None:
            return b""
        message: JsonObject = {
            "id": message_id(head.id, self._reply.request_id, own=self._own),
            "type": "message",
            "role": "assistant",
            "model": head.model or self._reply.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": encode_usage(self._usage, own=self._own),
        }
        return _event("message_start", {"message": message | head.extras if self._own else message})

    def _part_start(self, event: PartStart) -> bytes:
        if event.choice:
            return b""
        before = self._part_end()
        self._part, self._signature, self._raw = event, "", []
        if event.part == "opaque":
            return before + self._opaque(event)
        if event.part == "tool_call":
            call_id = event.id if self._own else word_characters(event.id)
            return before + self._open_block({"type": "tool_use", "id": call_id, "name": event.name, "input": {}})
        if self._own and event.part == "text":
            return before + self._open_block({"type": "text", "text": ""})
        return before

    def _open_block(self, block: JsonObject) -> bytes:
        self._index += 1
        self._open = True
        extras = self._part.extras if self._own and self._part is not None else {}
        return _event("content_block_start", {"index": self._index, "content_block": {**block, **extras}})

    def _opaque(self, event: PartStart) -> bytes:
        if event.data is None or event.data.dialect != NAME:
            return b""
        data = event.data.data
        # Clients read a server tool's input from its pieces.
        if isinstance(told := data.get("input"), dict) and told:
            opened = self._open_block({**data, "input": {}})
            return opened + self._delta({"type": "input_json_delta", "partial_json": dump_text(told)})
        return self._open_block(data)

    def _part_end(self) -> bytes:
        part = self._part
        if part is None:
            return b""
        out = b""
        if part.part == "thinking" and self._own and not self._open:
            out += self._open_block({"type": "thinking", "thinking": "", "signature": ""})
        if self._signature:
            out += self._delta({"type": "signature_delta", "signature": self._signature})
            self._signature = ""
        if part.custom:
            call = ToolCall(id="", name="", arguments="".join(self._raw), custom=True)
            out += self._delta({"type": "input_json_delta", "partial_json": dump_text(argument_object(call))})
        if self._open:
            self._open = False
            out += _event("content_block_stop", {"index": self._index})
        self._part = None
        return out

    def _delta(self, delta: JsonObject) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _text(self, event: TextDelta) -> bytes:
        if event.choice:
            return b""
        out = b""
        if event.text:
            if not self._open:
                out = self._open_block({"type": "text", "text": ""})
            out += self._delta({"type": "text_delta", "text": event.text})
        if self._own:
            for citation in event.citations or ():
                out += self._delta({"type": "citations_delta", "citation": citation})
        return out

    def _thinking(self, event: ThinkingDelta) -> bytes:
        if event.choice:
            return b""
        if event.redacted is not None:
            return self._open_block({"type": "redacted_thinking", "data": event.redacted}) if self._own else b""
        out = b""
        signature = event.signature if self._own or is_tag(event.signature) else None
        if not self._open and (event.text or self._own or signature):
            out = self._open_block({"type": "thinking", "thinking": "", "signature": ""})
        if event.text:
            out += self._delta({"type": "thinking_delta", "thinking": event.text})
        self._signature += signature or ""
        return out

    def _arguments(self, event: ToolArguments) -> bytes:
        if event.choice or not event.text:
            return b""
        if self._part is not None and self._part.custom:
            self._raw.append(event.text)
            return b""
        return self._delta({"type": "input_json_delta", "partial_json": event.text})


def _event(kind: str, body: JsonObject) -> bytes:
    return frame(dump({"type": kind, **body}), kind)
