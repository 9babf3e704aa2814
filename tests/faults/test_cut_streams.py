"""T4, no silent success: whatever an upstream breaks off is told to the caller in his own dialect, and recorded."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
import anthropic
import ollama
import openai
import pytest
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Ask, Door, Provider, ask, streamed, whole

RANDOM_CUTS: Final = 40
AT_EACH_DOOR: Final = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
BEFORE_EACH_PROVIDER: Final = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


class Bench(Struct):
    """A caller, a gateway and an upstream that plays all providers."""

    session: aiohttp.ClientSession
    gateway: RunningGateway
    upstream: ScriptedUpstream

    async def ask(self, door: Door, provider: Provider, script: Scripted, *, stream: bool = True) -> Ask:
        """Ask at ``door`` for what the upstream then answers by ``script``."""
        self.upstream.enqueue(script)
        return await ask(self.session, self.gateway, door.path, door.body(provider.model, stream=stream))

    async def fails(
        self, door: Door, provider: Provider, script: Scripted, where: object = None, *, stream: bool = True
    ) -> Ask:
        """Ask, and hold that the answer is an error and nothing but an error, and is recorded once as such."""
        before = len(self.gateway.recorder.records)
        answer = await self.ask(door, provider, script, stream=stream)
        place = (door.name, provider.name, script if where is None else where)
        _check_told(door, answer, place)
        assert before + 1 == len(self.gateway.recorder.records), place
        record = self.gateway.recorder.records[-1]
        assert record.outcome in {"interrupted", "error"}, place
        assert record.error, place
        return answer


def _check_told(door: Door, answer: Ask, place: object) -> None:
    if answer.status != 200:
        assert door.statuses.get(502, 502) == answer.status, place
        assert "application/json" == answer.headers["content-type"]
        message, kind, code = door.read_error(answer.json())
    else:
        told = door.read_stream(answer.body)
        assert not told.clean, (place, answer.body)
        assert told.error is not None, (place, answer.body)
        assert told.last, (place, answer.body)
        message, kind, code = door.read_error(told.error)
    assert message, place
    assert code, place
    assert kind in {"api_error", ""}, place


@pytest.fixture
async def bench(gateways: Gateways, upstream: ScriptedUpstream) -> AsyncIterator[Bench]:
    """What each test here needs."""
    gateway = await gateways.before(upstream)
    async with aiohttp.ClientSession() as session:
        yield Bench(session, gateway, upstream)


def _places(seed: str, end: int, count: int) -> list[int]:
    return random.Random(seed).sample(range(1, end), count)  # noqa: S311  # places in a text, no secrets


def _cuts(provider: Provider, seed: str) -> Sequence[int]:
    """Every boundary of events, and bytes in between, before the end mark is there."""
    boundaries, place = [], 0
    for event in provider.events:
        boundaries.append(place)
        place += len(event)
    return sorted({*boundaries, *_places(seed, provider.whole, RANDOM_CUTS), provider.whole - 1})


@BEFORE_EACH_PROVIDER
@AT_EACH_DOOR
async def test_a_stream_cut_anywhere_is_an_error(door: Door, provider: Provider, bench: Bench) -> None:
    """A connection that breaks, or a body that ends well, before the end mark: an error told, never a clean end."""
    for cut in _cuts(provider, f"{door.name}-{provider.name}"):
        piece = provider.stream[:cut]
        for broken in (True, False):
            await bench.fails(door, provider, streamed(provider, piece, cut=broken), (cut, broken))


@AT_EACH_DOOR
async def test_a_cut_before_any_content_is_an_http_error(door: Door, bench: Bench) -> None:
    """As long as nothing was told to the caller, a failure has a status of its own."""
    for provider in PROVIDERS:
        for cut in (0, 1, len(provider.events[0]) - 3):
            answer = await bench.fails(door, provider, streamed(provider, provider.stream[:cut], cut=True), cut)
            assert door.statuses.get(502, 502) == answer.status


@AT_EACH_DOOR
async def test_an_uncut_stream_is_a_success(door: Door, bench: Bench) -> None:
    """The same streams, whole, end as their dialects end: the tests of cuts could pass for a wrong reason otherwise."""
    for provider in PROVIDERS:
        answer = await bench.ask(door, provider, streamed(provider, *provider.events))
        assert 200 == answer.status
        told = door.read_stream(answer.body)
        assert told.clean
        assert told.error is None
        assert "Hello, wörld." == told.text
    assert ["success"] * 3 == [record.outcome for record in bench.gateway.recorder.records]


@AT_EACH_DOOR
async def test_a_break_after_the_end_mark_costs_nothing(
    door: Door, gateways: Gateways, upstream: ScriptedUpstream, bench: Bench
) -> None:
    """Once the end mark has come the answer is whole: what the connection does then is no failure of the answer."""
    timeouts = {f"GENAI_{provider.name.upper()}_TIMEOUT_BETWEEN_CHUNKS": "0.1" for provider in PROVIDERS}
    bench.gateway = await gateways.before(upstream, **timeouts)
    for provider in PROVIDERS:
        for script in (
            streamed(provider, provider.stream, cut=True),
            streamed(provider, *provider.events, silent_after=True),
        ):
            answer = await bench.ask(door, provider, script)
            told = door.read_stream(answer.body)
            assert told.clean, (provider.name, script.cut)
            assert told.error is None, (provider.name, script.cut)
    records = bench.gateway.recorder.records
    assert [("success", 7)] * 6 == [(record.outcome, record.output_tokens) for record in records]


@AT_EACH_DOOR
async def test_an_error_told_in_band_is_an_error(door: Door, bench: Bench) -> None:
    """An error inside the stream, first of all or after content, reaches the caller, whatever follows it."""
    for provider in PROVIDERS:
        error = provider.error_event("the machine caught fire")
        for place in range(len(provider.events)):
            for rest in ((), provider.events[place:]):
                script = streamed(provider, *provider.events[:place], error, *rest)
                answer = await bench.fails(door, provider, script, place)
                assert b"the machine caught fire" in answer.body


@AT_EACH_DOOR
async def test_what_came_before_an_error_is_told(door: Door, bench: Bench) -> None:
    """An error that arrives in one read with words takes none of them away: first the words, then the error."""
    for provider in PROVIDERS:
        *events, _ = provider.events
        for error in (provider.error_event("the machine caught fire"), b"data: {\n\n", b"{\n"):
            script = streamed(provider, b"".join([*events, error]))
            answer = await bench.fails(door, provider, script, error)
            assert 200 == answer.status, (provider.name, error)
            assert "Hello, wörld." == door.read_stream(answer.body).text, (provider.name, error)


@AT_EACH_DOOR
async def test_what_is_no_stream_is_an_error(door: Door, bench: Bench) -> None:
    """Nothing at all, a page of HTML or an empty object with status 200 is a failure with a status, not empty words."""
    page = b"<html><body>502 Bad Gateway</body></html>"
    html = {"content-type": "text/html"}
    for provider in PROVIDERS:
        for script in (
            streamed(provider),
            json_reply(b""),
            Scripted(headers=html, chunks=(page,)),
            Scripted(headers=html, chunks=(page + b"\n\n",)),
            Scripted(headers=html, chunks=(page + b"\n\n", page), streamed=True),
            streamed(provider, b"\n\n"),
            json_reply({}),
            json_reply([]),
        ):
            answer = await bench.fails(door, provider, script)
            assert door.statuses.get(502, 502) == answer.status, (provider.name, script)


@AT_EACH_DOOR
async def test_junk_within_a_stream_is_an_error(door: Door, bench: Bench) -> None:
    """A broken piece of JSON, JSON that is no object, bytes that are no text: the stream ends in an error."""
    for provider in PROVIDERS:
        lines = provider.name == "ollama"
        first, *others = provider.events
        for pieces in (
            (b"\n" if lines else b": only comments\n\n",),
            (first, b"{]\n" if lines else b"data: {]\n\n", *others),
            (first, b'"text"\n' if lines else b'event: ping\ndata: "text"\n\n'),
            (first, b"\xff\xfe\n\n"),
            (first, b'{"message":{"content":"\xff"}}\n' if lines else b'data: {"choices":"\xff"}\n\n'),
        ):
            await bench.fails(door, provider, streamed(provider, *pieces))


@AT_EACH_DOOR
async def test_an_end_mark_without_a_reason_is_an_error(door: Door, bench: Bench) -> None:
    """``[DONE]`` before a choice has its finish reason, or ``message_stop`` with no ``stop_reason``, is no end."""
    provider, other, _ = PROVIDERS
    events, done = provider.events[:-3], provider.events[-1]
    for pieces in ((done,), (*events[:1], done), (*events[:2], done), (*events, done)):
        await bench.fails(door, provider, streamed(provider, *pieces))
    events, stop = other.events[:-2], other.events[-1]
    for pieces in ((stop,), (*events[:1], stop), (*events, stop)):
        await bench.fails(door, other, streamed(other, *pieces))


@AT_EACH_DOOR
async def test_a_whole_answer_that_is_broken_is_an_error(door: Door, bench: Bench) -> None:
    """An answer that is no stream and is cut, empty, not JSON or not the dialect's: an HTTP error, never a 200."""
    for provider in PROVIDERS:
        body = whole(provider).chunks[0]
        cuts = (0, *_places(f"{door.name}-{provider.name}", len(body), 10), len(body))
        headers = {"content-type": "application/json"}
        scripts = [
            Scripted(headers=headers, chunks=(body[:cut],), streamed=chunked, cut=broken)
            for cut in cuts
            for chunked, broken in ((False, True), (True, True), (False, False), (True, False))
            if broken or cut < len(body)
        ]
        scripts += [json_reply(other) for other in (b"<html>oops</html>", b"{}", b"[]", b'"text"', b"null")]
        scripts += [json_reply(provider.error_body(200, "the machine caught fire", ""))]
        for script in scripts:
            answer = await bench.fails(door, provider, script, stream=False)
            assert door.statuses.get(502, 502) == answer.status, script


