"""The routes about models, providers and the gateway itself, over plain HTTP and through the official packages."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
import anthropic
import msgspec
import ollama
import openai
import pytest
import pytest_asyncio

from genai_spine import __version__
from genai_spine.server.dataplane import GEMINI_ROUTES, ROUTES
from genai_spine.testing.upstream import Received, Scripted, ScriptedUpstream, json_reply
from genai_spine.types.json import JsonObject
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Said
from tests.flow.callers import Caller
from tests.flow.wire import READERS, Turn

OPENAI_MODELS: Final = json_reply(
    {
        "object": "list",
        "data": [
            {"id": "gpt-4o-mini", "object": "model", "created": 1721172741, "owned_by": "system"},
            {"id": "ft:gpt-4o-mini:acme::1", "object": "model", "created": 1721172742, "owned_by": "acme"},
        ],
    }
)
ANTHROPIC_MODELS: Final = json_reply(
    {
        "data": [
            {
                "type": "model",
                "id": "claude-haiku-4-5",
                "display_name": "Claude Haiku 4.5",
                "created_at": "2025-10-15T00:00:00Z",
            }
        ],
        "has_more": False,
        "first_id": "claude-haiku-4-5",
        "last_id": "claude-haiku-4-5",
    }
)
OLLAMA_MODELS: Final = json_reply(
    {
        "models": [
            {"name": "hf.co/some/model:Q4", "model": "hf.co/some/model:Q4", "modified_at": "2025-10-09T08:53:20Z"},
        ]
    }
)
NAMES: Final = [
    "openai/gpt-4o-mini",
    "openai/ft:gpt-4o-mini:acme::1",
    "anthropic/claude-haiku-4-5",
    "ollama/hf.co/some/model:Q4",
]


def listing(request: Received) -> Scripted:
    """What the three services answer about their models."""
    if request.path.startswith("/api/tags"):
        return OLLAMA_MODELS
    return ANTHROPIC_MODELS if "anthropic-version" in request.headers else OPENAI_MODELS


@pytest_asyncio.fixture
async def caller(gateways: Gateways) -> AsyncIterator[Caller]:
    """A caller of a gateway before services that list their models."""
    async with ScriptedUpstream(listing) as upstream:
        gateway = await gateways.before(upstream)
        async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
            yield Caller(session, gateway, upstream)


# Models.


async def test_models_as_openai_lists_them(caller: Caller) -> None:
    """The models of all providers, each under the name by which it can be asked for."""
    answer = await caller.call("GET", "/v1/models")
    body = answer.json()
    assert "list" == body["object"]
    assert NAMES == [model["id"] for model in body["data"]]
    assert {"id": NAMES[0], "object": "model", "created": 1721172741, "owned_by": "system"} == body["data"][0]
    assert answer.headers["x-request-id"].startswith("req_")
    answer = await caller.call("GET", "/health", headers={"x-request-id": "my-id-1"})
    assert "my-id-1" == answer.headers["x-request-id"]


async def test_models_as_anthropic_lists_them(caller: Caller) -> None:
    """A caller that names a version of Anthropic's API gets Anthropic's form."""
    answer = await caller.call("GET", "/v1/models", headers={"anthropic-version": "2023-06-01"})
    body = answer.json()
    assert (NAMES, False) == ([model["id"] for model in body["data"]], body["has_more"])
    assert (NAMES[0], NAMES[-1]) == (body["first_id"], body["last_id"])
    assert ("model", "Claude Haiku 4.5", "2025-10-15T00:00:00Z") == tuple(
        body["data"][2][name] for name in ("type", "display_name", "created_at")
    )


async def test_models_as_ollama_lists_them(caller: Caller) -> None:
    """``/api/tags`` names each model twice, and gives each another digest."""
    models = (await caller.call("GET", "/api/tags")).json()["models"]
    assert NAMES == [model["name"] for model in models]
    assert NAMES == [model["model"] for model in models]
    assert len(NAMES) == len({model["digest"] for model in models})


async def test_models_through_the_packages(caller: Caller) -> None:
    """The official packages list and show models, those with slashes and colons too."""
    url, key = caller.gateway.url, caller.gateway.key
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as first:
        assert NAMES == [model.id async for model in first.models.list()]
        for name in NAMES:
            assert name == (await first.models.retrieve(name)).id
    async with anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as second:
        assert NAMES == [model.id async for model in second.models.list()]
        assert "Claude Haiku 4.5" == (await second.models.retrieve("anthropic/claude-haiku-4-5")).display_name
    third = ollama.AsyncClient(host=url, headers=caller.gateway.headers)
    assert NAMES == [model.model for model in (await third.list()).models]
    shown = await third.show("anthropic/claude-haiku-4-5")
    assert "completion" in (shown.capabilities or [])
    await third.close()  # type: ignore[no-untyped-call]  # the package leaves this method without types


@pytest.mark.parametrize("name", [*NAMES, "gpt-4o-mini", "claude-haiku-4-5"])
async def test_one_model(caller: Caller, name: str) -> None:
    """A model is shown under the name by which it was asked for, with or without its provider."""
    answer = await caller.call("GET", f"/v1/models/{name}")
    assert (200, name) == (answer.status, answer.json()["id"])
    answer = await caller.call("GET", f"/v1/models/{name}", headers={"anthropic-version": "2023-06-01"})
    assert ("model", name) == (answer.json()["type"], answer.json()["id"])
    answer = await caller.call("POST", "/api/show", json={"model": name})
    shown = answer.json()
    assert (200, {"details", "model_info", "capabilities"}) == (
        answer.status,
        {"details", "model_info", "capabilities"} & set(shown),
    )


async def test_the_context_length_is_shown(caller: Caller) -> None:
    """Ollama's form tells a model's context length under its architecture."""
    info = (await caller.call("POST", "/api/show", json={"model": "anthropic/claude-haiku-4-5"})).json()["model_info"]
    assert 200_000 == info[f"{info['general.architecture']}.context_length"]


async def test_a_model_that_there_is_not(caller: Caller) -> None:
    """A model that no provider has is a 404 in the caller's dialect."""
    answer = await caller.call("GET", "/v1/models/openai/no-such-model")
    assert (404, "model_not_found") == (answer.status, answer.json()["error"]["code"])
    answer = await caller.call("GET", "/v1/models/openai/no-such-model", headers={"anthropic-version": "2023-06-01"})
    assert (404, "not_found_error") == (answer.status, answer.json()["error"]["type"])
    answer = await caller.call("POST", "/api/show", json={"model": "openai/no-such-model"})
    assert (404, str) == (answer.status, type(answer.json()["error"]))


