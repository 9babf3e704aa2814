"""A storm: providers fail at random in all ways at once, over real sockets, and each request is told the truth."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from genai_spine.testing.gateway import RunningGateway
from tests.conftest import Gateways
from tests.faults.tools import DOORS, PROVIDERS, Door, Provider, ask, raw_server, reset

REQUESTS: Final = 1000
AT_ONCE: Final = 40
SECONDS: Final = 10.0
ALIAS: Final = """
[aliases]
storm = ["gone/gpt-4o-mini", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "groq/llama-3.1-8b-instant"]

[providers.gone]
dialect = "openai_chat"
url = "http://127.0.0.1:9/v1"
auth = "none"
"""
"""Asked first of all is one at whose port nobody listens."""
OPENAI, ANTHROPIC, _ = PROVIDERS
# Once the model's first words are with the caller, nobody else can be asked.
BEFORE_WORDS: Final = (
    "close",
    "reset",
    "slow headers",
    "slow words",
    "429",
    "429 for a while",
    "500",
    "503",
    "529",
    "junk",
    "junk body",
    "cut head",
)
AFTER_WORDS: Final = ("stalled", "cut", "cut hard")


class Stormy:
    """A service that draws its next mishap from a bag.

    Attributes:
        open: Connections that callers hold.
        done: What it did, how often.
    """

    def __init__(self, provider: Provider, seed: str, mishaps: Sequence[str], share: float) -> None:
        self.open = 0
        self.done: Counter[str] = Counter()
        self._provider = provider
        self._chance = random.Random(seed)  # noqa: S311  # mishaps, no secrets
        self._mishaps = mishaps
        self._share = share

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which carries one request."""
        self.open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            mishap = self._chance.choice(self._mishaps) if self._chance.random() < self._share else "none"
            self.done[mishap] += 1
            raw = self._stream() if b'"stream":true' in body.replace(b" ", b"") else self._whole()
            await self._do(mishap, raw, reader, writer)
        finally:
            self.open -= 1

    async def _do(self, mishap: str, raw: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = raw.find(b"Hello, ")
        match mishap:
            case "none":
                writer.write(raw)
            case "close":
                return
            case "reset":
                reset(writer)
                return
            case "slow headers":
                await reader.read()
            case "slow words" | "stalled":
                cut = raw.find(b"w\xc3\xb6rld") if mishap == "stalled" else words
                writer.write(raw[: cut if cut > 0 else words])
                await reader.read()
            case "cut" | "cut hard":
                writer.write(raw[: self._chance.randrange(len(raw))])
            case "cut head":
                writer.write(raw[: self._chance.randrange(words)])
            case "junk":
                writer.write(self._chance.randbytes(200) + b"\r\n\r\n")
            case "junk body":
                writer.write(_reply(b"HTTP/1.1 200 OK\r\ncontent-type: application/json", b"<html>oops"))
            case _:
                status, *after = mishap.split(" ")
                told = b"\r\nretry-after-ms: 50" if after else b""
                body = json.dumps(self._provider.error_body(int(status), "a mishap", "")).encode()
                head = b"HTTP/1.1 %b Oops\r\ncontent-type: application/json%b" % (status.encode(), told)
                writer.write(_reply(head, body))
        await writer.drain()
        if mishap == "cut hard":
            reset(writer)
        elif writer.can_write_eof():
            writer.write_eof()
            await reader.read()

    def _whole(self) -> bytes:
        body = json.dumps(self._provider.answer).encode()
        return _reply(b"HTTP/1.1 200 OK\r\ncontent-type: application/json", body)

    def _stream(self) -> bytes:
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\ncontent-type: text/event-stream"
        return (
            head
            + b"\r\n\r\n"
            + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in self._provider.events)
            + b"0\r\n\r\n"
        )


