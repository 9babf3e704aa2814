"""What recorded answers say, judged by readers of their own: at their own dialect, and at every door's.

Other suites hold that a dialect agrees with itself. This one holds that it agrees with the wire.
"""

from __future__ import annotations

import base64
import functools
import json
import random
import struct
from collections.abc import Iterator
from typing import Any, Final

import pytest

from genai_spine.dialects.base import CountsTokens, Dialect, Quirks, Reply, Target
from genai_spine.dialects.openai_completions.dialect import OpenAICompletions
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.types.completion import CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.stream import Collector, Event, Failed
from tests.conformance.meaning import RULES, Rule, meaning
from tests.conformance.members import DIALECTS, DialectMember
from tests.conformance.readers import READERS, Gist, arguments_value
from tests.conformance.recordings import Exchange, about, exchanges, require, unread

_REPLY: Final = Reply(model="m", request_id="request-1", now=1_700_000_000)
_MEMBERS: Final = {member.dialect.name: member for member in DIALECTS}
_DOORS: Final[dict[str, Dialect]] = {name: member.dialect for name, member in _MEMBERS.items()} | {
    "openai_completions": OpenAICompletions()
}
_SEED: Final = 20260114

each_member: Final = pytest.mark.parametrize(
    "member", [pytest.param(member, id=member.dialect.name) for member in DIALECTS if member.recorded()]
)
each_door: Final = pytest.mark.parametrize("door", _DOORS)


def _good(member: DialectMember, *, stream: bool) -> Iterator[Exchange]:
    for exchange in member.recorded():
        spoilt = exchange.name in member.no_answers or exchange.name in member.broken
        if exchange.status < 400 and exchange.is_stream == stream and not spoilt:
            yield exchange


def _finish(dialect: str, gist: Gist) -> str:
    """The project's word for why an answer ended; one that ended well and wants tools called ended for them."""
    told = READERS[dialect].finishes[gist.finish]
    return "tool_calls" if told == "stop" and gist.calls else told


def _agrees(expected: Gist, finish: str, response: CompletionResponse) -> None:
    usage = response.usage
    calls = [
        (call.name, call.arguments if call.custom else arguments_value(call.arguments)) for call in response.tool_calls
    ]
    assert expected.text == response.content
    assert list(expected.calls) == calls
    assert finish == response.finish_reason
    assert expected.usage == (None if usage is None else (usage.input_tokens, usage.output_tokens))


def _collected(events: list[Event]) -> CompletionResponse:
    assert not isinstance(events[-1], Failed), events[-1]
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.response()


def _decoded(member: DialectMember, exchange: Exchange, chance: random.Random) -> list[Event]:
    """The events of a recorded stream, its bytes cut at random."""
    decoder = member.dialect.stream_decoder(member.quirks_of(exchange))
    events: list[Event] = []
    rest = exchange.body
    while rest:
        size = chance.randrange(1, 200)
        events += decoder.feed(rest[:size])
        rest = rest[size:]
    return events + decoder.close()


@each_member
def test_whole_answers(member: DialectMember) -> None:
    """Each answer decodes to the words, calls, reason and tokens that it holds."""
    require()
    for exchange in _good(member, stream=False):
        with about(exchange):
            expected = READERS[member.dialect.name].whole(exchange.body)
            response = member.dialect.decode_response(exchange.body, member.quirks_of(exchange))
            _agrees(expected, _finish(member.dialect.name, expected), response)


@each_member
def test_streams(member: DialectMember) -> None:
    """So does each stream, its bytes cut at random."""
    require()
    chance = random.Random(_SEED)  # noqa: S311  # places to cut at, no secrets
    for exchange in _good(member, stream=True):
        with about(exchange):
            expected = READERS[member.dialect.name].stream(exchange.body)
            response = _collected(_decoded(member, exchange, chance))
            _agrees(expected, _finish(member.dialect.name, expected), response)


# At the doors.

_UNSAID: Final[dict[str, dict[str, str]]] = {
    # No word for an answer that is to be continued: what must not be said is that it is whole.
    "openai_chat": {"pause": "length"},
    # Nor for calls, which it cannot tell.
    "openai_completions": {"pause": "length", "tool_calls": "stop"},
    "gemini": {"pause": "length"},
    # It has two words only.
    "ollama": {"pause": "length", "content_filter": "stop"},
    "bedrock_converse": {"pause": "length"},
}
"""By door: reasons that it has no word for, and what it says instead."""


