"""Workers that are killed at any instant, a database and a Redis that come and go, callers who hang up: what is left?

``Storm`` does it, ``check`` looks at what the ledger then says of it. The suite does it for some seconds
(``tests/faults/test_kills.py``), ``make torture`` for as long as one likes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import Struct

from genai_spine.ledger.adoption import STOPPED
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import EVERYBODY, provider_usage, requests, usage_rollups
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from tests.faults.tools import DOORS, PROVIDERS, streamed, whole
from tests.ledgers import rows
from tests.processes import SPINE

__all__ = ["Storm", "Told", "check"]

KEY: Final = "gateway-test-key"
OPENAI: Final = PROVIDERS[0]
CHAT: Final = DOORS[0]
CALLERS: Final = 12
PATIENCE: Final = 60.0
_NAME: Final = re.compile(rb"storm-\d+")
# What the upstream does, by how often.
_DEEDS: Final = {"whole": 6, "stream": 6, "failure": 2, "cut": 1, "hang": 2, "hang in words": 2}


class Told(Struct):
    """What a caller was told.

    Attributes:
        deed: What the upstream was to do.
        answered: A whole answer came, with status 200.
        status: 0 where none came.
    """

    name: str
    deed: str
    answered: bool = False
    status: int = 0


class Worker(Struct):
    """A process that serves.

    Attributes:
        url: Where; empty until it does.
    """

    process: Process
    url: str = ""


class Storm:
    """Several workers over one data folder and one database, before one upstream.

    Attributes:
        told: What each caller was told.
        seen: How often the upstream was asked for each.
        kills: How often a worker was killed.
    """

    def __init__(self, data: Path, environ: Mapping[str, str], *, workers: int = 2, seed: int = 0) -> None:
        self.told: list[Told] = []
        self.kills = 0
        self._chance = random.Random(seed)  # noqa: S311  # instants, no secrets
        self._environ = {**environ, "GENAI_DATA_DIR": str(data)}
        self._count = workers
        self._log = (data / "storm.log").open("ab")
        self._workers: list[Worker] = []
        self._changed = asyncio.Event()
        self._over = False
        self._upstream = ScriptedUpstream(self._answer)

    @property
    def seen(self) -> Counter[str]:
        """How often the upstream was asked on behalf of each caller."""
        return Counter(_name(received) for received in self._upstream.received)

    @asynccontextmanager
    async def raging(self) -> AsyncIterator[None]:
        """Have callers ask as long as the block lasts; then all workers stop in good order, and one clears up."""
        async with self._upstream:
            await asyncio.gather(*(self._start() for _ in range(self._count)))
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE)) as session:
                callers = [asyncio.create_task(self._call_on(session)) for _ in range(CALLERS)]
                try:
                    yield
                finally:
                    self._over = True
                    self._changed.set()
                    await asyncio.gather(*callers)
            await self.stop()

    async def stop(self) -> None:
        """Stop all, and let one more start and stop, for what is left behind."""
        await self._stop_all()
        await self._start()
        await self._stop_all()
        self._log.close()

    async def _stop_all(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            assert 0 == await worker.process.wait()
        self._workers.clear()

    async def kill(self) -> None:
        """Kill a worker at some instant, and start another in its place; now and then that too, before it serves."""
        await self._some_time()
        worker = self._chance.choice(self._workers)
        self._workers.remove(worker)
        worker.process.kill()
        await worker.process.wait()
        self.kills += 1
        if self._chance.random() < 0.15:
            early = await self._launch()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, 2)):
                    await self._serving(early)
            early.process.kill()
            await early.process.wait()
            self.kills += 1
        await self._start()

    async def _some_time(self) -> None:
        """Let some calls pass."""
        goal = len(self._upstream.received) + self._chance.randrange(80)
        async with asyncio.timeout(PATIENCE):
            await self._upstream.until(lambda: len(self._upstream.received) >= goal)

    async def answered(self, count: int) -> None:
        """Wait until so many more answers came whole."""
        goal = sum(told.answered for told in self.told) + count
        async with asyncio.timeout(PATIENCE):
            while sum(told.answered for told in self.told) < goal:
                self._changed.clear()
                await self._changed.wait()

    async def _start(self) -> None:
        worker = await self._launch()
        async with asyncio.timeout(PATIENCE):
            await self._serving(worker)
        self._workers.append(worker)
        self._changed.set()

    async def _launch(self) -> Worker:
        own = {"PATH", "HOME", "PYTHONPATH"}
        environ = {
            **{name: value for name, value in os.environ.items() if name in own or name.startswith("COV")},
            "GENAI_PROBE_LOCAL": "false",
            "GENAI_API_KEYS": KEY,
            "GENAI_RETRY_FIRST_WAIT": "0.01",
            "GENAI_CIRCUIT_FAILURES": "1000000",
            "OPENAI_API_KEY": "sk-upstream-openai-0001",
            "OPENAI_API_URL": f"{self._upstream.url}/v1",
            **self._environ,
        }
        return Worker(
            await asyncio.create_subprocess_exec(
                *SPINE, "serve", "--port", "0", env=environ, stdout=PIPE, stderr=self._log
            )
        )

    async def _serving(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        async for line in worker.process.stdout:
            if b" at http://" in line:
                worker.url = line.split(b" at ")[1].split(b" ")[0].decode()
            if line.startswith(b"    -d"):
                return
        message = "a worker did not start; storm.log tells more"
        raise RuntimeError(message)

    async def _call_on(self, session: aiohttp.ClientSession) -> None:
        while not self._over:
            if not self._workers:
                self._changed.clear()
                await self._changed.wait()
                continue
            (deed,) = self._chance.choices(list(_DEEDS), list(_DEEDS.values()))
            told = Told(f"storm-{len(self.told)}", deed)
            self.told.append(told)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
                async with asyncio.timeout(self._chance.uniform(0, 0.3) if "hang" in deed else PATIENCE):
                    await self._ask(session, told, self._chance.choice(self._workers).url)
            self._changed.set()

    async def _ask(self, session: aiohttp.ClientSession, told: Told, url: str) -> None:
        body = CHAT.body(OPENAI.model, stream=told.deed in {"stream", "cut", "hang in words"}, words=told.name)
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": told.name}
        body["user"] = told.deed
        async with session.post(url + CHAT.path, json=body, headers=headers) as response:
            told.status = response.status
            data = await response.read()
            told.answered = response.status == 200 and (told.deed != "stream" or b"[DONE]" in data)

    def _answer(self, received: Received) -> Scripted:
        match received.json().get("user"):
            case "whole":
                return whole(OPENAI)
            case "stream":
                return streamed(OPENAI, *OPENAI.events)
            case "cut":
                return streamed(OPENAI, *OPENAI.events[:3], cut=True)
            case "hang":
                return Scripted(silent_before=True)
            case "hang in words":
                return streamed(OPENAI, *OPENAI.events[:3], silent_after=True)
            case _:
                return json_reply({"error": {"message": "It failed.", "type": "server_error", "code": None}}, 500)


def _name(received: Received) -> str:
    found = _NAME.search(received.body)
    assert found is not None
    return found.group().decode()


async def check(storm: Storm, database: Database, data: Path) -> Counter[str]:
    """Look whether the ledger tells the truth, all of it and nothing twice; return its calls by status."""
    calls, over = await rows(database, provider_usage), await rows(database, requests)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in calls:
        by_name.setdefault(row["request_id"], []).append(row)
    ended = Counter(row["request_id"] for row in over)
    seen = storm.seen
    for told in storm.told:
        mine = by_name.get(told.name, [])
        cut = [row for row in mine if row["error"] == STOPPED]
        unsent = [row for row in mine if row["error"] in {STOPPED, "connection_failed"} or row["status"] == "cancelled"]
        # What was begun and never reached the upstream was cut off, or its caller left, right then.
        assert 0 <= len(mine) - seen[told.name] <= len(unsent), (told, mine)
        assert list(range(1, len(mine) + 1)) == sorted(row["number"] for row in mine), (told, mine)
        assert ended[told.name] == 1 if mine else ended[told.name] <= 1, told
        assert all(row["status"] == "interrupted" and row["cost_estimated"] for row in cut), (told, mine)
        assert all(row["cost_picodollars"] > 0 for row in cut), (told, mine)
        if told.answered and told.deed == "whole":
            assert ["success"] == [row["status"] for row in mine], (told, mine)
    assert set(by_name) <= {told.name for told in storm.told}
    await _check_sums(database, calls)
    left = [path.name for path in (data / "journal").iterdir()]
    assert [] == left
    return Counter(row["status"] for row in calls)


async def _check_sums(database: Database, calls: Sequence[Mapping[str, Any]]) -> None:
    sums = [
        row
        for row in await rows(database, usage_rollups)
        if (row["span"], row["user_id"], row["tag"]) == (24, EVERYBODY, "")
    ]
    for column in ("cost_picodollars", "input_tokens", "output_tokens"):
        assert sum(row[column] for row in calls) == sum(row[column] for row in sums), column
    assert len(calls) == sum(row["calls"] for row in sums)
    assert sum(row["cost_estimated"] for row in calls) == sum(row["estimated"] for row in sums)
