"""Puts the parts of a stream in order, for dialects that do not say where a part ends.

Anthropic's blocks follow one another strictly; OpenAI's tool calls may interleave, and text may come between. Here one
part is open at a time. A tool call whose arguments are not yet whole JSON stays open, and what comes for other parts
meanwhile waits, so that no fragment is ever lost or put in the wrong place.
"""

from __future__ import annotations

from collections import deque

from genai_spine.dialects.limits import Held
from genai_spine.dialects.whole_json import WholeJson
from genai_spine.errors import MalformedResponseError
from genai_spine.types.json import Json
from genai_spine.types.messages import Part
from genai_spine.types.stream import (
    Event,
    PartEnd,
    PartKind,
    PartStart,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    part_events,
)

__all__ = ["PartAssembler"]


class _Call:
    """A tool call: what has come of it, and whether it has been opened."""

    __slots__ = ("arguments", "custom", "extras", "id", "index", "name", "waiting")

    def __init__(self, call_id: str, name: str, *, custom: bool, extras: dict[str, Json]) -> None:
        self.id = call_id
        self.name = name
        self.custom = custom
        self.extras = extras
        self.index = -1
        self.arguments = WholeJson()
        self.waiting: list[str] = []

    def is_whole(self) -> bool:
        """Whether nothing more can come: its arguments are complete JSON."""
        return not self.custom and self.arguments.is_whole()


class PartAssembler:
    """The parts of one choice."""

    def __init__(self, choice: int = 0) -> None:
        self._choice = choice
        self._next = 0
        self._open: int | None = None
        self._kind: PartKind | None = None
        self._call: _Call | None = None
        self._calls: list[_Call] = []
        # What came for other parts while a call was open, in order.
        self._later: list[tuple[PartKind, str, str | None, list[Json] | None]] = []
        self._waiting_calls: deque[_Call] = deque()
        # How much has had to wait so far.
        self._held = Held()

    @property
    def has_calls(self) -> bool:
        """Whether any tool call has come."""
        return bool(self._calls)

    @property
    def call_count(self) -> int:
        """How many tool calls have come."""
        return len(self._calls)

    def is_whole(self, number: int) -> bool:
        """Whether the arguments of call ``number`` are complete JSON."""
        call = self._calls[number]
        return (call.index >= 0 and call is not self._call) or call.is_whole()

    def words(
        self, kind: PartKind, text: str, *, wire_field: str | None = None, logprobs: list[Json] | None = None
    ) -> list[Event]:
        """Take words of a ``text``, ``thinking`` or ``refusal`` part."""
        events: list[Event] = []
        if self._call is not None:
            if not self._call.is_whole():
                self._wait(kind, text, wire_field, logprobs)
                return events
            events += self._advance()
            if self._call is not None:
                self._wait(kind, text, wire_field, logprobs)
                return events
        return events + self._words(kind, text, wire_field, logprobs)

    def _wait(self, kind: PartKind, text: str, wire_field: str | None, logprobs: list[Json] | None) -> None:
        self._held.add(text, logprobs)
        self._later.append((kind, text, wire_field, logprobs))

    def _words(self, kind: PartKind, text: str, wire_field: str | None, logprobs: list[Json] | None) -> list[Event]:
        events: list[Event] = []
        if self._kind != kind:
            events += self._close()
            events.append(self._start(kind, wire_field=wire_field))
        index = self._next - 1
        if kind == "thinking":
            events.append(ThinkingDelta(index=index, text=text, choice=self._choice))
        else:
            events.append(TextDelta(index=index, text=text, choice=self._choice, logprobs=logprobs))
        return events

    def whole(self, part: Part, logprobs: list[Json] | None = None) -> list[Event]:
        """Take a part that has come whole and is joined to none of its neighbours."""
        events = self.finish()
        if (found := part_events(self._next, part, self._choice, logprobs)) is not None:
            events += found
            self._next += 1
        return events

    def open_call(
        self, call_id: str, name: str, *, custom: bool = False, extras: dict[str, Json] | None = None
    ) -> tuple[int, list[Event]]:
        """Take the beginning of a tool call; return its number among the calls, and the events."""
        call = _Call(call_id, name, custom=custom, extras=extras or {})
        self._calls.append(call)
        number = len(self._calls) - 1
        if self._call is None:
            return number, self._begin(call)
        self._held.add(call_id, name)
        self._waiting_calls.append(call)
        return number, self._advance() if self._call.is_whole() else []

    def arguments(self, number: int, text: str) -> list[Event]:
        """Take more of the arguments of call ``number``.

        Raises:
            MalformedResponseError: They were complete, and another part has begun since.
        """
        call = self._calls[number]
        if call is not self._call:
            if call.index >= 0:
                if text.isspace():
                    return []
                message = f"the provider went on with the arguments of the tool call {call.name} after their end"
                raise MalformedResponseError(message)
            self._held.add(text)
            call.waiting.append(text)
            return self._advance() if self._call is None or self._call.is_whole() else []
        call.arguments.add(text)
        return [ToolArguments(index=call.index, text=text, choice=self._choice)]

    def finish(self) -> list[Event]:
        """Everything has come: open and close what still waits."""
        events: list[Event] = []
        while self._call is not None:
            events += self._advance()
        return events + self._close()

    def _advance(self) -> list[Event]:
        """Close the open call, then open the next that waits, or let go of the words that waited."""
        events = self._close()
        if self._waiting_calls:
            return events + self._begin(self._waiting_calls.popleft())
        later, self._later = self._later, []
        for kind, text, wire_field, logprobs in later:
            events += self._words(kind, text, wire_field, logprobs)
        return events

    def _begin(self, call: _Call) -> list[Event]:
        events = self._close()
        start = self._start("tool_call", call=call)
        call.index = start.index
        self._call = call
        events.append(start)
        for text in call.waiting:
            call.arguments.add(text)
            events.append(ToolArguments(index=call.index, text=text, choice=self._choice))
        call.waiting = []
        return events

    def _start(self, kind: PartKind, *, wire_field: str | None = None, call: _Call | None = None) -> PartStart:
        self._kind, self._open = kind, self._next
        self._next += 1
        if call is None:
            return PartStart(index=self._open, part=kind, choice=self._choice, wire_field=wire_field)
        return PartStart(
            index=self._open,
            part=kind,
            choice=self._choice,
            id=call.id,
            name=call.name,
            custom=call.custom,
            extras=call.extras,
        )

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        index, call = self._open, self._call
        self._open = self._kind = self._call = None
        end = PartEnd(index=index, choice=self._choice)
        if call is None:
            return [end]
        said = bool(call.arguments)
        # The call is remembered, so that a piece that comes late is known; what was said is not.
        call.arguments = WholeJson()
        if not said and not call.custom:
            # Whoever reads the arguments may rely on their being JSON.
            return [ToolArguments(index=index, text="{}", choice=self._choice), end]
        return [end]
