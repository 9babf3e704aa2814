"""What stands behind the question mark: the gateway's own routes refuse what they do not know, on every one of them."""

from __future__ import annotations

from typing import Any, Final

from genai_spine.server.dataplane import ROUTES
from tests.flow.people import Town
from tests.flow.test_authorization import TABLE, url

ANY_QUERY: Final = {
    "/",
    "/health",
    "/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/api/show",
    "/api/tags",
    "/api/version",
    "/v1/messages/count_tokens",
    "/v1/models",
    "/v1/models/{model:path}",
    "/v1/models/{model:path}:countTokens",
    "/v1/responses/input_tokens",
    "/v1/responses/{response_id}",
    "/v1/responses/{response_id}/input_items",
    "/v1beta/models",
    "/v1beta/models/{model:path}",
    "/v1beta/models/{model:path}:countTokens",
    "/v1beta/{model:path}:countTokens",
}
"""Where others say what stands in a query: clients of other dialects, and who watches the gateway."""


async def test_what_no_route_knows_is_refused(city: Town) -> None:
    """An unknown name is a 422 that tells it on each of the gateway's own routes, and minds no other."""
    for method, path in TABLE:
        own = path not in ANY_QUERY | set(ROUTES) and not path.startswith("/v1beta/models/{model}:")
        body: dict[str, Any] = {"json": {}} if method in {"POST", "PUT", "PATCH"} else {}
        answer = await city.call(city.gateway.key, method, f"{url(path)}?xyzzy=1", **body)
        assert own == (b"xyzzy: there is no such parameter" in answer.body), (method, path)
        if own:
            told = answer.json()["error"]
            assert (422, "invalid_field", "xyzzy") == (answer.status, told["code"], told["param"])


async def test_the_nearest_name_is_told(city: Town) -> None:
    """Who misspells is told what he meant, where that can be guessed, and all that the route takes."""
    for asked, hint in (
        ("/v1/usage?group_by=model", "did you mean by?"),
        ("/v1/usage?by=model&sinec=7d", "did you mean since?"),
        ("/v1/usage/requests?requestid=x", "did you mean request_id?"),
        ("/v1/audit?xyzzy=", "This route takes after, api_key_id, event, format, key, limit,"),
        ("/v1/admin/config?xyzzy", "This route takes none."),
    ):
        answer = await city.call(city.gateway.key, "GET", asked)
        assert 422 == answer.status, asked
        assert hint in answer.json()["error"]["message"]


async def test_what_is_given_twice_is_refused(city: Town) -> None:
    """A name that stands in a query again is a 422 that tells it, and how it is given once; no value is passed over."""
    for asked, name in (
        ("/v1/usage?by=model&by=user", "by"),
        ("/v1/usage?since=7d&by=model&since=7d", "since"),
        ("/v1/usage/requests?status=error&st%61tus=timeout", "status"),
        ("/v1/keys?user_id=1&user_id=", "user_id"),
        ("/v1/keys?key=sk-one&key=sk-two", "key"),
    ):
        answer = await city.call(city.gateway.key, "GET", asked)
        told = answer.json()["error"]
        assert (422, "invalid_field", name) == (answer.status, told["code"], told["param"]), asked
        assert told["message"].startswith(f"{name}: it is given more than once; give it once, with commas where")
        assert b"sk-" not in answer.body
    # What stands there is said by the clients of a dialect.
    assert 200 == (await city.call(city.gateway.key, "GET", "/v1/models?limit=1&limit=2")).status


async def test_a_key_in_the_query_is_never_unknown(city: Town) -> None:
    """Gemini's clients are let in by it, on every route; who is not let in learns nothing of what a route takes."""
    answer = await city.call("", "GET", f"/v1/keys?key={city.gateway.key}")
    assert 200 == answer.status
    answer = await city.call("", "GET", "/v1/keys?key=wrong&xyzzy=1")
    assert (401, b"xyzzy" in answer.body) == (answer.status, False)


async def test_a_key_that_stands_where_a_name_should_is_not_shown(city: Town) -> None:
    """An unknown name is told without what is shaped like a key, and not at any length."""
    secret = "sk-ant-api03-" + "a" * 40
    answer = await city.call(city.gateway.key, "GET", f"/v1/keys?{secret}{'b' * 5000}")
    assert (422, False) == (answer.status, secret.encode() in answer.body)
    assert len(answer.body) < 500
