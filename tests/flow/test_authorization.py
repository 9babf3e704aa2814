"""T9: who may use which route. The table has every route that the gateway has, and each kind of caller tries each."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import aiohttp
from fastapi.routing import iter_route_contexts

from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing, new_key
from genai_spine.identity.callers import Callers
from genai_spine.server.app import _control_plane
from genai_spine.server.dataplane import GEMINI_ROUTES, ROUTES
from genai_spine.server.state import State
from genai_spine.server.underway import UnderWay
from genai_spine.settings import Settings
from genai_spine.storage.sql.tables import requests
from genai_spine.types.principal import SCOPES
from tests.conftest import Gateways
from tests.flow.people import Town, founded
from tests.ledgers import rows

REFUSED: Final = {401, 403}
NOBODY: Final[frozenset[str]] = frozenset()
INFERENCE: Final = frozenset({"inference"})
CATALOGUE: Final = frozenset({"inference", "read"})
READ: Final = frozenset({"read"})
SHOWN: Final = frozenset({"read", "admin"})
KEYS: Final = frozenset({"keys", "admin"})
ADMIN: Final = frozenset({"admin"})

TABLE: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/"): NOBODY,
    ("HEAD", "/"): NOBODY,
    ("GET", "/health"): NOBODY,
    ("GET", "/ready"): NOBODY,
    ("GET", "/metrics"): NOBODY,
    ("GET", "/docs"): NOBODY,
    ("HEAD", "/docs"): NOBODY,
    ("GET", "/openapi.json"): NOBODY,
    ("HEAD", "/openapi.json"): NOBODY,
    **{("POST", path): INFERENCE for path in ROUTES},
    **{("POST", f"/v1beta/models/{{model}}:{method}"): INFERENCE for method in GEMINI_ROUTES},
    ("POST", "/v1/messages/count_tokens"): INFERENCE,
    ("POST", "/v1beta/models/{model:path}:countTokens"): INFERENCE,
    ("POST", "/v1/models/{model:path}:countTokens"): INFERENCE,
    ("POST", "/v1beta/{model:path}:countTokens"): INFERENCE,
    ("POST", "/v1/responses/input_tokens"): INFERENCE,
    ("GET", "/v1/responses/{response_id}"): INFERENCE,
    ("DELETE", "/v1/responses/{response_id}"): INFERENCE,
    ("GET", "/v1/responses/{response_id}/input_items"): INFERENCE,
    ("POST", "/v1/generate"): INFERENCE,
    ("GET", "/v1/models"): CATALOGUE,
    ("GET", "/v1beta/models"): CATALOGUE,
    ("GET", "/v1/models/{model:path}"): CATALOGUE,
    ("GET", "/v1beta/models/{model:path}"): CATALOGUE,
    ("GET", "/api/tags"): CATALOGUE,
    ("POST", "/api/show"): CATALOGUE,
    ("GET", "/api/version"): CATALOGUE,
    ("GET", "/providers"): CATALOGUE,
    ("GET", "/providers/{name}/models"): CATALOGUE,
    ("GET", "/providers/{name}/health"): READ,
    ("GET", "/v1/pricing"): READ,
    ("GET", "/v1/pricing/{model:path}"): READ,
    ("POST", "/v1/estimate-cost"): READ,
    ("GET", "/v1/keys"): KEYS,
    ("POST", "/v1/keys"): KEYS,
    ("GET", "/v1/keys/{key_id}"): KEYS,
    ("PATCH", "/v1/keys/{key_id}"): KEYS,
    ("DELETE", "/v1/keys/{key_id}"): KEYS,
    ("POST", "/v1/keys/{key_id}/rotate"): KEYS,
    ("GET", "/v1/users"): ADMIN,
    ("POST", "/v1/users"): ADMIN,
    ("GET", "/v1/users/{user_id}"): SHOWN,
    ("PATCH", "/v1/users/{user_id}"): ADMIN,
    ("DELETE", "/v1/users/{user_id}"): ADMIN,
    ("GET", "/v1/budgets"): SHOWN,
    ("PUT", "/v1/budgets"): ADMIN,
    ("DELETE", "/v1/budgets/{budget_id}"): ADMIN,
    ("GET", "/v1/usage"): SHOWN,
    ("GET", "/v1/usage/requests"): SHOWN,
    ("GET", "/v1/usage/requests/{id}"): SHOWN,
    ("GET", "/v1/audit"): ADMIN,
    ("GET", "/v1/admin/config"): ADMIN,
    ("GET", "/v1/admin/settings"): ADMIN,
    ("PUT", "/v1/admin/settings/{name}"): ADMIN,
    ("DELETE", "/v1/admin/settings/{name}"): ADMIN,
    ("GET", "/v1/admin/providers"): ADMIN,
    **{(method, "/v1/admin/providers/{name}"): ADMIN for method in ("GET", "PUT", "PATCH", "DELETE")},
    ("GET", "/v1/admin/providers/{name}/models"): ADMIN,
    **{(one, "/v1/admin/providers/{name}/models/{model:path}"): ADMIN for one in ("GET", "PUT", "PATCH", "DELETE")},
    ("POST", "/v1/admin/route"): ADMIN,
    ("POST", "/v1/admin/providers/{name}/reset"): ADMIN,
}
"""The scopes of which one lets a caller in; none where nobody is asked for a key."""

VALUES: Final = {
    "{model:path}": "simulator/echo",
    "{model}": "simulator/echo",
    "{name}": "simulator",
    "{response_id}": "resp_none",
    "{id}": "none",
    "{key_id}": "999999",
    "{user_id}": "999999",
    "{budget_id}": "999999",
}
"""What stands in the places of a path; the objects are not there, so nothing is destroyed."""


class Case(NamedTuple):
    """A caller: the key that he presents, and what it is good for; None where it is not good."""

    key: str
    scopes: frozenset[str] | None


def url(path: str) -> str:
    """A path with something in each of its places."""
    for place, value in VALUES.items():
        path = path.replace(place, value)
    assert "{" not in path, "what stands there must be said in VALUES"
    return path


async def cases(town: Town) -> dict[str, Case]:
    """A caller of each kind."""
    callers = {
        "no key": Case("", None),
        "wrong key": Case("wrong", None),
        "unknown key": Case(new_key().reveal(), None),
        "expired key": Case(await town.expired(), None),
        "revoked key": Case(await town.revoked(), None),
        "barred user": Case(await town.barred(), None),
        "member": Case((await town.key(town.ada))[1], frozenset({"inference", "read", "keys"})),
        "admin": Case(town.gateway.key, frozenset(SCOPES)),
    }
    boss = await town.add("boss", role="admin")
    for scope in SCOPES:
        # Metrics are nobody's own, so a key for them is nobody's.
        owner = None if scope == "metrics" else boss
        callers[f"only {scope}"] = Case((await town.key(owner, scopes=(scope,)))[1], frozenset({scope}))
    return callers


def test_the_table_has_every_route() -> None:
    """What the gateway serves is in the table, on either plane; a route without a line here fails."""
    spine = Spine(Settings({}))
    state = State(spine, Callers(KeyRing(), spine.office), UnderWay())
    contexts = iter_route_contexts(_control_plane(state).routes)
    control = {(method, str(one.path)) for one in contexts for method in one.methods or ()}
    hot = {("POST", path) for path in ROUTES} | {("POST", f"/v1beta/models/{{model}}:{one}") for one in GEMINI_ROUTES}
    assert set(TABLE) == control | hot


async def test_each_caller_at_each_route(town: Town) -> None:
    """Who may not come in is a 401, who may not do this a 403, anybody else is neither; open routes ask nobody."""
    for name, case in (await cases(town)).items():
        for (method, path), scopes in TABLE.items():
            body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
            answer = await town.call(case.key, method, url(path), **body)
            if not scopes or (case.scopes is not None and case.scopes & scopes):
                assert answer.status not in REFUSED, (name, method, path, answer.body)
                assert answer.status < 500, (name, method, path, answer.body)
            else:
                assert (401 if case.scopes is None else 403) == answer.status, (name, method, path, answer.body)


async def test_metrics_that_are_not_open(gateways: Gateways, session: aiohttp.ClientSession) -> None:
    """Where the operator says so they are shown to keys that are good for them, and described so."""
    town = await founded(session, await gateways.start(GENAI_METRICS_OPEN="false"))
    for name, case in (await cases(town)).items():
        wanted = 401 if case.scopes is None else 200 if case.scopes & {"metrics", "admin"} else 403
        assert wanted == (await town.call(case.key, "GET", "/metrics")).status, name
    described = (await town.call("", "GET", "/openapi.json")).json()["paths"]["/metrics"]["get"]
    assert [{"key": ["metrics"]}, {"key": ["admin"]}] == described["security"]


async def test_each_refusal_tells_why(town: Town) -> None:
    """A key that was good is told what became of it; an audit knows of each, and never the key."""
    expected = {
        "wrong": "invalid_api_key",
        await town.expired(): "api_key_expired",
        await town.revoked(): "api_key_revoked",
        await town.barred(): "user_inactive",
    }
    events = town.gateway.recorder.events
    for key, code in expected.items():
        answer = await town.call(key, "GET", "/v1/models")
        assert (401, code) == (answer.status, answer.json()["error"]["code"])
        assert ("auth_failure", code) == (events[-1].event, events[-1].reason)
        assert answer.headers["x-request-id"] == events[-1].request_id
    assert all(key not in str(events) for key in expected)


async def test_who_is_not_let_in_leaves_no_row(city: Town) -> None:
    """However often he comes the ledger stays as it is, and metrics count him; who is known has a row for a refusal."""
    asked = {"model": "simulator/echo", "messages": [{"role": "user", "content": "Hi"}]}
    refused = ["", "wrong", new_key().reveal(), await city.expired(), await city.revoked(), await city.barred()]
    for key in refused * 2:
        assert 401 == (await city.call(key, "POST", "/v1/chat/completions", json=asked)).status
    _, narrow = await city.key(city.ada, scopes=("read",))
    assert 403 == (await city.call(narrow, "POST", "/v1/chat/completions", json=asked)).status
    books = city.gateway.spine.books
    await books.shipper.flush()
    assert [(403, city.ada.id)] == [
        (row["http_status"], row["user_id"]) for row in await rows(books.database, requests)
    ]
    page = (await city.call(city.gateway.key, "GET", "/metrics")).body.decode()
    for reason, count in (("missing_api_key", 2), ("invalid_api_key", 4), ("api_key_revoked", 2), ("user_inactive", 2)):
        assert f'genai_unauthenticated_requests_total{{reason="{reason}"}} {count}.0' in page


# What is others'.


async def test_a_member_sees_only_his_own(city: Town) -> None:
    """Keys, users and budgets of others are not in his lists, and asked for by id they are a 404, as if not there."""
    (mine, ada), (other, _), (nobodys, _) = await city.key(city.ada), await city.key(city.bob), await city.key()
    for subject, scope in ((city.ada.id, "user"), (city.bob.id, "user"), (mine.id, "key"), (other.id, "key")):
        budget = {"scope": scope, "subject_id": subject, "window": "day", "limit_usd": 1}
        assert 200 == (await city.call(city.gateway.key, "PUT", "/v1/budgets", json=budget)).status
    listed = (await city.call(ada, "GET", "/v1/keys")).json()["data"]
    assert [mine.id] == [key["id"] for key in listed]
    assert [] == (await city.call(ada, "GET", f"/v1/keys?user_id={city.bob.id}")).json()["data"]
    bound = (await city.call(ada, "GET", "/v1/budgets")).json()["data"]
    assert [("user", city.ada.id), ("key", mine.id)] == [(one["scope"], one["subject_id"]) for one in bound]
    assert 200 == (await city.call(ada, "GET", f"/v1/users/{city.ada.id}")).status
    assert 404 == (await city.call(ada, "GET", f"/v1/users/{city.bob.id}")).status
    for record in (other, nobodys):
        for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("DELETE", "")):
            body = {"json": {"name": "mine now"}} if method == "PATCH" else {}
            told = await city.call(ada, method, f"/v1/keys/{record.id}{path}", **body)
            missing = await city.call(ada, method, f"/v1/keys/999999{path}", **body)
            assert (404, 404) == (told.status, missing.status)
            assert (
                missing.json()["error"]["message"].replace("999999", str(record.id)) == told.json()["error"]["message"]
            )
    assert await city.gateway.spine.office.identities.key(other.id) == other


async def test_an_answer_is_its_users(city: Town) -> None:
    """What is kept of an answer is read and gone on from with any key of the same user, and by nobody else."""
    (_, first), (_, second), (_, bob) = await city.key(city.ada), await city.key(city.ada), await city.key(city.bob)
    _, nobodys = await city.key()
    asked = {"model": "simulator/echo", "input": "Remember me."}
    kept = (await city.call(first, "POST", "/v1/responses", json=asked)).json()["id"]
    goes_on = {"model": "simulator/echo", "input": "And?", "previous_response_id": kept}
    for key, status in ((first, 200), (second, 200), (bob, 404), (nobodys, 404), (city.gateway.key, 404)):
        assert status == (await city.call(key, "GET", f"/v1/responses/{kept}")).status
        answer = await city.call(key, "POST", "/v1/responses", json=goes_on)
        assert (answer.status == 200) == (status == 200), answer.body
    assert 404 == (await city.call(bob, "DELETE", f"/v1/responses/{kept}")).status
    assert 200 == (await city.call(second, "DELETE", f"/v1/responses/{kept}")).status


async def test_nobody_inherits_from_a_user_who_was_removed(city: Town) -> None:
    """Who is added next sees nothing of what the other asked and was answered: no id is given twice, nor a key's."""
    books, asked = city.gateway.spine.books, {"model": "simulator/echo", "input": "Remember me."}
    carol = await city.add("carol")
    first, key = await city.key(carol)
    kept = (await city.call(key, "POST", "/v1/responses", json=asked)).json()["id"]
    await books.shipper.flush()
    assert 1 == len((await city.call(key, "GET", "/v1/usage/requests")).json()["data"])
    assert 200 == (await city.call(city.gateway.key, "DELETE", f"/v1/users/{carol.id}")).status
    second, key = await city.key(await city.add("dave"))
    assert [] == (await city.call(key, "GET", "/v1/usage/requests")).json()["data"]
    assert 404 == (await city.call(key, "GET", f"/v1/responses/{kept}")).status
    assert second.id > first.id


async def test_an_administrator_whose_role_is_taken_has_no_longer_its_scopes(city: Town) -> None:
    """The scopes of a key are bounded by what its user is now."""
    boss = await city.add("boss", role="admin")
    _, key = await city.key(boss, scopes=("admin", "read"))
    assert 200 == (await city.call(key, "GET", "/v1/users")).status
    changed = await city.call(city.gateway.key, "PATCH", f"/v1/users/{boss.id}", json={"role": "member"})
    assert 200 == changed.status
    await city.gateway.spine.watcher.look()
    assert 403 == (await city.call(key, "GET", "/v1/users")).status
    assert 200 == (await city.call(key, "GET", "/v1/pricing")).status
