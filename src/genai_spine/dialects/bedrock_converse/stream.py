"""Bedrock Converse: streams, read and written.

A block that is words or reasoning has no start; the answer's usage comes last, behind the reason to stop.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct
from typing_extensions import override

from genai_spine.dialects.base import Quirks, StreamDecoder, StreamEncoder
from genai_spine.dialects.bedrock_converse.blocks import NAME, SERVER_CALL, call_input
from genai_spine.dialects.bedrock_converse.errors import encode_stream_error, error_in_stream
from genai_spine.dialects.bedrock_converse.objects import merge
from genai_spine.dialects.bedrock_converse.response import (
    decode_finish_reason,
    decode_usage,
    encode_stop_reason,
    encode_usage,
    stop_extras,
)
from genai_spine.dialects.eventstream import EventMessage, EventMessages, encode_message
from genai_spine.dialects.fields import Fields, dump, dump_text, response_object
from genai_spine.dialects.limits import Held
from genai_spine.dialects.tool_ids import word_characters
from genai_spine.errors import MalformedResponseError, StreamInterruptedError
from genai_spine.types.json import Json, JsonObject
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

__all__ = [
    "BlockDelta",
    "ConverseDecoder",
    "ConverseEncoder",
    "decode_block_delta",
    "encode_event",
    "interrupted",
    "malformed",
    "unfinished",
]

PADDING: Final = "p"
"""Letters of random number in each event, so that its length tells nothing."""
_MAKER: Final = "additionalModelResponseFields"


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")


def unfinished() -> MalformedResponseError:
    """The error of a stream that ended without saying why the model stopped."""
    return MalformedResponseError("the provider's stream ended without a reason to stop")


def malformed(what: str) -> MalformedResponseError:
    """The error of a stream that is not of the dialect."""
    return MalformedResponseError(f"the provider's stream is malformed: {what}")


def encode_event(kind: str, body: JsonObject) -> bytes:
    """Write one event."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, dump(body))


class _Input(Struct):
    input: str = ""


class _Reasoning(Struct):
    text: str = ""
    signature: str = ""
    redactedContent: str | None = None  # noqa: N815  # the service's own name


class BlockDelta(Struct):
    """A piece of a block, as far as the vocabulary has it."""

    text: str | None = None
    toolUse: _Input | None = None  # noqa: N815  # the service's own name
    reasoningContent: _Reasoning | None = None  # noqa: N815  # the service's own name

    @property
    def length(self) -> int:
        """How much a model wrote."""
        length = len(self.text or "")
        if self.toolUse is not None:
            length += len(self.toolUse.input)
        if self.reasoningContent is not None:
            length += len(self.reasoningContent.text)
        return length


class _DeltaEvent(Struct):
    delta: BlockDelta
    contentBlockIndex: int = 0  # noqa: N815  # the service's own name


_delta_event: Final = msgspec.json.Decoder(_DeltaEvent)


def decode_block_delta(payload: bytes) -> _DeltaEvent:
    """Read a piece of a block.

    Raises:
        MalformedResponseError: It is none.
    """
    try:
        return _delta_event.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        fault = malformed(f"a piece of a block that cannot be read: {error}")
        raise fault from error


class _Block:
    """A block while its pieces come in."""

    __slots__ = ("arguments", "data", "held", "index", "kind", "number", "told")

    def __init__(self, number: int, kind: PartKind, index: int) -> None:
        self.number = number
        self.kind = kind
        self.index = index
        # Pieces of a call's arguments; and whether any piece at all has been told.
        self.arguments: list[str] = []
        self.told = False
        # All that is known of a block that the vocabulary has not.
        self.data: JsonObject = {}
        self.held = Held()


