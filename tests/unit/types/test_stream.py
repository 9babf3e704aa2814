"""Streams: an answer told in events and collected again is the same answer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from genai_spine.errors import ProviderTimeoutError
from genai_spine.types.completion import Choice, CompletionResponse
from genai_spine.types.messages import Image, Media, Opaque, Refusal, Text, Thinking, ToolCall
from genai_spine.types.stream import (
    Collector,
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
    events_of,
)
from genai_spine.types.usage import Usage
from tests.strategies import answers, event_sequences


def collected(*events: Event) -> CompletionResponse:
    """What events come to."""
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


RICH = CompletionResponse(
    id="a",
    model="m",
    created=5,
    choices=(
        Choice(
            parts=(
                Thinking(text="hm", signature="seal", wire_field="reasoning", extras={"a": 1}),
                Thinking(redacted="sealed"),
                Text(text="words", citations=[{"url": "u"}], extras={"b": 2}),
                Opaque(dialect="d", data={"type": "server_tool_use"}),
                ToolCall(id="1", name="f", arguments='{"x":1}', extras={"c": 3}),
                ToolCall(id="2", name="g", arguments="free text", custom=True),
            ),
            finish_reason="tool_calls",
            extras={"d": 4},
        ),
        Choice(parts=(Refusal(text="no"),), finish_reason="content_filter", stop_sequence="END"),
        Choice(parts=(Text(text="a"), Text(text="b")), logprobs=[{"token": "a"}, {"token": "b"}]),
    ),
    usage=Usage(input_tokens=3, output_tokens=4),
    dialect="d",
    extras={"e": 5},
)


def test_an_answer_with_everything_in_it() -> None:
    """All kinds of parts, several choices, extras, usage and log probabilities come back as they were."""
    assert collected(*events_of(RICH)) == RICH


@given(answers(in_order=False))
def test_any_answer_is_the_same_when_streamed(answer: CompletionResponse) -> None:
    """T3: collecting the events of an answer gives the answer, whatever its parts and their order."""
    assert answer == collected(*events_of(answer))


@given(event_sequences())
def test_the_cuts_of_pieces_do_not_count(events: list[Event]) -> None:
    """A stream whose pieces are cut anywhere collects to an answer that collects to itself again."""
    answer = collected(*events)
    assert answer == collected(*events_of(answer))
    words = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert words == answer.content


@given(answers(in_order=False))
def test_the_order_of_events(answer: CompletionResponse) -> None:
    """A start, then parts numbered from 0, each begun, told and ended before the next; a finish; the usage last."""
    events = events_of(answer)
    assert isinstance(events[0], Start)
    assert isinstance(events[-1], UsageTold)
    assert isinstance(events[-2], Finish)
    kinds = [type(event) for event in events[1:-2]]
    parts = len(answer.parts)
    assert [PartStart] * parts == kinds[0::3]
    assert [PartEnd] * parts == kinds[2::3]
    assert list(range(parts)) == [event.index for event in events if isinstance(event, PartStart)]


def test_parts_may_grow_side_by_side() -> None:
    """Pieces of several parts and choices, interleaved, each go to their own."""
    answer = collected(
        PartStart(index=0, part="text"),
        PartStart(index=1, part="tool_call", id="1", name="f"),
        PartStart(index=0, part="text", choice=1),
        TextDelta(index=0, text="a"),
        ToolArguments(index=1, text='{"x"'),
        TextDelta(index=0, text="z", choice=1),
        TextDelta(index=0, text="b"),
        ToolArguments(index=1, text=":1}"),
        Finish(reason="stop", choice=1),
        Finish(reason="tool_calls"),
    )
    assert answer.choices == (
        Choice(parts=(Text(text="ab"), ToolCall(id="1", name="f", arguments='{"x":1}')), finish_reason="tool_calls"),
        Choice(parts=(Text(text="z"),), finish_reason="stop"),
    )


def test_a_call_without_arguments() -> None:
    """A tool call for which nothing came has an empty object; a free-text one has an empty text."""
    answer = collected(
        PartStart(index=0, part="tool_call", id="1", name="f"),
        PartStart(index=1, part="tool_call", id="2", name="g", custom=True),
    )
    assert [call.arguments for call in answer.tool_calls] == ["{}", ""]


def test_seals_and_citations_are_gathered() -> None:
    """A signature in pieces is joined, sealed reasoning replaced, citations and log probabilities appended."""
    answer = collected(
        PartStart(index=0, part="thinking"),
        ThinkingDelta(index=0, text="h", signature="se"),
        ThinkingDelta(index=0, text="m", signature="al", redacted="x"),
        ThinkingDelta(index=0, redacted="y"),
        PartStart(index=1, part="text"),
        TextDelta(index=1, text="a", citations=[{"n": 1}], logprobs=[1]),
        TextDelta(index=1, text="b", citations=[{"n": 2}], logprobs=[2]),
        TextDelta(index=1, text="c"),
    )
    assert answer.choices[0].parts == (
        Thinking(text="hm", signature="seal", redacted="y"),
        Text(text="abc", citations=[{"n": 1}, {"n": 2}]),
    )
    assert answer.choices[0].logprobs == [1, 2]


def test_the_last_usage_counts() -> None:
    """Usage told again replaces what was told before."""
    usage = Usage(input_tokens=1, output_tokens=2)
    assert usage == collected(UsageTold(usage=Usage(output_tokens=1)), UsageTold(usage=usage)).usage


def test_extensions_join_the_extras() -> None:
    """Fields told after the start stand beside those told with it."""
    answer = collected(Start(extras={"a": 1}, warnings=("w",)), Extension(data={"b": 2}))
    assert ({"a": 1, "b": 2}, ("w",)) == (answer.extras, answer.warnings)


def test_what_came_before_a_failure_is_kept() -> None:
    """A stream that failed collects to what had come, no success, its unfinished choice ended by an error."""
    error = ProviderTimeoutError("late")
    answer = collected(PartStart(index=0, part="text"), TextDelta(index=0, text="half"), Failed(error=error))
    assert (error, False, "half", "error") == (answer.error, answer.success, answer.content, answer.finish_reason)


def test_nothing_at_all() -> None:
    """No event collects to an answer without choices."""
    answer = collected()
    assert ((), "", "error", 0, 0, None) == (
        answer.choices,
        answer.content,
        answer.finish_reason,
        answer.input_tokens,
        answer.output_tokens,
        answer.usage,
    )


@pytest.mark.parametrize(
    "event", [TextDelta(index=3, text="x"), ToolArguments(index=3, text="x"), ThinkingDelta(index=3, text="x")]
)
def test_a_piece_of_no_part(event: Event) -> None:
    """A piece whose part was never begun is a fault of the decoder, and raised."""
    with pytest.raises(KeyError):
        collected(event)


def test_an_opaque_part_without_data() -> None:
    """An opaque part comes whole with its start, or it is a fault of the decoder."""
    collector = Collector()
    collector.add(PartStart(index=0, part="opaque"))
    with pytest.raises(ValueError, match="opaque"):
        collector.response()


def test_parts_that_no_answer_holds_are_left_out() -> None:
    """An image in an answer has no event; the parts beside it are told."""
    image = Image(media=Media(url="https://pictures.example/cat.png"))
    answer = CompletionResponse(choices=(Choice(parts=(image, Text(text="a cat"))),))
    expected = msgspec.structs.replace(answer, choices=(Choice(parts=(Text(text="a cat"),)),))
    assert expected == collected(*events_of(answer))


def test_the_answer_as_the_next_turn() -> None:
    """An answer's parts are what the next request carries back; its first choice's words are its text."""
    assert (RICH.parts, "assistant") == (RICH.as_message().parts, RICH.as_message().role)
    assert ("words", "words", "hm") == (RICH.content, str(RICH), RICH.thinking)
    assert (["f", "g"], 7) == ([call.name for call in RICH.tool_calls], RICH.usage.total_tokens if RICH.usage else 0)
