"""T2 for embeddings: the official packages, only base URL and key changed, and every service that makes vectors."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from math import isclose
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
import ollama
import openai
import pytest
from google.genai import errors

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Scripted, ScriptedUpstream, json_reply
from tests.conformance.recordings import exchanges, require
from tests.conftest import Gateways
from tests.flow.embedders import CLIENTS, SERVICES, TOKENS, answer, asked, vector

GEMINI: Final = "/v1beta/models/google/m"
TEXTS: Final = ("Hello there", "", "Grüße, 世界 🌍")
ONE: Final = ("openai_floats", "google_single", "ollama_old")
"""Clients of which one text is enough, or all that they can say."""


@pytest.fixture
async def service() -> AsyncIterator[ScriptedUpstream]:
    """All services in one."""
    async with ScriptedUpstream(answer) as server:
        yield server


@pytest.fixture
async def gateway(gateways: Gateways, service: ScriptedUpstream) -> RunningGateway:
    """A gateway in front of them."""
    return await gateways.before(
        service,
        GOOGLE_API_KEY="google-key-0003",
        GOOGLE_API_URL=service.url,
        AWS_BEARER_TOKEN_BEDROCK="bedrock-key-0004",
        BEDROCK_API_URL=service.url,
    )


@pytest.fixture
async def session(gateway: RunningGateway) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain caller with the gateway's key."""
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as made:
        yield made


async def post(
    session: aiohttp.ClientSession, path: str, body: Any, headers: Mapping[str, str] | None = None
) -> tuple[int, Mapping[str, str], Any]:
    """Return status, headers and the decoded body of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", **(headers or {})}
    async with session.post(path, data=data, headers=given) as response:
        return response.status, response.headers, await response.json()


@pytest.mark.parametrize("name", list(SERVICES))
@pytest.mark.parametrize("client", list(CLIENTS))
async def test_any_client_and_any_service(
    gateway: RunningGateway, service: ScriptedUpstream, client: str, name: str
) -> None:
    """Each text's vector comes back, in the order of the texts, of the length asked for; the tokens are told."""
    wanted = SERVICES[name]
    texts = TEXTS[:1] if client in ONE else tuple(filter(None, TEXTS))
    dimensions = None if client == "ollama_old" else 4
    async with CLIENTS[client](gateway) as ask:
        told = await ask(wanted.model, texts, dimensions)
    assert [vector(text, dimensions) for text in texts] == told.vectors
    if told.tokens is not None and wanted.counts:
        assert TOKENS * len(texts) == told.tokens
    seen = [asked(received) for received in service.received]
    assert wanted.calls(len(texts)) == len(seen)
    # Several calls at once arrive in any order.
    assert sorted(texts) == sorted(text for one in seen for text in one.texts)
    model = wanted.model.partition("/")[2]
    assert {(model, dimensions)} == {(one.model, one.dimensions) for one in seen}
    await gateway.recorder.until(1)
    record = gateway.recorder.records[0]
    told_of = (record.outcome, record.attempts, f"{record.provider}/{record.model}")
    assert ("success", len(seen), wanted.model) == told_of
    assert record.input_tokens if not wanted.counts else TOKENS * len(texts) == record.input_tokens
    own = {"openai": ("openai", "openai_floats"), "google": ("google", "google_single"), "ollama": ("ollama",)}
    assert (client in own.get(name, ())) == record.passthrough


