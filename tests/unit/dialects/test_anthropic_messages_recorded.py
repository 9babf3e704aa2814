"""Anthropic Messages as the official client reads it, and as the real service and its clients spoke it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx2
import msgspec
import pytest
import yaml

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Envelope, Quirks, Reply, Target, Watch
from genai_spine.errors import (
    ModelNotFoundError,
    OverloadedError,
    ProviderFailedError,
)
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.models import Model
from genai_spine.types.stream import (
    Collector,
    Event,
    Failed,
    Finish,
    PartStart,
    TextDelta,
    ThinkingDelta,
    ToolArguments,
    events_of,
)
from genai_spine.types.usage import Usage

DIALECT = AnthropicMessages()
RECORDINGS = Path(os.environ.get("GENAI_TEST_RECORDINGS", Path(__file__).parents[3] / "../shared/recordings"))


def decode(data: bytes, *cuts: int, quirks: Quirks | None = None) -> list[Event]:
    """The events of a stream that arrives cut at ``cuts``."""
    decoder = DIALECT.stream_decoder(quirks or Quirks())
    events: list[Event] = []
    last = 0
    for cut in [*sorted(cuts), len(data)]:
        events += decoder.feed(data[last:cut])
        last = cut
    return events + decoder.close()


def collect(events: list[Event]) -> CompletionResponse:
    """The answer that a stream amounts to."""
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


def encode(events: list[Event], reply: Reply | None = None) -> bytes:
    """The bytes of a stream of ``events``."""
    encoder = DIALECT.stream_encoder(reply or Reply(model="asked", request_id="r1"))
    return b"".join(encoder.encode(event) for event in events) + encoder.end()


def watch(quirks: Quirks | None = None) -> Watch:
    """A watch over a stream that passes through."""
    return DIALECT.watch(Envelope(fields={}), quirks or Quirks())


# The official client.


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[anthropic.Anthropic]:
    """The official client, answered with the test's status and body."""
    status, body = request.param
    content_type = "text/event-stream" if body.startswith(b"event:") else "application/json"

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": content_type})

    transport = httpx2.MockTransport(answer)
    with anthropic.Anthropic(
        api_key="k", base_url="http://gateway", max_retries=0, http_client=httpx2.Client(transport=transport)
    ) as made:
        yield made


ANSWER = CompletionResponse(
    model="gpt",
    choices=collect(
        [
            PartStart(index=0, part="thinking"),
            ThinkingDelta(index=0, text="hm"),
            PartStart(index=1, part="text"),
            TextDelta(index=1, text="hi"),
            PartStart(index=2, part="tool_call", id="t", name="f"),
            ToolArguments(index=2, text='{"a":1}'),
            Finish(reason="tool_calls"),
        ]
    ).choices,
    usage=Usage(input_tokens=3, output_tokens=2),
    dialect="openai_chat",
)
MESSAGES: list[anthropic.types.MessageParam] = [{"role": "user", "content": "q"}]


@pytest.mark.parametrize("client", [(200, encode(events_of(ANSWER)))], indirect=True)
def test_the_official_client_reads_a_stream(client: anthropic.Anthropic) -> None:
    """Its helper gathers the stream into the message that the answer not streamed is."""
    with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        message = stream.get_final_message()
    whole = anthropic.types.Message.model_validate_json(
        DIALECT.encode_response(ANSWER, Reply(model="asked", request_id="r1"))
    )

    assert whole.model_dump(exclude_none=True) == message.model_dump(exclude_none=True)
    assert {"a": 1} == next(block.input for block in message.content if block.type == "tool_use")


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ((529, DIALECT.encode_error(OverloadedError("busy"), "r1").body), "OverloadedError"),
        ((500, DIALECT.encode_error(ProviderFailedError("oops"), "r1").body), "InternalServerError"),
        (
            (
                200,
                encode([])[:-1].partition(b"event: message_delta")[0]
                + DIALECT.encode_stream_error(OverloadedError("busy"), "r1"),
            ),
            "APIStatusError",
        ),
    ],
    indirect=["client"],
)
def test_the_official_client_raises_on_errors(client: anthropic.Anthropic, expected: str) -> None:
    """It raises the class that its users catch, also amid a stream."""
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream,
    ):
        stream.until_done()

    assert expected == type(caught.value).__name__


