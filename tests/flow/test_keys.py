"""API keys over HTTP: made, shown, changed, rotated and revoked; what a member may give; what replicas notice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

import aiohttp
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from genai_spine.cli.main import app
from genai_spine.storage.sql import versions
from genai_spine.storage.sql.tables import api_keys
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.gateway import running_gateway
from tests.conftest import Gateways
from tests.databases import fresh_address
from tests.flow.people import Town, founded
from tests.postgres import postgres
from tests.redis_server import RedisServer

ASK: Final[dict[str, Any]] = {"model": "simulator/echo", "messages": [{"role": "user", "content": "Hi"}]}
CHAT: Final = "/v1/chat/completions"


async def asked(town: Town, key: str) -> int:
    """The status of a request that presents a key."""
    return (await town.call(key, "POST", CHAT, json=ASK)).status


async def twin(town: Town, gateways: Gateways) -> Town:
    """Another gateway on the same database."""
    url = town.gateway.spine.settings.database_url.reveal()
    return Town(town.session, await gateways.start(GENAI_DATABASE_URL=url), town.ada, town.bob)


async def test_a_key_is_shown_once(city: Town) -> None:
    """Its secret is in the answer that made it, and nowhere else: not in lists, not in the database, not in the log."""
    answer = await city.call(city.gateway.key, "POST", "/v1/keys", json={"name": "laptop", "user_id": city.ada.id})
    assert (201, "no-store") == (answer.status, answer.headers["cache-control"])
    made = answer.json()
    assert 200 == await asked(city, made["key"])
    secret = made["key"].removeprefix(made["prefix"])
    for path in ("/v1/keys", f"/v1/keys/{made['id']}"):
        assert secret not in (await city.call(city.gateway.key, "GET", path)).body.decode()
    async with city.gateway.spine.books.database.reading() as connection:
        rows = (await connection.execute(sa.select(api_keys))).all()
    assert secret not in str(rows)
    assert secret not in str(city.gateway.recorder.events)
    shown = (await city.call(city.gateway.key, "GET", f"/v1/keys/{made['id']}")).json()
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert ("active", ["inference", "read"], city.ada.id) == (shown["status"], shown["scopes"], shown["user_id"])


async def test_a_key_is_changed(city: Town) -> None:
    """What is told is changed, and nothing else; null takes a bound away."""
    record, _ = await city.key(city.ada, tags=("team-a",), providers=("simulator",))
    path = f"/v1/keys/{record.id}"
    changes = {"name": "renamed", "requests_per_minute": 60, "models": ["simulator/*"]}
    changed = (await city.call(city.gateway.key, "PATCH", path, json=changes)).json()
    assert ("renamed", 60, ["simulator/*"]) == (changed["name"], changed["requests_per_minute"], changed["models"])
    assert (["team-a"], ["simulator"]) == (changed["tags"], changed["providers"])
    free = {"providers": None, "models": None, "requests_per_minute": None}
    changed = (await city.call(city.gateway.key, "PATCH", path, json=free)).json()
    assert (None, None, None) == (changed["providers"], changed["models"], changed["requests_per_minute"])
    assert "renamed" == changed["name"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["everything"]}, "scopes.0"),
        ({"name": "x", "user_id": 999999}, "user_id"),
        ({"name": "x", "user_id": 2**70}, "user_id"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"name": "x", "requests_per_minute": -1}, "requests_per_minute"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
    ids=str,
)
async def test_a_field_that_is_wrong(town: Town, body: dict[str, Any], param: str) -> None:
    """It is named, and nothing is made."""
    answer = await town.call(town.gateway.key, "POST", "/v1/keys", json=body)
    assert (422, param) == (answer.status, answer.json()["error"]["param"])
    assert [] == (await town.call(town.gateway.key, "GET", "/v1/keys")).json()["data"]


async def test_a_provider_that_there_is_not(town: Town) -> None:
    """A list that would allow nothing, by a slip of the pen, is refused."""
    body = {"name": "x", "providers": ["simulater"]}
    answer = await town.call(town.gateway.key, "POST", "/v1/keys", json=body)
    assert (400, "unknown_provider") == (answer.status, answer.json()["error"]["code"])


async def test_a_member_cannot_have_the_scopes_of_an_administrator(town: Town) -> None:
    """A key that would promise what its user may not is refused."""
    body = {"name": "x", "user_id": town.ada.id, "scopes": ["admin"]}
    answer = await town.call(town.gateway.key, "POST", "/v1/keys", json=body)
    assert (422, "scopes") == (answer.status, answer.json()["error"]["param"])


# What a member may give.


@pytest.mark.parametrize(
    ("own", "wanted", "status"),
    [
        ({}, {}, 201),
        ({}, {"scopes": ["inference"]}, 201),
        ({}, {"scopes": ["admin"]}, 403),
        ({"scopes": ("keys",)}, {"scopes": ["inference"]}, 403),
        ({"providers": ("simulator",)}, {}, 403),
        ({"providers": ("simulator",)}, {"providers": ["simulator", "openai"]}, 403),
        ({"providers": ("simulator",)}, {"providers": ["simulator"]}, 201),
        ({"models": ("a", "b")}, {"models": ["b"]}, 201),
        ({"models": ("a", "b")}, {"models": ["*"]}, 403),
        ({"expires": 1}, {}, 403),
        ({"expires": 1}, {"expires": 2}, 403),
        ({"expires": 2}, {"expires": 1}, 201),
        ({"requests_per_minute": 5}, {}, 403),
        ({}, {"user": "bob"}, 403),
        ({}, {"user": None}, 403),
    ],
    ids=str,
)
async def test_nobody_gives_what_he_lacks(town: Town, own: dict[str, Any], wanted: dict[str, Any], status: int) -> None:
    """A member makes keys of his own, for no more and no longer than the key that he comes with."""
    facts = {name: value for name, value in own.items() if name not in {"expires", "requests_per_minute"}}
    if "expires" in own:
        facts["expires_at"] = town.now + timedelta(days=own["expires"])
    record, key = await town.key(town.ada, **facts)
    if "requests_per_minute" in own:
        changes = {"requests_per_minute": own["requests_per_minute"]}
        await town.call(town.gateway.key, "PATCH", f"/v1/keys/{record.id}", json=changes)
    body: dict[str, Any] = {"name": "x", **{name: wanted[name] for name in wanted if name not in {"expires", "user"}}}
    if "expires" in wanted:
        body["expires_at"] = (town.now + timedelta(days=wanted["expires"])).isoformat()
    if "user" in wanted:
        body["user_id"] = town.bob.id if wanted["user"] else None
    answer = await town.call(key, "POST", "/v1/keys", json=body)
    assert status == answer.status, answer.body
    if status == 201:
        assert town.ada.id == answer.json()["user_id"]


async def test_nobody_takes_more_by_changing_or_rotating(town: Town) -> None:
    """A narrow key has no hand on a wider one of the same user but to revoke it, nor widens itself or its limits."""
    wide, _ = await town.key(town.ada)
    narrow, key = await town.key(town.ada, providers=("simulator",), scopes=("inference", "keys"))
    for method, path, body in (
        ("POST", f"/v1/keys/{wide.id}/rotate", {}),
        ("PATCH", f"/v1/keys/{wide.id}", {"json": {"name": "x"}}),
        ("PATCH", f"/v1/keys/{narrow.id}", {"json": {"providers": None}}),
        ("PATCH", f"/v1/keys/{narrow.id}", {"json": {"scopes": ["inference", "read"]}}),
    ):
        assert 403 == (await town.call(key, method, path, **body)).status, (method, path, body)
    limit = {"requests_per_minute": 5}
    assert 200 == (await town.call(key, "PATCH", f"/v1/keys/{narrow.id}", json=limit)).status
    for more in (6, None):
        answer = await town.call(key, "PATCH", f"/v1/keys/{narrow.id}", json={"requests_per_minute": more})
        assert 403 == answer.status
    assert 200 == (await town.call(key, "PATCH", f"/v1/keys/{narrow.id}", json={"requests_per_minute": 4})).status
    rotated = await town.call(key, "POST", f"/v1/keys/{narrow.id}/rotate")
    assert (200, narrow.id, 4) == (rotated.status, rotated.json()["id"], rotated.json()["requests_per_minute"])
    assert "revoked" == (await town.call(key, "DELETE", f"/v1/keys/{wide.id}")).json()["status"]


async def test_a_key_of_nobody_sees_itself(town: Town) -> None:
    """It is shown itself, may be rotated by itself, and makes no others."""
    record, key = await town.key()
    await town.key()
    assert [record.id] == [one["id"] for one in (await town.call(key, "GET", "/v1/keys")).json()["data"]]
    assert 403 == (await town.call(key, "POST", "/v1/keys", json={"name": "x"})).status
    assert 200 == (await town.call(key, "POST", f"/v1/keys/{record.id}/rotate")).status


# How it ends.


async def test_replicas_notice_a_revoked_key(city: Town, gateways: Gateways) -> None:
    """A key that both remember is refused by both at their next look, and told so."""
    other = await twin(city, gateways)
    record, key = await city.key(city.ada)
    assert [200, 200] == [await asked(city, key), await asked(other, key)]
    revoked = await city.call(city.gateway.key, "DELETE", f"/v1/keys/{record.id}")
    assert "revoked" == revoked.json()["status"]
    for each in (city, other):
        await each.gateway.spine.watcher.look()
        answer = await each.call(key, "POST", CHAT, json=ASK)
        assert (401, "api_key_revoked") == (answer.status, answer.json()["error"]["code"])


async def test_replicas_notice_by_themselves(city: Town, gateways: Gateways) -> None:
    """Nobody has to make them look."""
    other = await twin(city, gateways)
    record, key = await city.key(city.ada)
    assert 200 == await asked(other, key)
    await city.call(city.gateway.key, "DELETE", f"/v1/keys/{record.id}")
    async with asyncio.timeout(10):
        while await asked(other, key) == 200:
            pass


async def by_cli(*arguments: str) -> None:
    """Run ``spine``, which works on the database of the environment."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert 0 == result.exit_code, result.output


