"""Seals find their way back to who made them, and to nobody else.

What a provider sealed of a turn it wants back with the next request, unchanged; any other provider, model or account
refuses it. So each seal that leaves the gateway in a foreign dialect is tagged with its origin, and each tag that comes
in is opened if the request goes to that origin, and dropped if not. Callers whose dialect has no place for a tag send
tool calls back without it: for them it is kept here under the call.

Programs that use the library speak no dialect, and carry tags in the vocabulary itself.

A caller who makes up a tag says no more with it than he may say in the provider's own dialect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Final, Protocol

import msgspec
from msgspec import Struct, structs

from genai_spine.dialects.base import Dialect
from genai_spine.dialects.seals import EMPTY, Seal, is_tag, read_tag, tag_of
from genai_spine.errors import SharedStateUnavailableError
from genai_spine.providers.base import CallOptions, Provider
from genai_spine.shared_state.base import SharedState
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.messages import Message, Part, Text, Thinking, ToolCall
from genai_spine.types.principal import Principal
from genai_spine.types.stream import (
    Collector,
    Event,
    PartEnd,
    PartStart,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    events_of,
)

__all__ = ["LIBRARY", "Carrier", "Sealing", "Seals", "origin_of"]

SECONDS: Final = 30 * 24 * 3600.0
"""How long the seals of a tool call are kept at most."""
_PIECES: Final = (PartStart, TextDelta, ThinkingDelta, ToolArguments, PartEnd)


def origin_of(provider: Provider, model: str, options: CallOptions) -> str:
    """Return who makes the seals of one call: the provider, the model and the account behind the key."""
    key = options.key or (provider.keys[0] if provider.keys else None)
    told = f"{provider.name}\n{model}\n{key.fingerprint if key else ''}"
    return hashlib.blake2b(told.encode(errors="replace"), digest_size=8).hexdigest()


class Carrier(Protocol):
    """Through whose hands seals go: a door's dialect, or the library; see ``Dialect``."""

    name: ClassVar[str]
    carries_seals: ClassVar[bool]
    call_ids: ClassVar[bool]

    def marks_calls(self, request: CompletionRequest) -> bool:
        """Return whether calls without a seal are to be marked."""
        ...


class _Library:
    """The vocabulary as programs hold it, which has a place for tags."""

    name: ClassVar[str] = ""
    carries_seals: ClassVar[bool] = True
    call_ids: ClassVar[bool] = True

    def marks_calls(self, request: CompletionRequest) -> bool:  # noqa: ARG002  # all that comes from there is looked into
        return False


LIBRARY: Final = _Library()


class _Kept(Struct):
    """The seals of what a model wrote before a tool call: at the head of its turn, and right before the call."""

    head: list[Seal]
    before: list[Seal]


_kept: Final = msgspec.json.Decoder(_Kept)


