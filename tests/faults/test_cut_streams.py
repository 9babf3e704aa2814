"""T4, no silent success: whatever an upstream breaks off, the caller is told in his own dialect, and so is the record."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
import anthropic
import ollama
import openai
import pytest

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, streamed, whole

RANDOM_CUTS: Final = 40
PAIRS: Final = [pytest.param(door, provider, id=f"{door.name}-{provider.name}") for door in DOORS for provider in PROVIDERS]
ANYWHERE: Final = pytest.mark.parametrize(("door", "provider"), PAIRS)


@pytest.fixture
async def gateway(gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway before one upstream that plays all providers."""
    return await gateways.before(upstream)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client."""
    async with aiohttp.ClientSession() as client:
        yield client


def _check_told(door: Door, answer: Ask, where: object) -> None:
    """Hold that an answer is an error and nothing but an error."""
    if answer.status != 200:
        assert door.statuses.get(502, 502) == answer.status, where
        message, kind, code = door.read_error(answer.json())
        assert "application/json" == answer.headers["content-type"]
    else:
        told = door.read_stream(answer.body)
        assert not told.clean, (where, answer.body)
        assert told.error is not None, (where, answer.body)
        assert told.last, (where, answer.body)
        message, kind, code = door.read_error(told.error)
    assert message, where
    assert code, where
    assert kind in {"api_error", ""}, where


def _check_recorded(gateway: RunningGateway, count: int) -> None:
    """Hold that the newest request, the ``count``-th, was recorded once and as a failure."""
    assert count == len(gateway.recorder.records)
    record = gateway.recorder.records[-1]
    assert record.outcome in {"interrupted", "error"}
    assert record.error


async def _check_stream(
    session: aiohttp.ClientSession,
    gateway: RunningGateway,
    door: Door,
    provider: Provider,
    script: Scripted,
    upstream: ScriptedUpstream,
    where: object,
) -> Ask:
    before = len(gateway.recorder.records)
    upstream.enqueue(script)
    answer = await ask(session, gateway, door.path, door.body(provider.model, stream=True))
    _check_told(door, answer, where)
    _check_recorded(gateway, before + 1)
    return answer


def _cuts(provider: Provider, seed: str) -> Sequence[int]:
    """Every boundary of events, and bytes in between, before the end mark is there."""
    boundaries, place = [], 0
    for event in provider.events:
        boundaries.append(place)
        place += len(event)
    chosen = random.Random(seed).sample(range(1, provider.whole), RANDOM_CUTS)  # noqa: S311  # places, not secrets
    return sorted({*boundaries, *chosen, provider.whole - 1})


@ANYWHERE
async def test_a_stream_cut_anywhere_is_an_error(
    door: Door,
    provider: Provider,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """A connection that breaks, or a body that ends well, before the end mark: an error told, never a clean end."""
    for cut in _cuts(provider, f"{door.name}-{provider.name}"):
        piece = provider.stream[:cut]
        for broken in (True, False):
            script = streamed(provider, piece, cut=broken)
            await _check_stream(session, gateway, door, provider, script, upstream, (cut, broken))


@ANYWHERE
async def test_an_uncut_stream_is_a_success(
    door: Door,
    provider: Provider,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """The same streams, whole, end as their dialects end: the tests of cuts could pass for a wrong reason otherwise."""
    upstream.enqueue(streamed(provider, *provider.events))
    answer = await ask(session, gateway, door.path, door.body(provider.model, stream=True))
    assert 200 == answer.status
    told = door.read_stream(answer.body)
    assert told.clean
    assert told.error is None
    assert "Hello, wörld." == told.text
    assert ["success"] == [record.outcome for record in gateway.recorder.records]


@ANYWHERE
async def test_a_break_after_the_end_mark_costs_nothing(
    door: Door,
    provider: Provider,
    gateways: Gateways,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """Once the end mark has come the answer is whole: what the connection does then is no failure of the answer."""
    name = f"GENAI_{provider.name.upper()}_TIMEOUT_BETWEEN_CHUNKS"
    gateway = await gateways.before(upstream, **{name: "0.1"})
    for script in (
        streamed(provider, provider.stream, cut=True),
        streamed(provider, *provider.events, silent_after=True),
    ):
        upstream.enqueue(script)
        answer = await ask(session, gateway, door.path, door.body(provider.model, stream=True))
        told = door.read_stream(answer.body)
        assert told.clean
        assert told.error is None
    assert ["success"] * 2 == [record.outcome for record in gateway.recorder.records]
    assert [7, 7] == [record.output_tokens for record in gateway.recorder.records]


@ANYWHERE
async def test_an_error_told_in_band_is_an_error(
    door: Door,
    provider: Provider,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """An error inside the stream, first of all or after content, reaches the caller, whatever follows it."""
    error = provider.error_event("the machine caught fire")
    for place in range(len(provider.events)):
        for rest in ((), provider.events[place:]):
            pieces = (*provider.events[:place], error, *rest)
            script = streamed(provider, *pieces)
            answer = await _check_stream(session, gateway, door, provider, script, upstream, place)
            assert b"the machine caught fire" in answer.body


@ANYWHERE
async def test_what_is_no_stream_is_an_error(
    door: Door,
    provider: Provider,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """Nothing at all, a page of HTML, junk or a broken piece of JSON with status 200 is a failure, never empty words."""
    page = b"<html><body>502 Bad Gateway</body></html>"
    html = {"content-type": "text/html"}
    first = provider.events[0]
    for script in (
        streamed(provider),
        json_reply(b""),
        Scripted(headers=html, chunks=(page,)),
        Scripted(headers=html, chunks=(page + b"\n\n",)),
        streamed(provider, b"\n\n"),
        streamed(provider, b": only comments\n\n"),
        streamed(provider, first, b"data: {]\n\n" if provider.name != "ollama" else b"{]\n", *provider.events[1:]),
        streamed(provider, first, b'event: ping\ndata: "text"\n\n' if provider.name != "ollama" else b'"text"\n'),
        streamed(provider, first, b"\xff\xfe\n\n"),
        json_reply({}),
        json_reply([]),
    ):
        await _check_stream(session, gateway, door, provider, script, upstream, script)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_a_done_without_a_reason_is_an_error(
    door: Door, gateway: RunningGateway, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """``[DONE]`` after no answer, or before a choice has its finish reason, is no end."""
    openai_like = PROVIDERS[0]
    *events, _usage, done = openai_like.events
    for pieces in ((done,), (*events[:1], done), (*events[:2], done), (*events[:-1], done)):
        await _check_stream(session, gateway, door, openai_like, streamed(openai_like, *pieces), upstream, pieces)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
async def test_a_message_stop_without_a_reason_is_an_error(
    door: Door, gateway: RunningGateway, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """``message_stop`` with no ``stop_reason`` told before it is no end."""
    anthropic_like = PROVIDERS[1]
    *events, _delta, stop = anthropic_like.events
    for pieces in ((stop,), (*events[:1], stop), (*events, stop)):
        script = streamed(anthropic_like, *pieces)
        await _check_stream(session, gateway, door, anthropic_like, script, upstream, pieces)


@ANYWHERE
async def test_a_whole_answer_that_is_broken_is_an_error(
    door: Door,
    provider: Provider,
    gateway: RunningGateway,
    upstream: ScriptedUpstream,
    session: aiohttp.ClientSession,
) -> None:
    """An answer that is no stream and is cut, empty, not JSON or not the dialect's: an HTTP error, never a 200."""
    body = whole(provider).chunks[0]
    where = random.Random(f"{door.name}-{provider.name}").sample(range(1, len(body)), 10)  # noqa: S311  # places
    scripts = [
        Scripted(headers={"content-type": "application/json"}, chunks=(body[:cut],), streamed=chunked, cut=broken)
        for cut in (0, *where, len(body))
        for chunked, broken in ((False, True), (True, True), (False, False), (True, False))
        if broken or cut < len(body)
    ]
    scripts += [json_reply(b"<html>oops</html>"), json_reply({}), json_reply([]), json_reply(b'"text"'), json_reply(b"null")]
    scripts += [json_reply(provider.error_body(200, "the machine caught fire", ""))]
    for count, script in enumerate(scripts, 1):
        upstream.enqueue(script)
        answer = await ask(session, gateway, door.path, door.body(provider.model, stream=False))
        assert answer.status >= 400, script
        assert "api_error" == (door.read_error(answer.json())[1] or "api_error"), script
        assert door.statuses.get(502, 502) == answer.status, script
        _check_recorded(gateway, count)