def _reply(head: bytes, body: bytes) -> bytes:
    return head + b"\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class Storm:
    """A gateway in the storm, and its callers."""

    def __init__(self, gateway: RunningGateway, session: aiohttp.ClientSession, services: Sequence[Stormy]) -> None:
        self.gateway = gateway
        self.services = services
        self.well = 0
        self._session = session
        self._places = asyncio.Semaphore(AT_ONCE)
        self._before = self._tasks()

    @staticmethod
    def _tasks() -> set[asyncio.Task[object]]:
        """The tasks that run."""
        return asyncio.all_tasks()

    async def blow(self) -> None:
        """Ask and ask, each second time for a stream, at one door after the other."""
        async with asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(self._ask(DOORS[number // 2 % len(DOORS)], stream=number % 2 == 0))

    async def _ask(self, door: Door, *, stream: bool) -> None:
        async with self._places, asyncio.timeout(2 * SECONDS):
            begun = asyncio.get_running_loop().time()
            answer = await ask(
                self._session,
                self.gateway,
                door.path,
                door.body("storm", stream=stream),
                {"x-spine-timeout": str(SECONDS)},
            )
            assert asyncio.get_running_loop().time() - begun < SECONDS + 1
        if answer.status != 200:
            message, kind, code = door.read_error(answer.json())
            assert message
            assert code
            assert answer.status in {429, 500, 502, 503, 504, 529}, answer
            assert kind or door.types == {"": ""}
        elif not stream:
            assert b"Hello, world." in answer.body
            self.well += 1
        else:
            told = door.read_stream(answer.body)
            if told.error is None:
                assert told.clean
                assert "Hello, wörld." == told.text
                self.well += 1
            else:
                # What came before the failure is the beginning of the truth.
                assert told.last
                assert not told.clean
                assert "Hello, wörld.".startswith(told.text)

    async def calm(self) -> None:
        """Wait until all is over: no call under way, no key lent, no connection held, no task left."""
        await self._session.close()
        spine = self.gateway.spine
        async with asyncio.timeout(SECONDS):
            while any(service.open for service in self.services):  # noqa: ASYNC110  # no event tells that it is over
                await asyncio.sleep(0)
            while self._tasks() - self._before:  # noqa: ASYNC110  # as above
                await asyncio.sleep(0)
        for provider in spine.registry:
            health = spine.guards.health(provider)
            assert 0 == health.in_flight, provider.name
            assert all(key.in_flight == 0 for key in health.keys), provider.name
        records = self.gateway.recorder.records
        assert REQUESTS == len(records)
        assert len({record.request_id for record in records}) == REQUESTS
        # Nobody but the kernel answers for the first: it refuses, the circuit opens, and then only probes go there.
        gone = [attempt for attempt in self.gateway.recorder.attempts if attempt.provider == "gone"]
        assert {"connection_failed"} == {attempt.error for attempt in gone}
        changes = [change.after for change in self.gateway.recorder.circuits if change.provider == "gone"]
        assert "closed" not in changes
        assert 5 <= len(gone) - changes.count("half_open") <= AT_ONCE


class Weather:
    """Makes storms."""

    def __init__(self, stack: AsyncExitStack, gateways: Gateways, folder: Path) -> None:
        self._stack = stack
        self._gateways = gateways
        self._file = folder / "spine.toml"

    async def storm(self, mishaps: Sequence[str], shares: Sequence[float]) -> Storm:
        """Start three services and a gateway that asks one after the other, and before them a closed port."""
        services = [
            Stormy(provider, f"storm {place}", mishaps, share)
            for place, (provider, share) in enumerate(zip((OPENAI, ANTHROPIC, OPENAI), shares, strict=True))
        ]
        urls = [await self._stack.enter_async_context(raw_server(service.serve)) for service in services]
        self._file.write_text(ALIAS)
        short = {
            f"GENAI_{name}_TIMEOUT_{which}": "0.2"
            for name, share in zip(("OPENAI", "ANTHROPIC", "GROQ"), shares, strict=True)
            for which in ("FIRST_BYTE", "BETWEEN_CHUNKS")
            if share
        }
        gateway = await self._gateways.start(
            GENAI_CONFIG=str(self._file),
            OPENAI_API_KEYS="sk-storm-openai-0001,sk-storm-openai-0002",
            OPENAI_API_URL=f"{urls[0]}/v1",
            ANTHROPIC_API_KEYS="sk-ant-storm-0001,sk-ant-storm-0002",
            ANTHROPIC_API_URL=urls[1],
            GROQ_API_KEY="gsk-storm-0001",
            GROQ_API_URL=f"{urls[2]}/openai/v1",
            GENAI_RETRY_ATTEMPTS="3",
            GENAI_RETRY_FIRST_WAIT="0.01",
            GENAI_RETRY_LONGEST_WAIT="0.05",
            GENAI_DEFAULT_COOLDOWN="0.05",
            GENAI_MAX_COOLDOWN_SECONDS="0.2",
            GENAI_CIRCUIT_FAILURES="5",
            GENAI_CIRCUIT_OPEN_SECONDS="0.1",
            **short,
        )
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        return Storm(gateway, session, services)


@pytest.fixture
async def weather(gateways: Gateways, tmp_path: Path) -> AsyncIterator[Weather]:
    """What makes storms."""
    async with AsyncExitStack() as stack:
        yield Weather(stack, gateways, tmp_path)


async def test_with_one_provider_left_all_are_served(weather: Weather) -> None:
    """Two of three fail at every second call, before the model's words: whoever asks is served by the third at last."""
    storm = await weather.storm(BEFORE_WORDS, (0.5, 0.5, 0.0))
    await storm.blow()
    await storm.calm()
    assert storm.well >= REQUESTS * 0.999
    assert all(storm.services[place].done[mishap] for place in (0, 1) for mishap in ("none", *BEFORE_WORDS))


async def test_whatever_happens_is_told(weather: Weather) -> None:
    """All three fail at every third call, in the midst of their words too: a right answer, or a right error."""
    mishaps = (*BEFORE_WORDS, *AFTER_WORDS)
    storm = await weather.storm(mishaps, (0.3, 0.3, 0.3))
    await storm.blow()
    await storm.calm()
    assert REQUESTS / 4 < storm.well < REQUESTS
    assert set(mishaps) < set().union(*(service.done for service in storm.services))
