"""Two gateways before one provider, over one Redis: what one finds out of its keys and circuits both go by."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest
from msgspec import Struct

from genai_spine.redact import Secret
from genai_spine.telemetry.logging import LineWriter
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import Scripted
from tests.flow.fleets import Fleet, failure, fleet
from tests.redis_server import RedisServer

ONE, TWO = "sk-canary-one-0001", "sk-canary-two-0002"
PRINTS: Final = {key: Secret(key).fingerprint for key in (ONE, TWO)}
RESET: Final = "/v1/admin/providers/openai/reset"
BUSY: Final = failure(503, "overloaded")


class Pair(Struct):
    """The gateways; their clock is one, Redis has its own."""

    stack: AsyncExitStack
    redis: RedisServer
    clock: ManualClock
    gateways: list[Fleet]

    async def start(self, **environ: str) -> Fleet:
        """One more, before the same provider."""
        own = {
            "OPENAI_API_KEYS": f"{ONE},{TWO}",
            "GENAI_REDIS_URL": self.redis.url,
            "GENAI_RETRY_ATTEMPTS": "1",
            "GENAI_CIRCUIT_FAILURES": "2",
            **environ,
        }
        if self.gateways:
            own["OPENAI_API_URL"] = f"{self.gateways[0].services['openai'].url}/v1"
        started = await self.stack.enter_async_context(fleet("openai", clock=self.clock, environ=own))
        self.gateways.append(started)
        return started

    @property
    def called(self) -> int:
        """How often the provider was."""
        return self.gateways[0].called.get("openai", 0)

    def script(self, *replies: Scripted) -> None:
        """Let the provider give these answers next."""
        self.gateways[0].script("openai", *replies)


async def health(gateway: Fleet) -> Any:  # Any: the tests say what is in it
    """How the provider does, as a gateway tells it."""
    return (await gateway.call("GET", "/providers/openai/health?probe=false")).json()


async def keys(gateway: Fleet) -> list[str]:
    """How its keys do."""
    return [key["status"] for key in (await health(gateway))["keys"]]


async def circuit(gateway: Fleet) -> str:
    """How its circuit stands."""
    state: str = (await health(gateway))["circuit"]["state"]
    return state


@asynccontextmanager
async def over(redis: RedisServer) -> AsyncIterator[Pair]:
    """Two gateways over a server."""
    async with AsyncExitStack() as stack:
        made = Pair(stack, redis, ManualClock(), [])
        for _ in range(2):
            await made.start()
        yield made


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[Pair]:
    """The two of them, over one that has forgotten all."""
    redis_server.forget()
    async with over(redis_server) as made:
        yield made


async def test_a_refused_key_is_used_by_nobody_until_it_is_reset(pair: Pair) -> None:
    """Nor by a gateway that starts later; a reset at any reaches all. Redis is told fingerprints, and no key."""
    one, two = pair.gateways
    pair.script(failure(401, "invalid_api_key"))
    assert 502 == (await one.ask()).status
    while await keys(two) != ["refused", "healthy"]:
        pass
    three = await pair.start()
    assert [200, 200] == [(await gateway.ask()).status for gateway in (two, three)]
    assert [ONE, TWO, TWO] == one.keys
    board = pair.redis.board()
    assert [PRINTS[ONE].encode()] == [title.rpartition(b"/")[2] for title in board]
    assert b"canary" not in repr(board).encode()
    await two.call("POST", RESET)
    for gateway in pair.gateways:
        while await keys(gateway) != ["healthy", "healthy"]:
            pass
    assert 200 == (await three.ask()).status
    assert ONE == one.keys[-1]


async def test_a_limited_key_rests_everywhere_for_as_long(pair: Pair) -> None:
    """For the time that the provider asked for, less what has passed of it."""
    one, two = pair.gateways
    pair.script(failure(429, "rate_limit_exceeded", {"retry-after": "70"}))
    assert 429 == (await one.ask()).status
    while await keys(two) != ["cooling", "healthy"]:
        pass
    (resting, _) = (await health(two))["keys"]
    assert (PRINTS[ONE], "limited") == (resting["fingerprint"], resting["last_fault"])
    assert 60 < resting["usable_in"] <= 70
    pair.clock.advance(70)
    assert ["healthy", "healthy"] == await keys(two)


async def test_one_probe_of_all_gateways(pair: Pair) -> None:
    """T7: a circuit that one opens is open at both; of a hundred callers one asks; how that ends holds for both."""
    one, two = pair.gateways
    pair.script(failure(500), failure(500))
    assert [502] * 2 == [(await one.ask()).status for _ in range(2)]
    while await circuit(two) != "open":
        pass
    assert 503 == (await two.ask()).status
    assert 'genai_circuit_state{provider="openai"} 2.0' in (await two.call("GET", "/metrics")).body.decode()
    pair.clock.advance(300)
    pair.script(failure(500))
    answers = await asyncio.gather(*[gateway.ask() for _ in range(50) for gateway in (one, two)])
    assert (1, 99) == tuple([answer.status for answer in answers].count(status) for status in (502, 503))
    assert 3 == pair.called
    for gateway in (one, two):
        while await circuit(gateway) != "open":
            pass
    pair.clock.advance(300)
    assert 200 == (await two.ask()).status
    while await circuit(one) != "closed":
        pass
    assert 200 == (await one.ask()).status
    changes = [change for gateway in (one, two) for change in gateway.gateway.recorder.circuits]
    # That somebody asks is over so soon that the other may never see it.
    assert {"open", "closed"} == {change.after for change in changes if change.elsewhere} - {"half_open"}


async def test_a_model_is_left_alone_by_all(pair: Pair) -> None:
    """An overloaded one, by its name; but nobody is told of a name that looks like a key."""
    one, two = pair.gateways
    secret = "sk-canary-model-0003"
    pair.script(*[BUSY] * 4)
    for model in ("gpt-4o-mini", secret):
        assert [503] * 2 == [(await one.ask(f"openai/{model}")).status for _ in range(2)]
    while "gpt-4o-mini" not in (await health(two))["models"]:
        pass
    assert [503, 200] == [(await two.ask(f"openai/{model}")).status for model in ("gpt-4o-mini", secret)]
    assert b"canary" not in repr(pair.redis.board()).encode()


async def test_without_redis_each_goes_by_what_it_knows(log: tuple[io.StringIO, LineWriter]) -> None:
    """It asks by itself and says so once; when Redis is back both know the same, and so does who starts then."""
    stream, writer = log
    with RedisServer() as redis:
        async with over(redis) as pair:
            one, two = pair.gateways
            redis.stop()
            pair.script(failure(401, "invalid_api_key"), failure(500), failure(500))
            assert [502] * 3 == [(await one.ask()).status for _ in range(3)]
            assert (["healthy"] * 2, "closed") == (await keys(two), await circuit(two))
            redis.start()
            while (await keys(two), await circuit(two)) != (["refused", "healthy"], "open"):
                pair.clock.advance(0.1)
            redis.stop()
            pair.clock.advance(300)
            assert [200, 200] == [(await gateway.ask()).status for gateway in (one, two)]
            redis.start()
            three = await pair.start()
            while (await keys(three), await circuit(three)) != (["refused", "healthy"], "closed"):
                pair.clock.advance(0.1)
            assert [ONE, *[TWO] * 4] == one.keys
    writer.close()
    told = [line for line in stream.getvalue().splitlines() if "Redis cannot be reached" in line]
    assert 3 <= len(told) <= 4, "one for each gateway that needs it, and each time"