class ConverseDecoder(StreamDecoder):
    """Reads a stream of events."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._messages = EventMessages()
        self._block: _Block | None = None
        self._parts = 0
        self._calls = False
        self._started = False
        self._finished = False
        self.over = False

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for message in self._messages.feed(data):
            if self.over:
                break
            if (failure := error_in_stream(message, self._quirks)) is not None:
                raise failure
            self._message(message, events)

    @override
    def _end(self, events: list[Event]) -> None:
        if self._quirks.end_mark or not self._finished:
            raise interrupted()

    def _message(self, message: EventMessage, events: list[Event]) -> None:
        kind = message.text(":event-type")
        if kind == "contentBlockDelta":
            self._delta(message.payload, events)
            return
        fields = response_object(message.payload)
        fields.take(PADDING)
        match kind:
            case "messageStart":
                fields.take("role")
                if self._started:
                    twice = "a second start"
                    raise malformed(twice)
                self._started = True
                events.append(Start(dialect=NAME, extras=fields.rest()))
            case "contentBlockStart":
                self._block_start(fields, events)
            case "contentBlockStop":
                self._block_stop(events)
            case "messageStop":
                self._message_stop(fields, events)
            case "metadata":
                self._metadata(fields, events)
            case _:
                # What later versions may add.
                pass

    def _open(self, number: int, kind: PartKind, events: list[Event]) -> _Block:
        if not self._started:
            message = "a block before the message's start"
            raise malformed(message)
        if self._finished:
            message = "a block after the message's end"
            raise malformed(message)
        self._block_stop(events)
        block = self._block = _Block(number, kind, self._parts)
        self._parts += 1
        return block

    def _block_start(self, fields: Fields, events: list[Event]) -> None:
        number, start = fields.integer("contentBlockIndex") or 0, fields.need_child("start")
        told = start.peek("toolUse")
        if not isinstance(told, dict) or told.get("type") == SERVER_CALL:
            self._open(number, "opaque", events).data = merge({}, start.rest())
            return
        call = start.need_child("toolUse")
        if call.peek("type") == "tool_use":
            call.take("type")
        block = self._open(number, "tool_call", events)
        self._calls = True
        call_id, name = call.need_text("toolUseId"), call.need_text("name")
        extras: JsonObject = {"toolUse": left} if (left := call.rest()) else {}
        events.append(PartStart(index=block.index, part="tool_call", id=call_id, name=name, extras=extras))

    def _delta(self, payload: bytes, events: list[Event]) -> None:
        found = decode_block_delta(payload)
        delta, number = found.delta, found.contentBlockIndex
        block = self._block if self._block is not None and self._block.number == number else None
        if block is not None and block.kind == "opaque":
            _grow(block, response_object(payload).need_child("delta"))
        elif (text := delta.text) is not None:
            block = self._words(block, number, "text", events)
            if text:
                events.append(TextDelta(index=block.index, text=text))
        elif (reasoning := delta.reasoningContent) is not None:
            block = self._words(block, number, "thinking", events)
            if reasoning.text or reasoning.signature or reasoning.redactedContent is not None:
                events.append(
                    ThinkingDelta(
                        index=block.index,
                        text=reasoning.text,
                        signature=reasoning.signature or None,
                        redacted=reasoning.redactedContent,
                    )
                )
        elif delta.toolUse is not None:
            if block is None or block.kind != "tool_call":
                message = "arguments of a tool call that has not begun"
                raise malformed(message)
            if text := delta.toolUse.input:
                block.arguments.append(text)
                events.append(ToolArguments(index=block.index, text=text))
        else:
            self._other_delta(block, number, response_object(payload).need_child("delta"), events)

    def _words(self, block: _Block | None, number: int, kind: PartKind, events: list[Event]) -> _Block:
        """Return the open block if it is of the kind; else begin one, for no start tells of it."""
        if block is not None and block.kind == kind:
            return block
        if block is not None and block.kind == "tool_call":
            message = f"{kind} in a tool call"
            raise malformed(message)
        block = self._open(number, kind, events)
        events.append(PartStart(index=block.index, part=kind))
        return block

    def _other_delta(self, block: _Block | None, number: int, delta: Fields, events: list[Event]) -> None:
        """Take a piece that the vocabulary has not: a citation, or a block that only this dialect knows."""
        if (citation := delta.object("citation")) is not None:
            block = self._words(block, number, "text", events)
            events.append(TextDelta(index=block.index, citations=[citation]))
        elif block is None and delta.rest():
            _grow(self._open(number, "opaque", events), delta)

    def _block_stop(self, events: list[Event]) -> None:
        block, self._block = self._block, None
        if block is None:
            return
        if block.kind == "opaque":
            call = block.data.get("toolUse")
            if isinstance(call, dict):
                text = "".join(block.arguments)
                call["input"] = call_input(ToolCall(id="", name="", arguments=text or "{}"), own=True)
            data = Opaque(dialect=NAME, data=block.data)
            events.append(PartStart(index=block.index, part="opaque", data=data))
        elif block.kind == "tool_call" and not block.arguments:
            # Whoever reads the arguments may rely on their being JSON.
            events.append(ToolArguments(index=block.index, text="{}"))
        events.append(PartEnd(index=block.index))

    def _message_stop(self, fields: Fields, events: list[Event]) -> None:
        if not self._started or self._finished:
            message = "an end before the message's start, or a second one"
            raise malformed(message)
        self._block_stop(events)
        told = fields.text("stopReason")
        reason = decode_finish_reason(told, self._quirks, with_calls=self._calls)
        self._finished = True
        if extras := fields.told():
            events.append(Extension(data=extras))
        events.append(Finish(reason=reason, extras=stop_extras(told, reason)))

    def _metadata(self, fields: Fields, events: list[Event]) -> None:
        if not self._finished:
            raise unfinished()
        usage = fields.child("usage")
        if extras := fields.told():
            events.append(Extension(data=extras))
        if usage is not None:
            events.append(UsageTold(usage=decode_usage(usage)))
        self.over = True


def _grow(block: _Block, delta: Fields) -> None:
    """Add a piece to a block that the vocabulary has not."""
    block.held.add(delta.rest())
    for kind, piece in delta.rest().items():
        known = block.data.get(kind)
        match kind, piece:
            case "toolUse", {"input": str(text)}:
                block.arguments.append(text)
            case "toolResult", list():
                result = block.data[kind] = known if isinstance(known, dict) else {}
                content = result.get("content")
                if isinstance(content, list):
                    content += piece
                else:
                    result["content"] = piece
            case _ if isinstance(known, dict) and isinstance(piece, dict):
                merge(known, piece)
            case _:
                block.data[kind] = piece


# Blocks that have a start, and what of them comes in pieces.
_IN_PIECES: Final = {"toolUse": "input", "toolResult": "content", "image": "source"}


class ConverseEncoder(StreamEncoder):
    """Writes a stream of events."""

    def __init__(self) -> None:
        self._own = False
        self._begun = False
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._extras: JsonObject = {}
        # The part that is open; its block has a number from its first piece on.
        self._part: PartStart | None = None
        self._index = -1
        self._open = False
        self._raw: list[str] = []

    @override
    def encode(self, event: Event) -> bytes:
        match event:
            case TextDelta() | ThinkingDelta() | ToolArguments() | PartStart() | PartEnd() if event.choice:
                return b""
            case TextDelta():
                return self._text(event)
            case ToolArguments():
                return self._arguments(event)
            case ThinkingDelta():
                return self._thinking(event)
            case PartStart():
                return self._begin() + self._part_start(event)
            case PartEnd():
                return self._part_end()
            case UsageTold():
                self._usage = event.usage
            case Start():
                self._own = event.dialect == NAME
                if self._own:
                    self._extras.update(event.extras)
                return self._begin()
            case Finish():
                if event.choice == 0:
                    self._finish = event
            case Extension():
                if self._own:
                    self._extras.update(event.data)
            case Failed():
                return encode_stream_error(event.error)
        return b""

    @override
    def end(self) -> bytes:
        finish = self._finish or Finish(reason="error")
        stop: JsonObject = {"stopReason": encode_stop_reason(finish.reason, finish.stop_sequence)}
        last: JsonObject = {}
        if self._usage is not None or not self._own:
            last["usage"] = encode_usage(self._usage or Usage(), own=self._own)
        if self._own:
            stop.update(finish.extras)
            for name, value in self._extras.items():
                (stop if name == _MAKER else last)[name] = value
        return self._begin() + self._part_end() + encode_event("messageStop", stop) + encode_event("metadata", last)

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return encode_event("messageStart", {"role": "assistant"})

    def _part_start(self, event: PartStart) -> bytes:
        before = self._part_end()
        self._part, self._raw = event, []
        if event.part == "opaque":
            return before + self._opaque(event)
        if event.part != "tool_call":
            return before
        call: JsonObject = {"toolUseId": event.id if self._own else word_characters(event.id), "name": event.name}
        start: JsonObject = {"toolUse": call}
        return before + self._start(merge(start, event.extras) if self._own else start)

    def _start(self, start: JsonObject) -> bytes:
        self._index += 1
        self._open = True
        return encode_event("contentBlockStart", {"contentBlockIndex": self._index, "start": start})

    def _delta(self, delta: JsonObject) -> bytes:
        if not self._open:
            self._index += 1
            self._open = True
        return encode_event("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta})

    def _opaque(self, event: PartStart) -> bytes:
        if event.data is None or event.data.dialect != NAME:
            return b""
        data = event.data.data
        for kind, inner in _IN_PIECES.items():
            told = data.get(kind)
            if isinstance(told, dict) and inner in told:
                left = {name: value for name, value in told.items() if name != inner}
                piece: Json = told[inner] if kind == "toolResult" else {inner: told[inner]}
                if kind == "toolUse":
                    piece = {inner: dump_text(told[inner])}
                return self._start({kind: left}) + self._delta({kind: piece})
        return self._delta(data)

    def _part_end(self) -> bytes:
        part, self._part = self._part, None
        if part is None:
            return b""
        out = b""
        if part.custom:
            told: Json = call_input(ToolCall(id="", name="", arguments="".join(self._raw), custom=True), own=False)
            out += self._delta({"toolUse": {"input": dump_text(told)}})
        if not self._open and self._own and part.part in {"text", "thinking"}:
            # An empty part of this dialect's own has its place all the same.
            out += self._delta({"text": ""} if part.part == "text" else {"reasoningContent": {"text": ""}})
        if self._open:
            self._open = False
            out += encode_event("contentBlockStop", {"contentBlockIndex": self._index})
        return out

    def _text(self, event: TextDelta) -> bytes:
        out = self._delta({"text": event.text}) if event.text else b""
        if self._own:
            for citation in event.citations or ():
                out += self._delta({"citation": citation})
        return out

    def _thinking(self, event: ThinkingDelta) -> bytes:
        out = self._delta({"reasoningContent": {"text": event.text}}) if event.text else b""
        if self._own and event.signature:
            out += self._delta({"reasoningContent": {"signature": event.signature}})
        if self._own and event.redacted is not None:
            out += self._delta({"reasoningContent": {"redactedContent": event.redacted}})
        return out

    def _arguments(self, event: ToolArguments) -> bytes:
        if not event.text:
            return b""
        if self._part is not None and self._part.custom:
            self._raw.append(event.text)
            return b""
        return self._delta({"toolUse": {"input": event.text}})
