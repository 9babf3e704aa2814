"""The hot routes over plain HTTP: the bytes in and out, headers, the gateway's own fields, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from tests.conftest import Gateways
from tests.flow.answers import PROVIDERS, Call, Said
from tests.flow.callers import DOORS, Caller

HELLO: Final = Said(text="Hello world", input_tokens=1000, output_tokens=200)

# By the price library: gpt-4o-mini costs 0.15 and 0.60 dollars a million tokens, claude-haiku-4-5 1 and 5.
COSTS: Final = {"openai": "0.00027", "anthropic": "0.002", "ollama": "0"}


@pytest_asyncio.fixture
async def caller(upstream: ScriptedUpstream, gateways: Gateways) -> AsyncIterator[Caller]:
    """A caller with the gateway's key."""
    gateway = await gateways.before(upstream)
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        yield Caller(session, gateway, upstream)


# Bytes.


@pytest.mark.parametrize("name", list(DOORS))
async def test_an_answer_passes_byte_by_byte(caller: Caller, name: str) -> None:
    """Between one dialect and the same, the answer's body is the provider's own."""
    reply = PROVIDERS[name].whole(HELLO)
    answer = await caller.ask(name, name, reply)
    assert (200, b"".join(reply.chunks)) == (answer.status, answer.body)
    assert "application/json" == answer.headers["content-type"]
    assert str(len(answer.body)) == answer.headers["content-length"]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_an_event_stream_passes_byte_by_byte(caller: Caller, name: str) -> None:
    """A stream's bytes are the provider's own; after the end mark a comment tells the cost."""
    reply = PROVIDERS[name].stream(HELLO)
    more = {"stream_options": {"include_usage": True}} if name == "openai" else {}
    answer = await caller.ask(name, name, reply, stream=True, **more)
    comment = f": x-spine-cost-usd {COSTS[name]}\n\n".encode()
    assert b"".join(reply.chunks) + comment == answer.body
    assert "text/event-stream" == answer.headers["content-type"]
    assert ("no-cache", "no") == (answer.headers["cache-control"], answer.headers["x-accel-buffering"])
    assert "x-spine-cost-usd" not in answer.headers


async def test_usage_that_nobody_asked_for_is_hidden(caller: Caller) -> None:
    """The gateway asks for usage; a caller who did not is spared the extra chunk, and told the cost all the same."""
    reply = PROVIDERS["openai"].stream(HELLO)
    answer = await caller.ask("openai", "openai", reply, stream=True)
    sent = caller.upstream.received[0].json()
    assert {"include_usage": True} == sent["stream_options"]
    without = [chunk for chunk in reply.chunks if b'"choices": []' not in chunk]
    assert len(reply.chunks) - 1 == len(without)
    assert b"".join(without) + b": x-spine-cost-usd 0.00027\n\n" == answer.body


async def test_a_stream_of_lines_passes_byte_by_byte(caller: Caller) -> None:
    """Ollama's stream is lines of JSON, and has no place for a comment."""
    reply = PROVIDERS["ollama"].stream(HELLO)
    answer = await caller.ask("ollama", "ollama", reply, stream=True)
    assert b"".join(reply.chunks) == answer.body
    assert "application/x-ndjson" == answer.headers["content-type"]


async def test_ollama_streams_where_nothing_is_said(caller: Caller) -> None:
    """Left out, ``stream`` means true at Ollama's doors, and only there."""
    path, body = DOORS["ollama"]
    caller.upstream.enqueue(PROVIDERS["ollama"].stream(HELLO))
    body = {"model": "llama3.2:latest", "messages": body["messages"]}
    answer = await caller.call("POST", path, json=body)
    assert "application/x-ndjson" == answer.headers["content-type"]
    assert True is json.loads(answer.body.splitlines()[-1])["done"]