async def test_the_usage_of_a_cut_stream_is_never_nothing(bench: Bench) -> None:
    """What was delivered before the cut is counted, though the provider never told how much it was."""
    for door in DOORS:
        for provider in PROVIDERS:
            await bench.fails(door, provider, _cut_after_words(provider))
            assert bench.gateway.recorder.records[-1].output_tokens > 0, (door.name, provider.name)


def _cut_after_words(provider: Provider) -> Scripted:
    words = next(place for place, event in enumerate(provider.events) if b"Hello" in event)
    return streamed(provider, *provider.events[: words + 1], cut=True)


@BEFORE_EACH_PROVIDER
async def test_the_openai_client_raises(provider: Provider, bench: Bench) -> None:
    """The official client hands out the words that came, and raises where the stream was cut."""
    bench.upstream.enqueue(_cut_after_words(provider))
    words: list[str] = []

    async def read(client: openai.AsyncOpenAI) -> None:
        async with await client.chat.completions.create(
            model=provider.model, messages=[{"role": "user", "content": "Say hello."}], stream=True
        ) as stream:
            async for chunk in stream:
                words.extend(choice.delta.content or "" for choice in chunk.choices)

    gateway = bench.gateway
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        with pytest.raises(openai.APIError):
            await read(client)
    assert "Hello, " == "".join(words)