async def test_a_provider_that_fails_hides_no_other(gateways: Gateways) -> None:
    """Of a provider that cannot list, the models known without asking are listed."""

    def failing(request: Received) -> Scripted:
        return json_reply({}, 500) if request.path == "/v1/models" else listing(request)

    async with ScriptedUpstream(failing) as upstream:
        gateway = await gateways.before(upstream)
        async with (
            aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session,
            session.get("/v1/models") as response,
        ):
            names = [model["id"] for model in (await response.json())["data"]]
    default = gateway.spine.registry.get("anthropic").default_model
    assert ["openai/gpt-4o-mini", f"anthropic/{default}", "ollama/hf.co/some/model:Q4"] == names


async def test_version(caller: Caller) -> None:
    """Where Ollama tells its version, the gateway tells its own."""
    assert {"version": __version__} == (await caller.call("GET", "/api/version")).json()


async def test_what_is_known_of_models(caller: Caller) -> None:
    """A provider's own list tells limits, abilities, ranks, prices, and what other ids the same model has."""
    answer = await caller.call("GET", "/providers/anthropic/models")
    (told,) = answer.json()
    assert (200_000, 64_000, "claude-haiku-4-5", True) == tuple(
        told[name] for name in ("max_input_tokens", "max_output_tokens", "same_as", "price_known")
    )
    assert ["streaming", "structured_output", "thinking", "tools", "vision"] == told["abilities"]
    assert isinstance(told["quality_rank"], int)
    assert {"input": 1, "output": 5, "cache_read": 0.1} == {
        name: told["usd_per_million"][name] for name in ("input", "output", "cache_read")
    }
    (local,) = (await caller.call("GET", "/providers/ollama/models")).json()
    assert ("hf.co/some/model:Q4", None, None) == (local["id"], local["abilities"], local["max_input_tokens"])
    assert (0, 0) == (local["usd_per_million"]["input"], local["usd_per_million"]["output"])


