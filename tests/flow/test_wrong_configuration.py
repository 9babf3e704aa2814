"""What is wrong in the configuration is refused, or left out of effect, and told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest

from genai_spine.storage.sql.tables import provider_configs, settings
from tests.databases import KINDS
from tests.flow.fleets import Fleet, told
from tests.flow.replicas import ADMIN, NOW, SECRET, change, in_effect, look, refused, replicas_over, write


@pytest.fixture(params=KINDS)
async def one(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """A gateway over a database of each kind."""
    async with replicas_over(request.param) as replicas:
        yield await replicas.start()


WRONG: Final = {
    "an unknown setting": (settings.insert().values(name="default_provider", value="nobody", updated_at=NOW), "nobody"),
    "no setting": (settings.insert().values(name="defualt", value=1, updated_at=NOW), "defualt: no such setting"),
    "a setting of the start": (settings.insert().values(name="port", value=1, updated_at=NOW), "GENAI_API_PORT"),
    "no table": (
        provider_configs.insert().values(provider_name="openai", config_json=[1], created_at=NOW, updated_at=NOW),
        "providers.openai.config: it must be a JSON object",
    ),
    "an unknown field": (
        provider_configs.insert().values(
            provider_name="openai", config_json={"colour": "red"}, created_at=NOW, updated_at=NOW
        ),
        "providers.openai.colour: no such field",
    ),
    "half a provider": (
        provider_configs.insert().values(provider_name="mine", created_at=NOW, updated_at=NOW),
        "providers.mine: a provider of your own needs dialect and url",
    ),
    "a secret in the open": (
        provider_configs.insert().values(
            provider_name="openai", config_json={"api_key": SECRET}, created_at=NOW, updated_at=NOW
        ),
        "providers.openai.config.api_key: it is kept encrypted",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_wrong_leaves_in_effect_what_was(
    one: Fleet, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and told, and nothing else of the database changes until it is put right."""
    await change(one, "PUT", f"{ADMIN}/settings/fallback_chain", {"value": ["groq"]})
    statement, reason = WRONG[wrong]
    await write(one, statement)
    await write(one, settings.update().where(settings.c.name == "fallback_chain").values(value=["openai"]))
    await look(one)
    assert (["groq"], "the database") == await in_effect(one, "fallback_chain")
    problem = json.loads((await one.call("GET", f"{ADMIN}/config")).body)["problem"]
    assert reason in problem
    assert SECRET not in problem
    logged = [
        record.message for record in caplog.records if "the configuration of the database is wrong" in record.message
    ]
    assert 1 == len(logged)
    assert (200, "openai", "1", "false") == told(await one.ask("openai/gpt-4o-mini"))
    await write(one, settings.delete().where(settings.c.name != "fallback_chain"))
    await write(one, provider_configs.delete())
    await look(one)
    assert (["openai"], "the database") == await in_effect(one, "fallback_chain")
    assert json.loads((await one.call("GET", f"{ADMIN}/config")).body)["problem"] is None


REFUSED: Final[Mapping[str, tuple[str, str, Mapping[str, Any], str]]] = {
    "an unknown provider": ("PUT", "settings/default_provider", {"value": "nobody"}, "unknown provider 'nobody'"),
    "an unknown strategy": ("PUT", "settings/routing_strategy", {"value": "best"}, "routing_strategy:"),
    "an alias of nothing": ("PUT", "settings/aliases", {"value": {"fast": "nobody/m"}}, "aliases.fast"),
    "a wrong number": ("PUT", "settings/retry_attempts", {"value": 0}, "retry_attempts: Input should be greater"),
    "a setting of the start": ("PUT", "settings/port", {"value": 1}, "port cannot change while the gateway runs"),
    "no setting": ("PUT", "settings/retry_attempt", {"value": 1}, "did you mean retry_attempts?"),
    "a table of all": ("PUT", "settings/providers", {"value": {}}, "PUT /v1/admin/providers/NAME"),
    "no address": ("PUT", "providers/openai", {"api_endpoint": "ftp://x"}, "is not the address of a provider"),
    "an unknown field": ("PUT", "providers/openai", {"colour": "red"}, "colour"),
    "an unknown field inside": ("PUT", "providers/openai", {"config": {"colour": 1}}, "providers.openai.colour"),
    "an unknown dialect": (
        "PUT",
        "providers/mine",
        {"api_endpoint": "http://x", "config": {"dialect": "latin"}},
        "unknown dialect 'latin'",
    ),
    "an unknown quirk": ("PUT", "providers/openai", {"config": {"quirks": {"shy": True}}}, "quirks"),
    "a field in two places": ("PUT", "providers/openai", {"config": {"url": "http://x"}}, "has a field of its own"),
    "a key in the open": ("PUT", "providers/openai", {"config": {"api_keys": [SECRET]}}, "is kept encrypted"),
    "a key without encryption": ("PUT", "providers/openai", {"api_keys": [SECRET]}, "spine config new-key"),
    "a header without encryption": ("PUT", "providers/openai", {"headers": {"x": SECRET}}, "spine config new-key"),
    "no name": ("PUT", "providers/Ünknown", {}, "is no name for a provider"),
    "half a price": ("PUT", "providers/openai/models/m", {"facts": {"input": 1}}, "a price needs both"),
    "an unknown ability": ("PUT", "providers/openai/models/m", {"capabilities": ["wit"]}, "abilities"),
}


@pytest.mark.parametrize("wrong", REFUSED)
async def test_what_cannot_be_in_effect_is_refused(one: Fleet, wrong: str) -> None:
    """A 422 says what is wrong, without secrets, and nothing is changed."""
    method, path, body, reason = REFUSED[wrong]
    before = await one.call("GET", f"{ADMIN}/config")
    status, message = await refused(one, method, f"{ADMIN}/{path}", body)
    assert (422, True) == (status, reason in message), message
    assert SECRET not in message
    assert json.loads(before.body) == json.loads((await one.call("GET", f"{ADMIN}/config")).body)
    assert [] == json.loads((await one.call("GET", f"{ADMIN}/providers")).body)
    assert {} == json.loads((await one.call("GET", f"{ADMIN}/settings")).body)["settings"]
