"""Providers and models that a key may use: at every door, for every candidate, and in what it is shown."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import pytest

from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Said
from tests.flow.people import Town, founded

HI: Final = [{"role": "user", "content": "Hi"}]
CLAUDE: Final = f"anthropic/{PROVIDERS['anthropic'].model}"
GPT: Final = f"openai/{PROVIDERS['openai'].model}"
LLAMA: Final = f"ollama/{PROVIDERS['ollama'].model}"
ASKING: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"model": CLAUDE, "messages": HI},
    "/v1/messages": {"model": CLAUDE, "messages": HI, "max_tokens": 9},
    "/v1/messages/count_tokens": {"model": CLAUDE, "messages": HI},
    "/v1/responses": {"model": CLAUDE, "input": "Hi"},
    "/v1/responses/input_tokens": {"model": CLAUDE, "input": "Hi"},
    "/v1/completions": {"model": CLAUDE, "prompt": "Hi"},
    "/v1/embeddings": {"model": CLAUDE, "input": "Hi"},
    "/api/chat": {"model": CLAUDE, "messages": HI},
    "/api/generate": {"model": CLAUDE, "prompt": "Hi"},
    "/api/embed": {"model": CLAUDE, "input": "Hi"},
    f"/v1beta/models/{CLAUDE}:generateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
    f"/v1beta/models/{CLAUDE}:streamGenerateContent": {"contents": [{"parts": [{"text": "Hi"}]}]},
    f"/v1beta/models/{CLAUDE}:countTokens": {"contents": [{"parts": [{"text": "Hi"}]}]},
    "/v1/generate": {"provider": "anthropic", "model": PROVIDERS["anthropic"].model, "prompt": "Hi"},
}
"""Each route that asks a model, asking one of anthropic's."""


@pytest.fixture
async def town(gateways: Gateways, upstream: ScriptedUpstream, session: aiohttp.ClientSession) -> Town:
    """A gateway before openai, anthropic and ollama, which are all one service."""
    return await founded(session, await gateways.before(upstream))


def hello(provider: str) -> Scripted:
    """An answer."""
    return PROVIDERS[provider].whole(Said(text="Hello"))


async def chat(town: Town, key: str, **fields: Any) -> tuple[int, str]:  # Any: whatever a body holds
    """Ask; return the status, and who answered or the code of the error."""
    answer = await town.call(key, "POST", "/v1/chat/completions", json={"messages": HI, **fields})
    if answer.status != 200:
        return answer.status, answer.json()["error"]["code"]
    return 200, f"{answer.headers['x-spine-provider']}/{answer.headers['x-spine-model']}"


@pytest.mark.parametrize("path", ASKING)
async def test_a_provider_that_a_key_may_not_use(town: Town, upstream: ScriptedUpstream, path: str) -> None:
    """Named at any door it is a 403, in the door's own shape, and nobody is asked."""
    _, key = await town.key(town.ada, providers=("openai", "ollama"))
    answer = await town.call(key, "POST", path, json=ASKING[path])
    assert 403 == answer.status, answer.body
    assert CLAUDE in answer.body.decode()
    assert [] == upstream.received


@pytest.mark.parametrize(
    ("allowed", "model", "expected"),
    [
        ({"providers": ("openai",)}, GPT, (200, GPT)),
        ({"providers": ("openai",)}, PROVIDERS["openai"].model, (200, GPT)),
        ({"providers": ("openai",)}, CLAUDE, (403, "permission_denied")),
        ({"providers": ("openai",)}, PROVIDERS["anthropic"].model, (403, "permission_denied")),
        ({"models": (PROVIDERS["openai"].model,)}, GPT, (200, GPT)),
        ({"models": (GPT,)}, GPT, (200, GPT)),
        ({"models": ("openai/*",)}, GPT, (200, GPT)),
        ({"models": ("gpt-*",)}, GPT, (200, GPT)),
        ({"models": ("gpt-*",)}, CLAUDE, (403, "permission_denied")),
        ({"models": ("*",), "providers": ("anthropic",)}, GPT, (403, "permission_denied")),
        ({"models": ("GPT-*",)}, GPT, (403, "permission_denied")),
        ({"models": ()}, GPT, (403, "permission_denied")),
    ],
    ids=str,
)
async def test_what_a_list_allows(
    town: Town, upstream: ScriptedUpstream, allowed: dict[str, Any], model: str, expected: tuple[int, str]
) -> None:
    """Providers by name, models by id, alone or with the provider, ``*`` for anything; both lists must allow it."""
    _, key = await town.key(town.ada, **allowed)
    if expected[0] == 200:
        upstream.enqueue(hello("openai"))
    assert expected == await chat(town, key, model=model)


async def test_others_answer_in_the_place_of_what_is_not_allowed(town: Town, upstream: ScriptedUpstream) -> None:
    """Where the request leaves it open, candidates that are not allowed are left out; with nobody left it is a 403."""
    upstream.enqueue(hello("openai"))
    _, key = await town.key(town.ada, providers=("openai",))
    assert 200 == (await chat(town, key, model="auto"))[0]
    assert ["/v1/chat/completions"] == [request.path for request in upstream.received]
    _, nothing = await town.key(town.ada, providers=("groq",))
    assert (403, "permission_denied") == await chat(town, nothing, model="auto")
    upstream.enqueue(hello("openai"))
    assert 200 == (await chat(town, key, model="auto", fallback=False))[0]


async def test_a_request_moves_on_to_what_is_allowed_alone(town: Town, upstream: ScriptedUpstream) -> None:
    """A fallback that the key does not allow is passed over."""
    upstream.enqueue(PROVIDERS["openai"].failure(500, "down"), hello("ollama"))
    _, key = await town.key(town.ada, providers=("openai", "ollama"))
    assert (200, LLAMA) == await chat(town, key, model=GPT, fallback=[CLAUDE, LLAMA])
    assert (403, "permission_denied") == await chat(town, key, model=CLAUDE, fallback=[GPT])


async def test_a_key_is_shown_what_it_may_use(town: Town, upstream: ScriptedUpstream) -> None:
    """Lists of models and providers have nothing else; what is named and not allowed is a 403."""
    _, key = await town.key(town.ada, providers=("ollama",))
    tags = PROVIDERS["ollama"]
    for path, named in (("/v1/models", "data"), ("/api/tags", "models"), ("/v1beta/models", "models")):
        upstream.enqueue(hello("ollama"))  # no list of models, so that those known without asking are listed
        listed = (await town.call(key, "GET", path)).json()[named]
        names = [str(one.get("id") or one.get("name")).removeprefix("models/") for one in listed]
        assert all(name.startswith("ollama/") for name in names), (path, names)
    assert ["ollama"] == [one["name"] for one in (await town.call(key, "GET", "/providers")).json()]
    for path in (f"/v1/models/{CLAUDE}", "/providers/anthropic/models", "/providers/anthropic/health"):
        assert 403 == (await town.call(key, "GET", path)).status, path
    assert all(request.path.startswith("/api/") for request in upstream.received)
    shown = await town.call(key, "GET", f"/v1/models/ollama/{tags.model}")
    assert 200 == shown.status
