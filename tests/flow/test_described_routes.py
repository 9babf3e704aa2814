"""What the description says may be sent is answered: nothing that is made of it meets a fault of the gateway's."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case
from schemathesis.core.result import Ok

from tests.conftest import Gateways
from tests.databases import fresh_address
from tests.flow.people import Town

EXAMPLES: Final = 3
"""Of each operation; the same each time."""

_SETTINGS: Final = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def tried(description: dict[str, Any], url: str, headers: dict[str, str]) -> tuple[set[tuple[str, str]], list[str]]:
    """Send what the description allows; return the operations that were tried, and the faults that were met."""
    operations: set[tuple[str, str]] = set()
    faults: list[str] = []
    for found in schemathesis.openapi.from_dict(description).get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @_SETTINGS
        @given(operation.as_strategy())
        def send(case: Case[Any]) -> None:
            answer = case.call(base_url=url, headers=headers)
            if answer.status_code >= 500:
                faults.append(f"{case.method} {case.formatted_path} {case.query} {case.body!r}: {answer.text}")

        send()
        operations.add((operation.method.upper(), operation.path))
    return operations, faults


async def test_nothing_that_is_described_is_a_fault(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """Every operation answers whatever is of its form, for an administrator before the simulator: no status is 5xx."""
    # The stricter of the databases.
    gateway = await gateways.start(
        GENAI_GENERATE_DEFAULT_PROVIDER="simulator", GENAI_DATABASE_URL=await fresh_address("postgresql")
    )
    async with session.get(f"{gateway.url}/openapi.json") as answer:
        description = await answer.json()
    # The calls block, so they are made beside the loop in which the gateway answers.
    operations, faults = await asyncio.to_thread(tried, description, gateway.url, gateway.headers)
    assert [] == faults
    assert {
        (method.upper(), path) for path, methods in description["paths"].items() for method in methods
    } == operations


async def test_a_sign_that_no_database_takes(city: Town) -> None:
    """A NUL in an address is a 400, wherever it stands."""
    for path in (
        "/v1/usage/requests?tag=%00",
        "/v1/usage/requests/%00",
        "/v1/audit?event=a%00b",
        "/providers/%00/health",
    ):
        answer = await city.call(city.gateway.key, "GET", path)
        assert (400, "invalid_request") == (answer.status, answer.json()["error"]["code"]), path