async def test_bytes_pass_as_they_come(service: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """Between one dialect and the same, the body keeps all fields but the gateway's own, and the answer its bytes."""
    body = {"model": "openai/m", "input": [[1, 2], [3]], "unknown": {"a": 1}, "encoding_format": "float"}
    sent = b'{"data": [ {"embedding": [1,2]} ], "odd":  1, "usage": {"prompt_tokens": 1000}}'
    service.enqueue(json_reply(sent))
    async with session.post("/v1/embeddings", json={**body, "task_type": "x", "fallback": False}) as response:
        assert sent == await response.read()
    assert {**body, "model": "m"} == service.received[0].json()


async def test_the_headers_of_an_answer(session: aiohttp.ClientSession) -> None:
    """They tell who made the vectors, in how many attempts, and what they cost."""
    body = {"model": "text-embedding-3-small", "input": ["a"] * 1000}
    status, headers, _ = await post(session, "/v1/embeddings", body, {"x-request-id": "mine"})
    told = {name: headers.get(f"x-spine-{name}") for name in ("provider", "model", "attempts", "cost-usd", "warnings")}
    # 3000 tokens at 0.02 dollars a million.
    expected = {"provider": "openai", "model": body["model"], "attempts": "1", "cost-usd": "0.00006", "warnings": None}
    assert (200, "mine", expected) == (status, headers["x-request-id"], told)


@pytest.mark.parametrize("door", ["/v1/embeddings", "/v1beta/models/google/gemini-embedding-001:embedContent"])
async def test_tokens_that_nobody_counted(gateway: RunningGateway, session: aiohttp.ClientSession, door: str) -> None:
    """Where the provider tells no tokens they are guessed, charged, and said to be guessed."""
    text = " four" * 1000
    body = {"model": "google/gemini-embedding-001", "input": text, "content": {"parts": [{"text": text}]}}
    status, headers, found = await post(session, door, body)
    assert (200, "0.00015") == (status, headers["x-spine-cost-usd"])
    assert "guess" in headers["x-spine-warnings"]
    assert door != "/v1/embeddings" or found["usage"] == {"prompt_tokens": 1000, "total_tokens": 1000}
    assert 1000 == gateway.recorder.records[0].input_tokens


async def test_what_the_vocabulary_has_no_words_for(service: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """A picture passes between Gemini and Gemini, its tokens guessed; to another provider it cannot be said."""
    content = {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}
    service.enqueue(json_reply(b'{"embedding": {"values": [1, 2]}}'))
    status, headers, found = await post(session, f"{GEMINI}:embedContent", {"content": content})
    assert (200, {"embedding": {"values": [1, 2]}}) == (status, found)
    assert content == service.received[0].json()["content"]
    assert "guess" in headers["x-spine-warnings"]
    status, _, found = await post(session, "/v1beta/models/openai/m:embedContent", {"content": content})
    assert (400, "INVALID_ARGUMENT") == (status, found["error"]["status"])
    assert 1 == len(service.received)


async def test_more_texts_than_a_call_takes(gateway: RunningGateway, service: ScriptedUpstream) -> None:
    """They go in several calls; the vectors come back in the order of the texts, and all tokens are counted."""
    texts = ["x" * number for number in range(1, 251)]
    for name, sizes in (("google", [100, 100, 50]), ("cohere", [96, 96, 58]), ("titan", [1] * 250)):
        service.received.clear()
        async with CLIENTS["openai"](gateway) as ask:
            told = await ask(SERVICES[name].model, texts, 2)
        assert [vector(text, 2) for text in texts] == told.vectors
        seen = [asked(received).texts for received in service.received]
        assert sizes == sorted(map(len, seen), reverse=True)
        assert sorted(texts) == sorted(text for one in seen for text in one)
        assert not SERVICES[name].counts or told.tokens == TOKENS * 250


async def test_one_call_of_several_fails(
    gateway: RunningGateway, service: ScriptedUpstream, session: aiohttp.ClientSession
) -> None:
    """The caller is told why; he gets no part of an answer, and the others are not waited for."""
    service.enqueue(json_reply({"message": "slow down"}, 429), *[Scripted(silent_before=True)] * 7)
    body = {"model": SERVICES["titan"].model, "input": ["a"] * 30}
    status, headers, found = await post(session, "/v1/embeddings", body)
    assert (429, "bedrock") == (status, headers["x-spine-provider"])
    assert "rate_limit_exceeded" == found["error"]["code"]
    await service.until(lambda: service.hung_up == len(service.received) - 1)
    assert 8 >= len(service.received)
    assert "error" == gateway.recorder.records[0].outcome


async def test_what_a_door_says_beyond_the_others(service: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """Options go on to an Ollama, from either of its doors; elsewhere they are left out with a warning."""
    fields = {"options": {"num_ctx": 9}, "keep_alive": "5m", "truncate": False}
    for path, name in (("/api/embed", "input"), ("/api/embeddings", "prompt")):
        service.received.clear()
        await post(session, path, {"model": "ollama/nomic", name: "Hi", **fields})
        assert {"model": "nomic", "input": "Hi", **fields} == service.received[0].json()
        _, headers, _ = await post(session, path, {"model": "openai/m", name: "Hi", **fields})
        told = "options: left out, openai does not know it; truncate: left out, openai does not know it"
        assert told == headers["x-spine-warnings"]
        assert {"model": "m", "input": "Hi"} == service.received[1].json()


@pytest.mark.parametrize(
    ("path", "fields", "task"),
    [
        ("/v1/embeddings", {"input": "Hi"}, "search_document"),
        ("/v1/embeddings", {"input": "Hi", "input_type": "search_query"}, "search_query"),
        ("/v1beta/models/{}:embedContent", {"content": {"parts": [{"text": "Hi"}]}}, "search_document"),
        (
            "/v1beta/models/{}:embedContent",
            {"content": {"parts": [{"text": "Hi"}]}, "taskType": "RETRIEVAL_QUERY"},
            "search_query",
        ),
    ],
)
async def test_what_vectors_are_for(
    service: ScriptedUpstream, session: aiohttp.ClientSession, path: str, fields: dict[str, Any], task: str
) -> None:
    """Cohere is told, in its own words; to be stored, where the caller says nothing."""
    model = SERVICES["cohere"].model
    _, headers, _ = await post(session, path.format(model), {"model": model, **fields})
    assert task == service.received[0].json()["input_type"]
    assert "x-spine-warnings" not in headers


RECORDED: Final[dict[str, tuple[str, Callable[[Any], list[str]]]]] = {
    "*/v1/embeddings": ("openai", lambda body: body["input"]),
    "*:batchEmbedContents": ("google", lambda body: [one["content"]["parts"][0]["text"] for one in body["requests"]]),
    "*/model/cohere.*/invoke": ("bedrock", lambda body: body["texts"]),
    "*/model/amazon.titan*/invoke": ("bedrock", lambda body: [body["inputText"]]),
}
"""What has been recorded: by its address, whom to ask for it, and what was asked."""


@pytest.mark.parametrize("client", ["openai", "ollama", "google"])
@pytest.mark.parametrize("uri", list(RECORDED))
async def test_recorded_answers(gateway: RunningGateway, service: ScriptedUpstream, client: str, uri: str) -> None:
    """What real services have answered reaches each package: every vector, number by number."""
    require()
    provider, texts_of = RECORDED[uri]
    found = exchanges(uri, path="test_embeddings/*", failed=False)
    assert found
    async with CLIENTS[client](gateway) as ask:
        for exchange in found:
            counted = {name: told for name, told in exchange.headers.items() if name.startswith("x-amzn-bedrock")}
            service.enqueue(json_reply(exchange.body, headers=counted))
            model = unquote(exchange.uri.split("/")[-2 if provider == "bedrock" else -1].partition(":")[0])
            body = json.loads(exchange.request)
            told = await ask(f"{provider}/{body.get('model', model)}", texts_of(body), None)
            expected = _vectors(json.loads(exchange.body))
            assert len(expected) == len(told.vectors)
            for given, got in zip(expected, told.vectors, strict=True):
                # Packed for OpenAI's client they have 32 bits.
                pairs = zip(given, got, strict=True)
                assert all(isclose(*pair, rel_tol=1e-6, abs_tol=1e-12) for pair in pairs), exchange.name


def _vectors(body: Any) -> list[list[float]]:
    """The vectors of an answer in whichever form, read by hand."""
    if "data" in body:
        packed = [base64.b64decode(row["embedding"]) for row in body["data"]]
        return [list(struct.unpack(f"<{len(one) // 4}f", one)) for one in packed]
    if "embedding" in body:
        return [body["embedding"]]
    rows = body["embeddings"]
    return (
        rows["float"] if isinstance(rows, dict) else [one["values"] if isinstance(one, dict) else one for one in rows]
    )


@pytest.mark.parametrize(
    ("path", "more", "asked_of"),
    [
        ("/v1/embeddings", {"provider": "google"}, "gemini-embedding-001"),
        ("/v1/embeddings", {"model": "auto"}, "nomic-embed-text"),
        ("/api/embed", {"model": "auto", "provider": "openai"}, "text-embedding-3-small"),
    ],
)
async def test_no_model(
    session: aiohttp.ClientSession, service: ScriptedUpstream, path: str, more: dict[str, str], asked_of: str
) -> None:
    """Without a model the provider's own for embeddings is asked, passing through or not."""
    status, _, _ = await post(session, path, {"input": "Hi", **more})
    received = service.received[0]
    assert (200, True) == (status, asked_of in f"{received.path} {received.body.decode()}")


async def test_no_model_for_embeddings(session: aiohttp.ClientSession, service: ScriptedUpstream) -> None:
    """A provider whose row names none is not asked with the one for chats; the caller is told what to do."""
    status, _, body = await post(session, "/v1/embeddings", {"input": "Hi", "provider": "anthropic"})
    assert 400 == status
    assert "anthropic has no default model for embeddings; name one as the model" == body["error"]["message"]
    assert [] == service.received


# What goes wrong.


async def _raises_openai(gateway: RunningGateway, model: str) -> tuple[int, str]:
    async with CLIENTS["openai"](gateway) as ask:
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(model, ["Hi"], None)
    return caught.value.status_code, str(caught.value)


async def _raises_ollama(gateway: RunningGateway, model: str) -> tuple[int, str]:
    async with CLIENTS["ollama"](gateway) as ask:
        with pytest.raises(ollama.ResponseError) as caught:
            await ask(model, ["Hi"], None)
    return caught.value.status_code, caught.value.error


async def _raises_google(gateway: RunningGateway, model: str) -> tuple[int, str]:
    async with CLIENTS["google"](gateway) as ask:
        with pytest.raises(errors.APIError) as caught:
            await ask(model, ["Hi"], None)
    return caught.value.code, str(caught.value)


RAISES: Final = {"openai": _raises_openai, "ollama": _raises_ollama, "google": _raises_google}


@pytest.mark.parametrize("client", list(RAISES))
async def test_providers_without_embeddings(gateway: RunningGateway, service: ScriptedUpstream, client: str) -> None:
    """A provider, or a model, that has none is a bad request in the caller's dialect, and nobody is asked."""
    for model, words in (
        ("anthropic/claude-haiku-4-5", "anthropic has no embeddings"),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "no id of the embedding models"),
    ):
        status, message = await RAISES[client](gateway, model)
        assert 400 == status
        assert words in message
    assert [] == service.received
    assert ["unsupported_by_provider"] * 2 == [record.error for record in gateway.recorder.records]


@pytest.mark.parametrize("client", list(RAISES))
@pytest.mark.parametrize("name", list(SERVICES))
async def test_a_provider_that_refuses(
    gateway: RunningGateway, service: ScriptedUpstream, client: str, name: str
) -> None:
    """Its failure is told in the caller's dialect, with the status that it means."""
    service.enqueue(json_reply({"error": {"message": "slow down"}, "message": "slow down"}, 429))
    status, message = await RAISES[client](gateway, SERVICES[name].model)
    assert 429 == status
    assert "slow down" in message
    assert ("error", 429) == (gateway.recorder.records[0].outcome, gateway.recorder.records[0].status)


@pytest.mark.parametrize("name", list(SERVICES))
@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"data": [], "embeddings": []}', b"<html>"])
async def test_an_answer_that_is_none(
    service: ScriptedUpstream, session: aiohttp.ClientSession, name: str, body: bytes
) -> None:
    """No vectors are no success: not in translation, and not where bytes pass."""
    for path in ("/v1/embeddings", "/api/embed"):
        service.enqueue(json_reply(body))
        status, _, found = await post(session, path, {"model": SERVICES[name].model, "input": "Hi"})
        assert (502, "malformed_response") == (status, found.get("code") or found["error"]["code"])


async def test_fewer_vectors_than_texts(service: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """Which text has none cannot be known, so there is no answer."""
    service.enqueue(json_reply(b'{"embeddings": [[1, 2]]}'))
    status, _, found = await post(session, "/v1/embeddings", {"model": "ollama/m", "input": ["a", "b"]})
    assert (502, "malformed_response") == (status, found["error"]["code"])
    assert "1 vectors of 2 inputs" in found["error"]["message"]


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "openai"])
async def test_token_ids(service: ScriptedUpstream, session: aiohttp.ClientSession, name: str) -> None:
    """They reach who speaks OpenAI's dialect, as they came; whoever reads words alone is not asked."""
    for given in ([1, 2], [[1, 2], [3]], ["a", [3]]):
        body = {"model": "openai/m", "input": given, "encoding_format": "float"}
        service.enqueue(json_reply(b'{"data": [{"embedding": [1]}]}'))
        await post(session, "/v1/embeddings", body)
        assert given == service.received[-1].json()["input"]
        asked_for = len(service.received)
        status, _, found = await post(session, "/v1/embeddings", {**body, "model": SERVICES[name].model})
        assert (422, "unsupported_by_provider", "input") == (status, found["error"]["code"], found["error"]["param"])
        assert asked_for == len(service.received)


