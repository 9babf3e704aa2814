"""T8: canaries go through a gateway that keeps account, and are looked for in all that it keeps, tells and shows."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from msgspec import Struct

from genai_spine.settings import Settings
from genai_spine.storage.sql.tables import METADATA, provider_usage, requests
from genai_spine.telemetry.logging import LineWriter, LogObserver
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.conftest import ONE_CALL
from tests.databases import KINDS, fresh_address
from tests.faults.tools import DOORS, PROVIDERS, ask, streamed, whole
from tests.ledgers import rows

PROVIDER_KEY: Final = "sk-canary-0f8b3d6e7a9c4b5d8e1f"
GATEWAY_KEY: Final = "gateway~canary~7f3a9c"
WRONG_KEY: Final = "wrong~canary~11d2"
PASSWORD: Final = "url~canary~5b0c"
PROMPT: Final = "canary prompt: the launch code is 4711"
CANARIES: Final = (PROVIDER_KEY, GATEWAY_KEY, WRONG_KEY, PASSWORD, "launch code")


class Place(Struct):
    """A gateway before one upstream, and where it keeps what it keeps.

    Attributes:
        seen: What came out of it, by where.
    """

    gateway: RunningGateway
    upstream: ScriptedUpstream
    session: aiohttp.ClientSession
    folder: Path
    log: io.StringIO
    writer: LineWriter
    seen: dict[str, str]

    async def rage(self) -> None:
        """Have all happen that leaves a trace: answers, streams, cuts, errors that say the key again, strangers."""
        for door in DOORS:
            for provider in PROVIDERS:
                told: JsonObject = {
                    "message": f"no such key: {PROVIDER_KEY}",
                    "type": PROVIDER_KEY,
                    "code": PROVIDER_KEY,
                }
                for stream in (False, True):
                    body = door.body(provider.model, stream=stream, words=PROMPT)
                    for script in (
                        streamed(provider, *provider.events) if stream else whole(provider),
                        streamed(provider, *provider.events[:2], cut=True),
                        json_reply({"error": told}, 401),
                        json_reply({"error": told}, 500),
                    ):
                        self.upstream.enqueue(script)
                        await ask(self.session, self.gateway, door.path, body)
                        # The key that was refused.
                        self.gateway.spine.guards.of(self.gateway.spine.registry.get(provider.name)).reset()
            answer = await ask(
                self.session, self.gateway, door.path, PROMPT.encode(), {"authorization": f"Bearer {WRONG_KEY}"}
            )
            self.seen[f"the refusal at {door.path}"] = f"{answer.headers} {answer.body.decode()}"

    async def look(self) -> None:
        """Look at all that can be read from outside, at the files, and at every row."""
        for path in ("/metrics", "/ready", "/v1/usage", "/v1/usage/requests", "/v1/audit", "/providers"):
            async with self.session.get(self.gateway.url + path, headers=self.gateway.headers) as response:
                assert 200 == response.status, path
                self.seen[path] = await response.text()
        self._files("before shipping")
        books = self.gateway.spine.books
        await books.shipper.flush()
        for table in METADATA.sorted_tables:
            self.seen[f"the table {table.name}"] = str(await rows(books.database, table))
        self._files("after shipping")
        settings = self.gateway.spine.settings
        self.seen["settings"] = f"{settings!r} {settings.values!r} {settings.database_url!r} {self.gateway.spine!r}"
        self.seen["the database"] = f"{books.database.url} {books!r}"
        self.writer.close()
        self.seen["the log"] = self.log.getvalue()

    def _files(self, when: str) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file():
                self.seen[f"{path.relative_to(self.folder)} {when}"] = path.read_bytes().decode("latin-1")


@pytest.fixture(params=KINDS)
async def place(
    request: pytest.FixtureRequest, log: tuple[io.StringIO, LineWriter], tmp_path: Path
) -> AsyncIterator[Place]:
    """A gateway that ships nothing by itself."""
    address = await fresh_address(request.param)
    if request.param == "sqlite":
        # In the folder, so that its bytes are looked through too.
        address = f"sqlite:///{tmp_path}/spine.db"
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        environ = {
            **ONE_CALL,
            "GENAI_DATA_DIR": str(tmp_path),
            "GENAI_DATABASE_URL": address,
            "GENAI_LEDGER_SECONDS": "3600",
            "GENAI_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:1/0",
            **{f"{name}_API_KEY": PROVIDER_KEY for name in ("OPENAI", "ANTHROPIC", "OLLAMA")},
            "OPENAI_API_URL": f"{upstream.url}/v1",
            "ANTHROPIC_API_URL": upstream.url,
            "OLLAMA_API_URL": upstream.url,
        }
        observers = [LogObserver(log[1], "debug")]
        gateway = await stack.enter_async_context(running_gateway(environ, key=GATEWAY_KEY, observers=observers))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Place(gateway, upstream, session, tmp_path, *log, {})


async def test_nothing_that_is_kept_holds_a_secret(place: Place) -> None:
    """Journals, tables, database files, metrics, answers, logs and reprs hold no key, no password and no prompt."""
    await place.rage()
    await place.look()
    books = place.gateway.spine.books
    assert len(place.upstream.received) <= len(await rows(books.database, provider_usage))
    assert len(await rows(books.database, requests)) > len(DOORS) * len(PROVIDERS)
    assert any(name.startswith("journal/") for name in place.seen)
    assert PROVIDER_KEY in str(place.upstream.received[0].headers)
    for name, text in place.seen.items():
        for canary in CANARIES:
            where = text.find(canary)
            assert where < 0, f"{name}: {text[max(0, where - 200) : where + 100]}"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("GENAI_DATABASE_URL", f"postgresql://me:{PASSWORD}@127.0.0.1:1/db"),
        ("GENAI_DATABASE_URL", f"postgresql://127.0.0.1:1/db?password={PASSWORD}"),
        ("GENAI_REDIS_URL", f"redis://me:{PASSWORD}@127.0.0.1:1/0"),
        ("GENAI_REDIS_URL", f"unix:///nowhere?password={PASSWORD}"),
    ],
)
async def test_addresses_do_not_show_their_passwords(
    name: str, address: str, log: tuple[io.StringIO, LineWriter]
) -> None:
    """Neither the settings nor anything that is made of them, nor the log of a gateway that cannot reach them."""
    async with running_gateway({name: address}) as gateway, aiohttp.ClientSession() as session:
        books = gateway.spine.books
        shown = [repr(gateway.spine.settings), repr(gateway.spine.settings.values), str(books.database.url)]
        shown += [repr(books.database.url), repr(books.state), repr(books)]
        for path in ("/ready", "/v1/usage", "/v1/admin/config"):
            async with session.get(gateway.url + path, headers=gateway.headers) as response:
                shown.append(await response.text())
    log[1].close()
    for text in (*shown, log[0].getvalue()):
        assert PASSWORD not in text


def test_a_password_is_masked_where_settings_are_listed() -> None:
    """What ``spine config show`` prints of an address is no more than that there is one."""
    settings = Settings({"GENAI_DATABASE_URL": f"postgresql://me:{PASSWORD}@127.0.0.1/db"})
    assert PASSWORD not in str(settings.database_url)
    assert PASSWORD in settings.database_url.reveal()
