"""Where requests go, seen from the front door: three providers that differ in price, speed, rank and place.

========= ======================= ======= ====== =====
provider  its default model       price   rank   where
========= ======================= ======= ====== =====
openai    gpt-4o                  dear    best   away
groq      llama-3.1-8b-instant    cheap   middle away
ollama    llama3.2:1b             nothing none   here
========= ======================= ======= ====== =====
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import aiohttp
import pytest
import pytest_asyncio
from typing_extensions import override

from genai_spine.assembly import Spine
from genai_spine.errors import InvalidFieldError
from genai_spine.routing.base import Strategy, View
from genai_spine.routing.options import Option
from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Said
from tests.flow.callers import DOORS

FILE: Final = """
fallback_chain = ["groq", "openai"]

[providers.openai]
weight = 3

[aliases]
best = ["openai/gpt-4o", "groq/llama-3.1-8b-instant"]
shared = { "openai/gpt-4o" = 1, "groq/llama-3.1-8b-instant" = 1 }
"""
MODELS: Final = {"openai": "gpt-4o", "groq": "llama-3.1-8b-instant", "ollama": "llama3.2:1b"}
NAMES: Final = {provider: f"{provider}/{model}" for provider, model in MODELS.items()}
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def answering(request: Received) -> Scripted:
    """An Ollama at its path, services of OpenAI's dialect at theirs."""
    return PROVIDERS["ollama" if request.path == "/api/chat" else "openai"].whole(Said(text="Hello."))


class Three:
    """A gateway before the three."""

    def __init__(self, gateway: RunningGateway, session: aiohttp.ClientSession, upstream: ScriptedUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self._session = session

    @property
    def spine(self) -> Spine:
        """The engine."""
        return self.gateway.spine

    async def post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> tuple[int, Any, str]:
        """The status, the body and the provider that served."""
        async with self._session.post(path, json=body, headers=headers) as response:
            return response.status, await response.json(), response.headers.get("x-spine-provider", "")

    async def ask(self, *, door: str = "openai", headers: dict[str, str] | None = None, **fields: Any) -> str:
        """The provider that serves a request."""
        path, body = DOORS[door]
        status, answer, provider = await self.post(path, {"model": "auto", **body, **fields}, headers)
        assert 200 == status, answer
        return provider

    async def refused(self, **fields: Any) -> tuple[int, str | None, str]:
        """The status of a request that is refused, the field that is to blame and the message; nobody is asked."""
        path, body = DOORS["openai"]
        status, answer, _ = await self.post(path, {"model": "auto", **body, **fields})
        assert [] == self.upstream.received
        return status, answer["error"]["param"], answer["error"]["message"]

    async def order(self, **fields: Any) -> list[str]:
        """The providers of a request's candidates, best first."""
        _, body = DOORS["openai"]
        status, answer, _ = await self.post("/v1/admin/route", {"model": "auto", **body, **fields})
        assert 200 == status, answer
        return [one["provider"] for one in answer["candidates"]]


@pytest_asyncio.fixture
async def three(upstream: ScriptedUpstream, gateways: Gateways, tmp_path: Path) -> AsyncIterator[Three]:
    """The gateway, with the file above."""
    upstream._answer = answering
    file = tmp_path / "spine.toml"
    file.write_text(FILE)
    gateway = await gateways.start(
        GENAI_CONFIG=str(file),
        **environ_of(upstream),
    )
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        yield Three(gateway, session, upstream)


def environ_of(upstream: ScriptedUpstream) -> dict[str, str]:
    """The three, all at one address."""
    return {
        "OPENAI_API_KEY": "sk-openai-0001",
        "OPENAI_API_URL": f"{upstream.url}/openai/v1",
        "GENAI_OPENAI_DEFAULT_MODEL": MODELS["openai"],
        "GROQ_API_KEY": "gsk-groq-0002",
        "GROQ_API_URL": f"{upstream.url}/groq/v1",
        "OLLAMA_API_URL": upstream.url,
        "GENAI_OLLAMA_DEFAULT_MODEL": MODELS["ollama"],
    }


# Strategies and hints.


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, ["ollama", "groq", "openai"]),
        ({"routing": {"strategy": "local_first"}}, ["ollama", "groq", "openai"]),
        ({"provider_hint": "local_preferred"}, ["ollama", "groq", "openai"]),
        ({"provider_hint": "cloud_preferred"}, ["groq", "openai", "ollama"]),
        ({"routing": {"strategy": "cost_optimized"}}, ["ollama", "groq", "openai"]),
        ({"provider_hint": "cheapest"}, ["ollama", "groq", "openai"]),
        ({"routing": {"strategy": "quality"}}, ["openai", "groq", "ollama"]),
        ({"provider_hint": "best_quality"}, ["openai", "groq", "ollama"]),
        ({"routing": {"strategy": "quality"}, "provider_hint": "cheapest"}, ["openai", "groq", "ollama"]),
    ],
)
async def test_the_order_of_a_strategy(three: Three, wish: dict[str, Any], expected: list[str]) -> None:
    """Each puts the candidates in its own order; the first of them serves, and a strategy counts before a hint."""
    assert expected == await three.order(**wish)
    assert expected[0] == await three.ask(**wish)
    assert 1 == len(three.upstream.received)


