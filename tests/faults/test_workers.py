"""Several workers, as real processes: one that dies is replaced while the others serve, and all stop in good order."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.faults.tools import DOORS
from tests.processes import Running, environ_for, refused, serving

KEY: Final = "workers-test-key"
HEADERS: Final = {"authorization": f"Bearer {KEY}"}
CHAT: Final = DOORS[0]
COUNTED: Final = re.compile(r'genai_requests_total\{door="openai_chat",outcome="success",provider="simulator"\} (\d+)')
CALLERS: Final = 16
# One that nobody answers at: only who has a limit needs it.
REDIS: Final = "redis://127.0.0.1:1"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers."""
    folder = tmp_path_factory.mktemp("workers")
    with serving(environ_of(folder), folder, "--workers", "2") as running:
        yield running


def environ_of(folder: Path, **environ: str) -> dict[str, str]:
    """The environment of a service."""
    own = {"GENAI_API_KEYS": KEY, "GENAI_REDIS_URL": REDIS, "GENAI_SIMULATOR_CHUNK_SECONDS": "0.01"}
    return {**environ_for(folder / "data"), **own, **environ}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Callers, each on a connection of his own."""
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def answered_by(session: aiohttp.ClientSession, service: Running) -> str:
    """Ask; return by which process it was answered."""
    body = CHAT.body("simulator/echo", stream=False, words="Hello!")
    async with session.post(service.url + CHAT.path, json=body) as response:
        answer = await response.json()
        assert "Hello!" == answer["choices"][0]["message"]["content"]
        return response.headers["x-request-id"][:-8]


async def counted(session: aiohttp.ClientSession, service: Running) -> set[int]:
    """What several callers are told of how many requests there were."""
    told: set[int] = set()
    for _ in range(CALLERS):
        async with session.get(f"{service.url}/metrics") as response:
            found = COUNTED.search(await response.text())
            told.add(int(found[1]) if found else 0)
    return told


async def test_all_workers_answer(session: aiohttp.ClientSession, service: Running) -> None:
    """New callers are spread over the workers; what they find is told once."""
    answered = {await answered_by(session, service) for _ in range(4 * CALLERS)}
    assert len(answered) >= 2
    assert "2 workers" in service.lines[0]
    assert 1 == service.summary.count("GenAI Spine")


async def test_any_worker_tells_the_metrics_of_all(session: aiohttp.ClientSession, service: Running) -> None:
    """Whoever is asked counts all requests, also those of a worker that is no more."""
    before = max(await counted(session, service))
    asked = 0
    while asked < CALLERS:
        asked += len([await answered_by(session, service)])
    while await counted(session, service) != {before + asked}:
        pass
    victim = min(service.workers.values())
    os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(service.until, lambda: victim not in service.workers.values() and len(service.workers) == 2)
    assert {before + asked} == await counted(session, service)


async def test_a_worker_that_is_killed(session: aiohttp.ClientSession, service: Running) -> None:
    """Only what it was answering breaks off: all other requests are answered, and soon there are as many as before."""
    await asyncio.to_thread(service.until, lambda: len(service.workers) == 2)
    before = service.workers
    broken: list[aiohttp.ClientError] = []
    answered: set[str] = set()
    news = asyncio.Event()

    async def caller() -> None:
        while True:
            try:
                answered.add(await answered_by(session, service))
            except aiohttp.ClientError as error:
                broken.append(error)
            news.set()

    async def answered_by_another(count: int) -> None:
        while len(answered) < count:
            news.clear()
            await news.wait()

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    await answered_by_another(2)
    os.kill(min(before.values()), signal.SIGKILL)
    await answered_by_another(3)
    for task in callers:
        task.cancel()
    assert {asyncio.CancelledError} == {type(end) for end in await asyncio.gather(*callers, return_exceptions=True)}
    assert len(broken) <= CALLERS, broken
    await asyncio.to_thread(service.until, lambda: len(service.workers) == 2)
    assert 1 == len(before.keys() & service.workers.keys())


async def test_a_stop_while_streams_are_under_way(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Told to stop, all workers let nobody in, end their streams whole, and leave nothing; the status is 0."""
    environ = environ_of(tmp_path, GENAI_STOP_SECONDS="60")
    words = "wörld " * 100
    with serving(environ, tmp_path, "--workers", "2") as service:
        body = CHAT.body("simulator/echo", stream=True, words=words)
        streams = [await session.post(service.url + CHAT.path, json=body) for _ in range(CALLERS)]
        for stream in streams:
            await stream.content.readline()
        service.tell(signal.SIGTERM)
        refused = False
        while not refused:
            try:
                async with session.get(f"{service.url}/health"):
                    pass
            except aiohttp.ClientConnectionError:
                refused = True
        assert not any(stream.content.at_eof() for stream in streams)
        for stream in streams:
            told = CHAT.read_stream(b"data: {}\n" + await stream.content.read())
            assert (True, None) == (told.clean, told.error)
        assert 0 == service.end()[0]
    assert ["success"] * CALLERS == [line["outcome"] for line in service.logged("request")]
    assert [] == [path.name for path in (tmp_path / "data" / "metrics").iterdir()]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal(session: aiohttp.ClientSession, tmp_path: Path, workers: str) -> None:
    """Told twice, it waits no longer: the stream is cut with an error, its request recorded, and the status is 0."""
    environ = environ_of(tmp_path, GENAI_STOP_SECONDS="600")
    with serving(environ, tmp_path, "--workers", workers) as service:
        body = CHAT.body("simulator/echo", stream=True, words="wörld " * 30_000)
        stream = await session.post(service.url + CHAT.path, json=body)
        await stream.content.readline()
        service.tell(signal.SIGINT)
        stopped = False
        while not stopped:
            try:
                async with session.get(f"{service.url}/health"):
                    pass
            except aiohttp.ClientConnectionError:
                stopped = True
        assert not stream.content.at_eof()
        service.tell(signal.SIGTERM)
        told = CHAT.read_stream(b"data: {}\n" + await stream.content.read())
        assert (False, True) == (told.clean, told.last)
        assert "the gateway is stopping" in str(told.error)
        assert 0 == service.end()[0]
    assert [("interrupted", "stopping")] == [(line["outcome"], line["error"]) for line in service.logged("request")]


