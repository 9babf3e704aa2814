"""What is fuzzed: every reader of foreign bytes. Bytes that no dialect allows must end in an error of our own.

Each target takes bytes and returns nothing; it raises what must not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from msgspec import structs

from genai_spine.dialects.base import Dialect, Envelope, Quirks, Reply, Target
from genai_spine.dialects.embeddings import EmbeddingDoor, EmbeddingService, Embeds
from genai_spine.dialects.eventstream import EventMessages, encode_message
from genai_spine.dialects.ndjson import Lines
from genai_spine.dialects.ollama.dialect import OllamaGenerate
from genai_spine.dialects.openai_completions.dialect import OpenAICompletions
from genai_spine.dialects.sse import Frames, parse_frame
from genai_spine.errors import MalformedResponseError, SpineError
from genai_spine.testing.dialects import check_order
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.stream import Collector, Event, Failed, events_of
from tests.conformance.members import DIALECTS

__all__ = ["TARGETS", "Fuzz"]

Fuzz: TypeAlias = Callable[[bytes], None]

_SPEAKERS: Final[dict[str, Dialect]] = {member.dialect.name: member.dialect for member in DIALECTS}
_DOORS: Final[dict[str, Dialect]] = _SPEAKERS | {door.name: door for door in (OllamaGenerate(), OpenAICompletions())}
_EMBEDDING: Final[tuple[EmbeddingService, ...]] = tuple(
    dialect.embeddings for dialect in _SPEAKERS.values() if isinstance(dialect, Embeds)
)
_EMBEDDING_DOORS: Final[tuple[EmbeddingDoor, ...]] = tuple(
    service for service in _EMBEDDING if isinstance(service, EmbeddingDoor)
)
_REPLY: Final = Reply(model="m", request_id="request-1", now=1_700_000_000)
_QUIRKS: Final = (Quirks(), Quirks(end_mark=False, finish_reasons={"eos": "stop"}, reasoning_apart=True))
# Messages of an event stream bear checksums, which chance never meets: one is put around each line.
_BINARY: Final = "bedrock_converse"


def _halves(data: bytes) -> list[bytes]:
    """Cut ``data`` where its own first byte says."""
    place = data[0] * len(data) // 256 if data else 0
    return [data[:place], data[place:]]


def _framing(data: bytes) -> None:
    whole, cut = Frames(), Frames()
    frames = whole.feed(data)
    again = [frame for piece in _halves(data) for frame in cut.feed(piece)]
    assert [parse_frame(frame) for frame in frames] == [parse_frame(frame) for frame in again]
    assert parse_frame(whole.tail) == parse_frame(cut.tail)


def _lines(data: bytes) -> None:
    whole, cut = Lines(), Lines()
    assert whole.feed(data) == [line for piece in _halves(data) for line in cut.feed(piece)]
    assert whole.tail == cut.tail


def _messages(data: bytes) -> None:
    try:
        messages = list(EventMessages().feed(data))
    except MalformedResponseError:
        return
    cut = EventMessages()
    assert messages == [message for piece in _halves(data) for message in cut.feed(piece)]


def _said(dialect: Dialect, data: bytes) -> bytes:
    if dialect.name != _BINARY or data.startswith(b"\0"):
        return data
    return b"".join(_event_messages(data))


def _event_messages(data: bytes) -> Iterator[bytes]:
    for line in data.split(b"\n"):
        kind, _, payload = line.partition(b" ")
        name = kind[:60].decode("latin-1")
        yield encode_message({":event-type": name, ":message-type": "event", ":exception-type": name}, payload)


def _tell(response: CompletionResponse, events: list[Event]) -> None:
    """Whatever was read can be written in every dialect."""
    for door in _DOORS.values():
        door.encode_response(response, _REPLY)
        encoder = door.stream_encoder(_REPLY)
        for event in events:
            encoder.encode(event)
        if not (events and isinstance(events[-1], Failed)):
            encoder.end()


def _stream(dialect: Dialect, data: bytes) -> None:
    body = _said(dialect, data)
    for quirks in _QUIRKS:
        decoder, cut = dialect.stream_decoder(quirks), dialect.stream_decoder(quirks)
        events = decoder.feed(body) + decoder.close()
        again = [event for piece in _halves(body) for event in cut.feed(piece)] + cut.close()
        assert [_comparable(event) for event in events] == [_comparable(event) for event in again]
        check_order(events)
        collector = Collector()
        if not isinstance(events[-1], Failed):
            for event in events:
                collector.add(event)
        _tell(collector.response(), events)
        watch = dialect.watch(Envelope(fields={}, stream=True), quirks)
        passed = watch.feed(body) + watch.close()
        cut_watch = dialect.watch(Envelope(fields={}, stream=True), quirks)
        passed_again = b"".join(map(cut_watch.feed, _halves(body))) + cut_watch.close()
        assert passed == passed_again
        assert (watch.failure is None) == (cut_watch.failure is None)


def _comparable(event: Event) -> object:
    return event.error.kind if isinstance(event, Failed) else event


def _answer(dialect: Dialect, data: bytes) -> None:
    for quirks in _QUIRKS:
        with suppress(SpineError):
            dialect.check_response(data, quirks)
        try:
            response = dialect.decode_response(data, quirks)
        except SpineError:
            continue
        _tell(response, list(events_of(response)))


def _request(dialect: Dialect, data: bytes) -> None:
    target = Target(model="some-model", provider="fuzz")
    with suppress(SpineError):
        envelope = dialect.read_envelope(data, {})
        dialect.relay_request(envelope, target)
        dialect.must_translate(data, Quirks(developer_role=False, message_names=False))
    try:
        request = dialect.decode_request(data)
    except SpineError:
        return
    for speaker in _SPEAKERS.values():
        for asked in (request, structs.replace(request, dialect=speaker.name)):
            with suppress(SpineError):
                speaker.encode_request(asked, target)


def _failure(dialect: Dialect, data: bytes) -> None:
    for status in (400, 401, 429, 500):
        error = dialect.decode_error(status, {}, data, Quirks())
        assert error.message
        for door in _DOORS.values():
            assert door.encode_error(error, "request-1").body
            assert door.encode_stream_error(error, "request-1")
    with suppress(SpineError):
        models = dialect.decode_models(data)
        for door in _DOORS.values():
            door.encode_models(models)


def _embeddings(door: EmbeddingDoor, data: bytes) -> None:
    """Take a request at a door, to every service; and, where a service is spoken to as the door is, its answer."""
    target = Target(model="amazon.titan-embed-text-v2:0", provider="fuzz")
    with suppress(SpineError):
        door.relay_request(door.read_envelope(data, {}), target)
    with suppress(SpineError):
        door.check_response(data, target)
    with suppress(SpineError):
        request = door.decode_request(data)
        for service in _EMBEDDING:
            with suppress(SpineError):
                service.encode_request(request, target)
    for service in _EMBEDDING:
        with suppress(SpineError):
            door.encode_response(service.decode_response(data, {}, target), EmbeddingRequest(inputs=("a",)))


def _of(read: Callable[[Dialect, bytes], None], dialect: Dialect) -> Fuzz:
    return lambda data: read(dialect, data)


TARGETS: Final[dict[str, Fuzz]] = {
    "framing-sse": _framing,
    "framing-ndjson": _lines,
    "framing-eventstream": _messages,
    **{f"embeddings-{door.name}": partial(_embeddings, door) for door in _EMBEDDING_DOORS},
    **{f"stream-{name}": _of(_stream, dialect) for name, dialect in _SPEAKERS.items()},
    **{f"answer-{name}": _of(_answer, dialect) for name, dialect in _SPEAKERS.items()},
    **{f"failure-{name}": _of(_failure, dialect) for name, dialect in _SPEAKERS.items()},
    **{f"request-{name}": _of(_request, dialect) for name, dialect in _DOORS.items()},
}
"""The targets by name: what is read, and in which dialect."""
