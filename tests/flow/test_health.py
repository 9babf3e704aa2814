"""How providers do, as the operator sees it over HTTP: shown, probed, reset, and counted for readiness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest_asyncio
from msgspec import Struct

from genai_spine.gateway.guards import Guard
from genai_spine.redact import Secret
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import running_gateway
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from tests.flow.callers import Caller

KEYS: Final = ("sk-canary-one-0001", "sk-canary-two-0002")
PRINTS: Final = tuple(Secret(key).fingerprint for key in KEYS)
WITHOUT_KEY: Final = {"authorization": ""}


class Operator(Struct):
    """Looks after a gateway before one provider, openai, whose clock stands still until it is told to go on."""

    caller: Caller
    clock: ManualClock

    @property
    def guard(self) -> Guard:
        """What is kept of the provider."""
        spine = self.caller.gateway.spine
        return spine.guards.of(spine.registry.get("openai"))

    async def look(self, query: str = "?probe=false") -> Any:  # Any: the tests say what is in it
        """How the provider does."""
        return (await self.caller.call("GET", f"/providers/openai/health{query}")).json()

    async def reset(self, query: str = "") -> Any:  # Any: as above
        """Take it for healthy again."""
        return (await self.caller.call("POST", f"/v1/admin/providers/openai/reset{query}")).json()

    async def ready(self) -> tuple[int, Any]:
        """What the probe of readiness is told."""
        answer = await self.caller.call("GET", "/ready", headers=WITHOUT_KEY)
        return answer.status, answer.json()

    def fail(self, times: int) -> None:
        """Let calls fail by the provider's fault."""
        for _ in range(times):
            self.guard.circuit.enter().failure("provider")


@pytest_asyncio.fixture
async def operator(upstream: ScriptedUpstream) -> AsyncIterator[Operator]:
    """An operator."""
    clock = ManualClock()
    environ = {"OPENAI_API_KEYS": ",".join(KEYS), "OPENAI_API_URL": f"{upstream.url}/v1"}
    async with (
        running_gateway(environ, clock=clock) as gateway,
        aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session,
    ):
        yield Operator(Caller(session, gateway, upstream), clock)


async def test_a_provider_of_which_nothing_is_held(operator: Operator) -> None:
    """All is well with it, nobody is asked for that, and its keys are told by their fingerprints."""
    answer = await operator.caller.call("GET", "/providers/openai/health?probe=false")
    assert [] == operator.caller.upstream.received
    assert {
        "name": "openai",
        "status": "ready",
        "healthy": None,
        "usable": True,
        "probe": None,
        "trouble": None,
        "in_flight": 0,
        "retries_left": 10,
        "circuit": {"name": "openai", "state": "closed", "failures": 0, "retry_after": 0},
        "keys": [
            {
                "fingerprint": fingerprint,
                "status": "healthy",
                "failures": 0,
                "in_flight": 0,
                "usable_in": 0,
                "running_dry": False,
                "last_fault": None,
            }
            for fingerprint in PRINTS
        ],
        "models": {},
    } == answer.json()
    assert b"canary" not in answer.body


async def test_it_is_asked_whether_it_answers(operator: Operator) -> None:
    """By the list of its models, which costs no token; what it answers is told, and no key of what it quotes."""
    upstream = operator.caller.upstream
    upstream.enqueue(
        json_reply({"object": "list", "data": []}),
        json_reply({"error": {"message": f"no: {KEYS[0]}", "type": "server_error"}}, 500),
    )
    told = await operator.look("")
    assert (True, {"seconds": 0, "error": None}) == (told["healthy"], told["probe"])
    told = await operator.look("")
    assert (False, True, "server_error") == (told["healthy"], told["usable"], told["probe"]["error"]["code"])
    assert "canary" not in str(told)
    assert [("GET", "/v1/models")] * 2 == [(received.method, received.path) for received in upstream.received]


async def test_a_provider_that_is_not_configured(operator: Operator) -> None:
    """It can neither be asked nor used; one that there is not is told like everywhere."""
    told = (await operator.caller.call("GET", "/providers/groq/health")).json()
    assert ("not_configured", False, False, "provider_not_configured") == (
        told["status"],
        told["healthy"],
        told["usable"],
        told["probe"]["error"]["code"],
    )
    for method, path in (("GET", "/providers/opnai/health"), ("POST", "/v1/admin/providers/opnai/reset")):
        answer = await operator.caller.call(method, path)
        assert (400, "unknown_provider") == (answer.status, answer.json()["error"]["code"])


