"""Streams of OpenAI Responses, read and passing through."""

from __future__ import annotations

import pytest

from genai_spine.dialects.base import Envelope
from genai_spine.errors import MalformedResponseError, RateLimitedError, StreamInterruptedError
from genai_spine.testing.dialects import check_stream
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Opaque, Refusal, Text, Thinking, ToolCall
from genai_spine.types.stream import Extension, Failed, Finish, PartStart, Start, UsageTold
from genai_spine.types.usage import Usage
from tests.unit.dialects.openai_responses.wire import (
    PLAIN,
    RESPONSES,
    answer_of,
    call_item,
    collected,
    end_of,
    event_of,
    events_in,
    failure_of,
    message_item,
    start_of,
)

USAGE: JsonObject = {"input_tokens": 3, "output_tokens": 2}


def added(item: JsonObject, number: int = 0) -> bytes:
    """Return the frame that announces an item."""
    return event_of("response.output_item.added", output_index=number, item=item)


def done(item: JsonObject, number: int = 0) -> bytes:
    """Return the frame that ends an item."""
    return event_of("response.output_item.done", output_index=number, item=item)


def words(text: str, number: int = 0, place: int = 0, **fields: Json) -> bytes:
    """Return a frame of more words."""
    return event_of("response.output_text.delta", output_index=number, content_index=place, delta=text, **fields)


def arguments(text: str, number: int = 0) -> bytes:
    """Return a frame of more arguments."""
    return event_of("response.function_call_arguments.delta", output_index=number, delta=text)


def good(*frames: bytes) -> tuple[object, ...]:
    """Return the parts of a good stream, which passes all checks."""
    check_stream(RESPONSES, b"".join(frames))
    return collected(*frames).parts


MESSAGE: JsonObject = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
REASONING: JsonObject = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "half"}
CALL: JsonObject = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "arguments": ""}


def test_words() -> None:
    """Words, their logprobs and citations; told in full or in pieces; usage at the end."""
    citation: JsonObject = {"type": "url_citation"}
    other: JsonObject = {"type": "file_citation"}
    logprob: JsonObject = {"token": "Hi", "logprob": -1, "top_logprobs": []}
    whole: list[JsonObject] = [{"type": "output_text", "text": text} for text in ("Hi", " there", "!")]
    frames = (
        start_of(store=True),
        event_of("response.in_progress", response={"id": "resp_1", "store": True, "billing": {"x": 1}}),
        added(MESSAGE),
        event_of("response.content_part.added", output_index=0, content_index=0, part={"type": "output_text", "y": 1}),
        words("Hi", logprobs=[logprob], obfuscation="xxx"),
        words(""),
        event_of("response.output_text.annotation.added", output_index=0, content_index=0, annotation=citation),
        event_of("response.output_text.done", output_index=0, content_index=0, text="Hi"),
        event_of(
            "response.content_part.done",
            output_index=0,
            content_index=0,
            part={"type": "output_text", "text": "Hi", "annotations": [citation, other]},
        ),
        event_of("response.output_text.done", output_index=0, content_index=1, text=" there", logprobs=[logprob]),
        event_of("response.output_text.done", output_index=0, content_index=2, text=""),
        event_of("response.content_part.done", output_index=0, content_index=2, part={"type": "output_text"}),
        event_of(
            "response.content_part.done",
            output_index=0,
            content_index=3,
            part={"type": "output_text", "text": "!", "annotations": []},
        ),
        event_of("response.content_part.done", output_index=0, content_index=4, part={"type": "other"}),
        event_of("response.content_part.added", output_index=0, content_index=4, part={"type": "other"}),
        done(message_item(*whole)),
        end_of(message_item(), usage=USAGE, store=True, completed_at=8),
    )
    assert (
        Text(text="Hi", citations=[citation, other], extras={"item": {"id": "msg_1"}, "y": 1}),
        Text(text=" there"),
        Text(text="!"),
    ) == good(*frames)
    events = events_in(*frames)
    assert Start(id="resp_1", model="m", created=7, dialect="openai_responses", extras={"store": True}) == events[0]
    assert Extension(data={"billing": {"x": 1}}) == events[1]
    assert [Finish(reason="stop"), UsageTold(usage=Usage(input_tokens=3, output_tokens=2))] == events[-2:]
    assert [logprob, logprob] == collected(*frames).choices[0].logprobs


