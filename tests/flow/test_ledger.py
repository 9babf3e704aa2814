"""One row for each call to a provider and one for each request, whatever becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest
from typing_extensions import override
from yarl import URL

from genai_spine.errors import DatabaseDownError
from genai_spine.storage.sql.tables import EVERYBODY, provider_usage, requests, usage_rollups
from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.conftest import Gateways
from tests.databases import KINDS, fresh_address
from tests.faults.tools import DOORS, PROVIDERS, raw_request, streamed, whole
from tests.flow.embedders import answer as vectors
from tests.journals import no_room
from tests.ledgers import rows
from tests.postgres import postgres

OPENAI, ANTHROPIC, _ = PROVIDERS
CHAT: Final = DOORS[0]
FAILURE: Final = json_reply({"error": {"message": "It failed.", "type": "server_error", "code": None}}, 500)
WORDS: Final = OPENAI.events[:3]
FIRST: Final = ("status", "error", "number", "provider_name", "input_tokens", "output_tokens", "cost_estimated")
OVER: Final = ("status", "error", "http_status", "attempts", "provider_name", "input_tokens", "output_tokens")


@pytest.fixture(params=KINDS)
async def gateway(request: pytest.FixtureRequest, gateways: Gateways, upstream: ScriptedUpstream) -> RunningGateway:
    """A gateway that tries a provider twice, then another, and keeps its rows in either database."""
    return await gateways.before(
        upstream,
        GENAI_DATABASE_URL=await fresh_address(request.param),
        GENAI_RETRY_ATTEMPTS="2",
        GENAI_RETRY_FIRST_WAIT="0",
    )


@pytest.fixture
async def session(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    """A caller with the gateway's key."""
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as made:
        yield made