DEEP: Final = b'{"model": "m", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
INPUTS: Final[tuple[Any, ...]] = (None, "", [], 5, {"a": "b"}, [True], [1.5], [[["a"]]])
FIELDS: Final[tuple[dict[str, Any], ...]] = (
    {"dimensions": "3"},
    {"dimensions": 1.5},
    {"encoding_format": "int8"},
    {"model": 5},
)
REQUESTS: Final[tuple[Any, ...]] = (None, [], [{}], [{"content": "a"}], "a")
CONTENTS: Final[tuple[Any, ...]] = (None, {}, "a")
WRONG: Final[tuple[tuple[str, Any], ...]] = (
    *(("/v1/embeddings", {"model": "openai/m", "input": given}) for given in INPUTS),
    *(("/v1/embeddings", {"model": "openai/m", "input": "a", **fields}) for fields in FIELDS),
    *(("/api/embed", {"model": "ollama/m", "input": given}) for given in (None, "", [], [5], [[1]])),
    ("/api/embed", {"model": [], "input": "a"}),
    *(("/api/embeddings", {"model": "ollama/m", "prompt": given}) for given in (None, "", ["a"])),
    *((f"{GEMINI}:batchEmbedContents", {"requests": given}) for given in REQUESTS),
    *((f"{GEMINI}:embedContent", {"content": given}) for given in CONTENTS),
    *((path, body) for path in ("/v1/embeddings", "/api/embed") for body in (b"", b"{", b"[]", b'{"\xff": 1}', DEEP)),
    ("/v1/embeddings", b'{"model": "ollama/m", "input": [' + b"9" * 400 + b"]}"),
)


