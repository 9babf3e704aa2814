"""Gemini's embeddings, of one content or of many, read and written; and its list of models."""

from __future__ import annotations

import json

import msgspec
import pytest

from genai_spine.dialects.base import Target
from genai_spine.dialects.gemini.embeddings import GeminiEmbeddings
from genai_spine.errors import (
    InvalidFieldError,
    InvalidRequestError,
    MalformedResponseError,
    ModelNotFoundError,
    RateLimitedError,
)
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage
from tests.conformance.recordings import exchanges, require
from tests.unit.dialects.gemini.wire import GEMINI, TARGET, fields_of

BATCH = GeminiEmbeddings()
SINGLE = GeminiEmbeddings(model="gemini-y", batch=False)
ASKED = EmbeddingRequest(inputs=("a",))


def _one(text: str, **more: Json) -> JsonObject:
    return {"model": "models/gemini-x", "content": {"parts": [{"text": text}]}, **more}


def _read(body: JsonObject) -> EmbeddingRequest:
    return (BATCH if "requests" in body else SINGLE).decode_request(json.dumps(body).encode())


def test_a_batch() -> None:
    """T1: texts, length and task are read, and written again as they came."""
    body: JsonObject = {"requests": [_one(text, outputDimensionality=8, taskType="CLUSTERING") for text in "ab"]}
    read = _read(body)
    assert (
        EmbeddingRequest(
            inputs=("a", "b"),
            model="gemini-x",
            dimensions=8,
            dialect="gemini_embeddings",
            extras={"taskType": "CLUSTERING"},
        )
        == read
    )
    written = BATCH.encode_request(read, TARGET)
    assert ("/v1beta/models/gemini-x:batchEmbedContents", body) == (written.path, fields_of(written.body))


def test_requests_that_differ() -> None:
    """T1: what each request of a batch says for itself stays with it."""
    body: JsonObject = {"requests": [_one("a", title="A"), _one("b")]}
    read = _read(body)
    assert {"requests": [{"title": "A"}, {}]} == read.extras
    assert body == fields_of(BATCH.encode_request(read, TARGET).body)


def test_one_content() -> None:
    """A request for one vector is one of a batch's, and is written as one."""
    body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "output_dimensionality": 4, "task_type": "x"}
    read = SINGLE.decode_request(json.dumps({**body, "odd": 1}).encode())
    expected = EmbeddingRequest(
        inputs=("ab",), model="gemini-y", dimensions=4, dialect="gemini_embeddings", extras={"odd": 1}
    )
    assert expected == read
    written = BATCH.encode_request(read, Target(model="tunedModels/a"))
    assert "/v1beta/tunedModels/a:batchEmbedContents" == written.path
    one = {"model": "tunedModels/a", "content": {"parts": [{"text": "ab"}]}, "outputDimensionality": 4}
    assert {"requests": [{**one, "odd": 1}]} == fields_of(written.body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"requests": []}, "requests"),
        ({"requests": [_one("a", outputDimensionality=1), _one("b")]}, "requests"),
        ({"content": {"parts": [{"inlineData": {"data": "AAAA"}}]}}, "content.parts[0].text"),
        ({}, "content"),
        ({"content": {"parts": [{"text": 5}]}}, "content.parts[0].text"),
    ],
)
def test_bad_requests(body: JsonObject, param: str) -> None:
    """They are refused by the name of the field."""
    with pytest.raises(InvalidFieldError) as caught:
        _read(body)
    assert param == caught.value.param


def test_what_is_no_request() -> None:
    """Neither is a body that is not JSON."""
    with pytest.raises(InvalidRequestError):
        BATCH.decode_request(b"{")


def test_requests_from_elsewhere() -> None:
    """Words go over; ids of tokens cannot; what others have is left out."""
    request = EmbeddingRequest(inputs=("a", "b"), user="ann", dialect="openai_embeddings", extras={"odd": 1})
    written = BATCH.encode_request(request, TARGET)
    assert {"requests": [_one("a"), _one("b")]} == fields_of(written.body)
    assert ("odd: left out, google does not know it",) == written.warnings
    with pytest.raises(InvalidFieldError) as caught:
        BATCH.encode_request(EmbeddingRequest(inputs=((1, 2),)), TARGET)
    assert "input" == caught.value.param


def test_answers() -> None:
    """T1: vectors of either kind of answer, with what was read to make them."""
    body: JsonObject = {
        "embeddings": [{"values": [0.5, 1]}, {"values": [0, -1.5]}],
        "usageMetadata": {"promptTokenCount": 3, "promptTokenDetails": []},
        "odd": 1,
    }
    read = BATCH.decode_response(json.dumps(body).encode(), {}, TARGET)
    assert [[0.5, 1], [0, -1.5]] == [list(vector) for vector in read.vectors]
    assert Usage(input_tokens=3, extras={"promptTokenDetails": []}) == read.usage
    assert body == fields_of(BATCH.encode_response(read, ASKED))
    body_of_one = b'{"embedding": {"values": [1]}, "usageMetadata": {"totalTokenCount": 2}}'
    single = SINGLE.decode_response(body_of_one, {}, TARGET)
    assert EmbeddingResponse(vectors=((1,),), usage=Usage(input_tokens=2), dialect="gemini_embeddings") == single
    assert single.usage == SINGLE.check_response(body_of_one, TARGET)
    assert {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 2}} == fields_of(
        SINGLE.encode_response(single, ASKED)
    )