@pytest.mark.parametrize("provider", list(COSTS))
async def test_the_framing_towards_openai(caller: Caller, provider: str) -> None:
    """Every event is one ``data:`` line and an empty one; ``[DONE]`` and the cost are the last two."""
    more = {"stream_options": {"include_usage": True}}
    answer = await caller.ask("openai", provider, PROVIDERS[provider].stream(HELLO), stream=True, **more)
    *frames, done, comment, rest = answer.body.decode().split("\n\n")
    assert ("data: [DONE]", f": x-spine-cost-usd {COSTS[provider]}", "") == (done, comment, rest)
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert {"chat.completion.chunk"} == {chunk["object"] for chunk in chunks}
    assert 1 == len({chunk["id"] for chunk in chunks})
    assert "assistant" == chunks[0]["choices"][0]["delta"]["role"]
    assert ("stop", []) == (chunks[-2]["choices"][0]["finish_reason"], chunks[-1]["choices"])
    assert (1000, 200) == (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"])
    words = [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]]
    assert "Hello world" == "".join(word or "" for word in words)


@pytest.mark.parametrize("provider", list(COSTS))
async def test_the_framing_towards_anthropic(caller: Caller, provider: str) -> None:
    """Every event bears its name on a line of its own; blocks open and close in order; the cost is a comment."""
    said = Said(text="Hello world", calls=(Call("call_1", "look", {"at": 1}),), finish="tool_calls")
    answer = await caller.ask("anthropic", provider, PROVIDERS[provider].stream(said), stream=True)
    *frames, comment, rest = answer.body.decode().split("\n\n")
    assert comment.startswith(": x-spine-cost-usd ")
    assert "" == rest
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert f"event: {events[-1]['type']}" == name
    names = [event["type"] for event in events if event["type"] not in {"ping", "content_block_delta"}]
    block = ["content_block_start", "content_block_stop"]
    assert ["message_start", *block, *block, "message_delta", "message_stop"] == names
    assert [0, 0, 1, 1] == [event["index"] for event in events if event["type"] in block]
    stop = next(event for event in events if event["type"] == "message_delta")
    assert ("tool_use", 8) == (stop["delta"]["stop_reason"], stop["usage"]["output_tokens"])


@pytest.mark.parametrize("provider", list(COSTS))
async def test_the_framing_towards_ollama(caller: Caller, provider: str) -> None:
    """Each line is an object; only the last is done, and bears the counters."""
    answer = await caller.ask("ollama", provider, PROVIDERS[provider].stream(HELLO), stream=True)
    assert answer.body.endswith(b"}\n")
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [False] * (len(lines) - 1) + [True] == [line["done"] for line in lines]
    assert ("stop", 1000, 200) == tuple(lines[-1][name] for name in ("done_reason", "prompt_eval_count", "eval_count"))
    assert "Hello world" == "".join(line["message"]["content"] for line in lines)


# Headers.


@pytest.mark.parametrize("provider", list(COSTS))
@pytest.mark.parametrize("door", list(DOORS))
async def test_headers_tell_who_served(caller: Caller, door: str, provider: str) -> None:
    """Each answer tells its request's id, the provider, the model, the attempts and the cost."""
    answer = await caller.ask(door, provider, PROVIDERS[provider].whole(HELLO))
    assert re.fullmatch(r"req_[0-9a-f]+", answer.headers["x-request-id"])
    told = {name: value for name, value in answer.headers.items() if name.startswith("x-spine-")}
    assert {
        "x-spine-provider": provider,
        "x-spine-model": PROVIDERS[provider].model,
        "x-spine-attempts": "1",
        "x-spine-fallback": "false",
        "x-spine-cost-usd": COSTS[provider],
    } == told


@pytest.mark.parametrize("door", list(DOORS))
async def test_the_caller_s_own_request_id(caller: Caller, door: str) -> None:
    """An id that the caller chose is kept, in streams and errors too; one not fit to be logged is replaced."""
    mine = {"x-request-id": "my-id-1"}
    stream = PROVIDERS["openai"].stream(HELLO)
    answer = await caller.ask(door, "openai", stream, headers=mine, stream=True)
    assert "my-id-1" == answer.headers["x-request-id"]
    answer = await caller.ask(door, "openai", json_reply({}, 400), headers=mine)
    assert (400, "my-id-1") == (answer.status, answer.headers["x-request-id"])
    answer = await caller.ask(door, "openai", PROVIDERS["openai"].whole(HELLO), headers={"x-request-id": "x" * 500})
    assert answer.headers["x-request-id"].startswith("req_")