async def told(gateway: RunningGateway, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of the rows of calls, in their order, once all is in the database."""
    await gateway.spine.books.shipper.flush()
    found = await rows(gateway.spine.books.database, provider_usage)
    return [tuple(row[column] for column in columns) for row in sorted(found, key=lambda row: row["created_at"])]


async def over(gateway: RunningGateway, *columns: str) -> list[tuple[Any, ...]]:
    """Columns of the rows of requests, in their order."""
    found = await rows(gateway.spine.books.database, requests)
    return [tuple(row[column] for column in columns) for row in sorted(found, key=lambda row: row["created_at"])]


async def ask(session: aiohttp.ClientSession, body: JsonObject, path: str = CHAT.path, **headers: str) -> int:
    """Send a request, read its answer to the end, and return the status."""
    async with session.post(path, json=body, headers=headers) as response:
        await response.read()
        return response.status


def chat(*, stream: bool = False, **fields: Any) -> JsonObject:
    """A request."""
    return {**CHAT.body(OPENAI.model, stream=stream), **fields}


async def test_an_answer(gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    """A whole answer and a stream leave a row each, priced as the provider told; the sums are those of the rows."""
    upstream.enqueue(whole(OPENAI), streamed(OPENAI, *OPENAI.events))
    assert 200 == await ask(session, chat())
    assert 200 == await ask(session, chat(stream=True))
    success = ("success", "", 1, "openai", 9, 7, False)
    assert [success, success] == await told(gateway, *FIRST)
    assert [("success", "", 200, 1, "openai", 9, 7)] * 2 == await over(gateway, *OVER)
    calls = await told(gateway, "call_id", "request", "cost_picodollars", "stream")
    assert [False, True] == [stream for *_, stream in calls]
    assert len({call for call, *_ in calls}) == 2
    assert {request for _, request, *_ in calls} == {id_ for (id_,) in await over(gateway, "id")}
    # 9 tokens at 0.15 USD a million, 7 at 0.60.
    assert [9 * 150_000 + 7 * 600_000] * 2 == [cost for _, _, cost, _ in calls]
    kinds = [f"{kind}_cost_picodollars" for kind in ("input", "output", "cache_read", "cache_write")]
    assert [(9 * 150_000, 7 * 600_000, 0, 0)] * 2 == await told(gateway, *kinds)
    sums = [
        row
        for row in await rows(gateway.spine.books.database, usage_rollups)
        if (row["span"], row["user_id"], row["tag"]) == (24, EVERYBODY, "")
    ]
    assert [(2, 18, 14)] == [(row["calls"], row["input_tokens"], row["output_tokens"]) for row in sums]


async def test_retries(gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    """Each call has its row, with its number; the request has one, and counts what all of them used."""
    upstream.enqueue(FAILURE, whole(OPENAI))
    assert 200 == await ask(session, chat())
    assert [
        ("error", "server_error", 1, "openai", 0, 0, False),
        ("success", "", 2, "openai", 9, 7, False),
    ] == await told(gateway, *FIRST)
    assert [("success", "", 200, 2, "openai", 9, 7)] == await over(gateway, *OVER)
    assert [(False,), (True,)] == await told(gateway, "retry")


async def test_a_fallback(gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    """The numbers go on from provider to provider."""
    upstream.enqueue(FAILURE, FAILURE, whole(ANTHROPIC))
    assert 200 == await ask(session, chat(fallback=["anthropic"]))
    assert [(1, "openai", False), (2, "openai", False), (3, "anthropic", True)] == await told(
        gateway, "number", "provider_name", "fallback"
    )
    assert [("anthropic", 3, True)] == await over(gateway, "provider_name", "attempts", "fallback")


async def test_failures(gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    """An error has its code, and costs nothing; who is refused before anybody is asked leaves a request and no call."""
    upstream.enqueue(FAILURE, FAILURE)
    assert 502 == await ask(session, chat())
    assert 400 == await ask(session, chat(provider="nobody"))
    assert 422 == await ask(session, {"model": OPENAI.model})
    assert ["error", "error"] == [status for (status,) in await told(gateway, "status")]
    assert [0, 0] == [cost for (cost,) in await told(gateway, "cost_picodollars")]
    found = await over(gateway, "status", "http_status", "attempts")
    assert ("error", 502, 2) == found[0]
    assert [("error", 400, 0), ("error", 422, 0)] == found[1:]


async def test_a_timeout(gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
    """A provider that never answers leaves a row; what it read is charged as a guess."""
    upstream.enqueue(Scripted(silent_before=True))
    assert 504 == await ask(session, chat(), **{"x-spine-timeout": "0.1"})
    ((status, error, estimated, read, cost),) = await told(
        gateway, "status", "error", "cost_estimated", "input_tokens", "cost_picodollars"
    )
    assert ("timeout", "timeout", True) == (status, error, estimated)
    assert read > 0
    assert cost > 0
    assert [("timeout", 504, 1)] == await over(gateway, "status", "http_status", "attempts")


async def test_a_cut_stream(
    gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream
) -> None:
    """An upstream that dies in its words is charged for those that it delivered."""
    upstream.enqueue(streamed(OPENAI, *WORDS, cut=True))
    assert 200 == await ask(session, chat(stream=True))
    ((status, estimated, read, wrote, cost),) = await told(
        gateway, "status", "cost_estimated", "input_tokens", "output_tokens", "cost_picodollars"
    )
    assert ("interrupted", True) == (status, estimated)
    assert read > 0
    assert 0 < wrote < 10
    assert cost > 0
    assert [("interrupted", 200)] == await over(gateway, "status", "http_status")


@pytest.mark.parametrize("begun", [False, True], ids=["before the first token", "after it"])
async def test_a_hang_up(gateway: RunningGateway, upstream: ScriptedUpstream, *, begun: bool) -> None:
    """A caller who leaves is charged for what was read and delivered."""
    upstream.enqueue(streamed(OPENAI, *WORDS, silent_after=True) if begun else Scripted(silent_before=True))
    address = URL(gateway.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(raw_request(CHAT.path, chat(stream=True), gateway.key))
    if begun:
        await reader.readuntil(b"rld")
    else:
        await upstream.until(lambda: len(upstream.received) == 1)
    writer.transport.abort()
    await gateway.recorder.until(1)
    ((status, estimated, read, wrote),) = await told(
        gateway, "status", "cost_estimated", "input_tokens", "output_tokens"
    )
    assert ("cancelled", True) == (status, estimated)
    assert read > 0
    assert (wrote > 0) is begun
    assert [("cancelled", 200 if begun else 499)] == await over(gateway, "status", "http_status")


@pytest.mark.parametrize("kind", KINDS)
async def test_embeddings_in_pieces(kind: str, gateways: Gateways) -> None:
    """Each call that vectors are put together from has a row; what all of them used stands in the first."""
    async with ScriptedUpstream(vectors) as service:
        gateway = await gateways.before(
            service,
            GENAI_DATABASE_URL=await fresh_address(kind),
            GOOGLE_API_KEY="google-key-0003",
            GOOGLE_API_URL=service.url,
        )
        texts = [f"text {number}" for number in range(150)]
        async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
            body: JsonObject = {"model": "google/gemini-embedding-001", "input": list(texts)}
            assert 200 == await ask(session, body, "/v1/embeddings")
        found = await told(gateway, "number", "status", "input_tokens")
        assert len(service.received) == len(found) > 1
        assert list(range(1, len(found) + 1)) == sorted(number for number, *_ in found)
        assert {"success"} == {status for _, status, _ in found}
        assert 1 == sum(tokens > 0 for *_, tokens in found)
        assert [("success", len(found))] == await over(gateway, "status", "attempts")


async def test_odd_numbers_and_names(
    gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream
) -> None:
    """A provider that counts beyond all measure, and a caller who writes no text, leave their rows as well."""
    usage: JsonObject = {"prompt_tokens": 2**70, "completion_tokens": 7, "total_tokens": 2**70, "more": {"huge": 2**80}}
    upstream.enqueue(json_reply({**OPENAI.answer, "usage": usage}), whole(OPENAI))
    await ask(session, chat())
    await ask(session, chat(model="openai/" + "long" * 1000))
    await ask(session, json.loads('{"model": "openai/\\ud800", "messages": []}'))
    assert 2 <= len(await told(gateway, "status"))
    assert 3 == len(await over(gateway, "status"))


async def test_what_is_shipped_is_let_go(gateways: Gateways) -> None:
    """A gateway that stops in good order leaves nothing but its rows."""
    async with ScriptedUpstream(lambda _: whole(OPENAI)) as upstream:
        gateway = await gateways.before(upstream, GENAI_LEDGER_SECONDS="3600")
        async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
            for _ in range(5):
                assert 200 == await ask(session, chat())
        folder = gateway.spine.settings.data_dir / "journal"
        assert 1 == len(list(folder.iterdir()))
        await gateway.spine.close()
        assert [] == list(folder.iterdir())
        assert 5 == len(await rows(gateway.spine.books.database, provider_usage))
        await gateway.spine.start()


async def test_a_database_that_stops(gateways: Gateways) -> None:
    """Requests are answered without it, and told that it is away; once it is back every row is there."""
    async with ScriptedUpstream(lambda _: whole(OPENAI)) as upstream:
        gateway = await gateways.before(upstream, GENAI_DATABASE_URL=await fresh_address("postgresql"))
        async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
            assert 200 == await ask(session, chat())
            await gateway.spine.books.shipper.flush()
            await asyncio.to_thread(postgres().stop)
            try:
                assert [200] * 20 == [await ask(session, chat(stream=False)) for _ in range(20)]
                with pytest.raises(DatabaseDownError):
                    await gateway.spine.books.shipper.flush()
                async with session.get("/ready") as response:
                    assert (200, ["database"]) == (response.status, list((await response.json())["degraded"]))
            finally:
                await asyncio.to_thread(postgres().start)
            await gateway.spine.books.shipper.flush()
            async with session.get("/ready") as response:
                assert "degraded" not in await response.json()
        assert 21 == len(await rows(gateway.spine.books.database, provider_usage))
        assert 21 == len(await rows(gateway.spine.books.database, requests))


class Waiting(ScriptedUpstream):
    """An upstream that takes requests, and answers when it is let."""

    def __init__(self, answer: Callable[[Received], Scripted]) -> None:
        super().__init__(answer)
        self.go = asyncio.Event()

    @override
    async def _respond(self, reply: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await self.go.wait()
        return await super()._respond(reply, reader, writer)


async def test_a_disk_without_room(gateways: Gateways) -> None:
    """A call is refused before it is sent, one under way ends well; with room all goes on, and each has its row."""
    async with Waiting(lambda _: whole(OPENAI)) as upstream:
        gateway = await gateways.before(upstream, GENAI_LEDGER_SECONDS="3600")
        journal = gateway.spine.ledger.journal
        assert journal is not None
        async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
            under_way = asyncio.create_task(ask(session, chat()))
            await upstream.until(lambda: len(upstream.received) == 1)
            with no_room(journal):
                async with session.post(CHAT.path, json=chat()) as response:
                    told_ = (await response.json())["error"]
                    assert (503, "ledger_full") == (response.status, told_["code"])
                assert "make some" in told_["message"]
                assert 1 == len(upstream.received)
                upstream.go.set()
                assert 200 == await under_way
                async with session.get("/ready") as response:
                    assert ["journal"] == list((await response.json())["degraded"])
            assert 200 == await ask(session, chat())
        assert ["success", "success"] == [status for (status,) in await told(gateway, "status")]
        assert ["error", "success", "success"] == sorted(status for (status,) in await over(gateway, "status"))