async def test_the_cheapest_by_the_length_of_the_answer(three: Three) -> None:
    """Among those that are paid for, the price of the whole request counts."""
    paid: dict[str, Any] = {"model": "best", "routing": {"strategy": "cost_optimized"}}
    assert ["groq", "openai"] == await three.order(**paid)
    assert "groq" == await three.ask(**paid)


async def test_the_fastest_by_what_was_measured(three: Three) -> None:
    """Who answered quickest of late comes first."""
    for provider, seconds in (("openai", 0.1), ("groq", 0.5), ("ollama", 3.0)):
        three.spine.guards.measurements.told_first(NAMES[provider], seconds)
    assert ["openai", "groq", "ollama"] == await three.order(routing={"strategy": "speed"})
    assert "openai" == await three.ask(routing={"strategy": "speed"})


async def test_the_least_busy(three: Three) -> None:
    """Who has the fewest calls under way comes first."""
    for provider, calls in (("openai", 1), ("groq", 0), ("ollama", 2)):
        for _ in range(calls):
            three.spine.guards.measurements.begun(NAMES[provider])
    assert ["groq", "openai", "ollama"] == await three.order(routing={"strategy": "least_busy"})
    assert "groq" == await three.ask(routing={"strategy": "least_busy"})


async def test_round_robin(three: Three) -> None:
    """Each request begins one further than the last; to be told the order takes no turn."""
    wish = {"strategy": "round_robin"}
    await three.order(routing=wish)
    asked = [await three.ask(routing=wish) for _ in range(6)]
    assert asked[:3] == asked[3:]
    assert {"openai", "groq", "ollama"} == set(asked)


async def test_weights(three: Three) -> None:
    """Requests are spread by the weights of the providers, three to one to one, to within one request."""
    asked = Counter([await three.ask(routing={"strategy": "weighted"}) for _ in range(20)])
    assert all(abs(asked[name] - share) <= 1 for name, share in {"openai": 12, "groq": 4, "ollama": 4}.items())


async def test_the_configured_strategy(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """The operator's counts where a request names none."""
    upstream._answer = answering
    gateway = await gateways.start(GENAI_ROUTING_STRATEGY="quality", **environ_of(upstream))
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        three = Three(gateway, session, upstream)
        assert "openai" == await three.ask()
        assert "ollama" == await three.ask(provider_hint="cheapest")


class Backwards(Strategy):
    """A strategy of the user's own."""

    name = "backwards"
    hints: ClassVar[tuple[str, ...]] = ("from_behind",)

    @override
    def order(self, options: Sequence[Option], view: View) -> Sequence[Option]:
        return sorted(options, key=lambda option: option.candidate.provider, reverse=True)


async def test_a_strategy_of_ones_own(three: Three) -> None:
    """Registered while the gateway runs, it and its hint are known to the next request."""
    assert 422 == (await three.refused(routing={"strategy": "backwards"}))[0]
    three.spine.register_strategy(Backwards())
    assert ["openai", "ollama", "groq"] == await three.order(routing={"strategy": "backwards"})
    assert "openai" == await three.ask(provider_hint="from_behind")


# What a request may say, and where.


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"routing": {"strategy": "best"}}, "routing.strategy"),
        ({"provider_hint": "best"}, "provider_hint"),
        ({"provider_hint": 1}, "provider_hint"),
        ({"provider": 1}, "provider"),
        ({"routing": "quality"}, "routing"),
        ({"routing": {"strategy": ["quality"]}}, "routing.strategy"),
        ({"routing": {"max_cost": 1}}, "routing"),
        ({"routing": {"max_cost_usd": "cheap"}}, "routing.max_cost_usd"),
        ({"routing": {"max_cost_usd": -1}}, "routing.max_cost_usd"),
        ({"routing": {"preferred_providers": "openai"}}, "routing.preferred_providers"),
        ({"fallback": "openai"}, "fallback"),
        ({"fallback": [1]}, "fallback[0]"),
    ],
)
async def test_what_nobody_understands(three: Three, fields: dict[str, Any], param: str) -> None:
    """An unknown strategy or hint, or a field of the wrong type, is a 422 that names it; nobody is asked."""
    status, blamed, message = await three.refused(**fields)
    assert (422, param) == (status, blamed)
    assert message


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"provider": "nobody"}, 400, "provider"),
        ({"routing": {"preferred_providers": ["nobody"]}}, 400, "routing.preferred_providers"),
        ({"fallback": ["nobody"]}, 404, "fallback"),
    ],
)
async def test_names_that_nobody_has(
    gateways: Gateways, upstream: ScriptedUpstream, fields: dict[str, Any], status: int, param: str
) -> None:
    """They are told with the field in which they stand."""
    gateway = await gateways.start(OPENAI_API_KEY="sk-openai-0001", OPENAI_API_URL=f"{upstream.url}/v1")
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        assert (status, param) == (await Three(gateway, session, upstream).refused(**fields))[:2]