async def test_the_provider_gets_its_own_key_alone(caller: Caller) -> None:
    """The gateway's key goes to nobody; each provider gets its own, in its own header."""
    for name, header, value in (
        ("openai", "authorization", "Bearer sk-upstream-openai-0001"),
        ("anthropic", "x-api-key", "sk-ant-upstream-0002"),
        ("ollama", "authorization", None),
    ):
        await caller.ask("openai", name, PROVIDERS[name].whole(HELLO))
        headers = caller.upstream.received[-1].headers
        assert value == headers.get(header)
        assert caller.gateway.key not in str(headers)


async def test_anthropic_s_headers_go_to_anthropic_alone(caller: Caller) -> None:
    """Version and beta flags are part of the dialect: they pass to a provider that speaks it, and to no other."""
    mine = {"anthropic-version": "2026-10-21", "anthropic-beta": "some-beta-2026-01-01"}
    await caller.ask("anthropic", "anthropic", PROVIDERS["anthropic"].whole(HELLO), headers=mine)
    passed = caller.upstream.received[-1].headers
    assert ("2026-10-21", "some-beta-2026-01-01") == (passed["anthropic-version"], passed["anthropic-beta"])
    await caller.ask("anthropic", "openai", PROVIDERS["openai"].whole(HELLO), headers=mine)
    assert not [name for name in caller.upstream.received[-1].headers if name.startswith("anthropic")]
    await caller.ask("openai", "anthropic", PROVIDERS["anthropic"].whole(HELLO), headers=mine)
    assert "2023-06-01" == caller.upstream.received[-1].headers["anthropic-version"]


# The gateway's own fields, and unknown ones.


@pytest.mark.parametrize("door", list(DOORS))
@pytest.mark.parametrize("how", ["field", "header"])
async def test_the_provider_may_be_named(caller: Caller, door: str, how: str) -> None:
    """``provider`` in the body, or ``x-spine-provider``, decides; the model goes on verbatim, the field does not."""
    path, body = DOORS[door]
    caller.upstream.enqueue(PROVIDERS["openai"].whole(HELLO))
    body = {"model": "my-own-model", **body}
    headers = {}
    if how == "field":
        body["provider"] = "openai"
    else:
        headers["x-spine-provider"] = "openai"
    answer = await caller.call("POST", path, json=body, headers=headers)
    assert ("openai", "my-own-model") == (answer.headers["x-spine-provider"], answer.headers["x-spine-model"])
    received = caller.upstream.received[-1]
    assert "/v1/chat/completions" == received.path
    assert "my-own-model" == received.json()["model"]
    assert "provider" not in received.json()
    assert not [name for name in received.headers if name.startswith("x-spine")]


async def test_a_model_with_a_long_name(caller: Caller) -> None:
    """It is asked for by all of its name; the header that tells who answered has the beginning, as logs do."""
    path, body = DOORS["openai"]
    caller.upstream.enqueue(PROVIDERS["openai"].whole(HELLO))
    model = "my-own-model-" * 1000
    answer = await caller.call("POST", path, json={**body, "model": model, "provider": "openai"})
    assert (200, model[:255]) == (answer.status, answer.headers["x-spine-model"])
    assert model == caller.upstream.received[-1].json()["model"]


@pytest.mark.parametrize("door", list(DOORS))
async def test_a_wrong_provider(caller: Caller, door: str) -> None:
    """A provider that there is not, or that contradicts the model, is a 400 that says so."""
    path, body = DOORS[door]
    for model, provider, words in (
        ("gpt-4o", "nobody", "nobody"),
        ("anthropic/claude-haiku-4-5", "openai", "names 'anthropic'"),
    ):
        answer = await caller.call("POST", path, json={"model": model, "provider": provider, **body})
        assert 400 == answer.status
        assert words in answer.body.decode()
    assert [] == caller.upstream.received


@pytest.mark.parametrize("name", list(DOORS))
async def test_unknown_fields_pass_to_their_own_dialect(caller: Caller, name: str) -> None:
    """A field that the gateway does not know goes on to a provider that speaks the caller's dialect, without a word."""
    value = {"deep": [1, None, "ü"]}
    answer = await caller.ask(name, name, PROVIDERS[name].whole(HELLO), brand_new_field=value)
    assert value == caller.upstream.received[-1].json()["brand_new_field"]
    assert "x-spine-warnings" not in answer.headers


