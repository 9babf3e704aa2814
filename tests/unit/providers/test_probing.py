"""Local providers are found where they usually are, and lost again when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from genai_spine.errors import ConnectionFailedError
from genai_spine.providers.builtin import provider_from_row
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.probing import INTERVAL_SECONDS, LocalProbe
from genai_spine.providers.registry import Registry
from genai_spine.providers.rows import Row
from genai_spine.providers.simulator import simulator
from genai_spine.settings import Settings
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.transport.http import HttpTransport
from tests import virtual_time
from tests.context import context

TAGS = json_reply({"models": [{"name": "first:latest"}, {"name": "second:latest"}]})


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


def local(upstream: ScriptedUpstream, transport: Transport, *, default_model: str = "", url: str = "") -> HttpProvider:
    """A local provider whose usual address is the upstream's."""
    row = Row(dialect="ollama", url=upstream.url, local=True, default_model=default_model)
    return provider_from_row("box", row, context({"BOX_API_URL": url}, transport=transport))


def registry(*providers: HttpProvider) -> Registry:
    """A registry of them."""
    found = Registry()
    for provider in providers:
        found.add(provider)
    return found


async def test_found_and_lost_again(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It is ready from when it answers, and not configured with its old hint from when it no longer does."""
    provider = local(upstream, transport)
    hint = provider.hint
    known = registry(provider)
    probe = LocalProbe(known)
    assert provider.status == "not_configured"
    version = known.version
    upstream.enqueue(TAGS)
    assert [provider] == list(await probe.look())
    assert ("ready", f"answers at {upstream.url}") == (provider.status, provider.hint)
    assert provider.default_model == "first:latest"
    assert known.version > version
    version = known.version
    upstream.enqueue(TAGS)
    await probe.look()
    assert version == known.version
    upstream.enqueue(json_reply({"error": "gone"}, status=500))
    assert [] == list(await probe.look())
    assert ("not_configured", hint) == (provider.status, provider.hint)
    assert known.version > version
    assert {"/api/tags"} == {received.path for received in upstream.received}


async def test_it_follows_another_registry(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """One that stays is still looked for, and lost again; one that is new is told to be asked; one that went is not."""
    stays, goes, comes = (local(upstream, transport) for _ in range(3))
    goes.name, comes.name = "goes", "comes"
    probe = LocalProbe(registry(stays, goes))
    upstream.enqueue(TAGS, TAGS)
    assert {stays, goes} == {*await probe.look()}
    assert not probe.follow(registry(stays))
    known = registry(stays, comes)
    assert probe.follow(known)
    upstream.enqueue(TAGS, TAGS)
    assert {stays, comes} == {*await probe.look()}
    version = known.version
    upstream.enqueue(json_reply({}, status=500), json_reply({}, status=500))
    assert [] == list(await probe.look())
    assert ["not_configured", "ready", "not_configured"] == [one.status for one in (stays, goes, comes)]
    assert known.version > version


async def test_a_default_model_stays(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A default that is set is not replaced by the first that is listed."""
    provider = local(upstream, transport, default_model="mine")
    upstream.enqueue(TAGS)
    await LocalProbe(registry(provider)).look()
    assert provider.default_model == "mine"


async def test_nothing_listed(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """One that answers and has no model is there, without a default."""
    provider = local(upstream, transport)
    upstream.enqueue(json_reply({"models": []}))
    await LocalProbe(registry(provider)).look()
    assert ("ready", "") == (provider.status, provider.default_model)


async def test_an_address_that_was_set_is_believed(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """It stays ready though it does not answer, but when it does, it is asked for a default."""
    provider = local(upstream, transport, url=upstream.url)
    probe = LocalProbe(registry(provider))
    upstream.enqueue(json_reply({"error": "starting"}, status=503), TAGS)
    await probe.look()
    assert ("ready", "", "found by BOX_API_URL") == (provider.status, provider.default_model, provider.hint)
    await probe.look()
    assert ("ready", "first:latest") == (provider.status, provider.default_model)


async def test_whoever_else_listens_there(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """What answers with something else than a list of models is not the provider."""
    provider = local(upstream, transport)
    upstream.enqueue(Scripted(chunks=(b"<html>hello</html>",)))
    assert [] == list(await LocalProbe(registry(provider)).look())
    assert provider.status == "not_configured"


async def test_only_local_ones_are_looked_for() -> None:
    """Hosted providers, and the simulator, are asked nothing."""

    def refuse(received: Received) -> Scripted:
        pytest.fail(f"asked for {received.path}")

    async with ScriptedUpstream(refuse) as upstream:
        built = context({"OPENAI_API_URL": upstream.url})
        hosted = provider_from_row("openai", Row(dialect="openai_chat", url=upstream.url), built)
        values = Settings({}).values
        offline = simulator(
            failures=values.simulator_failures,
            chunk_seconds=0,
            catalog=built.catalog,
            prices=built.prices,
            clock=built.clock,
        )
        assert [] == list(await LocalProbe(registry(hosted, offline)).look())


class _Nobody(Transport):
    """A network in which nobody answers; it counts who asked."""

    def __init__(self) -> None:
        self.asked = 0

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        self.asked += 1
        message = "nobody is there"
        raise ConnectionFailedError(message)

    @override
    async def close(self) -> None:
        pass


def test_it_looks_again_and_again() -> None:
    """Until cancelled it asks once in each interval."""
    nobody = _Nobody()
    row = Row(dialect="ollama", url="http://box.example", local=True)
    probe = LocalProbe(registry(provider_from_row("box", row, context(transport=nobody))))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3.5 * INTERVAL_SECONDS):
                await probe.run()

    virtual_time.run(main)
    assert nobody.asked == 3