async def test_no_worker_outlives_who_looks_after_it(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Where the first process is killed, the workers end what they do and go."""
    environ = environ_of(tmp_path)
    with serving(environ, tmp_path, "--workers", "2") as service:
        body = CHAT.body("simulator/echo", stream=True, words="wörld " * 30)
        stream = await session.post(service.url + CHAT.path, json=body)
        await stream.content.readline()
        service.tell(signal.SIGKILL)
        told = CHAT.read_stream(b"data: {}\n" + await stream.content.read())
        assert (True, None) == (told.clean, told.error)
        # All hold its standard error, so this is the end of all.
        assert -signal.SIGKILL == service.end()[0]
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{service.url}/health")


def test_several_workers_without_redis(tmp_path: Path) -> None:
    """They could share nothing, so they are refused, with what to set."""
    told = refused(environ_for(tmp_path / "data"), tmp_path, "--workers", "2")
    assert "2 workers need Redis" in told
    assert "GENAI_REDIS_URL" in told


def test_a_wrong_setting_is_told_once(tmp_path: Path) -> None:
    """What only the workers find wrong ends the service, with their status."""
    environ = environ_of(tmp_path, GENAI_DEFAULT_PROVIDER="opnai", GENAI_WORKERS="2")
    told = refused(environ, tmp_path, "--port", "0")
    assert 1 == told.count("unknown provider 'opnai'")


def test_a_port_where_several_serve(tmp_path: Path, service: Running) -> None:
    """It is taken for others, whether one or several."""
    port = service.url.rpartition(":")[2]
    environ = environ_of(tmp_path)
    for workers in ("1", "2"):
        assert "Address already in use" in refused(environ, tmp_path, "--workers", workers, "--port", port)
