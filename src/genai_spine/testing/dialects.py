"""The conformance suite of dialects: plain functions that raise AssertionError where a dialect breaks its contract.

Hand ``check_dialect`` a dialect and samples of what is said in it; or call the single checks. The names T1, T3 and T4
are those of the design: round trip, stream equals answer, no silent success.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NoReturn, TypeAlias, TypeVar

from msgspec import Raw, Struct, field, structs

from genai_spine import errors
from genai_spine.dialects.base import Dialect, Envelope, Headers, Quirks, Reply, StreamDecoder, Target
from genai_spine.errors import RequestError, SpineError
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Text, Thinking, ToolCall
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

__all__ = [
    "DialectSamples",
    "ErrorSample",
    "check_answer",
    "check_broken_stream",
    "check_dialect",
    "check_envelope",
    "check_error_sample",
    "check_errors",
    "check_events",
    "check_relay",
    "check_request",
    "check_request_value",
    "check_response",
    "check_stream",
    "decode_stream",
    "encode_stream",
    "settled",
]

_MODEL: Final = "some-model"
_REPLY: Final = Reply(model=_MODEL, request_id="request-1", now=1_700_000_000)
_PLAIN: Final = Quirks(developer_role=True)
_DEPTH: Final = 100_000
_SPREAD: Final = 7919
"""A prime: multiples of it, taken modulo a length, are spread over it evenly and the same way each time."""

_CLOSELY: Final = 2000

V = TypeVar("V")
Delta: TypeAlias = TextDelta | ThinkingDelta | ToolArguments


class ErrorSample(Struct, frozen=True, kw_only=True):
    """An error as a service told it, and the kind that it must be taken for."""

    status: int
    body: bytes
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


class DialectSamples(Struct, frozen=True, kw_only=True):
    """What has been said in a dialect by services that share their quirks.

    Attributes:
        requests: Bodies of good requests.
        responses: Bodies of good answers.
        streams: Whole good streams, with the dialect's end mark unless ``quirks`` say that there is none.
        broken_streams: Streams that told of a failure, or ended before their end mark.
        errors: Answers with a status of 400 or more.
        bad_requests: Bodies that are JSON, but no request.
        cuts: At so many places a stream is cut; a stream shorter than ``cut_everywhere`` bytes at each of its bytes.
    """

    requests: Sequence[bytes] = ()
    responses: Sequence[bytes] = ()
    streams: Sequence[bytes] = ()
    broken_streams: Sequence[bytes] = ()
    errors: Sequence[ErrorSample] = ()
    bad_requests: Sequence[bytes] = ()
    quirks: Quirks = field(default_factory=Quirks)
    cuts: int = 16
    cut_everywhere: int = 2000


def check_dialect(dialect: Dialect, samples: DialectSamples) -> None:
    """Run every check of the suite.

    Raises:
        AssertionError: The dialect breaks its contract; the message says where.
    """
    check_errors(dialect)
    check_envelope(dialect, samples.requests, samples.bad_requests)
    for body in samples.requests:
        check_request(dialect, body)
        check_relay(dialect, body)
    for body in samples.responses:
        check_response(dialect, body, samples.quirks)
    for body in samples.streams:
        check_stream(dialect, body, samples.quirks, cuts=samples.cuts, cut_everywhere=samples.cut_everywhere)
    for body in samples.broken_streams:
        check_broken_stream(dialect, body, samples.quirks)
    for error in samples.errors:
        check_error_sample(dialect, error, samples.quirks)


# Requests.


def check_request(dialect: Dialect, body: bytes) -> CompletionRequest:
    """T1 for a request: what is read, written and read again is the same. Returns what was read."""
    first = dialect.decode_request(body)
    _equal(dialect.name, first.dialect, "decode_request must name the dialect that the extras belong to")
    target = Target(model=first.model or _MODEL, provider="conformance", quirks=_PLAIN)
    encoded = dialect.encode_request(first, target)
    second = dialect.decode_request(encoded.body)
    _equal((), encoded.warnings, "a request in its own dialect must lose nothing")
    _equal(_named(first), _named(second), "T1: the request is another once written and read again", encoded.body)
    return first


def check_request_value(dialect: Dialect, request: CompletionRequest) -> CompletionRequest | None:
    """T1 for a request from another door; returns it as read back, or None if the dialect refuses it by name."""
    target = Target(model=request.model or _MODEL, provider="conformance", quirks=_PLAIN)
    try:
        encoded = dialect.encode_request(request, target)
    except errors.InvalidFieldError as error:
        _true(error.param, f"a refusal must name the field: {error.message}")
        return None
    return check_request(dialect, encoded.body)


def _named(request: CompletionRequest) -> CompletionRequest:
    return structs.replace(request, model=request.model or _MODEL)


def check_envelope(dialect: Dialect, requests: Sequence[bytes] = (), bad_requests: Sequence[bytes] = ()) -> None:
    """What is no request is refused with a ``RequestError``, by ``read_envelope`` and ``decode_request`` alike."""
    deep = b"[" * _DEPTH + b"]" * _DEPTH
    bodies = [b"", b"{", b"null", b"[]", b'"x"', b"\xff\xfe", b'{"model": "\xff"}', b'{"a": ' + b"[" * _DEPTH, deep]
    for body in bodies + list(bad_requests):
        _refuses(dialect, body, repr(body[:60]))
    for body in requests:
        fields = _object(body)
        envelope = dialect.read_envelope(body, {})
        _equal(fields.get("model"), envelope.model, "read_envelope: the model")
        whole = dialect.decode_request(body)
        _equal(whole.stream, envelope.stream, "read_envelope and decode_request differ on stream")
        wrong: list[tuple[str, Json]] = [("model", 5), ("messages", "hello"), ("messages", [1]), ("stream", "yes")]
        for name, value in wrong:
            if name in fields:
                spoilt = json.dumps(fields | {name: value}).encode()
                _refuses(dialect, spoilt, f"a bad {name}")
        if "messages" in fields:
            nested = body.rstrip()[:-1] + b', "x_deep": ' + deep + b"}"
            _refuses(dialect, nested, "deep nesting")


def check_relay(dialect: Dialect, body: bytes) -> None:
    """A request that passes through keeps its fields, but the model is the target's and the gateway's own fields go."""
    unknown: Json = {"kept": [1, "two", None]}
    own: JsonObject = {"provider_hint": "x", "routing": {"strategy": "x"}, "fallback": True, "task_type": "chat"}
    whole = dialect.decode_request(json.dumps(_object(body) | own).encode())
    rewritten = dialect.encode_request(whole, Target(model="target-model", quirks=_PLAIN))
    _true(not set(own) & set(_object(rewritten.body)), "encode_request: the gateway's own fields must not pass")
    fields = _object(body) | {"x_unknown_field": unknown} | own
    # A field given twice: what a checker of the first sees must not differ from what the provider takes.
    smuggled = b'{"model": "smuggled-first", ' + json.dumps(fields).encode()[1:-1] + b', "model": "smuggled-last"}'
    encoded = dialect.relay_request(dialect.read_envelope(smuggled, {}), Target(model="target-model"))
    pairs: list[tuple[str, Json]] = json.loads(encoded.body, object_pairs_hook=list)
    names = [name for name, _ in pairs]
    _equal(sorted(set(names)), sorted(names), "relay_request: a field stands twice in the body")
    told = _object(encoded.body)
    if "model" in told:
        _equal("target-model", told["model"], "relay_request: the model")
    _true(b"smuggled" not in encoded.body, "relay_request: a second `model` passed")
    _equal(unknown, told.get("x_unknown_field"), "relay_request: an unknown field must pass as it came")
    _true(not set(own) & set(names), f"relay_request: the gateway's own fields must not pass: {names}")


# Answers.


def check_response(dialect: Dialect, body: bytes, quirks: Quirks | None = None) -> CompletionResponse:
    """T1 and T3 for an answer; what passes through is read the same from the side. Returns what was read."""
    quirks = quirks or Quirks()
    first = dialect.decode_response(body, quirks)
    _equal(dialect.name, first.dialect, "decode_response must name the dialect that the extras belong to")
    usage, reason = dialect.check_response(body, quirks)
    _equal(first.usage, usage, "check_response and decode_response differ on usage")
    _equal(first.finish_reason, reason, "check_response and decode_response differ on the finish reason")
    for call in first.tool_calls:
        _true(call.id and call.name, f"a tool call must have an id and a name: {call}")
        _true(call.custom or call.arguments.strip(), "the arguments of a tool call must not be empty")
    second = dialect.decode_response(dialect.encode_response(first, _REPLY), Quirks())
    _equal(_filled(first, second), second, "T1: the answer is another once written and read again")
    streamed = decode_stream(dialect, encode_stream(dialect, events_of(first)))
    _equal(_whole(second), _whole(_collect(streamed)), "T3: the answer streamed is another than the answer whole")
    return first


def check_answer(dialect: Dialect, response: CompletionResponse) -> None:
    """An answer from anywhere says the same in this dialect, whole and streamed: words, thoughts, calls, tokens."""
    body = dialect.encode_response(response, _REPLY)
    whole = check_response(dialect, body)
    _equal(_gist(response), _gist(whole), "the answer says something else once written and read")
    streamed = decode_stream(dialect, encode_stream(dialect, events_of(response)))
    _equal(_gist(whole), _gist(_collect(streamed)), "T3: the answer streamed says something else than the answer whole")


def _gist(response: CompletionResponse) -> tuple[object, ...]:
    parts = response.parts
    usage = response.usage
    return (
        "".join(part.text for part in parts if isinstance(part, Text)),
        "".join(part.text for part in parts if isinstance(part, Thinking)),
        [
            (part.name, part.arguments if part.custom else json.loads(part.arguments))
            for part in parts
            if isinstance(part, ToolCall)
        ],
        response.finish_reason,
        None if usage is None else (usage.input_tokens, usage.output_tokens),
    )


def _filled(first: CompletionResponse, second: CompletionResponse) -> CompletionResponse:
    """What an encoder adds where the provider told nothing is no difference."""
    return structs.replace(
        first,
        id=first.id or second.id,
        model=first.model or second.model,
        created=first.created or second.created,
    )


def _whole(response: CompletionResponse) -> CompletionResponse:
    return structs.replace(response, raw_response=None)


def _collect(events: Sequence[Event]) -> CompletionResponse:
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


# Streams.


def decode_stream(dialect: Dialect, body: bytes, quirks: Quirks | None = None) -> list[Event]:
    """Return the events of a whole stream, and check that they keep the rules of streams."""
    decoder = dialect.stream_decoder(quirks or Quirks())
    events = decoder.feed(body) + decoder.close()
    check_order(events)
    return events


def encode_stream(dialect: Dialect, events: Sequence[Event]) -> bytes:
    """Return the bytes of a whole stream."""
    encoder = dialect.stream_encoder(_REPLY)
    written = b"".join(encoder.encode(event) for event in events)
    return written if _failed(events) else written + encoder.end()


def check_events(dialect: Dialect, events: Sequence[Event]) -> None:
    """T1 and T3 for a stream that begins as events, of whatever dialect; and all that ``check_stream`` asks."""
    body = encode_stream(dialect, events)
    check_stream(dialect, body)
    _equal(_gist(_collect(events)), _gist(_collect(decode_stream(dialect, body))), "the stream says something else")


def check_stream(
    dialect: Dialect, body: bytes, quirks: Quirks | None = None, *, cuts: int = 16, cut_everywhere: int = 2000
) -> list[Event]:
    """T1 and T4 for a good stream, its bytes cut anywhere, decoded and passing through. Returns its events.

    Args:
        dialect: Of the stream.
        body: The whole stream.
        quirks: Of the service that sent it.
        cuts: At how many places to cut a long stream.
        cut_everywhere: A stream of at most so many bytes is cut at each of them.
    """
    quirks = quirks or Quirks()
    events = decode_stream(dialect, body, quirks)
    _true(not _failed(events), f"a good stream was taken for a failed one: {events[-1:]}")
    _true(any(isinstance(event, Finish) for event in events), "a good stream must end with a Finish")
    again = decode_stream(dialect, encode_stream(dialect, events))
    _equal(settled(events, again), settled(again), "T1: the stream is another once written and read again")
    _check_watch(dialect, body, quirks, events)
    places = range(1, len(body)) if len(body) <= cut_everywhere else _places(len(body), cuts)
    let_on = _passed(dialect, [body], quirks)
    _equal(
        events, _decoded(dialect, _bytes_of(body), quirks), "fed byte by byte, a stream must decode to the same events"
    )
    _equal(let_on, _passed(dialect, _bytes_of(body), quirks), "fed byte by byte, a stream must pass the same")
    for cut in places:
        halves = [body[:cut], body[cut:]]
        _equal(events, _decoded(dialect, halves, quirks), f"cut at byte {cut}, a stream must decode to the same events")
        _equal(let_on, _passed(dialect, halves, quirks), f"cut at byte {cut}, a stream must pass the same")
        if quirks.end_mark and body[cut:].strip():
            _check_truncated(dialect, body[:cut], quirks)
    return events


def check_broken_stream(dialect: Dialect, body: bytes, quirks: Quirks | None = None) -> SpineError:
    """A stream that failed, or broke off, ends in ``Failed``, and passes up to there. Returns the failure."""
    quirks = quirks or Quirks()
    events = decode_stream(dialect, body, quirks)
    last = events[-1] if events else None
    if not isinstance(last, Failed):
        _fail(f"a broken stream must end in Failed, not in {last}")
    by_bytes = _decoded(dialect, _bytes_of(body), quirks)
    _equal(events[:-1], by_bytes[:-1], "fed byte by byte, a broken stream must decode to the same events")
    watch = dialect.watch(_passing(wants_usage=True), quirks)
    passed = watch.feed(body) + watch.close()
    if watch.failure is None:
        _fail(f"a watch let a broken stream pass: {last.error!r}")
    _equal(last.error.kind, watch.failure.kind, "decoder and watch differ on what failed")
    _equal(passed, _passed(dialect, _bytes_of(body), quirks), "fed byte by byte, a broken stream must pass the same")
    through = _decoded(dialect, [passed + dialect.encode_stream_error(watch.failure, "request-1")], Quirks())
    _true(_failed(through), "a broken stream that passed looks complete")
    _equal(_spoken(events), _spoken(through), "what came before a failure must pass")
    return last.error


def _spoken(events: Sequence[Event]) -> str:
    """What a model has written in a stream."""
    return "".join(event.text for event in events if isinstance(event, Delta))


def settled(events: Sequence[Event], other: Sequence[Event] = ()) -> list[object]:
    """Return a stream without what says nothing: where pieces are cut, how often usage is told, where extras stand.

    What an encoder adds where the provider told nothing is taken from ``other``.
    """
    start, added = _start(events), _start(other)
    extras: JsonObject = dict(start.extras)
    usage: Usage | None = None
    kept: list[Event] = []
    for event in events:
        match event:
            case UsageTold():
                usage = event.usage
            case Extension():
                extras.update(event.data)
            case Start():
                pass
            case _:
                _append(kept, event)
    head = (start.id or added.id, start.model or added.model, start.created or added.created, start.dialect)
    return [head, extras, usage, *kept]


def _append(kept: list[Event], event: Event) -> None:
    """Add an event, joined to the one before where both are pieces of one part."""
    last = kept[-1] if kept else None
    match last, event:
        case TextDelta(), TextDelta() if _same_part(last, event):
            kept[-1] = structs.replace(
                last,
                text=last.text + event.text,
                logprobs=_joined(last.logprobs, event.logprobs),
                citations=_joined(last.citations, event.citations),
            )
        case ThinkingDelta(), ThinkingDelta() if _same_part(last, event):
            signature = (last.signature or "") + (event.signature or "")
            kept[-1] = structs.replace(
                last,
                text=last.text + event.text,
                signature=signature or None,
                redacted=event.redacted or last.redacted,
            )
        case ToolArguments(), ToolArguments() if _same_part(last, event):
            kept[-1] = structs.replace(last, text=last.text + event.text)
        case _:
            kept.append(event)


def _joined(first: list[V] | None, second: list[V] | None) -> list[V] | None:
    return (first or []) + (second or []) or None


def _same_part(first: Delta, second: Delta) -> bool:
    return (first.choice, first.index) == (second.choice, second.index)


def _start(events: Sequence[Event]) -> Start:
    return next((event for event in events if isinstance(event, Start)), Start())


def _failed(events: Sequence[Event]) -> bool:
    return any(isinstance(event, Failed) for event in events)


def check_order(events: Sequence[Event]) -> None:
    """The rules of streams: one start, parts one after another, pieces in the open part, nothing after a failure."""
    opened: dict[int, int] = {}
    following: dict[int, int] = {}
    finished: set[int] = set()
    for number, event in enumerate(events):
        match event:
            case Failed():
                _equal(len(events) - 1, number, "nothing may follow Failed")
            case Start():
                _equal(0, number, "Start must come first, and once")
            case PartStart():
                _true(event.choice not in opened, "a part must end before the next one starts")
                _true(event.choice not in finished, "no part may start after Finish")
                _equal(following.get(event.choice, 0), event.index, "parts must be numbered in order from 0")
                opened[event.choice], following[event.choice] = event.index, event.index + 1
            case TextDelta() | ThinkingDelta() | ToolArguments():
                _equal(opened.get(event.choice), event.index, f"a piece outside the open part: {event}")
            case PartEnd():
                _equal(opened.pop(event.choice, None), event.index, "the end of a part that is not open")
            case Finish():
                _true(event.choice not in opened, "a part must end before Finish")
                _true(event.choice not in finished, "a choice must finish once")
                finished.add(event.choice)
            case UsageTold() | Extension():
                _true(number, "Start must come first")


def _check_watch(dialect: Dialect, body: bytes, quirks: Quirks, events: Sequence[Event]) -> None:
    """What a watch lets on says the same, and it reads from the side what the decoder reads."""
    watch = dialect.watch(_passing(wants_usage=True), quirks)
    passed = watch.feed(body) + watch.close()
    through = decode_stream(dialect, passed)
    _equal(settled(events), settled(through), "what passes through must say the same")
    usage = next((event.usage for event in reversed(events) if isinstance(event, UsageTold)), None)
    _equal(usage, watch.usage, "the watch reads another usage than the decoder")
    reason = next(event.reason for event in events if isinstance(event, Finish) and event.choice == 0)
    _equal(reason, watch.finish_reason, "the watch reads another finish reason than the decoder")
    written = sum(len(event.text) for event in events if isinstance(event, TextDelta | ThinkingDelta | ToolArguments))
    _equal(written > 0, watch.content, "the watch must know whether a model has written anything")
    _true(watch.characters >= written // 2, f"the watch counted {watch.characters} characters of about {written}")
    modest = dialect.watch(_passing(wants_usage=False), quirks)
    kept = decode_stream(dialect, modest.feed(body) + modest.close())
    without = [event for event in settled(events)[3:] if not isinstance(event, UsageTold)]
    _equal(without, settled(kept)[3:], "what passes to a caller who did not ask for usage must say the same")
    _equal(watch.usage, modest.usage, "the watch must read usage whether the caller asked for it or not")


def _check_truncated(dialect: Dialect, body: bytes, quirks: Quirks) -> None:
    """T4: a stream that was cut before its end mark is a failure, decoded or passing through."""
    events = _decoded(dialect, [body], quirks)
    last = events[-1] if events else None
    if not (isinstance(last, Failed) and isinstance(last.error, errors.ProviderError)):
        _fail(f"T4: a stream cut after byte {len(body)} must end in Failed, not in {last}")
    watch = dialect.watch(_passing(wants_usage=True), quirks)
    passed = watch.feed(body) + watch.close()
    _true(watch.failure, f"T4: a watch took a stream cut after byte {len(body)} for a whole one")
    seen = _decoded(dialect, [passed], Quirks())
    _true(_failed(seen), f"T4: what a watch let on of a stream cut after byte {len(body)} looks complete")


def _passing(*, wants_usage: bool) -> Envelope:
    fields: dict[str, Raw] = {}
    return Envelope(fields=fields, model=_MODEL, stream=True, wants_usage=wants_usage)


def _passed(dialect: Dialect, pieces: Sequence[bytes], quirks: Quirks) -> bytes:
    watch = dialect.watch(_passing(wants_usage=True), quirks)
    return b"".join([watch.feed(piece) for piece in pieces]) + watch.close()


def _decoded(dialect: Dialect, pieces: Sequence[bytes], quirks: Quirks) -> list[Event]:
    decoder: StreamDecoder = dialect.stream_decoder(quirks)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.close()


def _bytes_of(body: bytes) -> list[bytes]:
    """Cut a body byte by byte; in the midst of a long one into crumbs."""
    end = len(body) - _CLOSELY
    near = {place for place in range(len(body)) if place < _CLOSELY or place >= end}
    places = sorted(near.union(range(_CLOSELY, end, 7)))
    return [body[start:stop] for start, stop in pairwise([*places, len(body)])]


def _places(length: int, count: int) -> Iterator[int]:
    """Places to cut, spread over the length; the last bytes, where the end mark stands, always among them."""
    yield from sorted({1 + _SPREAD * number % (length - 1) for number in range(count)} | {length - 3, length - 1})


# Errors.


_TOLD: Final[tuple[SpineError, ...]] = (
    errors.InvalidRequestError("the request is malformed"),
    errors.AuthenticationError("no such gateway key"),
    errors.PermissionDeniedError("not for this key"),
    errors.ModelNotFoundError("no such model"),
    errors.PayloadTooLargeError("the body is too large"),
    errors.InvalidFieldError("temperature: must be a number", param="temperature"),
    errors.RateLimitedError("slow down"),
    errors.OverloadedError("no capacity"),
    errors.ProviderFailedError("the provider failed"),
    errors.ProviderTimeoutError("the provider did not answer"),
)


def check_errors(dialect: Dialect) -> None:
    """An error written, whole or in a stream, is read as one of the same kind, and tells its message."""
    for error in _TOLD:
        answer = dialect.encode_error(error, "request-1")
        _true(400 <= answer.status < 600, f"{error!r} was given the status {answer.status}")
        _true(
            error.message in json.dumps(_object(answer.body)), f"the message of {error!r} is missing: {answer.body!r}"
        )
        read = dialect.decode_error(answer.status, {}, answer.body, Quirks())
        _equal(error.kind, read.kind, f"the kind of {error!r}, written and read again")
        told = dialect.encode_stream_error(error, "request-1")
        _told_in_stream(dialect, told, error)
        begun = dialect.stream_encoder(_REPLY)
        head = b"".join(begun.encode(event) for event in events_of(_HALF)[:3])
        _told_in_stream(dialect, head + told, error)
        _equal(told, begun.encode(Failed(error=error)) or told, "Failed and encode_stream_error must be written alike")


_HALF: Final = CompletionResponse(id="answer-1", model=_MODEL, choices=(Choice(parts=(Text(text="half"),)),))


def _told_in_stream(dialect: Dialect, body: bytes, error: SpineError) -> None:
    failure = check_broken_stream(dialect, body)
    # What an upstream says of the gateway's key is not repeated.
    told = error.kind == "authentication" or error.message in failure.message
    _true(told, f"the message of {error!r} is missing once told in a stream: {failure!r}")


def check_error_sample(dialect: Dialect, sample: ErrorSample, quirks: Quirks | None = None) -> SpineError:
    """An error as a service told it is taken for what it is. Returns it."""
    headers: Headers = sample.headers
    error = dialect.decode_error(sample.status, headers, sample.body, quirks or Quirks())
    _equal(sample.kind, error.kind, f"the kind of {sample.body[:200]!r}")
    _equal(sample.status, error.upstream_status, "the upstream's status must be kept")
    _true(error.message.strip(), "an error must have a message")
    return error


# Asserting.


def _equal(expected: object, actual: object, claim: str, context: object = None) -> None:
    if expected != actual:
        message = f"{claim}\nexpected: {expected!r}\nactual:   {actual!r}"
        _fail(message if context is None else f"{message}\nin:       {context!r}")


def _true(value: object, claim: str) -> None:
    if not value:
        _fail(claim)


def _fail(claim: str) -> NoReturn:
    raise AssertionError(claim)


def _refuses(dialect: Dialect, body: bytes, what: str) -> None:
    """Both ways to read a request raise a ``RequestError``, and nothing else."""
    readers: dict[str, Callable[[], object]] = {
        "read_envelope": lambda: dialect.read_envelope(body, {}),
        "decode_request": lambda: dialect.decode_request(body),
    }
    for name, read in readers.items():
        try:
            read()
        except RequestError:
            continue
        except Exception as error:  # noqa: BLE001 - whatever else it raises is what the check is for
            _fail(f"{name} of {what} must raise a RequestError, not {error!r}")
        _fail(f"{name} of {what} must raise a RequestError")


def _object(body: bytes) -> JsonObject:
    value: Json = json.loads(body)
    if not isinstance(value, dict):
        _fail(f"not a JSON object: {body[:200]!r}")
    return value