async def test_an_open_circuit_is_told_until_it_is_reset(operator: Operator) -> None:
    """Where the provider failed again and again, with the seconds until it is asked again; so in the list of all."""
    operator.fail(5)
    operator.clock.advance(100)
    told = await operator.look()
    assert (False, {"name": "openai", "state": "open", "failures": 5, "retry_after": 200}) == (
        told["usable"],
        told["circuit"],
    )
    listed = (await operator.caller.call("GET", "/providers")).json()
    assert {"openai": "open", "groq": "closed"}.items() <= {one["name"]: one["circuit"] for one in listed}.items()
    told = await operator.reset()
    assert (True, None, "closed") == (told["usable"], told["trouble"], told["circuit"]["state"])


async def test_keys_are_told_and_reset_one_by_one(operator: Operator) -> None:
    """A refused key stays out and a limited one rests; each is reset by its fingerprint, or all at once."""
    keys = operator.guard.keys
    assert keys is not None
    keys.lease(preferred=PRINTS[0]).failure("refused")
    keys.lease(preferred=PRINTS[1]).failure("limited", 30)
    operator.clock.advance(10)
    told = await operator.look()
    assert [("refused", None, "refused"), ("cooling", 20, "limited")] == [
        (key["status"], key["usable_in"], key["last_fault"]) for key in told["keys"]
    ]
    assert (False, "no key of it can be used") == (told["usable"], told["trouble"])
    told = await operator.reset(f"?key={PRINTS[0]}")
    assert ["healthy", "cooling"] == [key["status"] for key in told["keys"]]
    told = await operator.reset()
    assert ["healthy", "healthy"] == [key["status"] for key in told["keys"]]
    answer = await operator.caller.call("POST", "/v1/admin/providers/openai/reset?key=sk-canary-one-0001")
    assert (404, "key") == (answer.status, answer.json()["error"]["param"])
    assert b"canary" not in answer.body
    assert 404 == (await operator.caller.call("POST", "/v1/admin/providers/simulator/reset?key=x")).status


async def test_what_was_measured_of_models(operator: Operator) -> None:
    """Speeds of late and calls under way, model by model, and circuits of models that are not well; no shown key."""
    measurements = operator.caller.gateway.spine.guards.measurements
    with measurements.measure("openai/gpt-4o-mini") as measured:
        operator.clock.advance(2)
        measured.first()
        operator.clock.advance(3)
        measured.wrote(60)
    operator.guard.model_circuit(f"x/{KEYS[0]}").enter().failure("provider")
    with measurements.measure("openai/gpt-4o-mini"), measurements.measure("groq/another"):
        told = await operator.look()
    assert 1 == told["in_flight"]
    assert {
        "gpt-4o-mini": {
            "circuit": None,
            "pace": {"first_token_seconds": 2, "tokens_per_second": 20, "in_flight": 1},
        },
        "x/[redacted]": {
            "circuit": {"name": "openai/x/[redacted]", "state": "closed", "failures": 1, "retry_after": 0},
            "pace": None,
        },
    } == told["models"]


async def test_readiness_tells_the_truth(operator: Operator) -> None:
    """The gateway is ready while some provider could serve: not while all rest, and again when one may be asked."""
    assert (200, {"status": "ready", "providers": ["openai"], "troubles": {}}) == await operator.ready()
    operator.fail(5)
    assert (
        503,
        {"status": "unavailable", "providers": [], "troubles": {"openai": "its circuit is open for 300 s"}},
    ) == await operator.ready()
    operator.clock.advance(300)
    assert (200, ["openai"]) == ((told := await operator.ready())[0], told[1]["providers"])


async def test_with_nothing_configured_the_simulator_is_ready() -> None:
    """Until it too fails too often."""
    async with (
        running_gateway({}) as gateway,
        aiohttp.ClientSession(gateway.url) as session,
    ):
        async with session.get("/ready") as response:
            assert (200, ["simulator"]) == (response.status, (await response.json())["providers"])
        guard = gateway.spine.guards.of(gateway.spine.registry.get("simulator"))
        for _ in range(5):
            guard.circuit.enter().failure("provider")
        async with session.get("/ready") as response:
            assert (503, "unavailable") == (response.status, (await response.json())["status"])