async def test_limits_in_each_dialect(caller: Caller) -> None:
    """Anthropic's and Gemini's forms have fields for a model's limits, and tell them."""
    headers = {"anthropic-version": "2023-06-01"}
    shown = (await caller.call("GET", "/v1/models/claude-haiku-4-5", headers=headers)).json()
    assert (200_000, 64_000, "active") == (shown["max_input_tokens"], shown["max_tokens"], shown["lifecycle"])
    shown = (await caller.call("GET", "/v1beta/models/claude-haiku-4-5")).json()
    assert (200_000, 64_000, True) == (shown["inputTokenLimit"], shown["outputTokenLimit"], shown["thinking"])
    shown = (await caller.call("GET", "/v1beta/models/ollama/hf.co/some/model:Q4")).json()
    assert not {"inputTokenLimit", "outputTokenLimit", "thinking"} & set(shown)


# Prices.


async def test_prices_in_use(caller: Caller) -> None:
    """Those of the providers in use, with their source; or of one provider alone, in use or not."""
    told = (await caller.call("GET", "/v1/pricing")).json()
    assert ("USD", {"openai", "anthropic"}) == (told["currency"], {row["provider"] for row in told["prices"]})
    assert told["source"].startswith("genai-prices ")
    (row,) = [row for row in told["prices"] if (row["provider"], row["model"]) == ("openai", "gpt-4o")]
    assert (2.5, 10, True) == (row["usd_per_million"]["input"], row["usd_per_million"]["output"], row["price_known"])
    told = (await caller.call("GET", "/v1/pricing?provider=scaleway")).json()
    assert {("scaleway", False)} == {(row["provider"], row["price_known"]) for row in told["prices"]}
    assert 400 == (await caller.call("GET", "/v1/pricing?provider=nobody")).status


async def test_the_price_of_a_model(caller: Caller) -> None:
    """It is that of whoever would be asked, for a prompt of that length; null where it is not known."""
    told = (await caller.call("GET", "/v1/pricing/gpt-4o")).json()
    assert ("openai", "gpt-4o", 2.5) == (told["provider"], told["model"], told["usd_per_million"]["input"])
    told = (await caller.call("GET", "/v1/pricing/gemini-2.5-pro?provider=google&input_tokens=200001")).json()
    assert 2.5 == told["usd_per_million"]["input"]
    told = (await caller.call("GET", "/v1/pricing/openai/gpt-unheard-of")).json()
    assert (False, None) == (told["price_known"], told["usd_per_million"])


async def test_an_estimate(caller: Caller) -> None:
    """So many tokens come to so much, exactly; a prompt's are guessed; what is not known is told, never 0."""
    body: JsonObject = {"model": "gpt-4o", "input_tokens": 1000, "output_tokens": 500}
    answer = await caller.call("POST", "/v1/estimate-cost", json=body)
    assert {
        "provider": "openai",
        "model": "gpt-4o",
        "input_tokens": 1000,
        "output_tokens": 500,
        "cost_usd": 0.0075,
        "price_known": True,
    } == answer.json()
    told = (await caller.call("POST", "/v1/estimate-cost", json={**body, "prompt": "Say it in a word."})).json()
    assert 1005 <= told["input_tokens"] <= 1007
    told = (await caller.call("POST", "/v1/estimate-cost", json={**body, "model": "openai/gpt-unheard-of"})).json()
    assert (False, True) == (told["price_known"], told["cost_usd"] > 0)
    told = (await caller.call("POST", "/v1/estimate-cost", json={**body, "provider": "ollama"})).json()
    assert (True, 0) == (told["price_known"], told["cost_usd"])
    answer = await caller.call("POST", "/v1/estimate-cost", json={**body, "input_tokens": -1})
    assert (422, "input_tokens") == (answer.status, answer.json()["error"]["param"])
    assert [] == caller.upstream.received