def test_answers_from_elsewhere() -> None:
    """Only the vectors and the tokens are told."""
    response = EmbeddingResponse(
        vectors=((0.5,),),
        model="m",
        usage=Usage(input_tokens=1, extras={"odd": 1}),
        dialect="openai_embeddings",
        extras={"odd": 1},
    )
    expected: JsonObject = {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 1}}
    assert expected == fields_of(BATCH.encode_response(response, ASKED))


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"embeddings": [{}]}', b'{"embeddings": [{"values": ["a"]}]}', b'{"embedding": 5}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """An answer without numbers is none."""
    for wire in (BATCH, SINGLE):
        with pytest.raises(MalformedResponseError):
            wire.decode_response(body, {}, TARGET)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"{", b'{"embeddings": [{}]}', b'{"embeddings": []}', b'"\xff"'])
def test_what_is_no_answer_from_the_side(body: bytes) -> None:
    """What passes through is looked at, but for the numbers."""
    for wire in (BATCH, SINGLE):
        with pytest.raises(MalformedResponseError):
            wire.check_response(body, TARGET)


def test_a_failure_told_inside() -> None:
    """It is raised, read whole or from the side."""
    body = b'{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}'
    with pytest.raises(RateLimitedError):
        BATCH.decode_response(body, {}, TARGET)
    with pytest.raises(RateLimitedError):
        BATCH.check_response(body, TARGET)


def test_passing_through() -> None:
    """Each request of a batch names the model that serves it, and nothing else is changed; one alone is one body."""
    body = {"requests": [_one("a", title="A"), {"content": {"parts": [{"text": "b"}]}}], "provider": "google"}
    relayed = BATCH.relay_request(BATCH.read_envelope(json.dumps(body).encode(), {}), TARGET)
    assert ("/v1beta/models/gemini-x:batchEmbedContents", {"requests": [_one("a", title="A"), _one("b")]}) == (
        relayed.path,
        fields_of(relayed.body),
    )
    envelope = SINGLE.read_envelope(json.dumps({"content": {"parts": [{"text": "b"}]}}).encode(), {})
    assert "gemini-y" == envelope.model
    relayed = SINGLE.relay_request(envelope, TARGET)
    assert ("/v1beta/models/gemini-x:embedContent", _one("b")) == (relayed.path, fields_of(relayed.body))


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (BATCH, {}),
        (BATCH, {"requests": []}),
        (BATCH, {"requests": [{}]}),
        (BATCH, {"requests": "a"}),
        (SINGLE, {}),
        (SINGLE, {"content": "a"}),
    ],
)
def test_envelopes_that_are_none(wire: GeminiEmbeddings, body: JsonObject) -> None:
    """What is no request is refused before it is decided who serves it."""
    with pytest.raises(InvalidFieldError):
        wire.read_envelope(json.dumps(body).encode(), {})


def test_more_than_a_batch_holds() -> None:
    """What the requests of a batch said each for itself does not stray to the texts of another."""
    read = _read({"requests": [_one("a", title="A"), _one("b")]})
    piece = BATCH.encode_request(msgspec.structs.replace(read, inputs=("b",)), TARGET)
    assert {"requests": [_one("b")]} == fields_of(piece.body)
    assert ("requests: left out, google does not know it",) == piece.warnings


def test_recorded() -> None:
    """T1: every recorded exchange is read, and written again with all that it holds."""
    require()
    for exchange in exchanges("*mbedContent*"):
        wire = GeminiEmbeddings(batch="batch" in exchange.uri)
        read = wire.decode_request(exchange.request)
        again = BATCH.decode_request(BATCH.encode_request(read, Target(model=read.model or "m")).body)
        assert (read.inputs, read.dimensions, read.extras) == (again.inputs, again.dimensions, again.extras)
        if exchange.status < 400:
            answer = wire.decode_response(exchange.body, {}, TARGET)
            assert answer == wire.decode_response(wire.encode_response(answer, read), {}, TARGET)
            assert answer.usage == wire.check_response(exchange.body, TARGET)
        else:
            assert isinstance(
                GEMINI.decode_error(exchange.status, {}, exchange.body, TARGET.quirks), ModelNotFoundError
            )


def test_recorded_counts() -> None:
    """Every recorded count of tokens is read."""
    require()
    counted = [GEMINI.decode_token_count(one.body) for one in exchanges("*:countTokens", failed=False)]
    assert all(counted)


def test_models() -> None:
    """A page of models is read without the prefix of their names, and written with it."""
    body = {
        "models": [{"name": "models/gemini-x", "displayName": "X"}, {"name": "tunedModels/y"}],
        "nextPageToken": "a",
    }
    assert [
        Model(id="gemini-x", owned_by="google", display_name="X"),
        Model(id="tunedModels/y", owned_by="google"),
    ] == GEMINI.decode_models(json.dumps(body).encode())
    assert [] == GEMINI.decode_models(b"{}")
    written = GEMINI.encode_models([Model(id="a", provider="openai", display_name="A"), Model(id="b")])
    models = fields_of(written)["models"]
    assert isinstance(models, list)
    first, second = (model for model in models if isinstance(model, dict))
    assert ("models/a", "A", "a of openai") == (first["name"], first["displayName"], first["description"])
    assert ("models/b", "b") == (second["name"], second["displayName"])
    assert ["gemini-x"] != [model.id for model in GEMINI.decode_models(written)]
