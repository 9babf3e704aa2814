"""OpenAI Embeddings: requests and answers, vectors as numbers and as base64."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Literal

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._types import Omit

from genai_spine.dialects.base import Quirks, Target
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError, RateLimitedError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json
from genai_spine.types.usage import Usage

WIRE = OpenAIEmbeddings()
TARGET = Target(model="t", provider="acme")
ASKED = EmbeddingRequest(inputs=("a",), model="m", dialect="openai_embeddings")
PACKED = EmbeddingRequest(inputs=("a",), model="m", encoding_format="base64")


def body_of(value: Json, **fields: Json) -> bytes:
    """Return a request for the embeddings of ``value``."""
    return json.dumps({"model": "m", "input": value, **fields}).encode()


def answer_of(*vectors: Json, **fields: Json) -> bytes:
    """Return an answer of ``vectors``."""
    data: list[Json] = [
        {"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)
    ]
    return json.dumps({"object": "list", "model": "m", "data": data, **fields}).encode()


def packed(*numbers: float) -> str:
    """Return numbers as the API packs them."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ("a",)),
        (["a"], ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [3]], ("a", (3,))),
    ],
)
def test_inputs(value: Json, inputs: tuple[str | tuple[int, ...], ...]) -> None:
    """A text, texts, token ids and lists of them are read, and the same once written and read again."""
    request = WIRE.decode_request(body_of(value, dimensions=3, encoding_format="base64", user="u", extra=1))
    assert (
        EmbeddingRequest(
            inputs=inputs,
            model="m",
            dimensions=3,
            encoding_format="base64",
            user="u",
            dialect="openai_embeddings",
            extras={"extra": 1},
        )
        == request
    )
    assert request == WIRE.decode_request(WIRE.encode_request(request, Target(model="m")).body)
    assert "m" == WIRE.read_envelope(body_of(value), {}).model


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [[]]},
        {"input": [True]},
        {"input": [1.5]},
        {"input": {"a": 1}},
        {"input": "a", "encoding_format": "int8"},
        {"input": "a", "dimensions": "many"},
        {"input": "a", "model": 5},
    ],
)
def test_requests_that_are_none(fields: dict[str, Json]) -> None:
    """A field of the wrong type is refused by name."""
    with pytest.raises(InvalidFieldError):
        WIRE.decode_request(json.dumps(fields).encode())


def test_envelopes_that_are_none() -> None:
    """What is no request is refused before it is decided who serves it."""
    for fields in ({}, {"input": ""}, {"input": 5}, {"input": "a", "encoding_format": "x"}):
        with pytest.raises(InvalidFieldError):
            WIRE.read_envelope(json.dumps(fields).encode(), {})
    for read in (WIRE.decode_request, lambda body: WIRE.read_envelope(body, {})):
        with pytest.raises(InvalidRequestError):
            read(b"{")


def test_the_envelope() -> None:
    """The provider may be named in the body or in a header."""
    assert "acme" == WIRE.read_envelope(body_of("a", provider="acme"), {}).wishes.provider
    assert "acme" == WIRE.read_envelope(body_of("a"), {"x-spine-provider": "acme"}).wishes.provider


def test_requests_as_a_service_takes_them() -> None:
    """Fields are renamed or left out as the row says; the gateway's own never pass."""
    quirks = Quirks(drop=("user",), rename={"dimensions": "output_dimension"})
    target = Target(model="t", provider="acme", quirks=quirks)
    body = body_of("a", dimensions=3, user="u", provider="acme", task_type="x", kept=1)
    written = WIRE.encode_request(WIRE.decode_request(body), target)
    relayed = WIRE.relay_request(WIRE.read_envelope(body, {}), target)
    for out in (written, relayed):
        assert {"model": "t", "input": "a", "output_dimension": 3, "kept": 1} == json.loads(out.body)
        assert ("user: left out, acme does not know it",) == out.warnings
        assert "/embeddings" == out.path


def test_extras_of_another_dialect() -> None:
    """They are left out, with a warning."""
    out = WIRE.encode_request(EmbeddingRequest(inputs=("a",), dialect="gemini", extras={"title": "x"}), TARGET)
    assert {"model": "t", "input": "a"} == json.loads(out.body)
    assert ("title: left out, acme does not know it",) == out.warnings