async def test_the_usage_of_a_cut_stream_is_never_nothing(
    gateway: RunningGateway, upstream: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """What was delivered before the cut is counted, though the provider never told how much it was."""
    for door in DOORS:
        for provider in PROVIDERS:
            upstream.enqueue(streamed(provider, *provider.events[:5][: len(provider.events) - 1], cut=True))
            await ask(session, gateway, door.path, door.body(provider.model, stream=True))
            assert gateway.recorder.records[-1].output_tokens > 0, (door.name, provider.name)


def _cut_after_words(provider: Provider) -> Scripted:
    words = next(place for place, event in enumerate(provider.events) if b"Hello" in event)
    return streamed(provider, *provider.events[: words + 1], cut=True)


async def test_the_openai_client_raises(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """The official client raises on a stream that was cut after its first words."""
    for provider in PROVIDERS:
        upstream.enqueue(_cut_after_words(provider))
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0)
        async with client:
            stream = await client.chat.completions.create(
                model=provider.model, messages=[{"role": "user", "content": "Say hello."}], stream=True
            )
            words: list[str] = []
            with pytest.raises(openai.APIError):
                async for chunk in stream:
                    words += [choice.delta.content or "" for choice in chunk.choices]
            assert "Hello, " == "".join(words)
            await stream.close()


async def test_the_anthropic_client_raises(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """The official client raises on a stream that was cut after its first words."""
    for provider in PROVIDERS:
        upstream.enqueue(_cut_after_words(provider))
        client = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0)
        async with client:
            words: list[str] = []
            with pytest.raises(anthropic.APIStatusError):
                async with client.messages.stream(
                    model=provider.model, max_tokens=64, messages=[{"role": "user", "content": "Say hello."}]
                ) as stream:
                    words += [text async for text in stream.text_stream]
            assert "" == "".join(words)


async def test_the_ollama_client_raises(gateway: RunningGateway, upstream: ScriptedUpstream) -> None:
    """The official client raises on a stream that was cut after its first words."""
    for provider in PROVIDERS:
        upstream.enqueue(_cut_after_words(provider))
        client = ollama.AsyncClient(host=gateway.url, headers=gateway.headers)
        words: list[str] = []
        with pytest.raises(ollama.ResponseError):
            async for part in await client.chat(
                model=provider.model, messages=[{"role": "user", "content": "Say hello."}], stream=True
            ):
                words.append(part.message.content or "")
        assert "Hello, " == "".join(words)
        await client._client.aclose()  # the client has no close of its own