async def test_what_changes_is_told_over_redis(
    redis_server: RedisServer, gateways: Gateways, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways that share Redis hear of a change at once, whoever makes it: none of them looks by itself here."""
    monkeypatch.setattr(versions, "INTERVAL_SECONDS", 3600.0)
    environ = {"GENAI_REDIS_URL": redis_server.url, "GENAI_DATABASE_URL": await fresh_address("sqlite")}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    town = await founded(session, await gateways.start(**environ))
    other = Town(session, await gateways.start(**environ), town.ada, town.bob)
    (first, revoked), (_, barred), (last, by_hand) = [
        await town.key(user, scopes=("inference",)) for user in (town.ada, town.bob, town.ada)
    ]
    for key in (revoked, barred, by_hand):
        assert [200, 200] == [await asked(town, key), await asked(other, key)]
    async with asyncio.timeout(20):
        for key, change in (
            (revoked, town.call(town.gateway.key, "DELETE", f"/v1/keys/{first.id}")),
            (barred, town.call(town.gateway.key, "PATCH", f"/v1/users/{town.bob.id}", json={"is_active": False})),
            (by_hand, by_cli("keys", "revoke", str(last.id))),
        ):
            await change
            for each in (town, other):
                while await asked(each, key) == 200:
                    pass
        setting = "/v1/admin/settings/default_provider"
        assert 200 == (await town.call(town.gateway.key, "PUT", setting, json={"value": "groq"})).status
        while other.gateway.spine.settings.values.default_provider != "groq":
            assert 200 == (await other.call("", "GET", "/health")).status


async def test_a_gateway_alone_hears_of_its_own_changes(
    gateways: Gateways, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Redis it tells itself, and does not wait for its next look."""
    monkeypatch.setattr(versions, "INTERVAL_SECONDS", 3600.0)
    town = await founded(session, await gateways.start())
    record, key = await town.key(town.ada)
    assert 200 == await asked(town, key)
    await town.call(town.gateway.key, "DELETE", f"/v1/keys/{record.id}")
    async with asyncio.timeout(10):
        while await asked(town, key) == 200:
            pass


async def test_a_rotated_key(city: Town) -> None:
    """Both secrets are let in for the time of grace, then the newer alone; id and answers stay."""
    clock = ManualClock()
    url = city.gateway.spine.settings.database_url.reveal()
    async with running_gateway({"GENAI_DATABASE_URL": url}, clock=clock) as gateway:
        town = Town(city.session, gateway, city.ada, city.bob)
        record, older = await town.key(city.ada)
        assert 200 == await asked(town, older)
        rotated = await town.call(gateway.key, "POST", f"/v1/keys/{record.id}/rotate?grace_seconds=60")
        newer = rotated.json()["key"]
        await gateway.spine.watcher.look()
        assert [200, 200] == [await asked(town, older), await asked(town, newer)]
        assert [record.id] == [one.id for one in await gateway.spine.office.identities.keys()]
        clock.advance(61)
        assert [401, 200] == [await asked(town, older), await asked(town, newer)]
        last = (await town.call(gateway.key, "POST", f"/v1/keys/{record.id}/rotate?grace_seconds=0")).json()["key"]
        await gateway.spine.watcher.look()
        assert [401, 401, 200] == [await asked(town, key) for key in (older, newer, last)]
        await town.call(gateway.key, "DELETE", f"/v1/keys/{record.id}")
        assert 422 == (await town.call(gateway.key, "POST", f"/v1/keys/{record.id}/rotate")).status


async def test_a_revoked_key_takes_its_older_secrets_with_it(city: Town) -> None:
    """What was still let in by grace is so no longer."""
    record, older = await city.key(city.ada)
    assert 200 == await asked(city, older)
    await city.call(city.gateway.key, "POST", f"/v1/keys/{record.id}/rotate?grace_seconds=3600")
    await city.call(city.gateway.key, "DELETE", f"/v1/keys/{record.id}")
    await city.gateway.spine.watcher.look()
    assert 401 == await asked(city, older)


async def test_a_key_expires_by_the_clock(session: aiohttp.ClientSession) -> None:
    """At the moment that was set, remembered or not; no look at the database is needed."""
    clock = ManualClock()
    async with running_gateway({"GENAI_DATABASE_URL": await fresh_address("sqlite")}, clock=clock) as gateway:
        town = await founded(session, gateway)
        _, key = await town.key(town.ada, expires_at=town.now + timedelta(seconds=10))
        clock.advance(9.9)
        assert 200 == await asked(town, key)
        clock.advance(0.1)
        answer = await town.call(key, "POST", CHAT, json=ASK)
        assert (401, "api_key_expired") == (answer.status, answer.json()["error"]["code"])


async def test_a_user_who_is_barred_or_removed(city: Town) -> None:
    """All of his keys go with him, and come back with him where he was barred."""
    (_, first), (_, second) = await city.key(city.ada), await city.key(city.ada)
    assert [200, 200] == [await asked(city, first), await asked(city, second)]
    for active, status in ((False, 401), (True, 200)):
        path = f"/v1/users/{city.ada.id}"
        assert 200 == (await city.call(city.gateway.key, "PATCH", path, json={"is_active": active})).status
        await city.gateway.spine.watcher.look()
        assert [status, status] == [await asked(city, first), await asked(city, second)]
    assert 200 == (await city.call(city.gateway.key, "DELETE", f"/v1/users/{city.ada.id}")).status
    await city.gateway.spine.watcher.look()
    assert [401, 401] == [await asked(city, first), await asked(city, second)]
    assert [] == (await city.call(city.gateway.key, "GET", "/v1/keys")).json()["data"]


# A database that is down.


async def test_a_database_that_is_down(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """A key that is remembered is let in, one that is not is a 503, never a 401; what cannot be ours is a 401."""
    town = await founded(session, await gateways.start(GENAI_DATABASE_URL=await fresh_address("postgresql")))
    (_, known), (_, unknown) = await town.key(town.ada), await town.key(town.ada)
    assert 200 == await asked(town, known)
    postgres().stop()
    try:
        assert 200 == await asked(town, known)
        assert 200 == await asked(town, town.gateway.key)
        answer = await town.call(unknown, "POST", CHAT, json=ASK)
        assert (503, "database_down") == (answer.status, answer.json()["error"]["code"])
        assert "1" == answer.headers["retry-after"]
        assert 401 == await asked(town, "not-of-our-form")
        answer = await town.call(town.gateway.key, "POST", "/v1/keys", json={"name": "x"})
        assert (503, "database_down") == (answer.status, answer.json()["error"]["code"])
    finally:
        postgres().start()
    assert 200 == await asked(town, unknown)