@pytest.mark.parametrize("client", [(200, DIALECT.encode_models([Model(id="a"), Model(id="b")]))], indirect=True)
def test_the_official_client_lists_models(client: anthropic.Anthropic) -> None:
    """It walks the list to its end."""
    assert ["a", "b"] == [model.id for model in client.models.list()]


# Recordings.


def recorded() -> Iterator[tuple[str, JsonObject, int, bytes]]:
    """What was asked at which address, and what came back."""
    for pattern in ("test_anthropic*/*.yaml", "models/anthropic/**/*.yaml", "test_tool_choice_matrix/*anthropic*.yaml"):
        for path in sorted((RECORDINGS / "pydantic-ai").glob(pattern)):
            with path.open("rb") as file:
                tape = yaml.load(file, Loader=yaml.CSafeLoader)
            for exchange in tape["interactions"]:
                asked, answer = exchange["request"], exchange["response"]
                if "api.anthropic.com" not in asked["uri"]:
                    continue
                body = answer.get("parsed_body")
                told = msgspec.json.encode(body) if body is not None else answer["body"]["string"]
                yield (
                    asked["uri"],
                    asked["parsed_body"],
                    answer["status"]["code"],
                    told.encode() if isinstance(told, str) else told,
                )


@pytest.fixture(scope="module")
def tapes() -> list[tuple[str, JsonObject, int, bytes]]:
    """All recorded exchanges."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}; set GENAI_TEST_RECORDINGS to their folder")
    return list(recorded())


def test_recorded_requests_come_back(tapes: list[tuple[str, JsonObject, int, bytes]]) -> None:
    """What real clients asked is written back with the same meaning."""
    assert tapes
    for uri, asked, _, _ in tapes:
        request = DIALECT.decode_request(msgspec.json.encode(asked))
        to = Target(model=request.model or "")
        write = DIALECT.encode_count_request if "count_tokens" in uri else DIALECT.encode_request
        encoded = write(request, to)

        assert request == DIALECT.decode_request(encoded.body)
        assert () == encoded.warnings


def test_recorded_answers_come_back(tapes: list[tuple[str, JsonObject, int, bytes]]) -> None:
    """What the service answered is written back with the same meaning, whole or as a stream, and read from the side."""
    answers = [body for uri, _, status, body in tapes if status == 200 and "count" not in uri and body.startswith(b"{")]

    assert answers
    for body in answers:
        response = DIALECT.decode_response(body, Quirks())

        assert response == DIALECT.decode_response(DIALECT.encode_response(response, Reply()), Quirks())
        assert response == collect(decode(encode(events_of(response))))
        assert (response.usage, response.finish_reason) == DIALECT.check_response(body, Quirks())


def test_recorded_streams_come_back(tapes: list[tuple[str, JsonObject, int, bytes]]) -> None:
    """Real streams are read the same however they arrive, written back, and pass through unchanged."""
    streams = [body for _, _, status, body in tapes if status == 200 and body.startswith(b"event:")]

    assert streams
    for body in streams:
        events = decode(body)
        seen = watch()

        assert not any(isinstance(event, Failed) for event in events)
        assert events == decode(body, *range(0, len(body), 97))
        assert events == decode(encode(events))
        assert body.replace(b"\r\n", b"\n") == seen.feed(body) + seen.close()
        assert (collect(events).usage, collect(events).finish_reason) == (seen.usage, seen.finish_reason)
        for cut in range(0, len(body) - 60, 1009):
            assert isinstance(decode(body[:cut])[-1], Failed)


def test_recorded_errors_are_told(tapes: list[tuple[str, JsonObject, int, bytes]]) -> None:
    """A model that does not exist is not found."""
    found = {type(DIALECT.decode_error(status, {}, body, Quirks())) for _, _, status, body in tapes if status == 404}

    assert {ModelNotFoundError} == found