async def test_the_operators_own_facts(gateways: Gateways, tmp_path: Path) -> None:
    """Prices, limits and abilities of the file, and the stand-in's price, are what the routes tell and charge by."""
    file = tmp_path / "spine.toml"
    file.write_text(
        """unknown_price_input = 0.7
        [models."openai/gpt-4o"]
        input = 0.1
        output = 0.123456789
        abilities = ["tools"]
        """
    )
    gateway = await gateways.start(GENAI_CONFIG=str(file), OPENAI_API_KEY="k", GENAI_UNKNOWN_PRICE_OUTPUT="0")
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        async with session.get("/v1/pricing/gpt-4o") as response:
            prices = msgspec.json.decode(await response.read(), strict=False)["usd_per_million"]
        body = {"model": "gpt-4o", "input_tokens": 1, "output_tokens": 1}
        async with session.post("/v1/estimate-cost", json=body) as response:
            text = (await response.read()).decode()
        async with session.post("/v1/estimate-cost", json={**body, "model": "gpt-unheard-of"}) as response:
            unknown = await response.json()
    assert (0.1, 0.123456789) == (prices["input"], prices["output"])
    assert '"cost_usd":0.000000223457' in text
    assert (0.0000007, False) == (unknown["cost_usd"], unknown["price_known"])
    assert frozenset({"tools"}) == gateway.spine.catalog.describe("openai", "gpt-4o").abilities
    assert Decimal("0.1") == gateway.spine.estimate_cost_usd("openai/gpt-4o", 10**6, 0)


# Counting.


async def test_tokens_are_counted_by_anthropic(caller: Caller) -> None:
    """The question goes on as it came, and its answer back; nothing is billed for it."""
    caller.upstream.enqueue(json_reply({"input_tokens": 2095}))
    body: JsonObject = {
        "model": "anthropic/claude-haiku-4-5",
        "messages": [{"role": "user", "content": "Hi"}],
        "brand_new_field": 1,
    }
    answer = await caller.call("POST", "/v1/messages/count_tokens", json=body)
    assert {"input_tokens": 2095} == answer.json()
    assert "x-spine-warnings" not in answer.headers
    (received,) = caller.upstream.received
    assert "/v1/messages/count_tokens" == received.path
    assert {**body, "model": "claude-haiku-4-5"} == received.json()


@pytest.mark.parametrize("provider", ["openai", "ollama"])
async def test_tokens_are_guessed_for_others(caller: Caller, provider: str) -> None:
    """Where the provider cannot count, the answer is a guess that grows with the question, and says what it is."""
    counts = []
    for words in ("Hi", "Hi " * 500):
        body = {"model": f"{provider}/{PROVIDERS[provider].model}", "messages": [{"role": "user", "content": words}]}
        answer = await caller.call("POST", "/v1/messages/count_tokens", json=body)
        counts.append(answer.json()["input_tokens"])
        assert "the number of tokens is a guess" in answer.headers["x-spine-warnings"]
    assert 0 < counts[0] < 50 < counts[1] < 2000
    assert [] == caller.upstream.received


async def test_tokens_are_counted_through_the_package(caller: Caller) -> None:
    """The official package's own call works, for Anthropic and for others."""
    caller.upstream.enqueue(json_reply({"input_tokens": 14}))
    url, key = caller.gateway.url, caller.gateway.key
    async with anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as client:
        counted = await client.messages.count_tokens(
            model="anthropic/claude-haiku-4-5", messages=[{"role": "user", "content": "Hi"}]
        )
        assert 14 == counted.input_tokens
        guessed = await client.messages.count_tokens(
            model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "Hi"}]
        )
        assert guessed.input_tokens > 0