def _told(door: str, expected: Gist, finish: str, told: Gist) -> None:
    """Hold that a door told what a provider said, as far as it can."""
    without_calls = door == "openai_completions"
    assert expected.text == told.text
    assert (() if without_calls else expected.calls) == told.calls
    said = _UNSAID.get(door, {}).get(finish, finish)
    assert said == _finish(door, told), told.finish
    # Where usage must stand and nobody told any, it is nothing.
    assert (expected.usage or (0, 0)) == (told.usage or (0, 0))


@functools.cache
def _wholes(name: str) -> list[tuple[Exchange, Gist, CompletionResponse]]:
    """The good answers of a dialect: each with what it says, and as it is read."""
    member = _MEMBERS[name]
    return [
        (
            exchange,
            READERS[name].whole(exchange.body),
            member.dialect.decode_response(exchange.body, member.quirks_of(exchange)),
        )
        for exchange in _good(member, stream=False)
    ]


@functools.cache
def _streams(name: str) -> list[tuple[Exchange, Gist, list[Event]]]:
    """The good streams of a dialect, likewise."""
    member, chance = _MEMBERS[name], random.Random(_SEED)  # noqa: S311  # places to cut at, no secrets
    return [
        (exchange, READERS[name].stream(exchange.body), _decoded(member, exchange, chance))
        for exchange in _good(member, stream=True)
    ]


@each_door
@each_member
def test_whole_answers_at_each_door(member: DialectMember, door: str) -> None:
    """Written at a door, an answer says the same to who reads the door's own format."""
    require()
    name = member.dialect.name
    for exchange, expected, response in _wholes(name):
        with about(exchange):
            body = _DOORS[door].encode_response(response, _REPLY)
            _told(door, expected, _finish(name, expected), READERS[door].whole(body))


@each_door
@each_member
def test_streams_at_each_door(member: DialectMember, door: str) -> None:
    """So does a stream."""
    require()
    name = member.dialect.name
    for exchange, expected, events in _streams(name):
        with about(exchange):
            encoder = _DOORS[door].stream_encoder(_REPLY)
            body = b"".join(map(encoder.encode, events)) + encoder.end()
            _told(door, expected, _finish(name, expected), READERS[door].stream(body))


# Requests.


@each_member
def test_requests(member: DialectMember) -> None:
    """Read at the door and written to a provider of the same dialect, a request means what it did; nothing is lost."""
    require()
    name = member.dialect.name
    for exchange in member.recorded():
        with about(exchange):
            told, written = _request(member, exchange)
            assert meaning(name, told) == meaning(name, written)


def _request(member: DialectMember, exchange: Exchange) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request's body as it was recorded, and as the gateway would send it."""
    request = member.dialect.decode_request(exchange.request)
    target = Target(model=request.model or "m", quirks=Quirks(developer_role=True))
    return json.loads(exchange.request), json.loads(member.dialect.encode_request(request, target).body)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.why)
def test_each_rule_is_needed(rule: Rule) -> None:
    """A rule that explains no difference is none: without it some request would seem to mean something else."""
    require()
    if rule is RULES[0]:
        return  # it stands for what `meaning` itself leaves out
    changed = 0
    for member in DIALECTS:
        name = member.dialect.name
        if not rule.dialects or name in rule.dialects:
            bodies = [body for exchange in member.recorded() for body in _request(member, exchange)]
            changed += sum(_applies(rule, name, body) for body in bodies)
    assert changed


def _applies(rule: Rule, dialect: str, value: Any, name: str = "") -> bool:
    if rule.plain(name, value) != value:
        return True
    if isinstance(value, list):
        return any(_applies(rule, dialect, item) for item in value)
    return isinstance(value, dict) and any(_applies(rule, dialect, said, field) for field, said in value.items())


# Counts of tokens.


