"""The configuration in the database: a change at one gateway is in effect at another without a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import sqlalchemy as sa
from typing_extensions import override

from genai_spine.configuration.vault import new_key
from genai_spine.errors import ProviderFailedError
from genai_spine.providers.base import NO_OPTIONS, CallOptions
from genai_spine.storage.sql.tables import provider_configs
from genai_spine.storage.sql.versions import INTERVAL_SECONDS
from genai_spine.testing.upstream import Received, ScriptedUpstream, json_reply
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from tests.databases import KINDS
from tests.flow.fleets import Fleet, answer_of, failure, told
from tests.flow.replicas import (
    ADMIN,
    NOW,
    OPENAI,
    SECRET,
    Replicas,
    change,
    code_of,
    in_effect,
    listed,
    look,
    refused,
    replicas_over,
    write,
)
from tests.providers import OwnProvider

MINE: Final = f"{ADMIN}/providers/mine"


def received(gateway: Fleet) -> list[Received]:
    """What openai was asked."""
    return gateway.services["openai"].received


class Slow(OwnProvider):
    """Fails, once it may."""

    def __init__(self) -> None:
        super().__init__("slow", "slow-1")
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        self.reached.set()
        await self.go_on.wait()
        message = "as it was told to"
        raise ProviderFailedError(message)


@pytest.fixture(params=KINDS)
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[Replicas]:
    """Gateways to start over one database of each kind."""
    async with replicas_over(request.param) as found:
        yield found


@pytest.fixture
async def one(replicas: Replicas) -> Fleet:
    """A gateway."""
    return await replicas.start()


@pytest.fixture
async def two(replicas: Replicas) -> Fleet:
    """Another."""
    return await replicas.start()


@pytest.fixture
async def mine() -> AsyncIterator[ScriptedUpstream]:
    """A service of the user's own."""
    async with ScriptedUpstream(lambda _: answer_of("openai")) as service:
        yield service


async def test_a_provider_is_switched_off_everywhere(one: Fleet, two: Fleet) -> None:
    """It is not chosen any more, nor answers by its name; switched on again, it does."""
    await change(one, "PATCH", OPENAI, {"is_enabled": False})
    await look(two)
    for gateway in (one, two):
        assert (503, "switched_off") == code_of(await gateway.ask("openai/gpt-4o-mini"))
        assert (200, "groq", "1", "false") == told(await gateway.ask("auto"))
        shown = await listed(gateway, "openai")
        assert (False, "disabled") == (shown["is_enabled"], shown["status"])
        assert {"groq": 1} == gateway.called
    await change(two, "PATCH", OPENAI, {"is_enabled": True})
    await look(one)
    for gateway in (one, two):
        assert (200, "openai", "1", "false") == told(await gateway.ask("openai/gpt-4o-mini"))


async def test_a_change_is_noticed_by_itself(one: Fleet, two: Fleet) -> None:
    """Without anybody's doing; a gateway looks twice a second, which a busy machine may stretch."""
    await change(one, "PUT", f"{ADMIN}/settings/default_provider", {"value": "groq"})
    assert INTERVAL_SECONDS <= 0.5
    async with asyncio.timeout(20):
        while await in_effect(two, "default_provider") != ("groq", "the database"):
            pass


async def test_a_default_model_is_another_everywhere(one: Fleet, two: Fleet) -> None:
    """A request without a model goes to the new one; deleted, it is the former again."""
    before = (await listed(one, "openai"))["default_model"]
    await change(one, "PUT", OPENAI, {"default_model": "gpt-4.1-mini"})
    await look(two)
    for gateway in (one, two):
        answer = await gateway.ask("auto", headers={"x-spine-provider": "openai"})
        assert (200, "gpt-4.1-mini") == (answer.status, answer.headers["x-spine-model"])
    await change(one, "DELETE", OPENAI)
    await look(two)
    for gateway in (one, two):
        assert before == (await listed(gateway, "openai"))["default_model"]


async def test_what_is_written_by_hand_takes_effect(one: Fleet) -> None:
    """Whoever writes into the tables needs no route."""
    await write(
        one,
        provider_configs.insert().values(
            provider_name="openai", is_enabled=False, config_json=None, created_at=NOW, updated_at=NOW
        ),
    )
    await look(one)
    assert "disabled" == (await listed(one, "openai"))["status"]
    await write(one, provider_configs.update().values(is_enabled=True, default_model="gpt-4.1-mini"))
    await look(one)
    assert ["ready", "gpt-4.1-mini"] == [(await listed(one, "openai"))[name] for name in ("status", "default_model")]
    await write(one, provider_configs.delete())
    await look(one)
    assert "gpt-4o-mini" == (await listed(one, "openai"))["default_model"]