@BEFORE_EACH_PROVIDER
async def test_the_anthropic_client_raises(provider: Provider, bench: Bench) -> None:
    """The official client hands out the words that came, and raises where the stream was cut."""
    bench.upstream.enqueue(_cut_after_words(provider))
    words: list[str] = []

    async def read(client: anthropic.AsyncAnthropic) -> None:
        async with client.messages.stream(
            model=provider.model, max_tokens=64, messages=[{"role": "user", "content": "Say hello."}]
        ) as stream:
            async for text in stream.text_stream:
                words.append(text)  # noqa: PERF401  # a comprehension would lose what came before the error

    gateway = bench.gateway
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        with pytest.raises(anthropic.APIStatusError):
            await read(client)
    assert "Hello, " == "".join(words)


@BEFORE_EACH_PROVIDER
async def test_the_ollama_client_raises(provider: Provider, bench: Bench) -> None:
    """The official client hands out the words that came, and raises where the stream was cut."""
    bench.upstream.enqueue(_cut_after_words(provider))
    words: list[str] = []

    async def read(client: ollama.AsyncClient) -> None:
        async for part in await client.chat(
            model=provider.model, messages=[{"role": "user", "content": "Say hello."}], stream=True
        ):
            words.append(part.message.content or "")  # noqa: PERF401  # as for Anthropic's client

    async with ollama.AsyncClient(host=bench.gateway.url, headers=bench.gateway.headers) as client:
        with pytest.raises(ollama.ResponseError):
            await read(client)
    assert "Hello, " == "".join(words)
