"""What every test may use: an upstream to script, gateways in front of it, and an environment of its own."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import structlog
import trustme

from genai_spine.telemetry.logging import LineWriter, configure_logging
from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import ScriptedUpstream
from tests.databases import fresh_address
from tests.redis_server import RedisServer


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: many tests wait for processes that they started."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(autouse=True, scope="session")
def _own_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a fixture of many tests writes is among the user's files, and one authority stands for the many.

    No test speaks to a service that the world's authorities vouch for, and each client that reads them takes 20 ms.
    """
    home = tmp_path_factory.mktemp("home")
    trustme.CA().cert_pem.write_to_path(home / "authority.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("SSL_CERT_FILE", str(home / "authority.pem"))
        yield


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting of the machine reaches a test, and nothing a test writes reaches the machine."""
    for name in list(os.environ):
        own = name.startswith("GENAI_") and not name.startswith(("GENAI_TEST_", "GENAI_REQUIRE_"))
        if own or name.endswith(("_API_KEY", "_API_KEYS", "_API_URL", "_BASE_URL")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GENAI_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("GENAI_PROBE_LOCAL", "false")
    # A gateway may run on this machine: commands must not find it.
    monkeypatch.setenv("GENAI_API_URL", "http://127.0.0.1:9")


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    """A provider that answers as it is told."""
    async with ScriptedUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server, empty or not: whoever uses it has it forget first, and leaves it running."""
    with RedisServer() as server:
        yield server


ONE_CALL = {"GENAI_RETRY_ATTEMPTS": "1", "GENAI_CIRCUIT_FAILURES": "1000000"}
"""Settings of a gateway that makes one call and remembers no failure, so that a script says all that happens."""


class Gateways:
    """Starts gateways, and stops them when the test is over."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(self, **environ: str) -> RunningGateway:
        """Return a running gateway with just this environment; it tries nothing again unless that says so."""
        own = {**ONE_CALL, "GENAI_DATA_DIR": os.environ["GENAI_DATA_DIR"]}
        if "GENAI_DATABASE_URL" not in environ:
            own["GENAI_DATABASE_URL"] = await fresh_address("sqlite")
        return await self._stack.enter_async_context(running_gateway({**own, **environ}))

    async def before(self, upstream: ScriptedUpstream, **environ: str) -> RunningGateway:
        """Return a running gateway whose providers openai, anthropic and ollama are all ``upstream``."""
        return await self.start(
            OPENAI_API_KEY="sk-upstream-openai-0001",
            OPENAI_API_URL=f"{upstream.url}/v1",
            ANTHROPIC_API_KEY="sk-ant-upstream-0002",
            ANTHROPIC_API_URL=upstream.url,
            OLLAMA_API_URL=upstream.url,
            **environ,
        )


@pytest.fixture
async def gateways() -> AsyncIterator[Gateways]:
    """Gateways to start."""
    async with AsyncExitStack() as stack:
        yield Gateways(stack)


@pytest.fixture
def log() -> Iterator[tuple[io.StringIO, LineWriter]]:
    """The log as a server writes it, with everything in it; undone at the end."""
    root, access = logging.getLogger(), logging.getLogger("uvicorn.access")
    before = (root.handlers, root.level, access.disabled)
    stream = io.StringIO()
    writer = configure_logging("debug", stream)
    yield stream, writer
    writer.close()
    root.handlers, level, access.disabled = before
    root.setLevel(level)
    structlog.reset_defaults()
