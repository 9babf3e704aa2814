"""The pieces of a streamed answer, and their collection into the whole.

A stream is: one ``Start``; for each part a ``PartStart``, its pieces, a ``PartEnd``; ``Finish`` for each choice;
``UsageTold`` once or more, the last one counting; or ``Failed`` at any point, after which nothing follows. Parts are
numbered by ``index`` within their choice, all kinds counted together, from 0.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

from genai_spine.errors import SpineError
from genai_spine.types.completion import Choice, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Part, Refusal, Text, Thinking, ToolCall
from genai_spine.types.usage import Usage

__all__ = [
    "Collector",
    "Event",
    "Extension",
    "Failed",
    "Finish",
    "PartEnd",
    "PartKind",
    "PartStart",
    "Start",
    "TextDelta",
    "ThinkingDelta",
    "ToolArguments",
    "UsageTold",
    "events_of",
    "part_events",
]

PartKind: TypeAlias = Literal["text", "thinking", "tool_call", "refusal", "opaque"]


class Start(Struct, frozen=True, tag="start", kw_only=True):
    """The answer begins.

    Attributes:
        dialect: The one that all ``extras`` of this stream belong to.
        warnings: What of the request could not be said to the provider and was left out.
    """

    id: str = ""
    model: str = ""
    created: int = 0
    dialect: str | None = None
    warnings: tuple[str, ...] = ()
    extras: JsonObject = field(default_factory=dict)


class PartStart(Struct, frozen=True, tag="part_start", kw_only=True):
    """A part begins. ``id``, ``name`` and ``custom`` are a tool call's, ``data`` an opaque part's whole."""

    index: int
    part: PartKind
    choice: int = 0
    id: str = ""
    name: str = ""
    custom: bool = False
    wire_field: str | None = None
    data: Opaque | None = None
    extras: JsonObject = field(default_factory=dict)


class TextDelta(Struct, frozen=True, tag="text", kw_only=True):
    """More words of a text or refusal part. ``logprobs`` and ``citations`` belong to just these."""

    index: int
    text: str = ""
    choice: int = 0
    logprobs: list[Json] | None = None
    citations: list[JsonObject] | None = None


class ThinkingDelta(Struct, frozen=True, tag="thinking", kw_only=True):
    """More reasoning; its seal comes in ``signature``, sealed reasoning in ``redacted``."""

    index: int
    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    choice: int = 0


class ToolArguments(Struct, frozen=True, tag="tool_arguments", kw_only=True):
    """More of the JSON text of a tool call's arguments; a call without any tells ``{}``."""

    index: int
    text: str
    choice: int = 0


class PartEnd(Struct, frozen=True, tag="part_end", kw_only=True):
    """A part is complete."""

    index: int
    choice: int = 0


class UsageTold(Struct, frozen=True, tag="usage", kw_only=True):
    """Tokens used so far; a later one replaces it."""

    usage: Usage


class Finish(Struct, frozen=True, tag="finish", kw_only=True):
    """A choice is complete."""

    reason: FinishReason
    stop_sequence: str | None = None
    choice: int = 0
    extras: JsonObject = field(default_factory=dict)


class Extension(Struct, frozen=True, tag="extension", kw_only=True):
    """Fields of the dialect that the vocabulary has not, for an encoder of that dialect; told after ``Start``."""

    data: JsonObject


class Failed(Struct, frozen=True, tag="error", kw_only=True):
    """The stream has failed; nothing follows."""

    error: SpineError


Event: TypeAlias = (
    Start | PartStart | TextDelta | ThinkingDelta | ToolArguments | PartEnd | UsageTold | Finish | Extension | Failed
)


class _OpenPart:
    """A part while its pieces come in."""

    __slots__ = ("citations", "redacted", "signature", "start", "texts")

    def __init__(self, start: PartStart) -> None:
        self.start = start
        self.texts: list[str] = []
        self.citations: list[JsonObject] = []
        self.signature: str | None = None
        self.redacted: str | None = None

    def build(self) -> Part:
        start, text = self.start, "".join(self.texts)
        match start.part:
            case "text":
                return Text(text=text, citations=self.citations or None, extras=start.extras)
            case "refusal":
                return Refusal(text=text)
            case "thinking":
                return Thinking(
                    text=text,
                    signature=self.signature,
                    redacted=self.redacted,
                    wire_field=start.wire_field,
                    extras=start.extras,
                )
            case "tool_call":
                arguments = text if text or start.custom else "{}"
                return ToolCall(
                    id=start.id, name=start.name, arguments=arguments, custom=start.custom, extras=start.extras
                )
            case "opaque":
                if start.data is None:
                    message = "an opaque part must bring its data with its start"
                    raise ValueError(message)
                return start.data