def test_answers() -> None:
    """Vectors come in the order of the inputs, as numbers or base64; usage and extras are kept."""
    rows: Json = [{"index": 1, "embedding": packed(0.5, -2.0)}, {"index": 0, "embedding": [1, 0.25]}]
    body = json.dumps(
        {"data": rows, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3, "cost": 1}, "id": "e1"}
    ).encode()
    answer = WIRE.decode_response(body, {}, TARGET)
    usage = Usage(input_tokens=3, extras={"cost": 1})
    expected = EmbeddingResponse(
        vectors=((1.0, 0.25), (0.5, -2.0)), model="m", usage=usage, dialect="openai_embeddings", extras={"id": "e1"}
    )
    assert expected == answer
    assert usage == WIRE.check_response(body, TARGET)
    for asked in (ASKED, PACKED):
        assert expected == WIRE.decode_response(WIRE.encode_response(answer, asked), {}, TARGET)


def test_answers_of_the_lax() -> None:
    """Without indexes the order is that of the rows; without usage there is none; one total will do."""
    body = b'{"data": [{"embedding": [1]}, {"embedding": [2]}]}'
    assert ((1.0,), (2.0,)) == WIRE.decode_response(body, {}, TARGET).vectors
    assert WIRE.check_response(body, TARGET) is None
    total = WIRE.decode_response(answer_of([1], usage={"total_tokens": 4}), {}, TARGET)
    assert Usage(input_tokens=4) == total.usage


@pytest.mark.parametrize("vector", ["***", "AAAA", "", "é", packed(math.inf), [], [1, "x"], [True], None, {"a": 1}])
def test_vectors_that_are_none(vector: Json) -> None:
    """What is neither numbers nor base64 of whole floats is malformed."""
    with pytest.raises(MalformedResponseError):
        WIRE.decode_response(answer_of(vector), {}, TARGET)


def test_answers_that_are_none() -> None:
    """An answer without vectors, or that tells a failure, is an error, read from the side too."""
    failed = b'{"error": {"code": "rate_limit_exceeded", "message": "slow"}}'
    for read in (lambda body: WIRE.decode_response(body, {}, TARGET), lambda body: WIRE.check_response(body, TARGET)):
        with pytest.raises(MalformedResponseError):
            read(b'{"data": []}')
        with pytest.raises(RateLimitedError):
            read(failed)
    with pytest.raises(MalformedResponseError, match="32-bit"):
        WIRE.encode_response(EmbeddingResponse(vectors=((1e300,),)), PACKED)


def test_an_answer_from_elsewhere() -> None:
    """It has all that the client demands, and nothing of the other dialect."""
    answer = EmbeddingResponse(vectors=((1.0,),), dialect="gemini", extras={"no": 1})
    assert {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}],
        "model": "m",
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    } == json.loads(WIRE.encode_response(answer, ASKED))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_base64_loses_nothing(numbers: list[float]) -> None:
    """Numbers of 32 bits are the same once packed and unpacked."""
    answer = EmbeddingResponse(vectors=(tuple(numbers),))
    assert answer.vectors == WIRE.decode_response(WIRE.encode_response(answer, PACKED), {}, TARGET).vectors


@pytest.mark.parametrize("form", ["float", None])
async def test_the_official_client(form: Literal["float"] | None) -> None:
    """The official client asks for base64 where its user says nothing, and takes what it is given."""
    asked: list[EmbeddingRequest] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(WIRE.decode_request(request.content))
        body = WIRE.encode_response(EmbeddingResponse(vectors=((0.5, 1.0),), model="m"), asked[-1])
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body, request=request)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    async with openai.AsyncOpenAI(api_key="k", base_url="http://gateway.example/v1", http_client=http) as sdk:
        told = await sdk.embeddings.create(model="m", input="hi", encoding_format=form or Omit())
    assert [form or "base64"] == [request.encoding_format for request in asked]
    assert [0.5, 1.0] == told.data[0].embedding


@given(
    value=st.text(min_size=1)
    | st.lists(st.text(min_size=1), min_size=1, max_size=3)
    | st.lists(st.integers(0, 9), min_size=1, max_size=4),
    dimensions=st.none() | st.integers(1, 4096),
    form=st.sampled_from([None, "float", "base64"]),
    unknown=st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), st.integers() | st.text(), max_size=3),
)
def test_nothing_of_a_request_is_lost(
    value: Json, dimensions: int | None, form: str | None, unknown: dict[str, Json]
) -> None:
    """T1: what is read, written and read again is the same, unknown fields among it."""
    fields: dict[str, Json] = {"dimensions": dimensions, "encoding_format": form}
    told = {name: said for name, said in fields.items() if said is not None} | unknown
    read = WIRE.decode_request(body_of(value, **told))
    written = WIRE.encode_request(read, Target(model="m"))
    assert read == WIRE.decode_request(written.body)
    assert () == written.warnings
    assert unknown == read.extras
