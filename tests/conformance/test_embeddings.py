"""T1 for embeddings: what every door and every service of them must keep, over generated and recorded exchanges."""

from __future__ import annotations

import json
from typing import Final, TypeAlias
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from genai_spine.dialects.base import Quirks, Target
from genai_spine.dialects.bedrock_converse.embeddings import BedrockEmbeddings
from genai_spine.dialects.gemini.embeddings import GeminiEmbeddings
from genai_spine.dialects.ollama.embeddings import OllamaEmbeddings
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.errors import InvalidFieldError, InvalidRequestError, MalformedResponseError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.usage import Usage
from tests.conformance.recordings import Exchange, exchanges, require
from tests.strategies import json_objects, words

Wire: TypeAlias = OpenAIEmbeddings | GeminiEmbeddings | OllamaEmbeddings

TARGET: Final = Target(model="m", provider="acme")
BEDROCK: Final = BedrockEmbeddings()
WIRES: Final[tuple[Wire, ...]] = (
    OpenAIEmbeddings(),
    GeminiEmbeddings(),
    OllamaEmbeddings(),
)
each_wire: Final = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)

_vectors: Final = st.integers(1, 4).flatmap(
    lambda length: st.lists(
        st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * length), min_size=1, max_size=4
    )
)


@st.composite
def requests(draw: st.DrawFn) -> EmbeddingRequest:
    """Requests from whatever door."""
    tokens = st.lists(st.integers(0, 2**31), min_size=1, max_size=3).map(tuple)
    inputs: st.SearchStrategy[str | tuple[int, ...]] = words
    if draw(st.booleans()):
        inputs = st.one_of(words, tokens)
    return EmbeddingRequest(
        inputs=tuple(draw(st.lists(inputs, min_size=1, max_size=4))),
        model="asked-for",
        dimensions=draw(st.none() | st.integers(1, 4096)),
        encoding_format=draw(st.sampled_from([None, "float", "base64"])),
        user=draw(st.none() | words),
        dialect=draw(st.sampled_from(["openai_embeddings", "gemini_embeddings", "ollama_embeddings"])),
        extras=draw(json_objects),
    )


@st.composite
def answers(draw: st.DrawFn) -> EmbeddingResponse:
    """Answers from whatever service; all vectors of one are of one length."""
    tokens = draw(st.none() | st.integers(0, 10**9))
    return EmbeddingResponse(
        vectors=tuple(draw(_vectors)),
        model=draw(words),
        usage=None if tokens is None else Usage(input_tokens=tokens),
        dialect="elsewhere",
        extras=draw(json_objects),
    )


@each_wire
@given(request=requests())
def test_requests(wire: Wire, request: EmbeddingRequest) -> None:
    """A request is written so that it reads the same, or refused by the name of what cannot be said."""
    if wire.name != "openai_embeddings" and not all(isinstance(one, str) for one in request.inputs):
        with pytest.raises(InvalidFieldError, match="input: acme cannot do this"):
            wire.encode_request(request, TARGET)
        return
    out = wire.encode_request(request, TARGET)
    read = wire.decode_request(out.body)
    assert ("m", request.inputs, request.dimensions) == (read.model, read.inputs, read.dimensions)
    if request.dialect != wire.name:
        # Each field of another dialect is accounted for, and none goes on.
        assert {} == read.extras
        assert len(request.extras) == len(out.warnings)
    again = wire.decode_request(wire.encode_request(read, TARGET).body)
    assert read == again


@each_wire
@given(request=requests(), extras=json_objects)
def test_bodies_that_pass_through(wire: Wire, request: EmbeddingRequest, extras: JsonObject) -> None:
    """A body keeps its fields; the model is the target's, and the gateway's own fields stay here."""
    request = replace(request, inputs=tuple(str(one) for one in request.inputs), extras={}, dialect=wire.name)
    body: JsonObject = json.loads(wire.encode_request(request, TARGET).body)
    body = {**extras, **body}
    sent = json.dumps({**body, "provider": "acme", "fallback": True}).encode()
    envelope = wire.read_envelope(sent, {})
    assert "acme" == envelope.wishes.provider
    assert body == json.loads(wire.relay_request(envelope, TARGET).body)


