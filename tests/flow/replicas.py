"""Gateways over one database, and what tests of its configuration ask of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from tests.databases import fresh_address
from tests.flow.callers import Answer
from tests.flow.fleets import Fleet, fleet

__all__ = [
    "ADMIN",
    "NOW",
    "OPENAI",
    "SECRET",
    "Replicas",
    "change",
    "code_of",
    "in_effect",
    "listed",
    "look",
    "refused",
    "replicas_over",
    "write",
]

ADMIN: Final = "/v1/admin"
OPENAI: Final = f"{ADMIN}/providers/openai"
SECRET: Final = "sk-own-canary-7777777"
NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)


class Replicas:
    """Gateways over one database, each before services of its own."""

    def __init__(self, stack: AsyncExitStack, address: str) -> None:
        self._stack = stack
        self._address = address

    async def start(self, *providers: str, **environ: str) -> Fleet:
        """One more."""
        own = {"GENAI_DATABASE_URL": self._address, **environ}
        return await self._stack.enter_async_context(fleet(*(providers or ("openai", "groq")), environ=own))


@asynccontextmanager
async def replicas_over(kind: str) -> AsyncIterator[Replicas]:
    """Yield gateways to start over a database of a kind."""
    async with AsyncExitStack() as stack:
        yield Replicas(stack, await fresh_address(kind))


async def look(gateway: Fleet) -> None:
    """Have a gateway notice what was changed, without waiting till it does by itself."""
    await gateway.gateway.spine.watcher.look()


async def change(gateway: Fleet, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Change something; return the answer's JSON."""
    answer = await gateway.call(method, path, json=body)
    assert answer.status in {200, 204}, answer.body
    return json.loads(answer.body) if answer.body else None


async def refused(gateway: Fleet, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, str]:
    """Try to change something; return the status and the message."""
    answer = await gateway.call(method, path, json=body)
    return answer.status, json.loads(answer.body)["error"]["message"]


async def listed(gateway: Fleet, name: str) -> dict[str, Any]:
    """A provider as the list of all shows it."""
    answer = await gateway.call("GET", "/providers")
    (found,) = [provider for provider in json.loads(answer.body) if provider["name"] == name]
    return dict(found)


async def in_effect(gateway: Fleet, name: str) -> tuple[Any, str]:
    """A value in effect and its origin."""
    answer = await gateway.call("GET", f"{ADMIN}/config")
    (found,) = [value for value in json.loads(answer.body)["values"] if value["name"] == name]
    return found["value"], found["origin"]


async def write(gateway: Fleet, statement: sa.Executable) -> None:
    """Write into the database by hand."""
    async with gateway.gateway.spine.books.database.writing() as connection:
        await connection.execute(statement)


def code_of(answer: Answer) -> tuple[int, str]:
    """The status of a failure, and its code."""
    return answer.status, json.loads(answer.body)["error"]["code"]