def test_a_message_told_only_at_its_end() -> None:
    """Words that came in no piece are taken from the item, or from the answer as a whole."""
    expected = (Text(text="Hi", extras={"item": {"id": "msg_1"}}),)
    assert expected == good(start_of(), added(MESSAGE), done(message_item()), end_of(message_item()))
    assert expected == good(start_of(), done(message_item()), done(message_item()), end_of(message_item()))
    assert expected == good(start_of(), end_of(message_item()))
    assert expected == good(end_of(message_item()))
    assert "stop" == collected(start_of(), end_of()).finish_reason


def test_calls() -> None:
    """A call's arguments in pieces, whole at their end, or none; a free text's input."""
    custom: JsonObject = {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "sh", "input": ""}
    frames = (
        start_of(),
        added(CALL | {"namespace": "n"}),
        arguments('{"x"'),
        arguments(":1}"),
        arguments(""),
        event_of("response.function_call_arguments.done", output_index=0, arguments='{"x":1}'),
        done(CALL | {"arguments": '{"x":1}'}),
        added(CALL | {"id": "fc_2", "call_id": "b"}, 1),
        event_of("response.function_call_arguments.done", output_index=1, arguments='{"y":1}'),
        done(CALL, 1),
        added({"type": "function_call", "id": "d", "name": "g"}, 2),
        done(CALL, 2),
        added(custom, 3),
        event_of("response.custom_tool_call_input.delta", output_index=3, delta="ls"),
        event_of("response.custom_tool_call_input.done", output_index=3, input="ls"),
        done(custom | {"input": "ls"}, 3),
        end_of(CALL),
    )
    assert (
        ToolCall(id="a", name="n__f", arguments='{"x":1}', extras={"id": "fc_1", "namespace": "n", "name": "f"}),
        ToolCall(id="b", name="f", arguments='{"y":1}', extras={"id": "fc_2"}),
        ToolCall(id="d", name="g", arguments="{}"),
        ToolCall(id="c", name="sh", arguments="ls", custom=True, extras={"id": "ctc"}),
    ) == good(*frames)
    assert "tool_calls" == collected(*frames).finish_reason


def test_a_call_that_the_end_cuts_off() -> None:
    """An answer that ends at its limit may leave an item open."""
    whole: JsonObject = {"reason": "max_output_tokens"}
    frames = (start_of(), added(CALL), arguments('{"x'), end_of(CALL, kind="incomplete", incomplete_details=whole))
    assert (ToolCall(id="a", name="f", arguments='{"x', extras={"id": "fc_1"}),) == good(*frames)
    assert "length" == collected(*frames).finish_reason


