"""What the tests of embeddings share: services that make vectors, and the official packages that ask for them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
import ollama
import openai
from google import genai
from google.genai import types
from msgspec import Struct

from genai_spine.testing.gateway import RunningGateway
from genai_spine.testing.upstream import Received, Scripted, json_reply

__all__ = ["CLIENTS", "SERVICES", "TOKENS", "Ask", "Asked", "Service", "Told", "answer", "asked", "vector"]

TOKENS: Final = 3
"""What a service counts for a text."""


def vector(text: str, length: int | None) -> list[float]:
    """Return what every service here makes of a text."""
    return [float(len(text)), *([0.5] * ((length or 3) - 1))]


# Services.


class Asked(Struct, frozen=True):
    """What a service was asked, in no service's words."""

    model: str
    texts: tuple[Any, ...]
    dimensions: int | None = None


class Service(Struct, frozen=True, kw_only=True):
    """A service that makes vectors.

    Attributes:
        model: What to name in a request to the gateway.
        counts: Whether it counts tokens.
        read: Reads what it was asked.
        write: Writes its answer.
        calls: In how many calls it makes so many vectors.
    """

    model: str
    counts: bool = True
    read: Callable[[Received], Asked]
    write: Callable[[Asked, Received], Scripted]
    calls: Callable[[int], int] = lambda count: 1 if count else 0


def _read_openai(received: Received) -> Asked:
    body: Any = received.json()
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    return Asked(body["model"], tuple(texts), body.get("dimensions"))


def _write_openai(told: Asked, received: Received) -> Scripted:
    vectors: list[Any] = [vector(text, told.dimensions) for text in told.texts]
    if received.json().get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack(f"<{len(one)}f", *one)).decode() for one in vectors]
    count = TOKENS * len(vectors)
    rows = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(vectors)]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return _reply({"object": "list", "data": rows, "model": told.model, "usage": usage})


def _read_gemini(received: Received) -> Asked:
    body: Any = received.json()
    model, _, method = received.path.removeprefix("/v1beta/models/").rpartition(":")
    each = body["requests"] if method == "batchEmbedContents" else [body]
    assert {f"models/{model}"} == {one["model"] for one in each}, "the service refuses a model that is not the path's"
    texts = tuple("".join(part["text"] for part in one["content"]["parts"]) for one in each)
    return Asked(model, texts, each[0].get("outputDimensionality"))


def _write_gemini(told: Asked, received: Received) -> Scripted:
    rows = [{"values": vector(text, told.dimensions)} for text in told.texts]
    return _reply({"embeddings": rows} if received.path.endswith("batchEmbedContents") else {"embedding": rows[0]})


def _read_ollama(received: Received) -> Asked:
    return _read_openai(received)


def _write_ollama(told: Asked, received: Received) -> Scripted:
    del received
    rows = [vector(text, told.dimensions) for text in told.texts]
    return _reply({"model": told.model, "embeddings": rows, "total_duration": 5, "prompt_eval_count": 3 * len(rows)})


def _read_titan(received: Received) -> Asked:
    body: Any = received.json()
    return Asked(_bedrock_model(received), (body["inputText"],), body.get("dimensions"))


def _write_titan(told: Asked, received: Received) -> Scripted:
    del received
    return _reply({"embedding": vector(told.texts[0], told.dimensions), "inputTextTokenCount": TOKENS})


def _read_cohere(received: Received) -> Asked:
    body: Any = received.json()
    assert body["input_type"], "the service demands it"
    return Asked(_bedrock_model(received), tuple(body["texts"]), body.get("output_dimension"))


def _write_cohere(told: Asked, received: Received) -> Scripted:
    del received
    rows = [vector(text, told.dimensions) for text in told.texts]
    # By header alone does it tell what it counted.
    headers = {"X-Amzn-Bedrock-Input-Token-Count": str(TOKENS * len(rows))}
    return _reply({"embeddings": {"float": rows}, "response_type": "embeddings_by_type"}, headers)


def _bedrock_model(received: Received) -> str:
    start, model, end = received.path.removeprefix("/").split("/")
    assert ("model", "invoke") == (start, end)
    return unquote(model)


def _reply(body: object, headers: Mapping[str, str] | None = None) -> Scripted:
    return json_reply(json.dumps(body).encode(), headers=headers)