@pytest.mark.parametrize(("path", "body"), WRONG, ids=lambda value: str(value)[:60])
async def test_requests_that_are_none(
    gateway: RunningGateway, service: ScriptedUpstream, session: aiohttp.ClientSession, path: str, body: Any
) -> None:
    """What is no request is refused in the door's own dialect and recorded, and no provider is asked."""
    status, headers, found = await post(session, path, body)
    assert status in {400, 422}
    assert "false" == headers["x-should-retry"]
    told = found["error"]
    assert isinstance(told, str if path.startswith("/api") else dict)
    assert [] == service.received
    assert ["error"] == [record.outcome for record in gateway.recorder.records]


async def test_very_many_texts(service: ScriptedUpstream, session: aiohttp.ClientSession) -> None:
    """A hundred thousand texts pass to who speaks the dialect, and are the provider's to refuse."""
    service.enqueue(json_reply({"error": {"message": "too many inputs"}}, 400))
    body = {"model": "openai/m", "input": ["a"] * 100_000}
    status, _, found = await post(session, "/v1/embeddings", body)
    assert (400, "too many inputs") == (status, found["error"]["message"])
    assert 100_000 == len(asked(service.received[0]).texts)


@pytest.mark.parametrize("name", list(SERVICES))
async def test_a_caller_that_hangs_up(
    gateway: RunningGateway, service: ScriptedUpstream, session: aiohttp.ClientSession, name: str
) -> None:
    """All calls upstream end at once, and the request is recorded as cancelled."""
    service.enqueue(*[Scripted(silent_before=True)] * 8)
    texts = ["a", "b"]
    asking = asyncio.create_task(post(session, "/v1/embeddings", {"model": SERVICES[name].model, "input": texts}))
    await service.until(lambda: len(service.received) == SERVICES[name].calls(len(texts)))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await service.until(lambda: service.hung_up == len(service.received))
    await gateway.recorder.until(1)
    assert ("cancelled", 499) == (gateway.recorder.records[0].outcome, gateway.recorder.records[0].status)