def test_reasoning() -> None:
    """Segments of both kinds; the seal counts as it stands at the item's end, never as it was announced."""
    frames = (
        start_of(),
        added(REASONING),
        event_of("response.content_part.added", output_index=0, content_index=0, part={"type": "reasoning_text"}),
        event_of("response.reasoning_text.delta", output_index=0, content_index=0, delta="A"),
        event_of("response.reasoning_text.done", output_index=0, content_index=0, text="A"),
        event_of("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={"type": "x", "y": 1}),
        event_of("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="B"),
        event_of("response.reasoning_summary_text.done", output_index=0, summary_index=0, text="B"),
        event_of("response.reasoning_summary_part.done", output_index=0, summary_index=0, part={}),
        event_of("response.reasoning_summary_text.done", output_index=0, summary_index=1, text="C"),
        done(REASONING | {"encrypted_content": "whole"}),
        added(REASONING | {"id": "rs_2"}, 1),
        done(REASONING | {"id": "rs_2", "encrypted_content": "sealed"}, 1),
        end_of(),
    )
    assert (
        Thinking(text="A", wire_field="content", extras={"item": {"id": "rs_1"}}),
        Thinking(text="B", wire_field="summary", extras={"y": 1}),
        Thinking(text="C", wire_field="summary", signature="whole"),
        Thinking(redacted="sealed", extras={"item": {"id": "rs_2"}}),
    ) == good(*frames)


def test_refusals() -> None:
    """A refusal in pieces or whole, alone in its message or after words."""
    frames = (
        start_of(),
        added(MESSAGE),
        event_of("response.content_part.added", output_index=0, content_index=0, part={"type": "refusal"}),
        event_of("response.refusal.delta", output_index=0, content_index=0, delta="No"),
        event_of("response.refusal.delta", output_index=0, content_index=0, delta=""),
        event_of("response.refusal.done", output_index=0, content_index=0, refusal="No"),
        done(message_item()),
        added(MESSAGE | {"id": "msg_2"}, 1),
        words("Hm", 1),
        event_of("response.refusal.done", output_index=1, content_index=1, refusal="no"),
        done(message_item(), 1),
        end_of(),
    )
    assert (
        Text(text="", extras={"item": {"id": "msg_1"}}),
        Refusal(text="No"),
        Text(text="Hm", extras={"item": {"id": "msg_2"}}),
        Refusal(text="no"),
    ) == good(*frames)


def test_items_of_the_dialect_alone() -> None:
    """They are kept as they stand at their end; what is told of their progress is not."""
    search: JsonObject = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}
    frames = (
        start_of(),
        added(search | {"status": "in_progress"}),
        event_of("response.web_search_call.searching", output_index=0, item_id="ws_1"),
        done(search),
        added(MESSAGE, 1),
        words("Hi", 1),
        done(message_item(), 1),
        end_of(search, message_item()),
    )
    assert (
        Opaque(dialect="openai_responses", data=search),
        Text(text="Hi", extras={"item": {"id": "msg_1"}}),
    ) == good(*frames)


def test_items_that_overlap() -> None:
    """What comes for a later item waits for the end of the first, so that no fragment is put in the wrong place."""
    frames = (
        start_of(),
        added(CALL),
        added(CALL | {"id": "fc_2", "call_id": "b"}, 1),
        arguments('{"b":', 1),
        arguments('{"a":'),
        arguments("2}", 1),
        done(CALL, 1),
        arguments("1}"),
        done(CALL),
        end_of(CALL),
    )
    assert ['{"a":1}', '{"b":2}'] == [call.arguments for call in collected(*frames).tool_calls]
    check_stream(RESPONSES, b"".join(frames))


def test_streams_of_the_lax() -> None:
    """Frames without names, without numbers, with a mark of OpenAI's other dialect, comments, and no status."""
    end = event_of("response.completed", response={"id": "resp_1", "output": []}).partition(b"\n")[2]
    frames = (
        b": OPENROUTER PROCESSING\n\n",
        start_of().partition(b"\n")[2],
        event_of("response.output_item.added", item=MESSAGE).partition(b"\n")[2],
        event_of("response.output_text.delta", delta="Hi").partition(b"\n")[2],
        b"event: ping\n\n",
        b"junk\n\n",
        event_of("response.output_item.done", item=message_item()),
        event_of("response.content_part.done", part={"type": "output_text", "text": "late"}),
        b"data: [DONE]\n\n",
        end,
        b"data: [DONE]\n\n",
    )
    assert (Text(text="Hi", extras={"item": {"id": "msg_1"}}),) == collected(*frames).parts
    watch = RESPONSES.watch(Envelope(fields={}), PLAIN)
    passed = b"".join(map(watch.feed, frames)) + watch.close()
    assert b": OPENROUTER PROCESSING\n\n" + b"".join(frames[1:4]) + b"".join(frames[6:10]) == passed
    unseen = (start_of(), event_of("response.output_item.done", item=message_item()), end_of())
    assert (Text(text="Hi", extras={"item": {"id": "msg_1"}}),) == collected(*unseen).parts


@pytest.mark.parametrize("kind", ["error", "response.failed"])
def test_failures_told_in_the_stream(kind: str) -> None:
    """A failure may be an event of its own, flat or nested, or the end of the answer."""
    told: JsonObject = {"code": "rate_limit_exceeded", "message": "slow down"}
    if kind == "error":
        ends = [event_of(kind, **told), event_of(kind, error=told), b'data: {"error": {"code": "slow_down"}}\n\n']
        assert "interrupted" not in str(failure_of(start_of(), b"event: error\ndata: {}\n\n"))
    else:
        ends = [end_of(kind="failed", error=told)]
    failures = [failure_of(start_of(), added(MESSAGE), words("Hi"), end) for end in ends]
    assert isinstance(failures[0], RateLimitedError)
    assert "slow down" == failures[0].message
    bare = failure_of(b'{"error": {"code": "rate_limit_exceeded", "message": "slow down"}}')
    assert isinstance(bare, RateLimitedError)
    assert isinstance(failure_of(b'{"error": {"code": "rate_limit_exceeded"}}\n\n'), RateLimitedError)


def test_streams_that_break_off() -> None:
    """Without one of the dialect's end marks a stream has failed, whatever else it ends with."""
    for frames in ((), (start_of(), words("x")), (start_of(), added(MESSAGE), words("Hi"), b"data: [DONE]\n\n")):
        failed = events_in(*frames)[-1]
        assert isinstance(failed, Failed)
    assert isinstance(failure_of(start_of(), added(MESSAGE), words("Hi")), StreamInterruptedError)
    assert isinstance(failure_of(start_of(), end_of()[:-1]), StreamInterruptedError)


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {\n\n",
        b"event: response.output_text.delta\ndata: {\n\n",
        b'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", "delta": 5}\n\n',
        b'data: {"type": "response.output_text.delta", "delta": 5}\n\n',
        b'data: {"type": "response.completed"}\n\n',
        b'data: {"type": "response.output_item.added"}\n\n',
        b'data: {"type": "response.completed", "response": {"status": "failed"}}\n\n',
    ],
)
def test_streams_that_are_malformed(frame: bytes) -> None:
    """An event that cannot be read fails the stream, decoded and passing through alike."""
    failure_of(start_of(), frame)