class _OpenChoice:
    """A choice while its parts come in."""

    def __init__(self) -> None:
        self.parts: dict[int, _OpenPart] = {}
        self.logprobs: list[Json] | None = None
        self.finish: Finish | None = None

    def build(self) -> Choice:
        finish = self.finish or Finish(reason="error")
        return Choice(
            parts=tuple(self.parts[index].build() for index in sorted(self.parts)),
            finish_reason=finish.reason,
            stop_sequence=finish.stop_sequence,
            logprobs=self.logprobs,
            extras=finish.extras,
        )


class Collector:
    """Puts the pieces of a stream together.

    The result is exactly what the same answer, not streamed, decodes to.
    """

    def __init__(self) -> None:
        self._start = Start()
        self._extras: JsonObject = {}
        self._choices: dict[int, _OpenChoice] = {}
        self._usage: Usage | None = None
        self._error: SpineError | None = None

    def _choice(self, number: int) -> _OpenChoice:
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _OpenChoice()
        return choice

    def add(self, event: Event) -> None:
        """Take the next event.

        Raises:
            KeyError: The event continues a part that was never started.
        """
        match event:
            case TextDelta():
                choice = self._choice(event.choice)
                part = choice.parts[event.index]
                part.texts.append(event.text)
                if event.logprobs:
                    choice.logprobs = (choice.logprobs or []) + event.logprobs
                if event.citations:
                    part.citations.extend(event.citations)
            case ToolArguments():
                self._choice(event.choice).parts[event.index].texts.append(event.text)
            case ThinkingDelta():
                part = self._choice(event.choice).parts[event.index]
                part.texts.append(event.text)
                if event.signature is not None:
                    part.signature = (part.signature or "") + event.signature
                if event.redacted is not None:
                    part.redacted = event.redacted
            case PartStart():
                self._choice(event.choice).parts[event.index] = _OpenPart(event)
            case Finish():
                self._choice(event.choice).finish = event
            case UsageTold():
                self._usage = event.usage
            case Start():
                self._start = event
            case Extension():
                self._extras.update(event.data)
            case Failed():
                self._error = event.error
            case PartEnd():
                pass

    def response(self) -> CompletionResponse:
        """Return what has come in so far."""
        start = self._start
        return CompletionResponse(
            id=start.id,
            model=start.model,
            created=start.created,
            choices=tuple(self._choices[number].build() for number in sorted(self._choices)),
            usage=self._usage,
            error=self._error,
            dialect=start.dialect,
            warnings=start.warnings,
            extras={**start.extras, **self._extras},
        )


def events_of(response: CompletionResponse) -> list[Event]:
    """Return the events of a stream that collects to ``response``."""
    events: list[Event] = [
        Start(
            id=response.id,
            model=response.model,
            created=response.created,
            dialect=response.dialect,
            extras=response.extras,
        )
    ]
    for number, choice in enumerate(response.choices):
        logprobs = choice.logprobs
        for index, part in enumerate(choice.parts):
            if (piece := part_events(index, part, number, logprobs)) is not None:
                events += piece
                if isinstance(part, Text):
                    logprobs = None
        events.append(
            Finish(reason=choice.finish_reason, stop_sequence=choice.stop_sequence, choice=number, extras=choice.extras)
        )
    if response.usage is not None:
        events.append(UsageTold(usage=response.usage))
    return events


def part_events(index: int, part: Part, choice: int = 0, logprobs: list[Json] | None = None) -> list[Event] | None:
    """Return the events of one part that comes whole; None for a kind that no answer holds."""
    start: PartStart
    pieces: list[Event] = []
    match part:
        case Text():
            start = PartStart(index=index, part="text", choice=choice, extras=part.extras)
            pieces = [
                TextDelta(index=index, text=part.text, choice=choice, logprobs=logprobs, citations=part.citations)
            ]
        case Refusal():
            start = PartStart(index=index, part="refusal", choice=choice)
            pieces = [TextDelta(index=index, text=part.text, choice=choice)]
        case Thinking():
            start = PartStart(
                index=index, part="thinking", choice=choice, wire_field=part.wire_field, extras=part.extras
            )
            pieces = [
                ThinkingDelta(
                    index=index, text=part.text, signature=part.signature, redacted=part.redacted, choice=choice
                )
            ]
        case ToolCall():
            start = PartStart(
                index=index,
                part="tool_call",
                choice=choice,
                id=part.id,
                name=part.name,
                custom=part.custom,
                extras=part.extras,
            )
            pieces = [ToolArguments(index=index, text=part.arguments, choice=choice)]
        case Opaque():
            start = PartStart(index=index, part="opaque", choice=choice, data=part)
        case _:
            return None
    return [start, *pieces, PartEnd(index=index, choice=choice)]
