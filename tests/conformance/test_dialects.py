"""Every dialect takes the shipped suite, over generated and over recorded requests, answers, streams and errors."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import HealthCheck, assume, given, settings

from genai_spine.dialects.base import Target
from genai_spine.testing.dialects import (
    DialectSamples,
    ErrorSample,
    check_answer,
    check_broken_stream,
    check_dialect,
    check_envelope,
    check_error_sample,
    check_errors,
    check_events,
    check_relay,
    check_request,
    check_request_value,
    check_response,
    check_stream,
    encode_stream,
)
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.messages import Text, Thinking, ToolCall
from genai_spine.types.stream import Event, events_of
from genai_spine.types.tools import Tool
from genai_spine.types.usage import Usage
from tests.conformance.members import DIALECTS, DialectMember
from tests.conformance.recordings import about, require
from tests.strategies import answers, event_sequences, requests

_CALLS: Final = (
    ToolCall(id="call_abc1", name="weather", arguments='{"city": "Zürich"}'),
    ToolCall(id="call_abc2", name="clock"),
)
_ANSWERS: Final = {
    "words": CompletionResponse(
        id="answer-1",
        model="m",
        created=1_700_000_000,
        choices=(Choice(parts=(Text(text="Grüße, 世界 🌍\n\n"),)),),
        usage=Usage(input_tokens=3, output_tokens=5),
    ),
    "calls": CompletionResponse(
        id="answer-2",
        model="m",
        created=1_700_000_000,
        choices=(Choice(parts=_CALLS, finish_reason="tool_calls"),),
        usage=Usage(input_tokens=3, output_tokens=5),
    ),
    "thinking": CompletionResponse(
        id="answer-3",
        model="m",
        created=1_700_000_000,
        choices=(Choice(parts=(Thinking(text="Well"), Text(text="Yes")), finish_reason="length"),),
        usage=Usage(input_tokens=3, output_tokens=5, reasoning_tokens=1),
    ),
}
_FEW: Final = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])

each_dialect: Final = pytest.mark.parametrize(
    "member", [pytest.param(member, id=member.dialect.name) for member in DIALECTS]
)


@each_dialect
def test_errors(member: DialectMember) -> None:
    """An error keeps its kind and message when written, whole or in a stream, and read again."""
    check_errors(member.dialect)


@each_dialect
@_FEW
@given(request=requests())
def test_generated_requests(member: DialectMember, request: CompletionRequest) -> None:
    """A request from another door is said in the dialect, or refused by the name of the field that it cannot say."""
    read = check_request_value(member.dialect, request)
    assume(read is not None)
    assert read is not None  # for the type checker
    assert member.stream_in_path or request.stream == read.stream
    if request.tool_choice is None or request.tool_choice.mode != "none":
        # Where no tool may be called, a dialect without a word for that leaves them out.
        offered = [tool.name for tool in request.tools if isinstance(tool, Tool)]
        told = [tool.name for tool in read.tools if isinstance(tool, Tool)]
        # A dialect may demand that tools called before be offered, where the request offers none.
        called = {part.name for turn in request.messages for part in turn.parts if isinstance(part, ToolCall)}
        assert offered == told or (not offered and called.issuperset(told))


@each_dialect
@_FEW
@given(request=requests())
def test_generated_bodies(member: DialectMember, request: CompletionRequest) -> None:
    """A body passes through with its own fields only; a spoilt one is refused."""
    read = check_request_value(member.dialect, request)
    assume(read is not None)
    assert read is not None  # for the type checker
    body = member.dialect.encode_request(read, Target(model="m")).body
    check_relay(member.dialect, body)


@each_dialect
@_FEW
@given(answer=answers())
def test_generated_answers(member: DialectMember, answer: CompletionResponse) -> None:
    """T1, T3: an answer from elsewhere says the same in the dialect, whole and streamed."""
    check_answer(member.dialect, answer)


@each_dialect
@_FEW
@given(events=event_sequences())
def test_generated_streams(member: DialectMember, events: list[Event]) -> None:
    """T1, T4: a stream from elsewhere is said and read the same, however cut; cut short, it has failed."""
    body = encode_stream(member.dialect, events)
    check_stream(member.dialect, body, cuts=6, cut_everywhere=0)


@each_dialect
@pytest.mark.parametrize("name", _ANSWERS)
def test_streams_cut_at_every_byte(member: DialectMember, name: str) -> None:
    """T1, T4: cut in two at any byte a stream decodes to the same; cut short there, it has failed."""
    check_events(member.dialect, events_of(_ANSWERS[name]))


@each_dialect
def test_recorded_requests(member: DialectMember) -> None:
    """T1: every recorded request is read, and passes through, with all that it holds."""
    require()
    for exchange in member.recorded():
        with about(exchange):
            check_request(member.dialect, exchange.request)
            check_relay(member.dialect, exchange.request)


@each_dialect
def test_recorded_envelopes(member: DialectMember) -> None:
    """Recorded requests, spoilt field by field, are refused."""
    require()
    for exchange in member.recorded()[:3]:
        with about(exchange):
            check_envelope(member.dialect, [exchange.request])


@each_dialect
def test_recorded_answers(member: DialectMember) -> None:
    """T1, T3: every recorded answer is read, written again, and streamed, with all that it holds."""
    require()
    for exchange in member.recorded():
        if exchange.status < 400 and not exchange.is_stream and exchange.name not in member.no_answers:
            with about(exchange):
                check_response(member.dialect, exchange.body, member.quirks_of(exchange))


@each_dialect
def test_recorded_streams(member: DialectMember) -> None:
    """T1, T4: every recorded stream is read to its Finish, however cut; those that were broken end in Failed."""
    require()
    for exchange in member.recorded():
        if not exchange.is_stream:
            continue
        quirks = member.quirks_of(exchange)
        with about(exchange):
            if (kind := member.broken.get(exchange.name)) is not None:
                assert kind == check_broken_stream(member.dialect, exchange.body, quirks).kind
            else:
                check_stream(member.dialect, exchange.body, quirks, cuts=4)


_KINDS: Final = {400: "invalid_request", 404: "not_found", 429: "rate_limit"}
# What says more than its status: Groq of a call that the model got wrong, Bedrock of a model that there is not.
_TOLD_KINDS: Final = {b'"tool_use_failed"': "server_error", b"model identifier is invalid": "not_found"}


@each_dialect
def test_recorded_errors(member: DialectMember) -> None:
    """Every recorded error is taken for what its status says, or its words where those say more."""
    require()
    for exchange in member.recorded():
        if exchange.status >= 400:
            told = (kind for words, kind in _TOLD_KINDS.items() if words in exchange.body)
            kind = next(told, _KINDS[exchange.status])
            sample = ErrorSample(status=exchange.status, headers=exchange.headers, body=exchange.body, kind=kind)
            with about(exchange):
                check_error_sample(member.dialect, sample, member.quirks_of(exchange))


@each_dialect
def test_the_whole_suite_in_one_call(member: DialectMember) -> None:
    """``check_dialect`` runs every check over the samples handed to it."""
    stream = encode_stream(member.dialect, events_of(_ANSWERS["words"]))
    check_dialect(member.dialect, DialectSamples(streams=[stream], broken_streams=[stream[:-12]], cuts=2))
