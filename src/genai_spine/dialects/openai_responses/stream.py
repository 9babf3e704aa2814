"""OpenAI Responses: streams, read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from typing_extensions import override

from genai_spine.dialects.base import Quirks, StreamDecoder
from genai_spine.dialects.fields import Fields, response_fault, response_object
from genai_spine.dialects.limits import MAX_HELD, Held, News
from genai_spine.dialects.openai_errors import failure_in, told_inside
from genai_spine.dialects.openai_responses.items import (
    CALL_BODIES,
    CONTENT,
    ITEM,
    NAME,
    SUMMARY,
    decode_item,
    item_fields,
)
from genai_spine.dialects.openai_responses.namespaces import joint_name_of
from genai_spine.dialects.openai_responses.response import decode_finish, decode_usage, failure_of
from genai_spine.dialects.sse import Frames, parse_frame
from genai_spine.errors import MalformedResponseError, StreamInterruptedError
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Refusal, Text, ToolCall
from genai_spine.types.stream import (
    Event,
    Extension,
    Finish,
    PartEnd,
    PartKind,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    UsageTold,
    part_events,
)

__all__ = ["ENDS", "ResponsesDecoder", "interrupted", "kind_of"]

ENDS: Final = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
"""The dialect's end marks, and the status that each implies."""

_BEGINNINGS: Final = frozenset({"response.created", "response.queued", "response.in_progress"})


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")


def kind_of(fields: Fields, event: str) -> str:
    """Take an event's kind: as its data tells it, else the name of its frame."""
    return fields.text("type") or event


def _says_nothing(event: Event) -> bool:
    """Whether a piece of a part is empty."""
    match event:
        case TextDelta():
            return not (event.text or event.logprobs or event.citations)
        case ThinkingDelta():
            return not (event.text or event.signature or event.redacted)
        case _:
            return False


class _Item:
    """The item under way."""

    __slots__ = ("extras", "index", "kind", "noted", "number", "place", "wrote")

    def __init__(self, number: int, kind: str) -> None:
        self.number = number
        self.kind = kind
        self.extras: JsonObject = {}
        # The part that is open, where it stands within the item, and what has come of it.
        self.index = -1
        self.place: tuple[str, int] | None = None
        self.wrote = False
        self.noted = 0


