"""``POST /v1/generate``: it goes to the provider named, or to the route's own default, and never to another."""

from __future__ import annotations

import json
import socket
from typing import Any

import aiohttp
import pytest

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import ScriptedUpstream
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.wire import READERS, Turn

ANSWER = Said(text="Paris.", input_tokens=1000, output_tokens=200)


async def post(gateway: RunningGateway, body: object, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, the body and the headers of an answer."""
    async with (
        aiohttp.ClientSession(gateway.url, headers={**gateway.headers, **headers}) as session,
        session.post("/v1/generate", json=body) as response,
    ):
        return response.status, json.loads(await response.read()), {k.lower(): v for k, v in response.headers.items()}


def closed_port() -> str:
    """Return an address where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    return f"http://{host}:{port}"


async def test_scaleway_by_name(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """Named, Scaleway is asked for its default model at its own address, with its own key."""
    gateway = await gateways.start(SCALEWAY_API_KEY="scw-key-0001", SCALEWAY_API_URL=f"{upstream.url}/v1")
    upstream.enqueue(PROVIDERS["openai"].whole(ANSWER))
    status, body, _ = await post(gateway, {"prompt": "Capital of France?", "provider": "scaleway"})
    assert 200 == status
    (received,) = upstream.received
    assert "/v1/chat/completions" == received.path
    assert "Bearer scw-key-0001" == received.headers["authorization"]
    sent = received.json()
    assert "llama-3.1-8b-instruct" == sent["model"]
    assert [{"role": "user", "content": "Capital of France?"}] == sent["messages"]
    assert ("Paris.", "scaleway") == (body["content"], body["provider"])


async def test_scaleway_by_its_full_path(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """An address given with the path of completions is cut back to the base."""
    gateway = await gateways.start(
        SCALEWAY_API_KEY="scw-key-0001", SCALEWAY_API_URL=f"{upstream.url}/v1/chat/completions"
    )
    upstream.enqueue(PROVIDERS["openai"].whole(ANSWER))
    await post(gateway, {"prompt": "Hi", "provider": "scaleway", "model": "mistral-nemo-instruct-2407"})
    (received,) = upstream.received
    assert "/v1/chat/completions" == received.path
    assert "mistral-nemo-instruct-2407" == received.json()["model"]


async def test_the_server_starts_without_any_key(gateways: Gateways) -> None:
    """A provider without a key is listed as not configured; naming it is told with what would configure it."""
    gateway = await gateways.start()
    scaleway = gateway.spine.registry.get("scaleway")
    assert ("not_configured", "https://api.scaleway.ai/v1") == (scaleway.status, getattr(scaleway, "address", None))
    status, body, _ = await post(gateway, {"prompt": "Hi", "provider": "scaleway"})
    assert (503, "provider_not_configured") == (status, body["error"]["code"])
    assert "scaleway is not configured" in body["error"]["message"]


async def test_a_prompt_alone_goes_to_anthropic(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """The route's own default is Anthropic; its retired default model is replaced, and the caller is told."""
    gateway = await gateways.before(upstream)
    upstream.enqueue(PROVIDERS["anthropic"].whole(ANSWER))
    status, body, headers = await post(gateway, {"prompt": "Capital of France?"})
    assert 200 == status
    seen = READERS["anthropic"](upstream.received[0].json())
    model = gateway.spine.registry.get("anthropic").default_model
    assert (model, (Turn(role="user", text="Capital of France?"),)) == (seen.model, seen.turns)
    assert "claude-3-5-sonnet-20241022" != model
    assert ["claude-3-5-sonnet-20241022" in warning for warning in body["warnings"]] == [True]
    assert "claude-3-5-sonnet-20241022" in headers["x-spine-warnings"]
    assert ("Paris.", "anthropic", "stop", 1) == (
        body["content"],
        body["provider"],
        body["finish_reason"],
        body["attempts"],
    )
    assert {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200} == body["usage"]
    assert body["cost_usd"] > 0
    assert body["price_known"] is True
    assert body["fallback"] is False
    assert headers["x-request-id"] == body["request_id"]
    assert ("anthropic", model, "1", "false") == (
        headers["x-spine-provider"],
        headers["x-spine-model"],
        headers["x-spine-attempts"],
        headers["x-spine-fallback"],
    )
    assert body["cost_usd"] == pytest.approx(float(headers["x-spine-cost-usd"]))


async def test_the_default_model_of_a_caller_s_choice_is_kept(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """A retired model that the caller names is never replaced."""
    gateway = await gateways.before(upstream)
    upstream.enqueue(PROVIDERS["anthropic"].whole(ANSWER))
    _, body, _ = await post(gateway, {"prompt": "Hi", "model": "claude-3-5-sonnet-20241022"})
    assert "claude-3-5-sonnet-20241022" == upstream.received[0].json()["model"]
    assert [] == body["warnings"]


async def test_the_default_provider_is_settable(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """``GENAI_GENERATE_DEFAULT_PROVIDER`` names it."""
    gateway = await gateways.before(upstream, GENAI_GENERATE_DEFAULT_PROVIDER="openai")
    upstream.enqueue(PROVIDERS["openai"].whole(ANSWER))
    _, body, _ = await post(gateway, {"prompt": "Hi"})
    assert ("openai", "gpt-4o-mini") == (body["provider"], upstream.received[0].json()["model"])


async def test_nobody_else_is_asked_where_nobody_answers(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """With Anthropic's address dead, no other provider is called."""
    gateway = await gateways.before(upstream, GENAI_ANTHROPIC_URL=closed_port())
    status, body, _ = await post(gateway, {"prompt": "Hi"})
    assert (502, "anthropic", "connection_failed") == (
        status,
        body["error"]["provider"],
        body["error"]["code"],
    )
    assert [] == upstream.received


@pytest.mark.parametrize("failure", [500, 529, 429, 401, 404])
async def test_nobody_else_is_asked_after_a_failure(
    upstream: ScriptedUpstream, gateways: Gateways, failure: int
) -> None:
    """Whatever Anthropic answers, no other provider is called."""
    async with ScriptedUpstream(lambda _: PROVIDERS["anthropic"].failure(failure, "not today")) as down:
        gateway = await gateways.before(upstream, GENAI_ANTHROPIC_URL=down.url)
        status, body, _ = await post(gateway, {"prompt": "Hi"})
        assert {500: 502, 529: 503, 429: 429, 401: 502, 404: 404}[failure] == status
        assert "anthropic" == body["error"]["provider"]
        assert {"/v1/messages"} == {received.path for received in down.received}
    assert [] == upstream.received


async def test_all_fields_reach_the_provider(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """System, limit, a temperature of 0 and a schema arrive; what the route does not know is told."""
    gateway = await gateways.before(upstream)
    upstream.enqueue(PROVIDERS["openai"].whole(Said(text='{"city": "Paris"}')))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    _, body, _ = await post(
        gateway,
        {
            "prompt": "Capital of France?",
            "provider": "openai",
            "model": "gpt-4o",
            "system": "Be brief.",
            "max_tokens": 5,
            "temperature": 0,
            "output_schema": schema,
            "colour": "red",
        },
    )
    seen = READERS["openai"](upstream.received[0].json())
    assert ("gpt-4o", "Be brief.", 5, 0, schema) == (
        seen.model,
        seen.system,
        seen.max_tokens,
        seen.temperature,
        seen.schema,
    )
    assert ["colour: left out, no such field"] == body["warnings"]


async def test_the_usual_temperature(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """Where the caller says none, 0.7 is sent, but not to a model that takes none."""
    gateway = await gateways.before(upstream)
    for model, expected in (("gpt-4o", 0.7), ("o3-mini", None)):
        upstream.enqueue(PROVIDERS["openai"].whole(ANSWER))
        await post(gateway, {"prompt": "Hi", "provider": "openai", "model": model})
        assert expected == upstream.received[-1].json().get("temperature")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": "Hi", "provider": "nobody"}, 400, "provider"),
        ({}, 422, "prompt"),
        ({"prompt": ""}, 422, "prompt"),
        ({"prompt": 5}, 422, "prompt"),
        ({"prompt": "Hi", "max_tokens": 0}, 422, "max_tokens"),
        ({"prompt": "Hi", "temperature": 3}, 422, "temperature"),
        ({"prompt": "Hi", "output_schema": "x"}, 422, "output_schema"),
        (["prompt"], 400, None),
    ],
)
async def test_wrong_requests(
    upstream: ScriptedUpstream, gateways: Gateways, body: object, status: int, param: str | None
) -> None:
    """What is wrong is named, and nothing is sent."""
    gateway = await gateways.before(upstream)
    told, answer, headers = await post(gateway, body)
    assert (status, param) == (told, answer["error"]["param"])
    assert headers["x-request-id"] == answer["error"]["request_id"]
    assert [] == upstream.received


async def test_a_key_is_needed(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """Without a good key nothing is sent."""
    gateway = await gateways.before(upstream)
    status, body, _ = await post(gateway, {"prompt": "Hi"}, authorization="Bearer wrong")
    assert (401, "invalid_api_key") == (status, body["error"]["code"])
    assert [] == upstream.received


async def test_an_answer_without_words(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """An answer that is cut at the limit is given as it is, and says so."""
    gateway = await gateways.before(upstream)
    upstream.enqueue(PROVIDERS["ollama"].whole(Said(text="", finish="length")))
    status, body, headers = await post(gateway, {"prompt": "Hi", "provider": "ollama", "max_tokens": 1})
    assert (200, "", "length") == (status, body["content"], body["finish_reason"])
    assert ("0", 0) == (headers["x-spine-cost-usd"], body["cost_usd"])


async def test_calls_are_no_words(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """A model that calls tools nobody offered has said nothing."""
    gateway = await gateways.before(upstream)
    said = Said(calls=(Call("call_1", "invented", {}),), finish="tool_calls")
    upstream.enqueue(PROVIDERS["openai"].whole(said))
    _, body, _ = await post(gateway, {"prompt": "Hi", "provider": "openai"})
    assert ("", "tool_calls") == (body["content"], body["finish_reason"])