@pytest.mark.parametrize("door", DOORS)
async def test_every_door(three: Three, door: str) -> None:
    """Fields and headers say the same at each door, and none of them goes upstream."""
    own: dict[str, Any] = {
        "provider_hint": "best_quality",
        "routing": {"max_cost_usd": 0.5, "preferred_providers": ["openai"]},
        "fallback": False,
        "task_type": "simple",
    }
    assert "openai" == await three.ask(door=door, **own)
    assert "openai" == await three.ask(door=door, headers={"x-spine-hint": "best_quality"})
    assert "openai" == await three.ask(door=door, headers={"x-spine-strategy": "quality"})
    assert "groq" == await three.ask(door=door, headers={"x-spine-provider": "groq", "x-spine-hint": "best_quality"})
    for received in three.upstream.received:
        assert set() == {*own, "provider"} & set(received.json())
        assert [] == [name for name in received.headers if name.startswith("x-spine")]


async def test_the_body_counts_before_the_headers(three: Three) -> None:
    """Where both say something, the body's word counts."""
    assert "openai" == await three.ask(headers={"x-spine-hint": "cheapest"}, provider_hint="best_quality")


async def test_a_preferred_provider(three: Three) -> None:
    """It comes first where it is a candidate, the others after it in their order; else nothing changes."""
    assert ["openai", "ollama", "groq"] == await three.order(routing={"preferred_providers": ["openai", "azure"]})
    assert "openai" == await three.ask(routing={"preferred_providers": ["openai", "azure"]})
    named: dict[str, Any] = {"model": NAMES["groq"], "fallback": False}
    assert ["groq"] == await three.order(**named, routing={"preferred_providers": ["openai"]})


async def test_the_most_that_it_may_cost(three: Three) -> None:
    """Who is dearer is left out; where nobody is left, a 422 says so and what it would have cost."""
    dear: dict[str, Any] = {"model": "best", "max_tokens": 1000}
    assert ["openai", "groq"] == await three.order(**dear)
    assert ["groq"] == await three.order(**dear, routing={"max_cost_usd": 0.001})
    status, param, message = await three.refused(**dear, fallback=False, routing={"max_cost_usd": 0.000001})
    assert (422, "routing.max_cost_usd") == (status, param)
    assert "over the 0.000001 allowed" in message
    assert "groq" == await three.ask(**dear, routing={"max_cost_usd": 0.001})


# What a request needs.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, ["openai"]),
        ({"messages": [{"role": "user", "content": 'he said "image_url"'}]}, ["ollama", "groq", "openai"]),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ["ollama", "groq", "openai"]),
        ({"stream": True}, ["ollama", "groq", "openai"]),
        ({"max_tokens": 129_000}, ["ollama", "groq"]),
    ],
)
async def test_what_a_model_must_be_able_to_do(three: Three, fields: dict[str, Any], expected: list[str]) -> None:
    """Who is known not to be able to serve a request is no candidate, whatever the strategy."""
    assert expected == await three.order(**fields)
    assert expected[-1:] == (await three.order(**fields, routing={"strategy": "quality"}))[:1]


async def test_a_long_request(three: Three) -> None:
    """What is too long for a model goes to one that reads more; a picture's bytes are not taken for words."""
    words = {"messages": [{"role": "user", "content": "one more word " * 60_000}]}
    status, answer, _ = await three.post("/v1/admin/route", {"model": "best", **words})
    assert 400 == status
    assert "context" in answer["error"]["message"]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 900_000}}
    assert ["openai"] == await three.order(messages=[{"role": "user", "content": [picture]}])


