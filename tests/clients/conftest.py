"""What the clients are run against: a gateway, and behind it a service that is played."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway, running_gateway
from genai_spine.testing.upstream import ScriptedUpstream
from tests.clients.running import NODE_MODULES, PYTHON, Finished, run
from tests.clients.services import SERVICES, Played
from tests.flow.answers import Said


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    """The clients are there; without them nothing here could be true or false."""
    missing = [path.name for path in (NODE_MODULES, PYTHON) if not path.exists()]
    assert [] == missing, "`make test-clients` installs the clients"


class Stage(Struct):
    """A gateway before a service that is played.

    Attributes:
        model: The service's model, as the clients name it.
    """

    gateway: RunningGateway
    played: Played
    model: str
    home: Path
    work: Path

    async def run(self, *command: str | Path, **env: str) -> Finished:
        """Run a program."""
        return await run(*command, home=self.home, work=self.work, env=env)


class Stages:
    """Sets stages, and clears them when the test is over.

    Attributes:
        home: The programs' home.
        work: The folder in which they are run.
    """

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.home, self.work = folder / "home", folder / "work"
        self.home.mkdir()
        self.work.mkdir()

    async def set(self, service: str, *turns: Said) -> Stage:
        """Return a gateway before ``service``, which says these turns."""
        played = Played(SERVICES[service], turns)
        upstream = await self._stack.enter_async_context(ScriptedUpstream(played))
        gateway = await self._stack.enter_async_context(
            running_gateway(
                {
                    "OPENAI_API_KEY": "sk-upstream-openai-0001",
                    "OPENAI_API_URL": f"{upstream.url}/v1",
                    "ANTHROPIC_API_KEY": "sk-ant-upstream-0002",
                    "ANTHROPIC_API_URL": upstream.url,
                    "GOOGLE_API_KEY": "AIza-upstream-0003",
                    "GENAI_GOOGLE_URL": upstream.url,
                    "GROQ_API_KEY": "gsk-upstream-0004",
                    "GROQ_API_URL": f"{upstream.url}/v1",
                }
            )
        )
        return Stage(gateway, played, SERVICES[service].model, self.home, self.work)


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Stages]:
    """Stages to set."""
    async with AsyncExitStack() as stack:
        yield Stages(stack, tmp_path)