@each_wire
@given(answer=answers(), request=requests())
def test_answers(wire: Wire, answer: EmbeddingResponse, request: EmbeddingRequest) -> None:
    """An answer from elsewhere tells the same vectors and tokens, as numbers or packed, and nothing else."""
    body = wire.encode_response(answer, request)
    read = wire.decode_response(body, {}, TARGET)
    assert answer.vectors == read.vectors
    assert ({}, "openai_embeddings" == wire.name or answer.usage is not None) == (read.extras, read.usage is not None)
    assert (answer.usage or Usage()) == (read.usage or Usage())
    assert read.usage == wire.check_response(body, TARGET)
    assert read == wire.decode_response(wire.encode_response(read, request), {}, TARGET)


@each_wire
@given(body=st.binary(max_size=40) | json_objects.map(lambda value: json.dumps(value).encode()))
def test_any_bytes(wire: Wire, body: bytes) -> None:
    """Whatever comes, from a caller or a provider, ends in an error of its kind."""
    for read in (lambda: wire.read_envelope(body, {}), lambda: wire.decode_request(body)):
        with pytest.raises((InvalidRequestError, InvalidFieldError)):
            read()
    for look in (lambda: wire.decode_response(body, {}, TARGET), lambda: wire.check_response(body, TARGET)):
        with pytest.raises(MalformedResponseError):
            look()


# Recorded.

RECORDED: Final = ("*/v1/embeddings", "*:batchEmbedContents")


def wire_of(exchange: Exchange) -> OpenAIEmbeddings | GeminiEmbeddings:
    """What a recorded service speaks."""
    return GeminiEmbeddings() if "EmbedContents" in exchange.uri else OpenAIEmbeddings()


@pytest.mark.parametrize("uri", RECORDED)
def test_recorded(uri: str) -> None:
    """Every recorded exchange is read, and written again, with all that it holds."""
    require()
    for exchange in exchanges(uri):
        wire = wire_of(exchange)
        read = wire.decode_request(exchange.request)
        target = Target(model=read.model or "")
        assert read == wire.decode_request(wire.encode_request(read, target).body), exchange.name
        relayed = wire.relay_request(wire.read_envelope(exchange.request, {}), target)
        assert json.loads(exchange.request) == json.loads(relayed.body), exchange.name
        if exchange.status < 400:
            answer = wire.decode_response(exchange.body, exchange.headers, target)
            assert len(read.inputs) == len(answer.vectors), exchange.name
            assert answer == wire.decode_response(wire.encode_response(answer, read), {}, target), exchange.name
            assert answer.usage == wire.check_response(exchange.body, target), exchange.name


def test_recorded_of_bedrock() -> None:
    """Every recorded request is one that is written here, but for what callers cannot say; every answer is read."""
    require()
    seen = 0
    for exchange in exchanges("*/model/*/invoke", path="test_embeddings/*"):
        asked = json.loads(exchange.request)
        model = unquote(exchange.uri.split("/")[-2])
        if "inference-profile" in model:
            # Such an id does not tell whose model it is; the body does.
            model = "amazon.titan-embed-text-v2:0"
        target = Target(model=model, provider="bedrock", quirks=Quirks())
        params = asked.get("singleEmbeddingParams", {})
        words = asked.get("texts") or [asked.get("inputText") or params["text"]["value"]]
        length = next((asked[name] for name in ("dimensions", "output_dimension") if name in asked), None)
        request = EmbeddingRequest(inputs=tuple(words), dimensions=length or params.get("embeddingDimension"))
        if "input_type" in asked:
            request = replace(request, extras={"input_type": asked["input_type"]})
        out = json.loads(BEDROCK.encode_request(request, target).body)
        unsaid = {"truncate", "normalize", "max_tokens", "singleEmbeddingParams"}
        assert {name: told for name, told in asked.items() if name not in unsaid} == {
            name: told for name, told in out.items() if name not in unsaid
        }, exchange.name
        answer = BEDROCK.decode_response(exchange.body, exchange.headers, target)
        assert len(words) == len(answer.vectors), exchange.name
        assert request.dimensions in {None, len(answer.vectors[0])}, exchange.name
        count = int(exchange.headers["x-amzn-bedrock-input-token-count"])
        assert Usage(input_tokens=count) == answer.usage, exchange.name
        seen += 1
    assert 20 < seen