# Ollama's other door.


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_generate_through_the_package(caller: Caller, name: str) -> None:
    """``/api/generate`` reaches every provider as one turn of a conversation, whole and streamed."""
    provider = PROVIDERS[name]
    said = Said(text="Hello world")
    client = ollama.AsyncClient(host=caller.gateway.url, headers=caller.gateway.headers)
    model = f"{name}/{provider.model}"
    caller.upstream.enqueue(provider.whole(said), provider.stream(said))
    answer = await client.generate(model, "Hi", system="Be brief.")
    assert ("Hello world", "stop", 21, 8) == (
        answer.response,
        answer.done_reason,
        answer.prompt_eval_count,
        answer.eval_count,
    )
    parts = [part async for part in await client.generate(model, "Hi", stream=True)]
    assert "Hello world" == "".join(part.response or "" for part in parts)
    assert (True, 8) == (parts[-1].done, parts[-1].eval_count)
    assert [provider.path] * 2 == [received.path for received in caller.upstream.received]
    seen = READERS[name](caller.upstream.received[0].json())
    assert ("Be brief.", (Turn(role="user", text="Hi"),)) == (seen.system, seen.turns)
    await client.close()  # type: ignore[no-untyped-call]  # the package leaves this method without types


# Providers.


async def test_providers(caller: Caller) -> None:
    """A plain list of all providers: those in use, and those that are not with what would configure them."""
    body: list[dict[str, Any]] = (await caller.call("GET", "/providers")).json()
    providers = {provider["name"]: provider for provider in body}
    assert len(body) == len(providers)
    assert {"openai", "anthropic", "ollama", "groq", "together", "scaleway", "deepseek", "minimax", "simulator"} <= set(
        providers
    )
    enabled = {name for name, provider in providers.items() if provider["is_enabled"]}
    assert {"openai", "anthropic", "ollama"} <= enabled
    assert ("gpt-4o-mini", "ready") == tuple(providers["openai"][name] for name in ("default_model", "status"))
    scaleway = providers["scaleway"]
    assert (False, "not_configured", "llama-3.1-8b-instruct") == tuple(
        scaleway[name] for name in ("is_enabled", "status", "default_model")
    )
    assert 7 == len(scaleway["models"])
    assert "sk-" not in json.dumps(body)


async def test_a_provider_s_models(caller: Caller) -> None:
    """Its models as it tells them now, its default marked; a provider that there is not is told with near misses."""
    body = (await caller.call("GET", "/providers/openai/models")).json()
    assert [("gpt-4o-mini", True), ("ft:gpt-4o-mini:acme::1", False)] == [
        (model["id"], model["is_default"]) for model in body
    ]
    body = (await caller.call("GET", "/providers/scaleway/models")).json()
    assert ["llama-3.1-8b-instruct"] == [model["id"] for model in body if model["is_default"]]
    answer = await caller.call("GET", "/providers/opnai/models")
    assert (400, "unknown_provider") == (answer.status, answer.json()["error"]["code"])
    assert "openai" in answer.json()["error"]["message"]


# The gateway itself.


async def test_who_is_here(caller: Caller) -> None:
    """``/`` answers to GET and HEAD, which clients ask to see whether anybody is there; no key is needed."""
    headers = {"authorization": ""}
    answer = await caller.call("GET", "/", headers=headers)
    assert (200, __version__) == (answer.status, answer.json()["version"])
    answer = await caller.call("HEAD", "/", headers=headers)
    assert (200, b"") == (answer.status, answer.body)


async def test_probes(caller: Caller) -> None:
    """``/health`` asks nobody; ``/ready`` tells who can serve. Neither needs a key."""
    headers = {"authorization": ""}
    assert {"status": "ok", "version": __version__} == (await caller.call("GET", "/health", headers=headers)).json()
    answer = await caller.call("GET", "/ready", headers=headers)
    assert 200 == answer.status
    assert {"status": "ready", "providers": ["openai", "anthropic", "ollama"], "troubles": {}} == answer.json()
    assert [] == caller.upstream.received


