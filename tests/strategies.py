"""Hypothesis strategies: requests, answers and streams of events such as a dialect can say."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse, OutputSchema, Reasoning
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Image, Media, Message, Part, Text, Thinking, ToolCall, ToolResult
from genai_spine.types.stream import Event, PartStart, TextDelta, ThinkingDelta, ToolArguments, events_of
from genai_spine.types.tools import Tool, ToolChoice
from genai_spine.types.usage import Usage

__all__ = ["answers", "conversations", "event_sequences", "json_objects", "requests", "usages", "words"]

_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="

_letters: Final = st.characters(exclude_categories=["Cs"])
words: Final = st.text(_letters, min_size=1, max_size=12).filter(str.strip)
"""Text that says something, in any script; line ends, quotes and control characters among it."""

_names: Final = st.from_regex(r"[a-z][a-z0-9_]{0,11}", fullmatch=True)
_ids: Final = st.from_regex(r"call_[a-zA-Z0-9]{4,12}", fullmatch=True)

_scalars: Final[st.SearchStrategy[Json]] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), st.text(_letters, max_size=8)
)
_values: Final[st.SearchStrategy[Json]] = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=3)),
    max_leaves=5,
)
json_objects: Final[st.SearchStrategy[JsonObject]] = st.dictionaries(_names, _values, max_size=3)


@st.composite
def _schemas(draw: st.DrawFn) -> JsonObject:
    """JSON Schemas of flat objects."""
    properties: JsonObject = {
        name: {"type": draw(st.sampled_from(["string", "integer"]))} for name in draw(st.sets(_names, max_size=3))
    }
    return {"type": "object", "properties": properties}


_arguments: Final = json_objects.map(json.dumps)


@st.composite
def _calls(draw: st.DrawFn) -> tuple[ToolCall, ...]:
    """Up to three tool calls, each with its own id."""
    ids = draw(st.lists(_ids, max_size=3, unique=True))
    return tuple(ToolCall(id=call_id, name=draw(_names), arguments=draw(_arguments)) for call_id in ids)


def _texts() -> st.SearchStrategy[Text]:
    return words.map(lambda text: Text(text=text))


_images: Final = st.sampled_from(
    [
        Image(media=Media(data=_PNG, media_type="image/png")),
        Image(media=Media(url="https://pictures.example/cat.png")),
    ]
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns in a good order: the user's, the assistant's, and the results of all the tools that it called."""
    turns: list[Message] = []
    for _ in range(draw(st.integers(0, 2))):
        turns.append(Message(role="user", parts=(draw(_texts()),)))
        calls = draw(_calls())
        said: tuple[Part, ...] = (draw(_texts()),) if not calls or draw(st.booleans()) else ()
        turns.append(Message(role="assistant", parts=(*said, *calls)))
        turns += [Message(role="tool", parts=(ToolResult(call_id=call.id, parts=(draw(_texts()),)),)) for call in calls]
    last: list[Part] = [draw(_texts())]
    if draw(st.booleans()):
        last.append(draw(_images))
    turns.append(Message(role="user", parts=tuple(last)))
    return tuple(turns)


@st.composite
def requests(draw: st.DrawFn) -> CompletionRequest:
    """A request that belongs to no dialect, of what nearly all of them can say."""
    names = draw(st.lists(_names, max_size=3, unique=True))
    tools = tuple(
        Tool(name=name, description=draw(st.none() | words), parameters=draw(st.none() | _schemas())) for name in names
    )
    choices = [ToolChoice(mode="auto"), ToolChoice(mode="none"), ToolChoice(mode="required")]
    instructions = draw(st.lists(_texts(), max_size=1))
    head = tuple(Message(role="system", parts=(text,)) for text in instructions)
    stream = draw(st.booleans())
    return CompletionRequest(
        messages=head + draw(conversations()),
        model=draw(_names),
        max_tokens=draw(st.none() | st.integers(1, 100_000)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0.01, 1)),
        top_k=draw(st.none() | st.integers(1, 100)),
        stop=tuple(draw(st.lists(words, max_size=3))),
        seed=draw(st.none() | st.integers(0, 2**31)),
        tools=tools,
        tool_choice=draw(st.none() | st.sampled_from(choices)) if tools else None,
        output_schema=draw(st.none() | _schemas().map(lambda schema: OutputSchema(schema=schema, name="answer"))),
        reasoning=draw(st.none() | st.sampled_from(["low", "medium", "high"]).map(lambda e: Reasoning(effort=e))),
        user=draw(st.none() | _names),
        stream=stream,
        stream_usage=stream and draw(st.booleans()),
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Tokens whose parts are no more than their totals."""
    read, wrote = draw(st.integers(0, 1000)), draw(st.integers(0, 1000))
    return Usage(input_tokens=read, output_tokens=wrote)


def _thoughts() -> st.SearchStrategy[Thinking]:
    return words.map(lambda text: Thinking(text=text))


@st.composite
def answers(draw: st.DrawFn, *, in_order: bool = True) -> CompletionResponse:
    """An answer from no dialect.

    Args:
        draw: Hypothesis's.
        in_order: Thinking, words, calls, each once, as a message of most dialects must have them; else in any order.
    """
    calls = draw(_calls())
    thoughts, texts = draw(st.lists(_thoughts(), max_size=1)), draw(st.lists(_texts(), max_size=1))
    parts: list[Part] = [*thoughts, *texts, *calls]
    if not in_order:
        parts = draw(st.permutations(parts + draw(st.lists(_texts() | _thoughts(), max_size=2))))
    if not any(isinstance(part, Text | ToolCall) for part in parts):
        parts.append(draw(_texts()))
    return CompletionResponse(
        id=draw(_ids),
        model=draw(_names),
        created=draw(st.integers(1, 2_000_000_000)),
        choices=(
            Choice(
                parts=tuple(parts),
                finish_reason="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
            ),
        ),
        usage=draw(usages()),
    )


@st.composite
def event_sequences(draw: st.DrawFn) -> list[Event]:
    """A whole good stream: an answer with its parts in any order, cut into pieces."""
    events: list[Event] = []
    for event in events_of(draw(answers(in_order=False))):
        if isinstance(event, PartStart) or not isinstance(event, TextDelta | ThinkingDelta | ToolArguments):
            events.append(event)
            continue
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(event.text) - 1)), max_size=3)))
        places = [0, *(cut for cut in cuts if cut < len(event.text)), len(event.text)]
        for begin, end in pairwise(places):
            events.append(_piece(event, event.text[begin:end]))
    return events


def _piece(event: TextDelta | ThinkingDelta | ToolArguments, text: str) -> Event:
    match event:
        case TextDelta():
            return TextDelta(index=event.index, text=text, choice=event.choice)
        case ThinkingDelta():
            return ThinkingDelta(index=event.index, text=text, choice=event.choice)
        case ToolArguments():
            return ToolArguments(index=event.index, text=text, choice=event.choice)