# The simulator.


@pytest.mark.parametrize("client", list(CLIENTS))
async def test_the_simulator(gateways: Gateways, client: str) -> None:
    """Equal texts have equal vectors, others have others; each is of length 1, and of as many numbers as asked for."""
    gateway = await gateways.start()
    async with CLIENTS[client](gateway) as ask:
        first, same, other = [
            (await ask("simulator/echo", [text], None)).vectors[0] for text in ("Hello", "Hello", "Bye")
        ]
        assert first == same
        assert first != other
        assert [256, 256] == [len(first), len(other)]
        assert pytest.approx(1.0, abs=1e-6) == sum(number * number for number in other)
        if client != "ollama_old":
            assert 7 == len((await ask("simulator/echo", ["Hello"], 7)).vectors[0])


@pytest.mark.parametrize(("model", "status"), [("fail-429", 429), ("fail-500", 502), ("fail-cut", 502)])
async def test_the_simulator_fails_on_demand(gateways: Gateways, model: str, status: int) -> None:
    """Its failures are those of its other answers."""
    told, _ = await _raises_openai(await gateways.start(), f"simulator/{model}")
    assert status == told


@pytest.mark.parametrize("dimensions", [0, -1, 4097, 10**12])
async def test_the_simulator_knows_its_limits(gateways: Gateways, dimensions: int) -> None:
    """A small request cannot have it fill the memory."""
    gateway = await gateways.start()
    async with aiohttp.ClientSession(gateway.url, headers=gateway.headers) as session:
        body = {"model": "simulator/echo", "input": ["a"] * 300, "dimensions": dimensions}
        assert 400 == (await post(session, "/v1/embeddings", body))[0]
        body = {"model": "simulator/echo", "input": ["a"] * 300, "dimensions": 4096}
        assert 400 == (await post(session, "/v1/embeddings", body))[0]