def test_pieces_of_nothing() -> None:
    """A piece of an item that was never announced has no place."""
    for frame in (words("x"), arguments("x")):
        failed = events_in(start_of(), frame)[-1]
        assert isinstance(failed, Failed)
        assert isinstance(failed.error, MalformedResponseError)


def test_a_watch_reads_from_the_side() -> None:
    """It counts what was written, in pieces or not, and knows when something was."""
    watch = RESPONSES.watch(Envelope(fields={}), PLAIN)
    frames = (start_of(), added(MESSAGE))
    assert b"".join(frames) == watch.feed(b"".join(frames))
    assert (False, 0) == (watch.content, watch.characters)
    watch.feed(words("Hi") + words(" there"))
    assert (True, 8) == (watch.content, watch.characters)
    watch.feed(done(message_item()) + done(message_item(id="msg_2"), 1) + added(CALL, 2))
    assert 10 == watch.characters
    assert not watch.over
    watch.feed(end_of(message_item(), usage=USAGE) + words("late"))
    assert b"" == watch.close()
    assert (True, "tool_calls", 3) == (watch.over, watch.finish_reason, watch.usage.input_tokens if watch.usage else 0)
    at_once = RESPONSES.watch(Envelope(fields={}), PLAIN)
    whole = answer_of(message_item(), {"type": "reasoning", "summary": None, "content": ["x"]}, call_item("a"))
    at_once.feed(event_of("response.completed", response={}).replace(b"{}", whole))
    assert (True, "tool_calls") == (at_once.content, at_once.finish_reason)


def test_parts_start_with_what_is_known() -> None:
    """A phase is known when the part starts."""
    events = events_in(start_of(), added(MESSAGE | {"phase": "commentary"}), words("Hi"), end_of())
    assert {"item": {"id": "msg_1", "phase": "commentary"}} == next(
        event.extras for event in events if isinstance(event, PartStart)
    )
