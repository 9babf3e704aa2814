"""Embeddings over Bedrock's InvokeModel: each family's own form."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Target
from genai_spine.dialects.bedrock_converse.embeddings import BedrockEmbeddings
from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

WIRE = BedrockEmbeddings()
TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
COHERE = "us.cohere.embed-v4:0"


def target(model: str) -> Target:
    """To whom requests are written."""
    return Target(model=model, provider="bedrock")


def asking(*texts: str, dimensions: int | None = None, **extras: Json) -> EmbeddingRequest:
    """A request as it comes in at OpenAI's door."""
    return EmbeddingRequest(inputs=texts, dimensions=dimensions, dialect="openai_embeddings", extras=extras)


@pytest.mark.parametrize(
    ("model", "request_", "body"),
    [
        (TITAN, asking("a"), {"inputText": "a"}),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{TITAN}", asking("a", dimensions=256), None),
        (
            "amazon.titan-embed-image-v1",
            asking("a", dimensions=384),
            {"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 384}},
        ),
        (
            NOVA,
            asking("a", dimensions=256, input_type="search_query"),
            {
                "taskType": "SINGLE_EMBEDDING",
                "singleEmbeddingParams": {
                    "embeddingPurpose": "GENERIC_RETRIEVAL",
                    "text": {"truncationMode": "NONE", "value": "a"},
                    "embeddingDimension": 256,
                },
            },
        ),
        (
            COHERE,
            asking("a", "b", dimensions=512),
            {"texts": ["a", "b"], "input_type": "search_document", "output_dimension": 512},
        ),
        (
            "cohere.embed-english-v3",
            asking("a", input_type="clustering"),
            {"texts": ["a"], "input_type": "clustering"},
        ),
    ],
)
def test_requests(model: str, request_: EmbeddingRequest, body: JsonObject | None) -> None:
    """The words, the length and what the vectors are for, each where the family has it; at the model's own path."""
    out = WIRE.encode_request(request_, target(model))
    assert (body or {"inputText": "a", "dimensions": 256}) == json.loads(out.body)
    assert () == out.warnings
    assert out.path.startswith("/model/")
    assert out.path.endswith("/invoke")
    assert 3 == out.path.count("/"), "an id is one piece of the path, whatever it holds"


def test_how_many_a_call_takes() -> None:
    """One text for Amazon's models, 96 for Cohere's."""
    assert [1, 1, 96] == [WIRE.most_inputs(target(model)) for model in (TITAN, NOVA, COHERE)]


@pytest.mark.parametrize("model", ["amazon.titan-embed-text-v1", "cohere.embed-multilingual-v3"])
def test_lengths_that_cannot_be_chosen(model: str) -> None:
    """Vectors of another length than the one asked for are of no use, so the request is refused."""
    with pytest.raises(InvalidFieldError) as caught:
        WIRE.encode_request(asking("a", dimensions=3), target(model))
    assert ("dimensions", "unsupported_by_provider") == (caught.value.param, caught.value.code)


def test_what_is_left_out() -> None:
    """What a family does not know is left out with a warning; token ids and odd purposes are refused."""
    out = WIRE.encode_request(asking("a", input_type="search_query", odd=1), target(TITAN))
    assert {"inputText": "a"} == json.loads(out.body)
    told = [f"{name}: left out, bedrock does not know it" for name in ("input_type", "odd")]
    assert told == list(out.warnings)
    with pytest.raises(InvalidFieldError, match="token ids"):
        WIRE.encode_request(EmbeddingRequest(inputs=((1, 2),)), target(TITAN))
    with pytest.raises(InvalidFieldError, match="input_type"):
        WIRE.encode_request(asking("a", input_type=5), target(COHERE))


@pytest.mark.parametrize("model", ["anthropic.claude-3-haiku-20240307-v1:0", "arn:aws:bedrock:x:1:profile/abc", ""])
def test_models_without_embeddings(model: str) -> None:
    """An id that is none of an embedding model is refused before anything is sent."""
    for ask in (WIRE.most_inputs, lambda to: WIRE.encode_request(asking("a"), to)):
        with pytest.raises(InvalidRequestError) as caught:
            ask(target(model))
        assert ("model", "unsupported_by_provider") == (caught.value.param, caught.value.code)


@pytest.mark.parametrize(
    ("model", "body", "vectors"),
    [
        (TITAN, {"embedding": [1, 0.5], "embeddingsByType": {"float": [1, 0.5]}}, ((1.0, 0.5),)),
        (NOVA, {"embeddings": [{"embeddingType": "TEXT", "embedding": [1]}]}, ((1.0,),)),
        (COHERE, {"embeddings": {"float": [[1], [2]]}}, ((1.0,), (2.0,))),
        (COHERE, {"embeddings": [[1], [2]]}, ((1.0,), (2.0,))),
    ],
)
def test_answers(model: str, body: JsonObject, vectors: tuple[tuple[float, ...], ...]) -> None:
    """Vectors are read from each family's form; the header counts the tokens, else the body, else nobody."""
    read = WIRE.decode_response(json.dumps(body).encode(), {"x-amzn-bedrock-input-token-count": "7"}, target(model))
    assert (vectors, Usage(input_tokens=7)) == (read.vectors, read.usage)
    counted = json.dumps({**body, "inputTextTokenCount": 4}).encode()
    assert Usage(input_tokens=4) == WIRE.decode_response(counted, {}, target(model)).usage
    for header in ("", "many", "²"):
        read = WIRE.decode_response(
            json.dumps(body).encode(), {"x-amzn-bedrock-input-token-count": header}, target(model)
        )
        assert read.usage is None


@pytest.mark.parametrize("model", [TITAN, NOVA, COHERE])
@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"embedding": []}',
        b'{"embedding": ["a"]}',
        b'{"embeddings": []}',
        b'{"embeddings": [[]]}',
        b'{"embeddings": ["a"]}',
        b'{"embeddings": {"int8": [[1]]}}',
    ],
)
def test_what_is_no_answer(model: str, body: bytes) -> None:
    """An answer without numbers is none."""
    with pytest.raises(MalformedResponseError):
        WIRE.decode_response(body, {}, target(model))