SERVICES: Final = {
    "openai": Service(model="openai/text-embedding-3-small", read=_read_openai, write=_write_openai),
    "google": Service(model="google/gemini-embedding-001", counts=False, read=_read_gemini, write=_write_gemini),
    "ollama": Service(model="ollama/nomic-embed-text", read=_read_ollama, write=_write_ollama),
    "titan": Service(
        model="bedrock/amazon.titan-embed-text-v2:0", read=_read_titan, write=_write_titan, calls=lambda count: count
    ),
    "cohere": Service(model="bedrock/cohere.embed-v4:0", read=_read_cohere, write=_write_cohere),
}


def _service_of(received: Received) -> Service:
    path = received.path
    if path.endswith("/invoke"):
        return SERVICES["titan" if "titan" in path else "cohere"]
    names = {"/v1/embeddings": "openai", "/api/embed": "ollama"}
    return SERVICES[names.get(path, "google")]


def asked(received: Received) -> Asked:
    """Read what a service was asked."""
    return _service_of(received).read(received)


def answer(received: Received) -> Scripted:
    """Answer for whichever service is asked."""
    service = _service_of(received)
    return service.write(service.read(received), received)


# Clients.


class Told(Struct, frozen=True):
    """What a package handed to its user; no tokens where its dialect cannot tell them."""

    vectors: list[list[float]]
    tokens: int | None = None


Ask = Callable[[str, Sequence[str], int | None], Any]
"""Asks for the vectors of texts by a model, of a length; returns what was told."""


@asynccontextmanager
async def _openai(gateway: RunningGateway, *, form: Any = openai.omit) -> AsyncIterator[Ask]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:

        async def ask(model: str, texts: Sequence[str], dimensions: int | None = None) -> Told:
            found = await client.embeddings.create(
                model=model, input=list(texts), dimensions=dimensions or openai.omit, encoding_format=form
            )
            assert list(range(len(texts))) == [row.index for row in found.data]
            return Told([row.embedding for row in found.data], found.usage.prompt_tokens)

        yield ask


@asynccontextmanager
async def _openai_floats(gateway: RunningGateway) -> AsyncIterator[Ask]:
    async with _openai(gateway, form="float") as ask:
        yield ask


@asynccontextmanager
async def _ollama(gateway: RunningGateway) -> AsyncIterator[Ask]:
    client = ollama.AsyncClient(host=gateway.url, headers=gateway.headers)

    async def ask(model: str, texts: Sequence[str], dimensions: int | None = None) -> Told:
        found = await client.embed(model=model, input=list(texts), dimensions=dimensions)
        return Told([list(one) for one in found.embeddings], found.prompt_eval_count)

    try:
        yield ask
    finally:
        await client._client.aclose()  # the package has no public way


@asynccontextmanager
async def _google(gateway: RunningGateway) -> AsyncIterator[Ask]:
    options = types.HttpOptions(base_url=gateway.url, retry_options=types.HttpRetryOptions(attempts=1))
    async with aclosing(genai.Client(api_key=gateway.key, http_options=options).aio) as client:

        async def ask(model: str, texts: Sequence[str], dimensions: int | None = None) -> Told:
            config = types.EmbedContentConfig(output_dimensionality=dimensions)
            found = await client.models.embed_content(model=model, contents=list(texts), config=config)
            assert found.embeddings is not None
            return Told([one.values or [] for one in found.embeddings])

        yield ask


@asynccontextmanager
async def _google_single(gateway: RunningGateway) -> AsyncIterator[Ask]:
    """The method that Google's package no longer calls, but others do."""
    async with aiohttp.ClientSession(gateway.url, headers={"x-goog-api-key": gateway.key}) as session:

        async def ask(model: str, texts: Sequence[str], dimensions: int | None = None) -> Told:
            body = {"content": {"parts": [{"text": texts[0]}]}, "outputDimensionality": dimensions}
            async with session.post(f"/v1/models/{model}:embedContent", json=body) as response:
                found = await response.json()
            return Told([found["embedding"]["values"]])

        yield ask


@asynccontextmanager
async def _ollama_old(gateway: RunningGateway) -> AsyncIterator[Ask]:
    client = ollama.AsyncClient(host=gateway.url, headers=gateway.headers)

    async def ask(model: str, texts: Sequence[str], dimensions: int | None = None) -> Told:
        assert dimensions is None, "the older form knows none"
        return Told([list((await client.embeddings(model=model, prompt=texts[0])).embedding)])

    try:
        yield ask
    finally:
        await client._client.aclose()  # the package has no public way


CLIENTS: Final = {
    "openai": _openai,
    "openai_floats": _openai_floats,
    "ollama": _ollama,
    "google": _google,
    "google_single": _google_single,
    "ollama_old": _ollama_old,
}
"""How each package, or each of its forms, asks."""