class ResponsesDecoder(StreamDecoder):
    """Reads a stream of events.

    Items follow one another. Where a service works on two at once, what comes for the later one waits for the end of
    the first.
    """

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._frames = Frames()
        self._started = False
        # It repeats the request's own fields, its instructions among them.
        self._news = News(MAX_HELD)
        self._next = 0
        self._item: _Item | None = None
        # What waits, by the item's number, in the order in which the items were first told of.
        self._later: dict[int, deque[tuple[str, JsonObject]]] = {}
        self._held = Held()
        self._numbers: set[int] = set()
        self._ids: set[Json] = set()
        self._calls = False
        self._after_words = False
        self.over = False
        self._handlers: dict[str, Callable[[Fields, list[Event]], None]] = {
            "response.output_item.added": self._added,
            "response.output_item.done": self._done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.output_text.delta": self._words,
            "response.output_text.done": self._words_done,
            "response.output_text.annotation.added": self._annotation,
            "response.refusal.delta": self._refusal,
            "response.refusal.done": self._refusal_done,
            "response.reasoning_summary_part.added": self._summary_added,
            "response.reasoning_summary_text.delta": self._summary,
            "response.reasoning_summary_text.done": self._summary_done,
            "response.reasoning_text.delta": self._thought,
            "response.reasoning_text.done": self._thought_done,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments_done,
            "response.custom_tool_call_input.delta": self._arguments,
            "response.custom_tool_call_input.done": self._arguments_done,
        }

    @override
    def _read(self, data: bytes, events: list[Event]) -> None:
        for raw in self._frames.feed(data):
            if self.over:
                break
            self._frame(raw, events)
            self._let_go(events)

    @override
    def _end(self, events: list[Event]) -> None:
        failure = None if self._started else failure_in(self._frames.tail, self._quirks)
        raise failure or interrupted()

    def _frame(self, raw: bytes, events: list[Event]) -> None:
        found = parse_frame(raw)
        if found is None:
            # A comment; or a failure told as bare JSON, as by a service that had not begun to stream.
            if (failure := failure_in(raw, self._quirks)) is not None:
                raise failure
            return
        if not found.data or found.data.strip() == b"[DONE]":
            # Some services say so after the dialect's own end mark; alone it is none.
            return
        fields = response_object(found.data)
        kind = kind_of(fields, found.event)
        if kind == "error":
            raise failure_in(found.data, self._quirks, certain=True) or interrupted()
        if (handler := self._handlers.get(kind)) is not None:
            if (number := self._waits_for(fields)) is None:
                self._dispatch(kind, handler, fields, events)
            else:
                self._held.add(fields.rest())
                self._later.setdefault(number, deque()).append((kind, fields.rest()))
        elif kind in _BEGINNINGS:
            self._told(fields.need_child("response"), events)
        elif kind in ENDS:
            self._finish(kind, fields.need_child("response"), events)
        elif (failure := told_inside(fields, self._quirks)) is not None:
            raise failure

    def _waits_for(self, fields: Fields) -> int | None:
        """Return the number of the item that an event belongs to, if that is not the one under way."""
        number = fields.peek("output_index")
        if self._item is None or number is None or number == self._item.number:
            return None
        return Fields({"output_index": number}, fault=response_fault).integer("output_index")

    def _dispatch(
        self, kind: str, handler: Callable[[Fields, list[Event]], None], fields: Fields, events: list[Event]
    ) -> None:
        if self._item is None and kind.endswith(".done") and kind != "response.output_item.done":
            # The end of a piece of an item that has ended says nothing new.
            return
        if not self._started:
            self._told(Fields({}, fault=response_fault), events)
        handler(fields, events)

    # The answer as a whole.

    def _told(self, response: Fields, events: list[Event]) -> None:
        """Read what an event tells of the answer: only news is told."""
        for name in ("object", "error", "status", "incomplete_details", "output", "usage"):
            response.take(name)
        response_id, model = response.text("id") or "", response.text("model") or ""
        created = int(response.number("created_at") or 0)
        news = self._news.add(response.rest())
        if not self._started:
            self._started = True
            events.append(Start(id=response_id, model=model, created=created, dialect=NAME, extras=news))
        elif news:
            events.append(Extension(data=news))

    def _finish(self, kind: str, response: Fields, events: list[Event]) -> None:
        if (failure := failure_of(response, self._quirks)) is not None:
            raise failure
        status, details = response.peek("status"), response.peek("incomplete_details")
        usage, output = response.child("usage"), list(response.children("output"))
        self._told(response, events)
        self._close_item(events)
        while self._later:
            self._let_go(events)
            self._close_item(events)
        for number, item in enumerate(output):
            if number not in self._numbers and item.peek("id") not in self._ids:
                self._whole(item, events)
        outcome: JsonObject = {"status": status, "incomplete_details": details}
        reason, extras = decode_finish(
            Fields(outcome, "response", fault=response_fault),
            self._quirks,
            with_calls=self._calls,
            default=ENDS[kind],
        )
        self.over = True
        events.append(Finish(reason=reason, extras=extras))
        if usage is not None:
            events.append(UsageTold(usage=decode_usage(usage)))

    # Items.

    def _added(self, fields: Fields, events: list[Event]) -> None:
        told = fields.integer("output_index")
        number = len(self._numbers) if told is None else told
        item = fields.need_child("item")
        kind = item.text("type") or ""
        self._close_item(events)
        self._begin(number, item.peek("id"))
        self._item = now = _Item(number, kind)
        if kind in CALL_BODIES:
            item.take(CALL_BODIES[kind])
            self._calls = True
            call_id = item.text("call_id")
            call_id = item.need_text("id") if call_id is None else call_id
            name, extras = joint_name_of(item.need_text("name"), item_fields(item))
            custom = kind == "custom_tool_call"
            start = PartStart(index=self._next, part="tool_call", id=call_id, name=name, custom=custom, extras=extras)
            self._open(now, ("call", 0), start, events)
        elif kind in {"message", "reasoning"}:
            for name in ("content", "summary", "encrypted_content"):
                item.take(name)
            now.extras = item_fields(item)

    def _begin(self, number: int, item_id: Json) -> None:
        self._numbers.add(number)
        if isinstance(item_id, str):
            self._ids.add(item_id)

    def _done(self, fields: Fields, events: list[Event]) -> None:
        item = fields.need_child("item")
        now = self._item
        if now is None:
            # It was never announced.
            told = fields.integer("output_index")
            number = len(self._numbers) if told is None else told
            if number not in self._numbers:
                self._begin(number, item.peek("id"))
                self._whole(item, events)
            return
        if now.place is None:
            self._item = None
            self._whole(item, events)
            return
        if (body := CALL_BODIES.get(now.kind)) is not None:
            self._rest(now, item.text(body), events)
        elif now.kind == "reasoning" and (sealed := item.text("encrypted_content")) is not None:
            events.append(ThinkingDelta(index=now.index, signature=sealed))
        self._close_item(events)

    def _whole(self, item: Fields, events: list[Event]) -> None:
        """Tell an item that comes in one piece."""
        logprobs: list[Json] = []
        parts = decode_item(item, apart=self._after_words, keep_status=False, logprobs=logprobs)
        self._calls = self._calls or any(isinstance(part, ToolCall) for part in parts)
        for part in parts:
            told = part_events(self._next, part, logprobs=logprobs or None) or ()
            events += [event for event in told if not _says_nothing(event)]
            if isinstance(part, Text):
                logprobs = []
            self._after_words = isinstance(part, Text | Refusal)
            self._next += 1

    def _close_item(self, events: list[Event]) -> None:
        if self._item is not None:
            self._close_part(self._item, events)
        self._item = None

    def _let_go(self, events: list[Event]) -> None:
        """Read what has waited for the end of an item, each event once."""
        while self._later and (self._item is None or self._item.number in self._later):
            number = next(iter(self._later)) if self._item is None else self._item.number
            waiting = self._later[number]
            while waiting and (self._item is None or self._item.number == number):
                kind, data = waiting.popleft()
                self._dispatch(kind, self._handlers[kind], Fields(data, fault=response_fault), events)
            if not waiting:
                del self._later[number]

    # Parts.

    def _open(self, item: _Item, place: tuple[str, int], start: PartStart, events: list[Event]) -> None:
        self._close_part(item, events)
        item.place, item.index, item.wrote, item.noted = place, start.index, False, 0
        self._next = start.index + 1
        self._after_words = start.part in {"text", "refusal"}
        events.append(start)

    def _close_part(self, item: _Item, events: list[Event]) -> None:
        if item.place is None or item.index < 0:
            return
        if item.kind == "function_call" and not item.wrote:
            # Whoever reads the arguments may rely on their being JSON.
            events.append(ToolArguments(index=item.index, text="{}"))
        events.append(PartEnd(index=item.index))
        item.index = -1

    def _at(
        self,
        kind: PartKind,
        name: str,
        number: int | None,
        events: list[Event],
        extras: JsonObject | None = None,
    ) -> _Item:
        """Return the item under way, its part ``name`` at ``number`` open.

        Raises:
            MalformedResponseError: No item is under way, or one that holds no such part.
        """
        item = self._item
        if item is None:
            message = "the provider's stream holds a piece of an item that was never announced"
            raise MalformedResponseError(message)
        if item.kind in CALL_BODIES:
            message = "the provider's stream holds words within a tool call"
            raise MalformedResponseError(message)
        place = (name, number or 0)
        if item.place != place or item.index < 0:
            marked = dict(extras or {})
            if item.place is None and (item.extras or kind == "thinking" or self._after_words):
                marked = {ITEM: item.extras, **marked}
                if kind == "refusal":
                    # Only words have room for the mark, so these are put before what has none.
                    words = PartStart(index=self._next, part="text", extras=marked)
                    self._open(item, (ITEM, 0), words, events)
                    marked = {}
            wire_field = name if kind == "thinking" else None
            start = PartStart(index=self._next, part=kind, wire_field=wire_field, extras=marked)
            self._open(item, place, start, events)
        return item

    def _part_added(self, fields: Fields, events: list[Event]) -> None:
        number, part = fields.integer("content_index"), fields.need_child("part")
        match part.text("type"):
            case "output_text":
                for name in ("text", "annotations", "logprobs"):
                    part.take(name)
                if extras := part.told():
                    # Else it begins with its first words.
                    self._at("text", "text", number, events, extras)
            case "reasoning_text":
                part.take("text")
                self._at("thinking", CONTENT, number, events, part.told())
            case _:
                pass

    def _part_done(self, fields: Fields, events: list[Event]) -> None:
        number, part = fields.integer("content_index"), fields.need_child("part")
        if part.text("type") != "output_text":
            return
        text, citations = part.text("text"), [citation.rest() for citation in part.children("annotations")]
        if not text and not citations:
            return
        item = self._at("text", "text", number, events)
        text, citations = "" if item.wrote else text, citations[item.noted :]
        if text or citations:
            item.wrote, item.noted = True, item.noted + len(citations)
            events.append(TextDelta(index=item.index, text=text or "", citations=citations or None))

    def _words(self, fields: Fields, events: list[Event]) -> None:
        text, logprobs = fields.text("delta"), fields.items("logprobs")
        if text or logprobs:
            item = self._at("text", "text", fields.integer("content_index"), events)
            item.wrote = True
            events.append(TextDelta(index=item.index, text=text or "", logprobs=logprobs or None))

    def _words_done(self, fields: Fields, events: list[Event]) -> None:
        if not (text := fields.text("text")):
            return
        item = self._at("text", "text", fields.integer("content_index"), events)
        if not item.wrote:
            item.wrote = True
            events.append(TextDelta(index=item.index, text=text, logprobs=fields.items("logprobs") or None))

    def _annotation(self, fields: Fields, events: list[Event]) -> None:
        item = self._at("text", "text", fields.integer("content_index"), events)
        item.noted += 1
        events.append(TextDelta(index=item.index, citations=[fields.object("annotation") or {}]))

    def _refusal(self, fields: Fields, events: list[Event]) -> None:
        self._refuse(fields, fields.text("delta"), events, whole=False)

    def _refusal_done(self, fields: Fields, events: list[Event]) -> None:
        self._refuse(fields, fields.text("refusal"), events, whole=True)

    def _refuse(self, fields: Fields, text: str | None, events: list[Event], *, whole: bool) -> None:
        if not text:
            return
        item = self._at("refusal", "text", fields.integer("content_index"), events)
        if not (whole and item.wrote):
            item.wrote = True
            events.append(TextDelta(index=item.index, text=text))

    def _summary_added(self, fields: Fields, events: list[Event]) -> None:
        number, part = fields.integer("summary_index"), fields.need_child("part")
        part.take("type")
        part.take("text")
        self._at("thinking", SUMMARY, number, events, part.told())

    def _summary(self, fields: Fields, events: list[Event]) -> None:
        self._think(SUMMARY, fields.integer("summary_index"), fields.text("delta"), events, whole=False)

    def _summary_done(self, fields: Fields, events: list[Event]) -> None:
        self._think(SUMMARY, fields.integer("summary_index"), fields.text("text"), events, whole=True)

    def _thought(self, fields: Fields, events: list[Event]) -> None:
        self._think(CONTENT, fields.integer("content_index"), fields.text("delta"), events, whole=False)

    def _thought_done(self, fields: Fields, events: list[Event]) -> None:
        self._think(CONTENT, fields.integer("content_index"), fields.text("text"), events, whole=True)

    def _think(self, name: str, number: int | None, text: str | None, events: list[Event], *, whole: bool) -> None:
        item = self._at("thinking", name, number, events)
        if text and not (whole and item.wrote):
            item.wrote = True
            events.append(ThinkingDelta(index=item.index, text=text))

    def _arguments(self, fields: Fields, events: list[Event]) -> None:
        item = self._call()
        if text := fields.text("delta"):
            item.wrote = True
            events.append(ToolArguments(index=item.index, text=text))

    def _arguments_done(self, fields: Fields, events: list[Event]) -> None:
        item = self._call()
        self._rest(item, fields.text(CALL_BODIES[item.kind]), events)

    def _call(self) -> _Item:
        item = self._item
        if item is None or item.kind not in CALL_BODIES:
            message = "the provider's stream holds a piece of a tool call that was never announced"
            raise MalformedResponseError(message)
        return item

    def _rest(self, item: _Item, text: str | None, events: list[Event]) -> None:
        """Tell a call's arguments whole, of a service that has not told them in pieces."""
        if text and text.strip() and not item.wrote:
            item.wrote = True
            events.append(ToolArguments(index=item.index, text=text))
