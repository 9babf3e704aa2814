"""Parts are put in order, whatever order their pieces come in."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_spine.dialects.assembly import PartAssembler
from genai_spine.errors import MalformedResponseError
from genai_spine.types.json import Json
from genai_spine.types.messages import Image, Media, Text, ToolCall
from genai_spine.types.stream import Collector, Event, PartEnd, PartStart, TextDelta, ToolArguments
from tests.strategies import json_objects

_PICTURE: Final = Image(media=Media(data="AAAA"))
"""A part that no answer of the vocabulary's holds: of it nothing is told."""


def _collected(events: list[Event]) -> tuple[object, ...]:
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response().parts


def _one_at_a_time(events: list[Event]) -> bool:
    """Whether parts are strictly sequential and numbered from 0."""
    opened: int | None = None
    following = 0
    for event in events:
        match event:
            case PartStart():
                if opened is not None or event.index != following:
                    return False
                opened, following = event.index, following + 1
            case PartEnd():
                if event.index != opened:
                    return False
                opened = None
            case TextDelta() | ToolArguments():
                if event.index != opened:
                    return False
            case _:
                pass
    return opened is None


def test_words_are_told_as_they_come() -> None:
    """Each piece of text is an event at once; a change of kind closes the part."""
    parts = PartAssembler()
    assert [PartStart(index=0, part="thinking"), "thinking"] == [
        event if isinstance(event, PartStart) else "thinking" for event in parts.words("thinking", "hm")
    ]
    events = parts.words("text", "a")
    assert [PartEnd(index=0), PartStart(index=1, part="text"), TextDelta(index=1, text="a")] == events
    assert [TextDelta(index=1, text="b")] == parts.words("text", "b")
    assert [PartEnd(index=1)] == parts.finish()


def test_arguments_are_told_as_they_come() -> None:
    """Pieces of the open call's arguments are events at once."""
    parts = PartAssembler()
    number, events = parts.open_call("c1", "f")
    assert [PartStart(index=0, part="tool_call", id="c1", name="f")] == events
    assert [ToolArguments(index=0, text='{"a"')] == parts.arguments(number, '{"a"')
    assert [ToolArguments(index=0, text=":1}")] == parts.arguments(number, ":1}")
    assert [PartEnd(index=0)] == parts.finish()


def test_10_a_call_without_arguments_has_an_empty_object() -> None:
    """No argument at all is `{}`, not an empty string that nobody can parse (WIRE 9, 10)."""
    parts = PartAssembler()
    _, events = parts.open_call("c1", "f")
    events += parts.finish()
    assert _collected(events) == (ToolCall(id="c1", name="f", arguments="{}"),)
    assert ToolArguments(index=0, text="{}") in events


def test_a_custom_tool_may_have_no_input() -> None:
    """Free text may be empty, and is never taken for whole before the end."""
    parts = PartAssembler()
    number, events = parts.open_call("c1", "f", custom=True)
    events += parts.words("text", "later")
    assert len(events) == 1
    events += parts.arguments(number, "{}") + parts.arguments(number, " and more") + parts.finish()
    assert _collected(events) == (
        ToolCall(id="c1", name="f", arguments="{} and more", custom=True),
        Text(text="later"),
    )


def test_interleaved_calls() -> None:
    """Fragments of two calls in turn end up each in its own, one call after the other."""
    parts = PartAssembler()
    first, events = parts.open_call("c1", "f")
    second, more = parts.open_call("c2", "g")
    events += more
    for number, text in ((first, '{"a"'), (second, '{"b'), (first, ":1"), (second, '":2}'), (first, "}")):
        events += parts.arguments(number, text)
    events += parts.words("text", "done") + parts.finish()
    assert _collected(events) == (
        ToolCall(id="c1", name="f", arguments='{"a":1}'),
        ToolCall(id="c2", name="g", arguments='{"b":2}'),
        Text(text="done"),
    )
    assert _one_at_a_time(events)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), values=st.lists(json_objects, min_size=1, max_size=4))
def test_any_interleaving(data: st.DataObject, values: list[dict[str, object]]) -> None:
    """However the fragments of calls interleave with each other and with text, none is lost or misplaced."""
    texts = [json.dumps(value) for value in values]
    left = [[text[place : place + 5] for place in range(0, len(text), 5)] for text in texts]
    parts = PartAssembler()
    events: list[Event] = []
    words = ""
    numbers: dict[int, int] = {}
    while any(left):
        position = data.draw(st.sampled_from([place for place, pieces in enumerate(left) if pieces]))
        if position not in numbers:
            numbers[position], opened = parts.open_call(f"c{position}", "f")
            events += opened
        events += parts.arguments(numbers[position], left[position].pop(0))
        if data.draw(st.booleans()):
            words += "w"
            events += parts.words("text", "w")
    events += parts.finish()
    assert _one_at_a_time(events)
    found = _collected(events)
    calls = {part.id: part.arguments for part in found if isinstance(part, ToolCall)}
    assert {f"c{position}": text for position, text in enumerate(texts)} == calls
    assert words == "".join(part.text for part in found if isinstance(part, Text))


def test_arguments_that_never_become_json() -> None:
    """A call cut off by a token limit is told as far as it came, and the next one after it."""
    parts = PartAssembler()
    first, events = parts.open_call("c1", "f")
    events += parts.arguments(first, '{"a": "unfin')
    second, more = parts.open_call("c2", "g")
    events += more + parts.arguments(second, "{}") + parts.finish()
    assert _collected(events) == (
        ToolCall(id="c1", name="f", arguments='{"a": "unfin'),
        ToolCall(id="c2", name="g", arguments="{}"),
    )


def test_arguments_after_their_end() -> None:
    """Blanks after whole arguments are nothing; more JSON is an error, for it has no place."""
    parts = PartAssembler()
    first, _ = parts.open_call("c1", "f")
    parts.arguments(first, "{}")
    parts.open_call("c2", "g")
    assert parts.is_whole(first)
    assert [] == parts.arguments(first, " \n")
    with pytest.raises(MalformedResponseError):
        parts.arguments(first, '{"more": 1}')


def test_deeply_nested_arguments() -> None:
    """Arguments that no parser follows are not whole, and raise nothing."""
    parts = PartAssembler()
    first, events = parts.open_call("c1", "f")
    events += parts.arguments(first, "[" * 100_000) + parts.words("text", "x") + parts.finish()
    assert [ToolCall(id="c1", name="f", arguments="[" * 100_000), Text(text="x")] == list(_collected(events))


def test_a_part_that_comes_whole() -> None:
    """It stands alone, between words that are not joined over it, and is numbered with the others."""
    parts = PartAssembler(1)
    sealed = Text(text="b", extras={"seal": 1})
    records: list[Json] = [{"token": "b"}]
    events = parts.words("text", "a") + parts.whole(sealed, records) + parts.words("text", "c") + parts.whole(_PICTURE)
    events += parts.finish()
    assert [(0, "text"), (1, "text"), (2, "text")] == [
        (event.index, event.part) for event in events if isinstance(event, PartStart)
    ]
    assert [None, records, None] == [event.logprobs for event in events if isinstance(event, TextDelta)]
    assert {1} == {event.choice for event in events if isinstance(event, PartStart | PartEnd | TextDelta)}
    assert _one_at_a_time(events)
