"""Users and budgets over HTTP: made, shown with exact amounts, changed and removed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.people import Town


async def put(town: Town, **fields: Any) -> tuple[int, Any]:  # Any: whatever a body holds
    """Set a budget, by default one of everybody's for a day."""
    body = {"scope": "global", "window": "day", "limit_usd": 1, **fields}
    answer = await town.call(town.gateway.key, "PUT", "/v1/budgets", json=body)
    return answer.status, answer.json()


async def test_a_budget_is_set_changed_and_removed(city: Town) -> None:
    """There is one for a scope, a subject and a window; setting it again changes it."""
    status, first = await put(city, limit_usd=10, action="warn")
    assert (200, 10, "warn", "day", 0) == (
        status,
        first["limit_usd"],
        first["action"],
        first["window"],
        first["subject_id"],
    )
    _, second = await put(city, limit_usd=20)
    assert (first["id"], 20, "block") == (second["id"], second["limit_usd"], second["action"])
    await put(city, scope="user", subject_id=city.ada.id, window="month")
    listed = (await city.call(city.gateway.key, "GET", "/v1/budgets")).json()["data"]
    assert ["global", "user"] == [one["scope"] for one in listed]
    rest = (await city.call(city.gateway.key, "GET", f"/v1/budgets?after={first['id']}&limit=1")).json()["data"]
    assert ["user"] == [one["scope"] for one in rest]
    assert 200 == (await city.call(city.gateway.key, "DELETE", f"/v1/budgets/{first['id']}")).status
    assert 404 == (await city.call(city.gateway.key, "DELETE", f"/v1/budgets/{first['id']}")).status
    assert 1 == len((await city.call(city.gateway.key, "GET", "/v1/budgets")).json()["data"])


@pytest.mark.parametrize("amount", ["0", "0.05", "0.000000001", "0.1", "9007199.254740991", "1234567.123456789"])
async def test_amounts_are_exact(town: Town, amount: str) -> None:
    """The number that was written comes back, to the last digit, and no binary float on its way."""
    body = f'{{"scope": "global", "window": "day", "limit_usd": {amount}}}'
    headers = {"content-type": "application/json", "authorization": f"Bearer {town.gateway.key}"}
    async with town.session.put(f"{town.gateway.url}/v1/budgets", data=body, headers=headers) as answer:
        assert 200 == answer.status
        assert f'"limit_usd":{amount},' in await answer.text()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"limit_usd": -1}, "limit_usd"),
        ({"limit_usd": 0.0000000001}, "limit_usd"),
        ({"limit_usd": 10**18}, "limit_usd"),
        ({"limit_usd": "NaN"}, "limit_usd"),
        ({"limit_usd": "much"}, "limit_usd"),
        ({"window": "minute"}, "window"),
        ({"window": "week"}, "window"),
        ({"scope": "team"}, "scope"),
        ({"scope": "global", "subject_id": 1}, "subject_id"),
        ({"scope": "user"}, "subject_id"),
        ({"scope": "user", "subject_id": 999999}, "subject_id"),
        ({"action": "shout"}, "action"),
    ],
    ids=str,
)
async def test_a_field_that_is_wrong(town: Town, fields: dict[str, Any], param: str) -> None:
    """It is named, and nothing is set."""
    status, told = await put(town, **fields)
    assert (422, param) == (status, told["error"]["param"])
    assert [] == (await town.call(town.gateway.key, "GET", "/v1/budgets")).json()["data"]


async def test_budgets_go_with_those_whom_they_bind(city: Town) -> None:
    """A user who is removed takes his budgets and those of his keys with him, and nobody else's."""
    (mine, _), (other, _) = await city.key(city.ada), await city.key(city.bob)
    subjects = [("user", city.ada.id), ("key", mine.id), ("key", other.id)]
    for scope, subject in subjects:
        await put(city, scope=scope, subject_id=subject)
    await city.call(city.gateway.key, "DELETE", f"/v1/users/{city.ada.id}")
    listed = (await city.call(city.gateway.key, "GET", "/v1/budgets")).json()["data"]
    assert [("key", other.id)] == [(one["scope"], one["subject_id"]) for one in listed]


# Users.


async def test_a_user_is_added_changed_and_removed(city: Town) -> None:
    """A name is one user's; what is not told stays."""
    body = {"name": "carol", "email": "carol@example.org", "tokens_per_minute": 1000}
    answer = await city.call(city.gateway.key, "POST", "/v1/users", json=body)
    carol = answer.json()
    assert (201, "carol", "member", True, 1000) == (
        answer.status,
        carol["name"],
        carol["role"],
        carol["is_active"],
        carol["tokens_per_minute"],
    )
    path = f"/v1/users/{carol['id']}"
    changed = (await city.call(city.gateway.key, "PATCH", path, json={"max_concurrent": 2, "email": None})).json()
    assert (None, 1000, 2) == (changed["email"], changed["tokens_per_minute"], changed["max_concurrent"])
    for method, where, name in (("POST", "/v1/users", "carol"), ("PATCH", path, "ada")):
        taken = await city.call(city.gateway.key, method, where, json={"name": name})
        assert (422, "name") == (taken.status, taken.json()["error"]["param"])
    listed = (await city.call(city.gateway.key, "GET", "/v1/users")).json()["data"]
    assert ["ada", "bob", "carol"] == [one["name"] for one in listed]
    assert 200 == (await city.call(city.gateway.key, "DELETE", path)).status
    assert 404 == (await city.call(city.gateway.key, "GET", path)).status
    events = [event.event for event in city.gateway.recorder.events]
    assert ["user_created", "user_changed", "user_removed"] == events[-3:]
