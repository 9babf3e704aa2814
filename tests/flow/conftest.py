"""What several files share: strict services, and the matrix' one gateway before one service for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
import pytest_asyncio

from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.upstream import ScriptedUpstream
from tests.conftest import ONE_CALL, Gateways
from tests.databases import KINDS, fresh_address
from tests.flow.clients import CLIENTS, connect
from tests.flow.people import Town, founded
from tests.flow.published import faults_of
from tests.flow.strict import StrictServices
from tests.flow.wiring import Wired, environ_of


@pytest.fixture
def services() -> StrictServices:
    """Services that want their seals back."""
    return StrictServices()


@pytest.fixture
async def strict(services: StrictServices) -> AsyncIterator[ScriptedUpstream]:
    """Those services, as an upstream."""
    async with ScriptedUpstream(services) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to gateways."""
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def town(gateways: Gateways, session: aiohttp.ClientSession) -> Town:
    """A gateway with members, and nothing but the simulator."""
    return await founded(session, await gateways.start())


@pytest.fixture(params=KINDS)
async def city(request: pytest.FixtureRequest, gateways: Gateways, session: aiohttp.ClientSession) -> Town:
    """The same, on each kind of database."""
    return await founded(session, await gateways.start(GENAI_DATABASE_URL=await fresh_address(request.param)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def _wired(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(ScriptedUpstream())
        gateway = await stack.enter_async_context(
            running_gateway({**ONE_CALL, **environ_of(upstream, tmp_path_factory.mktemp("matrix"))})
        )
        clients = {name: connect(name, gateway.url, gateway.key) for name in CLIENTS}
        for client in clients.values():
            stack.push_async_callback(client.aclose)
        yield Wired(upstream, gateway, clients)


@pytest.fixture
def wired(_wired: Wired) -> Iterator[Wired]:
    """The gateway, with nothing left over from another test; all that its doors answer is of the published form."""
    _wired.upstream.received.clear()
    _wired.upstream._queue.clear()  # what a test that failed did not fetch
    _wired.gateway.recorder.records.clear()
    yield _wired
    for client in _wired.clients.values():
        heard, client.heard[:] = client.heard[:], []
        assert [] == [fault for one in heard for fault in faults_of(one)]
