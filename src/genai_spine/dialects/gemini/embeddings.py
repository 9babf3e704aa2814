"""Gemini: embeddings, of one content or of many at once, read and written.

Source: https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, ErrorAnswer, Headers, Target
from genai_spine.dialects.embeddings import (
    EmbeddingDoor,
    EmbeddingService,
    none_embedded,
    take_vector,
    words_of,
)
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, without_own
from genai_spine.dialects.fields import Fields, dump, glimpse, response_fault
from genai_spine.dialects.gemini.errors import encode_error
from genai_spine.dialects.gemini.parts import children
from genai_spine.dialects.gemini.response import read_piece
from genai_spine.dialects.gemini.wire import method_path, read_request
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError, SpineError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = ["BATCH", "SINGLE", "GeminiEmbeddings"]

SINGLE: Final = "embedContent"
BATCH: Final = "batchEmbedContents"
MOST_INPUTS: Final = 100
"""What the service takes in one batch."""

_NAME: Final = "gemini_embeddings"
_EACH: Final = "requests"
"""The field of a batch, and the extra that holds what its requests say beside the vocabulary, where they differ."""


class _One(Struct):
    content: dict[str, Raw]


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    content: dict[str, Raw] | None = None
    requests: list[_One] | None = None
    model: str | None = None


class _WatchedVector(Struct):
    values: Raw


class _Watched(Struct, rename="camel"):
    """What is looked at of an answer that passes through; the numbers are not."""

    embedding: _WatchedVector | None = None
    embeddings: list[_WatchedVector] | None = None
    usage_metadata: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_head: Final = msgspec.json.Decoder(_Head)
_each: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_watched: Final = msgspec.json.Decoder(_Watched)


class GeminiEmbeddings(EmbeddingDoor, EmbeddingService):
    """``POST /v1beta/models/{model}:batchEmbedContents`` and, at a door, ``:embedContent`` with one of its requests.

    Args:
        model: The model that the path names; None leaves the choice to the gateway.
        batch: The method is ``batchEmbedContents``.
    """

    name = _NAME

    def __init__(self, *, model: str | None = None, batch: bool = True) -> None:
        self._model = model
        self._batch = batch

    @override
    def most_inputs(self, target: Target) -> int:
        return MOST_INPUTS

    # Requests.

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        fields = read_fields(body)
        head = read_typed(_head, body)
        name, found = (_EACH, head.requests) if self._batch else ("content", head.content)
        if not found:
            message = f"{name}: is required and must not be empty"
            raise InvalidFieldError(message, param=name)
        return Envelope(
            fields=fields,
            model=self._model or head.model,
            wishes=read_wishes(fields, headers),
        )

    @override
    def decode_request(self, body: bytes) -> EmbeddingRequest:
        fields = read_request(body)
        asked = children(fields, _EACH) if self._batch else [fields]
        model = self._model
        inputs: list[str] = []
        lengths: list[int | None] = []
        extras: list[JsonObject] = []
        for one in asked:
            named = one.text("model")
            model = model or (None if named is None else named.removeprefix("models/"))
            inputs.append(_take_words(one.need_child("content")))
            lengths.append(one.integer("outputDimensionality"))
            if self._batch:
                extras.append(one.told())
        if not inputs:
            message = "must hold at least one request"
            fault = fields.wrong(_EACH, message)
            raise fault
        if len(set(lengths)) > 1:
            message = "must all ask for the same outputDimensionality"
            fault = fields.wrong(_EACH, message)
            raise fault
        kept = without_own(fields.told())
        if any(one != extras[0] for one in extras):
            kept[_EACH] = list[Json](extras)
        elif extras:
            kept |= extras[0]
        return EmbeddingRequest(inputs=tuple(inputs), model=model, dimensions=lengths[0], dialect=_NAME, extras=kept)

    @override
    def encode_request(self, request: EmbeddingRequest, target: Target) -> Encoded:
        losses = Losses(target.provider)
        extras = dict(losses.extras(request, _NAME))
        each = extras.pop(_EACH, None)
        if not isinstance(each, list) or len(each) != len(request.inputs):
            if each is not None:
                # They belong to another number of inputs.
                losses.drop(_EACH)
            each = [{}] * len(request.inputs)
        asked: list[Json] = []
        for words, more in zip(words_of(request, losses), each, strict=True):
            written: JsonObject = {"model": _full_name(target.model), "content": {"parts": [{"text": words}]}}
            if request.dimensions is not None:
                written["outputDimensionality"] = request.dimensions
            asked.append({**written, **extras, **(more if isinstance(more, dict) else {})})
        return Encoded(method_path(target.model, BATCH), dump({_EACH: asked}), {}, losses.warnings)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        losses = Losses(target.provider)
        fields = losses.suited(envelope.fields, target.quirks)
        if not self._batch:
            body = splice(fields, _full_name(target.model))
            return Encoded(method_path(target.model, SINGLE), body, {}, losses.warnings)
        # The service demands that each of them names the model of the path.
        name = Raw(msgspec.json.encode(_full_name(target.model)))
        asked = [{**one, "model": name} for one in _each.decode(fields[_EACH])]
        body = splice({**fields, _EACH: Raw(msgspec.json.encode(asked))}, None)
        return Encoded(method_path(target.model, BATCH), body, {}, losses.warnings)

    # Answers.

    @override
    def decode_response(self, body: bytes, headers: Headers, target: Target) -> EmbeddingResponse:
        fields = read_piece(body.strip(), target.quirks)
        single = fields.child("embedding")
        told = fields.children("embeddings") if single is None else [single]
        vectors = tuple(take_vector(one, "values") for one in told)
        if not vectors:
            raise none_embedded()
        usage = fields.child("usageMetadata")
        return EmbeddingResponse(
            vectors=vectors,
            usage=None if usage is None else _decode_usage(usage),
            dialect=_NAME,
            extras=fields.told(),
        )

    @override
    def check_response(self, body: bytes, target: Target) -> Usage | None:
        found = glimpse(_watched, body)
        if found is None or found.error is not UNSET or not (found.embeddings if self._batch else found.embedding):
            # Not what a good answer looks like: the full reader finds out what is wrong with it.
            return self.decode_response(body, {}, target).usage
        usage = None if found.usage_metadata is UNSET else msgspec.json.decode(found.usage_metadata)
        return None if usage is None else _decode_usage(Fields(usage, "usageMetadata", fault=response_fault))

    @override
    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        own = response.dialect == _NAME
        embeddings: list[Json] = [{"values": list[Json](vector)} for vector in response.vectors]
        body: JsonObject = {"embeddings": embeddings} if self._batch else {"embedding": embeddings[0]}
        if (usage := response.usage) is not None:
            body["usageMetadata"] = {"promptTokenCount": usage.input_tokens, **(usage.extras if own else {})}
        return dump(body | response.extras if own else body)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)


def _full_name(model: str) -> str:
    return model if "/" in model else f"models/{model}"


def _take_words(fields: Fields) -> str:
    words: list[str] = []
    for part in children(fields, "parts"):
        if "text" not in part:
            message = "is required: only words can be embedded here"
            fault = part.wrong("text", message)
            raise fault
        words.append(part.need_text("text"))
    return "".join(words)


def _decode_usage(fields: Fields) -> Usage:
    count = fields.integer("promptTokenCount")
    total = fields.integer("totalTokenCount")
    return Usage(input_tokens=(total if count is None else count) or 0, extras=fields.told())
