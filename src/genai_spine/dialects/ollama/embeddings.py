"""Ollama: embeddings, read and written, at its two doors: that of today, and the older one for a single prompt.

Source: https://docs.ollama.com/api/embed
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
    take_vectors,
    words_of,
)
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, without_own
from genai_spine.dialects.fields import dump, glimpse, request_object, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.ollama.errors import encode_error, told_inside
from genai_spine.errors import InvalidFieldError, SpineError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = ["OllamaEmbeddings", "OllamaOldEmbeddings"]

_NAME: Final = "ollama_embeddings"
_PATH: Final = "/api/embed"


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    model: str | None = None


class _EmbedHead(_Head):
    input: str | list[str] | None = None
    dimensions: int | None = None


class _PromptHead(_Head):
    prompt: str | None = None


class _Watched(Struct):
    """What is looked at of an answer that passes through; the numbers are not."""

    embeddings: list[Raw]
    prompt_eval_count: int | None = None
    error: Raw | UnsetType = UNSET


_embed_head: Final = msgspec.json.Decoder(_EmbedHead)
_prompt_head: Final = msgspec.json.Decoder(_PromptHead)
_watched: Final = msgspec.json.Decoder(_Watched)


class OllamaEmbeddings(EmbeddingDoor, EmbeddingService):
    """``POST /api/embed``."""

    name = _NAME

    # Requests.

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        fields = read_fields(body)
        head = read_typed(_embed_head, body)
        return _envelope("input", head.input, head, fields, headers)

    @override
    def decode_request(self, body: bytes) -> EmbeddingRequest:
        fields = request_object(body)
        inputs = fields.texts("input")
        if not inputs:
            # To Ollama such a request means to load a model, which is the operator's affair.
            wrong = fields.wrong("input", "is required and must not be empty")
            raise wrong
        return EmbeddingRequest(
            inputs=inputs,
            model=fields.text("model"),
            dimensions=fields.integer("dimensions"),
            dialect=_NAME,
            extras=without_own(fields.told()),
        )

    @override
    def encode_request(self, request: EmbeddingRequest, target: Target) -> Encoded:
        losses = Losses(target.provider)
        words = words_of(request, losses)
        body: JsonObject = {"model": target.model, "input": words[0] if len(words) == 1 else list[Json](words)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        body |= losses.extras(request, _NAME)
        return Encoded(_PATH, dump(losses.suited(body, target.quirks)), {}, losses.warnings)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        losses = Losses(target.provider)
        fields = losses.suited(envelope.fields, target.quirks)
        return Encoded(_PATH, splice(fields, target.model), {}, losses.warnings)

    # Answers.

    @override
    def decode_response(self, body: bytes, headers: Headers, target: Target) -> EmbeddingResponse:
        fields = response_object(body)
        if (failure := told_inside(fields, target.quirks)) is not None:
            raise failure
        vectors = take_vectors(fields, "embeddings")
        count = fields.integer("prompt_eval_count")
        return EmbeddingResponse(
            vectors=vectors,
            model=fields.text("model") or "",
            usage=None if count is None else Usage(input_tokens=count),
            dialect=_NAME,
            extras=fields.told(),
        )

    @override
    def check_response(self, body: bytes, target: Target) -> Usage | None:
        found = glimpse(_watched, body)
        if found is None or not found.embeddings or found.error is not UNSET:
            # Not what a good answer looks like: the full reader finds out what is wrong with it.
            return self.decode_response(body, {}, target).usage
        return None if found.prompt_eval_count is None else Usage(input_tokens=found.prompt_eval_count)

    @override
    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        body: JsonObject = {
            "model": response.model or request.model,
            "embeddings": [list[Json](vector) for vector in response.vectors],
        }
        if response.usage is not None:
            body["prompt_eval_count"] = response.usage.input_tokens
        return dump(body | response.extras if response.dialect == _NAME else body)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)


class OllamaOldEmbeddings(OllamaEmbeddings):
    """``POST /api/embeddings``: one prompt. A door only: towards a provider the same is said by ``/api/embed``.

    Its requests are of the dialect ``ollama_embeddings``, so that options go on to an Ollama as they came.
    """

    name = "ollama_old_embeddings"

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        fields = read_fields(body)
        head = read_typed(_prompt_head, body)
        return _envelope("prompt", head.prompt, head, fields, headers)

    @override
    def decode_request(self, body: bytes) -> EmbeddingRequest:
        fields = request_object(body)
        prompt = fields.text("prompt")
        if not prompt:
            wrong = fields.wrong("prompt", "is required and must not be empty")
            raise wrong
        return EmbeddingRequest(
            inputs=(prompt,), model=fields.text("model"), dialect=_NAME, extras=without_own(fields.told())
        )

    @override
    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        return dump({"embedding": list[Json](response.vectors[0])})


def _envelope(
    name: str, given: str | list[str] | None, head: _Head, fields: dict[str, Raw], headers: Headers
) -> Envelope:
    if not given:
        message = f"{name}: is required and must not be empty"
        raise InvalidFieldError(message, param=name)
    return Envelope(fields=fields, model=head.model, wishes=read_wishes(fields, headers))