async def test_metrics(caller: Caller) -> None:
    """Requests, tokens and durations are counted by door and provider; a failure is counted as one."""
    caller.upstream.enqueue(
        PROVIDERS["openai"].whole(Said(text="Hi", input_tokens=5, output_tokens=3)),
        *[PROVIDERS["anthropic"].failure(400, "no")],
    )
    messages = [{"role": "user", "content": "Hi"}]
    for model in ("openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"):
        await caller.call("POST", "/v1/chat/completions", json={"model": model, "messages": messages})
    await caller.gateway.recorder.until(2)
    page = (await caller.call("GET", "/metrics", headers={"authorization": ""})).body.decode()
    for line in (
        'genai_requests_total{door="openai_chat",outcome="success",provider="openai"} 1.0',
        'genai_requests_total{door="openai_chat",outcome="error",provider="anthropic"} 1.0',
        'genai_tokens_total{direction="input",door="openai_chat",provider="openai"} 5.0',
        'genai_tokens_total{direction="output",door="openai_chat",provider="openai"} 3.0',
        'genai_request_duration_seconds_count{door="openai_chat",provider="openai"} 1.0',
    ):
        assert line in page.splitlines()


PATHS: Final = {
    *ROUTES,
    *(f"/v1beta/models/{{model}}:{method}" for method in GEMINI_ROUTES),
    "/v1beta/models",
    "/v1beta/models/{model}",
    "/v1beta/models/{model}:countTokens",
    "/v1/responses/input_tokens",
    "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/input_items",
    "/",
    "/api/show",
    "/api/tags",
    "/api/version",
    "/health",
    "/metrics",
    "/providers",
    "/providers/{name}/health",
    "/providers/{name}/models",
    "/ready",
    "/v1/admin/providers/{name}/reset",
    "/v1/generate",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/models/{model}",
}


async def test_the_description_shows_both_planes(caller: Caller) -> None:
    """``/openapi.json`` and ``/docs`` show every route, hot or not, and which of them need no key."""
    headers = {"authorization": ""}
    schema = (await caller.call("GET", "/openapi.json", headers=headers)).json()
    assert PATHS <= set(schema["paths"])
    opened = {
        path for path, methods in schema["paths"].items() for method in methods.values() if not method["security"]
    }
    assert {"/", "/health", "/ready", "/metrics"} == opened
    page = (await caller.call("GET", "/docs", headers=headers)).body.decode()
    shown = set(re.findall(r"<code>(/[^<]*)</code>", page))
    assert set(schema["paths"]) == shown
    assert "http" not in re.sub(r"<!doctype.*?>", "", page), "the page must fetch nothing from elsewhere"


async def test_every_described_route_that_is_closed_asks_for_a_key(caller: Caller) -> None:
    """Without a key every route but the open ones is a 401; with a wrong one too."""
    schema = (await caller.call("GET", "/openapi.json")).json()
    for path, methods in schema["paths"].items():
        for method, described in methods.items():
            for key in ("", "Bearer wrong"):
                url = path.replace("{model}", "gpt-4o").replace("{name}", "openai").replace("{response_id}", "resp_1")
                answer = await caller.call(method.upper(), url, headers={"authorization": key})
                assert (answer.status == 401) == bool(described["security"]), (method, path)
    assert [] == caller.upstream.received


async def test_routes_that_there_are_not(caller: Caller) -> None:
    """An unknown path is a 404 that names a near one; a known path with another method a 405."""
    answer = await caller.call("POST", "/v1/chat/completion", json={})
    assert 404 == answer.status
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    answer = await caller.call("DELETE", "/v1/models")
    assert (405, "method_not_allowed") == (answer.status, answer.json()["error"]["code"])
    answer = await caller.call("GET", "/v1/chat/completions")
    assert 405 == answer.status