async def test_a_provider_of_ones_own_comes_with_its_keys(
    replicas: Replicas, mine: ScriptedUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """A new one works like one of the file on every gateway; its keys are shown nowhere, nor kept in the open."""
    key = new_key().reveal()
    one, two = [await replicas.start(GENAI_ENCRYPTION_KEY=key) for _ in range(2)]
    said = {
        "api_endpoint": f"{mine.url}/v1",
        "default_model": "mine-1",
        "api_keys": [SECRET],
        "headers": {"x-team": "canary-team"},
        "config": {"dialect": "openai_chat", "models": ["mine-1", "mine-2"], "weight": 2},
    }
    shown = await change(one, "PUT", MINE, said)
    await look(two)
    for gateway in (one, two):
        assert (200, "mine", "1", "false") == told(await gateway.ask("mine/mine-2"))
        assert {"mine-1", "mine-2"} == {*(await listed(gateway, "mine"))["models"]}
    assert {(f"Bearer {SECRET}", "canary-team")} == {
        (request.headers["authorization"], request.headers["x-team"]) for request in mine.received
    }
    assert (1, {"x-team": "[redacted]"}) == (len(shown["api_keys"]), shown["headers"])
    pages = [(await two.call("GET", path)).body.decode() for path in (MINE, f"{ADMIN}/providers", f"{ADMIN}/config")]
    async with two.gateway.spine.books.database.reading() as connection:
        kept = repr([tuple(row) for row in await connection.execute(sa.select(provider_configs))])
    for text in (*pages, kept, caplog.text, repr(two.gateway.spine.settings.provider("mine"))):
        assert SECRET not in text
        assert "canary-team" not in text
    await change(two, "DELETE", MINE)
    await look(one)
    for gateway in (one, two):
        assert 404 == (await gateway.ask("mine/mine-2")).status


async def test_keys_stay_where_they_are_not_named(replicas: Replicas, mine: ScriptedUpstream) -> None:
    """Neither a change of something else nor what is said anew takes them; only an empty list does."""
    one = await replicas.start(GENAI_ENCRYPTION_KEY=new_key().reveal())
    said = {"api_endpoint": f"{mine.url}/v1", "config": {"dialect": "openai_chat", "models": ["m"]}}
    (fingerprint,) = (await change(one, "PUT", MINE, {**said, "api_keys": [SECRET]}))["api_keys"]
    assert [fingerprint] == (await change(one, "PATCH", MINE, {"max_tokens": 5}))["api_keys"]
    assert [fingerprint] == (await change(one, "PUT", MINE, said))["api_keys"]
    assert (200, "mine", "1", "false") == told(await one.ask("mine/m"))
    assert [] == (await change(one, "PATCH", MINE, {"api_keys": []}))["api_keys"]
    assert (503, "provider_not_configured") == code_of(await one.ask("mine/m"))


async def test_another_encryption_key_leaves_a_provider_without_keys(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, nothing stops, and the environment's keys do not step in; the older key beside the new one does."""
    old, new = new_key().reveal(), new_key().reveal()
    one = await replicas.start(GENAI_ENCRYPTION_KEY=old)
    await change(one, "PATCH", OPENAI, {"api_keys": [SECRET]})
    two = await replicas.start(GENAI_ENCRYPTION_KEY=new)
    three = await replicas.start()
    assert 2 == caplog.text.count("cannot be decrypted")
    for gateway in (two, three):
        assert (503, "provider_not_configured") == code_of(await gateway.ask("openai/gpt-4o-mini"))
        assert (200, "groq", "1", "false") == told(await gateway.ask("auto"))
        assert json.loads((await gateway.call("GET", OPENAI)).body)["secrets_readable"] is False
    four = await replicas.start(GENAI_ENCRYPTION_KEY=f"{new},{old}")
    assert (200, "openai", "1", "false") == told(await four.ask("openai/gpt-4o-mini"))
    assert [SECRET] == four.keys
    await change(two, "PATCH", OPENAI, {"api_keys": None})
    assert (200, "openai", "1", "false") == told(await two.ask("openai/gpt-4o-mini"))


async def test_a_model_is_switched_off_and_its_facts_are_told(one: Fleet, two: Fleet) -> None:
    """What is said of a model counts on every gateway: its prices, its name, and that it is not to be asked."""
    path = f"{OPENAI}/models/gpt-4o"
    facts = {"display_name": "Four O", "max_context_length": 1234, "facts": {"input": "1.5", "output": 2}}
    assert facts.items() <= (await change(one, "PUT", path, facts)).items()
    await look(two)
    price = json.loads((await two.call("GET", "/v1/pricing/openai/gpt-4o")).body)
    assert (1.5, 2) == (price["usd_per_million"]["input"], price["usd_per_million"]["output"])
    assert "Four O" == two.gateway.spine.catalog.describe("openai", "gpt-4o").display_name
    await change(two, "PATCH", path, {"is_enabled": False})
    await look(one)
    for gateway in (one, two):
        assert (503, "switched_off") == code_of(await gateway.ask("openai/gpt-4o"))
        assert 404 == (await gateway.call("GET", "/v1/models/openai/gpt-4o")).status
        assert (200, "openai", "1", "false") == told(await gateway.ask("openai/gpt-4o-mini"))
    await change(one, "DELETE", path)
    await look(two)
    for gateway in (one, two):
        assert (200, "openai", "1", "false") == told(await gateway.ask("openai/gpt-4o"))


async def test_a_model_that_nobody_lists(one: Fleet, two: Fleet) -> None:
    """What the database says of it is enough: it is listed, and found by its id alone, wherever it is said to be."""
    for gateway in (one, two):
        assert 404 == (await gateway.ask("of-my-own")).status
    await change(one, "PUT", f"{ADMIN}/providers/groq/models/of-my-own", {"max_context_length": 9})
    await look(two)
    for gateway in (one, two):
        assert (200, "groq", "1", "false") == told(await gateway.ask("of-my-own"))
        assert "of-my-own" in (await listed(gateway, "groq"))["models"]
        gateway.script("groq", json_reply({"object": "list", "data": [{"id": "theirs", "object": "model"}]}))
        page = json.loads((await gateway.call("GET", "/providers/groq/models")).body)
        assert ["theirs", "of-my-own"] == [model["id"] for model in page]
        assert 9 == page[-1]["max_input_tokens"]
    await change(one, "PATCH", f"{ADMIN}/providers/groq/models/of-my-own", {"is_enabled": False})
    await look(two)
    for gateway in (one, two):
        assert [404, 503] == [(await gateway.ask(name)).status for name in ("of-my-own", "groq/of-my-own")]
        assert "of-my-own" not in (await listed(gateway, "groq"))["models"]


async def test_two_who_change_one_thing_do_not_overwrite_each_other(one: Fleet, two: Fleet) -> None:
    """Whoever says which version he saw is refused if it is another by now, and nothing is changed."""
    setting = f"{ADMIN}/settings/fallback_chain"
    seen = (await change(one, "PUT", setting, {"value": ["groq"], "version": 0}))["version"]
    now = (await change(two, "PUT", setting, {"value": ["openai"], "version": seen}))["version"]
    for method, path, body in (
        ("PUT", setting, {"value": [], "version": seen}),
        ("DELETE", f"{setting}?version={seen}", None),
        ("PUT", setting, {"value": [], "version": 0}),
    ):
        status, message = await refused(one, method, path, body)
        assert (409, True) == (status, f"at version {now}" in message)
    await look(one)
    assert (["openai"], "the database") == await in_effect(one, "fallback_chain")
    await change(one, "DELETE", f"{setting}?version={now}")
    assert 404 == (await refused(one, "DELETE", setting))[0]
    both = [gateway.call("PATCH", OPENAI, json={"max_tokens": 5, "version": 0}) for gateway in (one, two)]
    assert [200, 409] == sorted([answer.status for answer in await asyncio.gather(*both)])


async def test_what_is_known_of_keys_survives_a_change_of_something_else(one: Fleet) -> None:
    """An open circuit stays open, a refused key refused, a pace measured; another address is another service."""
    one.script("openai", failure(401, "invalid_api_key"))
    assert 502 == (await one.ask("openai/gpt-4o-mini")).status
    assert (200, "groq", "1", "false") == told(await one.ask("groq/llama-3.1-8b-instant"))

    async def health(name: str) -> Any:
        return json.loads((await one.call("GET", f"/providers/{name}/health?probe=false")).body)

    before = await health("groq")
    await change(one, "PUT", f"{ADMIN}/settings/fallback_chain", {"value": ["groq"]})
    await change(one, "PATCH", OPENAI, {"default_model": "gpt-4.1-mini"})
    assert before == await health("groq")
    assert "refused" == (await health("openai"))["keys"][0]["status"]
    await change(one, "PATCH", OPENAI, {"api_endpoint": f"{one.services['groq'].url}/v1"})
    assert "healthy" == (await health("openai"))["keys"][0]["status"]


async def test_policies_change_while_it_runs(one: Fleet) -> None:
    """A circuit that exists obeys the new number of failures; retries the new number of calls."""
    one.script("openai", *[failure(500)] * 6)
    await change(one, "PUT", f"{ADMIN}/settings/retry_attempts", {"value": 1})
    await one.ask("openai/gpt-4o-mini")
    assert {"openai": 1} == one.called
    await change(one, "PUT", f"{ADMIN}/settings/circuit_failures", {"value": 2})
    await one.ask("openai/gpt-4o-mini")
    assert (503, "circuit_open") == code_of(await one.ask("openai/gpt-4o-mini"))
    assert {"openai": 2} == one.called


async def test_defaults_of_a_provider_are_those_of_requests_that_the_project_makes(one: Fleet) -> None:
    """Its limit and temperature where none is said, and its default model; a door adds nothing."""
    await change(one, "PATCH", OPENAI, {"max_tokens": 77, "temperature_default": 0.2})
    for said in ({}, {"max_tokens": 5, "temperature": 0}):
        await change(one, "POST", "/v1/generate", {"prompt": "Hello!", "provider": "openai", **said})
    await one.ask("openai/gpt-4o-mini")
    names = ("max_tokens", "max_completion_tokens", "temperature")
    asked = [{name: request.json()[name] for name in names if name in request.json()} for request in received(one)]
    assert [77, 5, None] == [next((body[name] for name in names[:2] if name in body), None) for body in asked]
    assert [0.2, 0, None] == [body.get("temperature") for body in asked]
    await change(one, "PUT", f"{ADMIN}/settings/generate_default_provider", {"value": "groq"})
    assert "groq" == (await change(one, "POST", "/v1/generate", {"prompt": "Hello!"}))["provider"]


async def test_an_alias_made_while_it_runs(one: Fleet, two: Fleet) -> None:
    """It is known everywhere, whatever its form."""
    await change(one, "PUT", f"{ADMIN}/settings/aliases", {"value": {"fast": {"groq/x": 1}, "slow": "openai/gpt-4o"}})
    await look(two)
    for gateway in (one, two):
        assert (200, "groq") == told(await gateway.ask("fast"))[:2]
        assert (200, "openai") == told(await gateway.ask("slow"))[:2]


async def test_a_request_under_way_keeps_what_it_began_with(replicas: Replicas, mine: ScriptedUpstream) -> None:
    """A provider deleted while it answers, and the next one that the request moves on to, are asked all the same."""
    one = await replicas.start()
    said = {"api_endpoint": f"{mine.url}/v1", "config": {"dialect": "openai_chat", "models": ["m"], "auth": "none"}}
    await change(one, "PUT", MINE, said)
    slow = Slow()
    one.gateway.spine.register_provider(slow)
    request = asyncio.create_task(one.ask("slow/slow-1", fallback=["mine/m"]))
    await slow.reached.wait()
    await change(one, "DELETE", MINE)
    assert 404 == (await one.ask("mine/m")).status
    slow.go_on.set()
    assert (200, "mine") == told(await request)[:2]
    # What a program registered stays, whatever the database says.
    assert "ready" == (await listed(one, "slow"))["status"]


async def test_no_request_is_lost_while_it_changes(one: Fleet) -> None:
    """Requests all the time, while defaults, keys' policies and providers change again and again: each is answered."""
    over = asyncio.Event()
    statuses: list[int] = []

    async def caller() -> None:
        while not over.is_set():
            statuses.extend([(await one.ask(model)).status for model in ("auto", "openai/gpt-4o-mini", "groq/x")])

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(caller())
        for number in range(4):
            await change(one, "PATCH", OPENAI, {"default_model": f"gpt-{number}", "config": {"weight": number}})
            await change(one, "PUT", f"{ADMIN}/settings/circuit_failures", {"value": 5 + number})
            await change(one, "PUT", MINE, {"api_endpoint": "http://127.0.0.1:1", "config": {"dialect": "openai_chat"}})
            await change(one, "DELETE", MINE)
        over.set()
    assert {200} == {*statuses}
    assert 20 < len(statuses)