class Seals:
    """Opens and makes tags, and keeps seals for callers who cannot carry them."""

    def __init__(self, state: SharedState, dialects: Mapping[str, Dialect]) -> None:
        self._state = state
        self._dialects = dialects

    async def to_provider(
        self, principal: Principal, door: Carrier, request: CompletionRequest, origin: str
    ) -> CompletionRequest:
        """Return a request with the seals of ``origin`` in their places, and no other's."""
        if door.carries_seals:
            return self.opened(request, origin)
        messages = [
            await self._recalled(principal, door, message, origin) if message.role == "assistant" else message
            for message in request.messages
        ]
        return structs.replace(request, messages=tuple(messages))

    def to_caller(self, door: Carrier, request: CompletionRequest, origin: str) -> Sealing:
        """Begin to tag the seals of the answer that ``origin`` gives to a request."""
        return Sealing(door, origin, self._dialects, marks_calls=door.marks_calls(request))

    async def keep(self, principal: Principal, sealing: Sealing) -> None:
        """Keep the seals of an answer whose caller cannot carry them."""
        # Without them the conversation goes on as it does with a model that reasons anew.
        with suppress(SharedStateUnavailableError):
            for key, kept in sealing.kept.items():
                await self._state.put(_key(principal, key), msgspec.json.encode(kept), SECONDS)

    def opened(self, request: CompletionRequest, origin: str) -> CompletionRequest:
        """Return a request with the tags of ``origin`` opened, and the others dropped."""
        messages = [
            message if message.role != "assistant" else self._opened(message, origin) for message in request.messages
        ]
        if request.dialect is None:
            messages = [message if message.role != "assistant" else _in_plain_words(message) for message in messages]
        return structs.replace(request, messages=tuple(messages))

    def _opened(self, message: Message, origin: str) -> Message:
        parts: list[Part] = []
        for part in message.parts:
            tag = (part.signature or part.redacted) if isinstance(part, Thinking) else None
            if tag is None or not is_tag(tag):
                parts.append(part)
            elif (seal := read_tag(tag)) is not None and (found := self._part(seal, origin)) is not None:
                parts.append(found)
            elif isinstance(part, Thinking) and part.text:
                # Its words are nobody's secret.
                parts.append(Thinking(text=part.text))
        return structs.replace(message, parts=tuple(parts))

    def _part(self, seal: Seal, origin: str) -> Part | None:
        dialect = self._dialects.get(seal.dialect)
        return dialect.opened(seal.data) if dialect is not None and seal.origin == origin else None

    async def _find(self, principal: Principal, door: Carrier, call: ToolCall) -> bytes | None:
        try:
            return await self._state.get(_key(principal, _call_key(door, call)))
        except SharedStateUnavailableError:
            return None  # as if it had been kept too long ago

    async def _recalled(self, principal: Principal, door: Carrier, message: Message, origin: str) -> Message:
        """Put back before each tool call what its model had sealed; the caller's own words and arguments stay."""
        head: list[Part] = []
        rest: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolCall):
                found = await self._find(principal, door, part)
                if found is not None:
                    kept = _kept.decode(found)
                    head += self._parts(kept.head, origin)
                    rest += self._parts(kept.before, origin)
            if not isinstance(part, Thinking):
                rest.append(part)
        own = sum(not isinstance(part, Thinking) for part in message.parts)
        # What the caller shows of the reasoning itself makes way for what is sealed, if anything is.
        return message if len(head) + len(rest) == own else structs.replace(message, parts=(*head, *rest))

    def _parts(self, seals: list[Seal], origin: str) -> list[Part]:
        return [part for seal in seals if (part := self._part(seal, origin)) is not None]


def _in_plain_words(message: Message) -> Message:
    """Leave out of a turn what only its provider's dialect knows: nobody can tell which one that was."""
    parts = tuple(
        structs.replace(part, citations=None, extras={})
        if isinstance(part, Text)
        else structs.replace(part, extras={})
        if isinstance(part, Thinking | ToolCall)
        else part
        for part in message.parts
    )
    return structs.replace(message, parts=parts)


def _key(principal: Principal, key: str) -> str:
    return f"seals:{principal.owner}:{key}"