@pytest.mark.parametrize(
    ("dialect", "address", "field"),
    [
        ("anthropic_messages", "*/v1/messages/count_tokens", "input_tokens"),
        ("openai_responses", "*/responses/input_tokens", "input_tokens"),
        ("gemini", "*:countTokens", "totalTokens"),
    ],
)
def test_counts_of_tokens(dialect: str, address: str, field: str) -> None:
    """A recorded count is the number that it holds."""
    require()
    found = exchanges(address, failed=False)
    assert found
    speaker = _DOORS[dialect]
    assert isinstance(speaker, CountsTokens)
    for exchange in found:
        with about(exchange):
            assert json.loads(exchange.body)[field] == speaker.decode_token_count(exchange.body)


# Embeddings.

_EMBEDDINGS: Final = OpenAIEmbeddings()


def test_embeddings() -> None:
    """T1: recorded requests and answers in OpenAI's form say the same when read and written, in numbers and base64."""
    require()
    for exchange in exchanges("*/v1/embeddings"):
        with about(exchange):
            told = json.loads(exchange.request)
            request = _EMBEDDINGS.decode_request(exchange.request)
            encoded = _EMBEDDINGS.encode_request(request, Target(model=request.model or "m"))
            assert request == _EMBEDDINGS.decode_request(encoded.body)
            assert _inputs(told) == _inputs(json.loads(encoded.body))
            if exchange.status < 400:
                _embedded(exchange.body)


def _inputs(body: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in body.items() if value is not None}
    return said | {"input": body["input"][0] if len(body["input"]) == 1 else body["input"]}


def _embedded(body: bytes) -> None:
    told = json.loads(body)
    response = _EMBEDDINGS.decode_response(body, {}, Target(model="m"))
    for row, vector in zip(told["data"], response.vectors, strict=True):
        packed = row["embedding"]
        if isinstance(packed, str):
            raw = base64.b64decode(packed)
            packed = struct.unpack(f"<{len(raw) // 4}f", raw)
        assert tuple(packed) == vector
    assert response.usage is not None
    assert told["usage"]["total_tokens"] == response.usage.input_tokens
    written = _EMBEDDINGS.encode_response(response, EmbeddingRequest(inputs=("a",)))
    assert response == _EMBEDDINGS.decode_response(written, {}, Target(model="m"))


# The account.

_TAKEN: Final = (
    *("*/chat/completions", "*/responses", "*/v1/messages", "*enerateContent", "*/model/*/converse*"),
    *("*/v1/messages/count_tokens", "*/responses/input_tokens", "*:countTokens"),
    *("*/v1/embeddings", "*mbedContent*", "*/model/*/invoke"),
)
"""Addresses whose exchanges are in a suite: of a dialect, of counts, of embeddings."""

_LEFT: Final = {
    "*/responses/compact": "a history made shorter by OpenAI, which has no other dialect's like",
    "*/responses/resp_*": "an answer stored at OpenAI, fetched again",
    "*/v1/conversations*": "a conversation stored at OpenAI",
    "*/v1/files*": "files stored at OpenAI",
    "*/v1/vector_stores*": "files searched at OpenAI",
    "*/count-tokens": "Bedrock's own count of tokens, instead of which the gateway guesses",
    "https://api.cohere.com/*": "Cohere's own dialect",
    "*cachedContents*": "a prompt stored at Google",
    "*ileSearchStore*": "files searched at Google",
    "https://oauth2.googleapis.com/*": "a sign-in",
    **dict.fromkeys(
        (
            "https://data.grepit.app/*",
            "https://example-files.*",
            "https://raw.githubusercontent.com/*",
            "*www.w3.org/*",
        ),
        "a file that was sent along",
    ),
}
"""Addresses of what is not the gateway's, each with the reason."""


def test_every_exchange_is_accounted_for() -> None:
    """Each recorded exchange is in a suite, or its absence has a reason; and no reason is idle."""
    require()
    taken = {exchange.name for address in _TAKEN for exchange in exchanges(address)}
    left = {address: {exchange.name for exchange in exchanges(address)} for address in _LEFT}
    assert not taken.intersection(*left.values())
    assert {exchange.name for exchange in exchanges()} == taken.union(*left.values())
    assert all(left.values()), [address for address, names in left.items() if not names]
    suites = {exchange.name for member in DIALECTS for exchange in member.recorded()}
    speaking = {exchange.name for address in _TAKEN[:5] for exchange in exchanges(address)}
    assert {"test_bedrock/test_bedrock_model_other_parameters#0"} == speaking - suites
    # xAI's own API, over gRPC.
    assert all("xai" in name for name in unread()), unread()
