"""Ollama's embeddings: what only its own wire has."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Quirks, Target
from genai_spine.dialects.ollama.embeddings import OllamaEmbeddings, OllamaOldEmbeddings
from genai_spine.errors import InvalidFieldError, MalformedResponseError, ProviderFailedError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.usage import Usage

TODAY = OllamaEmbeddings()
OLDER = OllamaOldEmbeddings()
TARGET = Target(model="nomic", provider="ollama")


def test_the_older_door() -> None:
    """A prompt is one input, and its options are those of today's; the answer is one vector and nothing else."""
    body = json.dumps({"model": "m", "prompt": "Hi", "options": {"num_ctx": 9}}).encode()
    request = OLDER.decode_request(body)
    expected = EmbeddingRequest(
        inputs=("Hi",), model="m", dialect="ollama_embeddings", extras={"options": {"num_ctx": 9}}
    )
    assert expected == request
    written = TODAY.encode_request(request, TARGET)
    assert "/api/embed" == written.path
    assert {"model": "nomic", "input": "Hi", "options": {"num_ctx": 9}} == json.loads(written.body)
    response = EmbeddingResponse(vectors=((1.0, 0.5),), model="m", usage=Usage(input_tokens=3))
    assert b'{"embedding":[1.0,0.5]}' == OLDER.encode_response(response, request)


def test_an_older_request_that_is_none() -> None:
    """Without a prompt there is nothing to embed."""
    with pytest.raises(InvalidFieldError, match="prompt"):
        OLDER.decode_request(b'{"model": "m", "prompt": ""}')


def test_a_request_as_a_service_takes_it() -> None:
    """Fields are renamed or left out as the row says, whether a body is written or passes through."""
    quirks = Quirks(drop=("keep_alive",), rename={"dimensions": "length"})
    target = Target(model="nomic", provider="acme", quirks=quirks)
    body = b'{"model": "m", "input": "Hi", "dimensions": 3, "keep_alive": "5m"}'
    written = TODAY.encode_request(TODAY.decode_request(body), target)
    relayed = TODAY.relay_request(TODAY.read_envelope(body, {}), target)
    for out in (written, relayed):
        assert {"model": "nomic", "input": "Hi", "length": 3} == json.loads(out.body)
        assert ("keep_alive: left out, acme does not know it",) == out.warnings


def test_answers() -> None:
    """T1: what Ollama tells beside the vectors is kept; the count is left out where it is nothing."""
    body: JsonObject = {"model": "m", "embeddings": [[1.0], [0.5]], "total_duration": 5, "prompt_eval_count": 2}
    read = TODAY.decode_response(json.dumps(body).encode(), {}, TARGET)
    assert (((1.0,), (0.5,)), Usage(input_tokens=2), {"total_duration": 5}) == (read.vectors, read.usage, read.extras)
    assert body == json.loads(TODAY.encode_response(read, EmbeddingRequest(inputs=("a", "b"))))
    assert TODAY.decode_response(b'{"embeddings": [[1]]}', {}, TARGET).usage is None


@pytest.mark.parametrize("body", [b'{"embeddings": [1]}', b'{"embeddings": [["a"]]}', b'{"embeddings": [[]]}', b'"'])
def test_what_is_no_answer(body: bytes) -> None:
    """An answer without numbers is none."""
    with pytest.raises(MalformedResponseError):
        TODAY.decode_response(body, {}, TARGET)


def test_a_failure_told_inside() -> None:
    """It is raised, read whole or from the side."""
    body = b'{"error": "model runner has unexpectedly stopped", "embeddings": [[1]]}'
    with pytest.raises(ProviderFailedError, match="unexpectedly stopped"):
        TODAY.decode_response(body, {}, TARGET)
    with pytest.raises(ProviderFailedError, match="unexpectedly stopped"):
        TODAY.check_response(body, TARGET)