# Who may be asked at all.


async def test_a_provider_that_is_named_never_moves(three: Three) -> None:
    """It alone is the candidate, whatever strategy, hint, preference and chain say; unless the request allows more."""
    wishes: dict[str, Any] = {"provider_hint": "cheapest", "routing": {"preferred_providers": ["ollama"]}}
    assert ["openai"] == await three.order(provider="openai", **wishes)
    assert ["openai"] == await three.order(model=NAMES["openai"], **wishes)
    assert "openai" == await three.ask(provider="openai", **wishes)
    assert ["openai", "groq"] == await three.order(provider="openai", fallback=["groq"])
    assert ["openai", "groq"] == await three.order(provider="openai", fallback=True)


async def test_a_model_that_is_named_moves_along_the_chain(three: Three) -> None:
    """After the places of the model come the members of the operator's chain; a request may forbid it."""
    assert ["openai", "groq"] == await three.order(model="gpt-4o")
    assert ["openai"] == await three.order(model="gpt-4o", fallback=False)
    assert ["openai", "ollama"] == await three.order(model="gpt-4o", fallback=["ollama"])


async def test_an_alias(three: Three) -> None:
    """Its targets are asked in their order, or spread by their weights."""
    assert ["openai", "groq"] == await three.order(model="best")
    assert "openai" == await three.ask(model="best")
    asked = Counter([await three.ask(model="shared") for _ in range(8)])
    assert {3, 4, 5} >= {asked["openai"], asked["groq"]}
    assert {MODELS["openai"], MODELS["groq"]} == {one.json()["model"] for one in three.upstream.received}


async def test_who_is_not_configured(three: Three) -> None:
    """Named, it is the answer; else it is left out, and the explanation says why."""
    status, param, message = await three.refused(provider="anthropic")
    assert (503, None) == (status, param)
    assert "anthropic is not configured" in message
    _, body = DOORS["openai"]
    _, answer, _ = await three.post("/v1/admin/route", {"model": "gpt-4o", "fallback": ["anthropic"], **body})
    assert ["openai"] == [one["provider"] for one in answer["candidates"]]
    assert ("anthropic", "it is not configured") in {(one["provider"], one["why"]) for one in answer["dropped"]}


async def test_the_simulator_is_no_candidate(three: Three) -> None:
    """While a real provider is configured it answers whom it was named by, and nobody else."""
    assert "simulator" not in await three.order(fallback=True)
    assert "simulator" == await three.ask(model="simulator/echo")


async def test_generate_never_moves(three: Three) -> None:
    """Its provider is its only candidate, though there is a chain."""
    status, answer, provider = await three.post("/v1/generate", {"prompt": "Hi", "provider": "openai"})
    assert (200, "openai", "Hello.") == (status, provider, answer["content"])


# The library.


async def test_the_library(three: Three) -> None:
    """The same wishes by arguments, whole and streamed."""
    spine = three.spine
    assert "openai" == (await spine.complete("Hi", strategy="quality")).provider
    assert "openai" == (await spine.complete("Hi", hint="best_quality")).provider
    assert "groq" == (await spine.complete("Hi", preferred=["groq"], fallback="openai")).provider
    assert "groq" == (await spine.complete("Hi", model="best", max_cost_usd="0.001")).provider
    with pytest.raises(InvalidFieldError, match="unknown hint 'best'"):
        await anext(aiter(spine.stream("Hi", hint="best")))
    with pytest.raises(InvalidFieldError, match="unknown strategy 'best'"):
        await spine.embed("Hi", strategy="best")
    with pytest.raises(InvalidFieldError, match="max_cost_usd: 'cheap' is not an amount") as caught:
        await spine.complete("Hi", max_cost_usd="cheap")
    assert "max_cost_usd" == caught.value.param


# The explanation.


async def test_an_explanation(three: Three) -> None:
    """It tells the strategy, who chose it, and of each candidate all that it was judged by; nobody is called."""
    _, body = DOORS["openai"]
    asked = {"model": "best", "max_tokens": 100, "provider_hint": "cheapest", **body}
    status, answer, _ = await three.post("/v1/admin/route", asked)
    assert (200, "cost_optimized", "hint") == (status, answer["strategy"], answer["chosen_by"])
    first = answer["candidates"][0]
    assert ("groq", MODELS["groq"], "the alias 'best'") == (first["provider"], first["model"], first["reason"])
    assert 0 < first["cost_usd"] < answer["candidates"][1]["cost_usd"]
    assert (False, 0, None) == (first["local"], first["in_flight"], first["trouble"])
    assert [] == three.upstream.received
