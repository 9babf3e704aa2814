"""Gemini's embeddings, of one content or of many, read and written; and its list of models."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Target
from genai_spine.dialects.gemini.embeddings import (
    decode_embedding_request,
    decode_embedding_response,
    encode_embedding_request,
    encode_embedding_response,
)
from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError, ModelNotFoundError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage
from tests.conformance.recordings import exchanges, require
from tests.unit.dialects.gemini.wire import GEMINI, TARGET, fields_of


def _one(text: str, **more: Json) -> JsonObject:
    return {"model": "models/gemini-x", "content": {"parts": [{"text": text}]}, **more}


def _read(body: Json) -> EmbeddingRequest:
    return decode_embedding_request(json.dumps(body).encode())


def test_a_batch() -> None:
    """T1: texts, length and task are read, and written again as they came."""
    body: JsonObject = {"requests": [_one(text, outputDimensionality=8, taskType="CLUSTERING") for text in "ab"]}
    read = _read(body)
    assert (
        EmbeddingRequest(
            inputs=("a", "b"), model="gemini-x", dimensions=8, dialect="gemini", extras={"taskType": "CLUSTERING"}
        )
        == read
    )
    written = encode_embedding_request(read, TARGET)
    assert ("/v1beta/models/gemini-x:batchEmbedContents", body) == (written.path, fields_of(written.body))


def test_requests_that_differ() -> None:
    """T1: what each request of a batch says for itself stays with it."""
    body: JsonObject = {"requests": [_one("a", title="A"), _one("b")]}
    read = _read(body)
    assert {"requests": [{"title": "A"}, {}]} == read.extras
    assert body == fields_of(encode_embedding_request(read, TARGET).body)


def test_one_content() -> None:
    """T1: a request for one vector is one of a batch's, and may be written so or so."""
    body = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "output_dimensionality": 4, "task_type": "x"}
    read = decode_embedding_request(json.dumps({**body, "odd": 1}).encode(), "gemini-y")
    assert EmbeddingRequest(inputs=("ab",), model="gemini-y", dimensions=4, dialect="gemini", extras={"odd": 1}) == read
    written = encode_embedding_request(read, Target(model="tunedModels/a"), batch=False)
    assert "/v1beta/tunedModels/a:embedContent" == written.path
    expected = {"model": "tunedModels/a", "content": {"parts": [{"text": "ab"}]}, "outputDimensionality": 4, "odd": 1}
    assert expected == fields_of(written.body)


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
def test_bad_requests(body: Json, param: str) -> None:
    """They are refused by the name of the field."""
    with pytest.raises(InvalidFieldError) as caught:
        _read(body)
    assert param == caught.value.param


def test_what_is_no_request() -> None:
    """Neither is a body that is not JSON."""
    with pytest.raises(InvalidRequestError):
        decode_embedding_request(b"{")


def test_requests_from_elsewhere() -> None:
    """Words go over; ids of tokens cannot; several cannot be asked for one; what others have is left out."""
    request = EmbeddingRequest(inputs=("a", "b"), user="ann", dialect="openai", extras={"odd": 1})
    written = encode_embedding_request(request, TARGET)
    assert {"requests": [_one("a"), _one("b")]} == fields_of(written.body)
    assert ("odd: left out, google does not know it",) == written.warnings
    with pytest.raises(InvalidFieldError) as caught:
        encode_embedding_request(EmbeddingRequest(inputs=((1, 2),)), TARGET)
    assert "input" == caught.value.param
    with pytest.raises(InvalidFieldError):
        encode_embedding_request(request, TARGET, batch=False)


def test_answers() -> None:
    """T1: vectors of either kind of answer, with what was read to make them."""
    body: JsonObject = {
        "embeddings": [{"values": [0.5, 1]}, {"values": [0, -1.5]}],
        "usageMetadata": {"promptTokenCount": 3, "promptTokenDetails": []},
        "odd": 1,
    }
    read = decode_embedding_response(json.dumps(body).encode())
    assert [[0.5, 1], [0, -1.5]] == [list(vector) for vector in read.vectors]
    assert Usage(input_tokens=3, extras={"promptTokenDetails": []}) == read.usage
    assert body == fields_of(encode_embedding_response(read))
    single = decode_embedding_response(b'{"embedding": {"values": [1]}, "usageMetadata": {"totalTokenCount": 2}}')
    assert EmbeddingResponse(vectors=((1,),), usage=Usage(input_tokens=2), dialect="gemini") == single
    assert {"embedding": {"values": [1]}, "usageMetadata": {"promptTokenCount": 2}} == fields_of(
        encode_embedding_response(single, batch=False)
    )


def test_answers_from_elsewhere() -> None:
    """Only the vectors and the tokens are told."""
    response = EmbeddingResponse(
        vectors=((0.5,),),
        model="m",
        usage=Usage(input_tokens=1, extras={"odd": 1}),
        dialect="openai",
        extras={"odd": 1},
    )
    expected: JsonObject = {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 1}}
    assert expected == fields_of(encode_embedding_response(response))
    assert {"embeddings": []} == fields_of(encode_embedding_response(EmbeddingResponse(vectors=())))


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"embeddings": [{}]}', b'{"embeddings": [{"values": ["a"]}]}', b'{"embedding": 5}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """An answer without numbers is none."""
    with pytest.raises(MalformedResponseError):
        decode_embedding_response(body)


def test_recorded() -> None:
    """Every recorded exchange is read, and written again with all that it holds."""
    require()
    for exchange in exchanges("*mbedContent*"):
        read = decode_embedding_request(exchange.request)
        batch = "batch" in exchange.uri
        again = encode_embedding_request(read, Target(model=read.model or "m"), batch=batch)
        assert read.inputs == decode_embedding_request(again.body).inputs
        if exchange.status < 400:
            answer = decode_embedding_response(exchange.body)
            assert answer == decode_embedding_response(encode_embedding_response(answer, batch=batch))
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