def _call_key(door: Carrier, call: ToolCall) -> str:
    """Return what a caller sends back of a tool call unchanged: its id, or where there is none what is called.

    Of two equal calls without an id the later one's seals are then put back for both.
    """
    if door.call_ids:
        return call.id
    try:
        arguments = msgspec.json.encode(msgspec.json.decode(call.arguments), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        arguments = call.arguments.encode()
    return hashlib.blake2b(call.name.encode() + b"\n" + arguments, digest_size=16).hexdigest()


class _Choice:
    """One of the answers, while its parts go by.

    Attributes:
        shift: How many parts have been put before those that come.
        run: The reasoning in a row that goes by: its seal comes with its last part.
        head: Seals at the head of the turn that no call has followed yet; ``before``: those behind words.
        begun: Words or a call have come.
        tagged: A tag has been told.
    """

    def __init__(self) -> None:
        self.shift = 0
        self.part: PartStart | None = None
        self.texts: list[str] = []
        self.signature: str | None = None
        self.redacted: str | None = None
        self.run: list[Thinking] = []
        self.head: list[Seal] = []
        self.before: list[Seal] = []
        self.begun = False
        self.tagged = False

    def thought(self) -> Thinking:
        """Return the reasoning that has gone by."""
        start = self.part or PartStart(index=0, part="thinking")
        return Thinking(
            text="".join(self.texts),
            signature=self.signature,
            redacted=self.redacted,
            wire_field=start.wire_field,
            extras=start.extras,
        )


class Sealing:
    """Tags the seals of one answer on its way to a caller.

    Where the caller's dialect carries tags, a seal becomes the signature of the reasoning that it belongs to; one that
    belongs to words or a tool call, of empty reasoning before them. Elsewhere it is held back, for ``Seals.keep``.

    Attributes:
        kept: What is to be kept, by the key of the call.
    """

    def __init__(self, door: Carrier, origin: str, dialects: Mapping[str, Dialect], *, marks_calls: bool) -> None:
        self._door = door
        self._marks_calls = marks_calls
        self._origin = origin
        self._dialects = dialects
        self._maker: Dialect | None = None
        self._foreign = True
        self._choices: dict[int, _Choice] = {}
        self.kept: dict[str, _Kept] = {}

    def response(self, response: CompletionResponse) -> CompletionResponse:
        """Return a whole answer, its seals tagged."""
        self._begun(response.dialect)
        if not self._foreign:
            return response
        collector = Collector()
        for event in events_of(response):
            for told in self.add(event):
                collector.add(told)
        return structs.replace(response, choices=collector.response().choices)

    def add(self, event: Event) -> list[Event]:
        """Return the events to be told in the place of one."""
        if isinstance(event, Start):
            self._begun(event.dialect)
        if not self._foreign or not isinstance(event, _PIECES):
            return [event]
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = _Choice()
        match event:
            case TextDelta():
                pass
            case PartStart():
                return self._begin(choice, event)
            case ThinkingDelta():
                return self._think(choice, event)
            case PartEnd():
                return self._end(choice, event)
            case ToolArguments():
                choice.texts.append(event.text)
        return [structs.replace(event, index=event.index + choice.shift) if choice.shift else event]

    def _begun(self, maker: str | None) -> None:
        """Note in which dialect the answer was made: a door's own seals are carried as they are."""
        self._maker = self._dialects.get(maker or "")
        own = self._door.carries_seals and maker == self._door.name
        self._foreign = not own and (self._maker is not None or self._marks_calls)

    def _begin(self, choice: _Choice, event: PartStart) -> list[Event]:
        choice.part, choice.texts, choice.signature, choice.redacted = event, [], None, None
        before: list[Event] = []
        if event.part != "thinking":
            choice.run = []
            before = self._sealed_before(choice, event)
        if event.part in {"text", "refusal"}:
            choice.begun = True
        return [*before, structs.replace(event, index=event.index + choice.shift)] if choice.shift else [event]

    def _sealed_before(self, choice: _Choice, event: PartStart) -> list[Event]:
        part: Part
        if event.part == "tool_call":
            part = ToolCall(id=event.id, name=event.name, custom=event.custom, extras=event.extras)
        else:
            part = Text(text="", extras=event.extras)
        seal = self._seal((part,))
        if not self._door.carries_seals:
            if seal is not None and event.part == "tool_call":
                self._hold(choice, seal)
            return []
        if seal is not None:
            tag = tag_of(seal)
        elif self._marks_calls and event.part == "tool_call" and not choice.tagged:
            tag = EMPTY
        else:
            return []
        choice.tagged = True
        index = event.index + choice.shift
        choice.shift += 1
        return [
            PartStart(index=index, part="thinking", choice=event.choice),
            ThinkingDelta(index=index, signature=tag, choice=event.choice),
            PartEnd(index=index, choice=event.choice),
        ]

    def _think(self, choice: _Choice, event: ThinkingDelta) -> list[Event]:
        choice.texts.append(event.text)
        if event.signature is not None:
            choice.signature = (choice.signature or "") + event.signature
        if event.redacted is not None:
            choice.redacted = event.redacted
        if not event.text:
            return []
        return [ThinkingDelta(index=event.index + choice.shift, text=event.text, choice=event.choice)]

    def _end(self, choice: _Choice, event: PartEnd) -> list[Event]:
        start = choice.part
        end = structs.replace(event, index=event.index + choice.shift) if choice.shift else event
        if start is not None and start.part == "tool_call":
            self._called(choice, start)
        if start is None or start.part != "thinking":
            return [end]
        choice.run.append(choice.thought())
        # Words without a seal are shown, and come back by themselves, if the caller's dialect has a place for them.
        plain = choice.signature is None and choice.redacted is None
        seal = None if plain and self._door.carries_seals else self._seal(tuple(choice.run))
        if seal is None:
            return [end]
        choice.run = []
        choice.tagged = True
        if not self._door.carries_seals:
            self._hold(choice, seal)
            return [end]
        return [ThinkingDelta(index=end.index, signature=tag_of(seal), choice=event.choice), end]

    def _seal(self, parts: tuple[Part, ...]) -> Seal | None:
        data = None if self._maker is None else self._maker.sealed(parts)
        return None if data is None or self._maker is None else Seal(self._origin, self._maker.name, data)

    @staticmethod
    def _hold(choice: _Choice, seal: Seal) -> None:
        (choice.before if choice.begun else choice.head).append(seal)

    def _called(self, choice: _Choice, start: PartStart) -> None:
        if choice.head or choice.before:
            call = ToolCall(id=start.id, name=start.name, arguments="".join(choice.texts) or "{}")
            self.kept[_call_key(self._door, call)] = _Kept(choice.head, choice.before)
            choice.head, choice.before = [], []
        choice.begun = True