@pytest.mark.parametrize(
    ("door", "provider"), [(door, provider) for door in DOORS for provider in COSTS if door != provider]
)
async def test_unknown_fields_are_dropped_towards_another(caller: Caller, door: str, provider: str) -> None:
    """To another dialect it does not go, and the answer's headers say so; a stream's too."""
    for stream in (False, True):
        reply = (PROVIDERS[provider].stream if stream else PROVIDERS[provider].whole)(HELLO)
        answer = await caller.ask(door, provider, reply, brand_new_field=1, stream=stream)
        assert 200 == answer.status
        assert "brand_new_field" not in caller.upstream.received[-1].json()
        assert f"brand_new_field: left out, {provider} does not know it" == answer.headers["x-spine-warnings"]


async def test_the_gateway_s_fields_never_go_on(caller: Caller) -> None:
    """None of the extension fields reaches a provider, of whatever dialect."""
    own = {"provider_hint": "cheapest", "task_type": "simple"}
    for door in DOORS:
        for provider in COSTS:
            await caller.ask(door, provider, PROVIDERS[provider].whole(HELLO), **own)
            assert set() == set(own) & set(caller.upstream.received[-1].json())


# What is refused.


@pytest.mark.parametrize("door", list(DOORS))
async def test_errors_are_told_in_the_door_s_dialect(caller: Caller, door: str) -> None:
    """No key, no JSON, a missing field, a wrong type: each in the dialect's shape, with an id, and nothing is sent."""
    path, body = DOORS[door]
    good = {"model": "openai/gpt-4o", **body}
    asked: list[tuple[int, dict[str, Any]]] = [
        (401, {"json": good, "headers": {"authorization": "Bearer wrong"}}),
        (400, {"data": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"data": b"[]", "headers": {"content-type": "application/json"}}),
        (422, {"json": {"model": "openai/gpt-4o", "max_tokens": 5}}),
        (422, {"json": {**good, "messages": "Hi"}}),
        (400, {"json": good, "headers": {"x-spine-timeout": "soon"}}),
        (415, {"data": b"{}", "headers": {"content-type": "text/html"}}),
    ]
    for status, request in asked:
        answer = await caller.call("POST", path, **request)
        told = answer.json()
        # Neither Anthropic's nor Ollama's own statuses know a 415 or a 422.
        assert (status if door == "openai" or status < 415 else 400) == answer.status, request
        if door == "openai":
            assert {"message", "type", "param", "code", "request_id", "provider"} == set(told["error"])
            assert answer.headers["x-request-id"] == told["error"]["request_id"]
        elif door == "anthropic":
            assert "error" == told["type"]
            assert {"type", "message"} <= set(told["error"])
            assert answer.headers["x-request-id"] == told["request_id"]
        else:
            assert isinstance(told["error"], str)
            assert answer.headers["x-request-id"] == told["request_id"]
        assert "false" == answer.headers["x-should-retry"]
    assert [] == caller.upstream.received


async def test_a_body_that_is_too_large(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """A body over the limit is a 413, whether its length was announced or not."""
    gateway = await gateways.before(upstream, GENAI_MAX_BODY_BYTES="2000")

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        for data in (b" " * 2001, drip()):
            headers = {"content-type": "application/json"}
            async with session.post("/v1/chat/completions", data=data, headers=headers) as response:
                assert 413 == response.status
                assert "payload_too_large" == (await response.json())["error"]["code"]
    assert [] == upstream.received


async def test_an_unknown_model(upstream: ScriptedUpstream, gateways: Gateways) -> None:
    """A model that nobody serves is a 404 in each dialect, and a near miss is named."""
    gateway = await gateways.start(OPENAI_API_KEY="sk-1", OPENAI_API_URL=f"{upstream.url}/v1")
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        for path, body in DOORS.values():
            async with session.post(path, json={"model": "qpt-4o-mini", **body}) as response:
                text = await response.text()
                assert 404 == response.status
                assert "gpt-4o-mini" in text
    assert [] == upstream.received
