"""Embeddings of Bedrock's ``InvokeModel``: each family of models has a form of its own, and none is a door.

Sources: the pages on Titan, Nova and Cohere embedding models in Amazon Bedrock's user guide, "Model parameters".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Headers, Target
from genai_spine.dialects.bedrock_converse.families import name_of
from genai_spine.dialects.embeddings import EmbeddingService, none_embedded, take_vector, take_vectors, words_of
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = ["BedrockEmbeddings"]

_NAME: Final = "bedrock_embeddings"
_COUNT: Final = "x-amzn-bedrock-input-token-count"
"""The header in which the service counts tokens, whatever the model."""
_TASKS: Final = {
    "RETRIEVAL_DOCUMENT": "search_document",
    "RETRIEVAL_QUERY": "search_query",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}
"""What the vectors are for: Gemini's words to Cohere's."""
_DEFAULT_TASK: Final = "search_document"


class _Form(ABC):
    """How one family is asked."""

    most_inputs: int = 1

    @abstractmethod
    def encode(self, words: list[str], dimensions: int | None, task: str | None, losses: Losses) -> JsonObject:
        """Write a request.

        Raises:
            InvalidFieldError: The family cannot do what it asks for.
        """

    @abstractmethod
    def decode(self, fields: Fields) -> tuple[tuple[float, ...], ...]:
        """Take the vectors of an answer."""


class _Titan(_Form):
    """One text a call. What the vectors are for makes no difference to it."""

    def __init__(self, length: str = "") -> None:
        self._length = length

    @override
    def encode(self, words: list[str], dimensions: int | None, task: str | None, losses: Losses) -> JsonObject:
        body: JsonObject = {"inputText": words[0]}
        if task is not None:
            losses.drop("input_type")
        if dimensions is not None:
            if not self._length:
                fault = losses.refuse("dimensions", "choose another model or leave it out")
                raise fault
            outer, _, inner = self._length.partition(".")
            body[outer] = {inner: dimensions} if inner else dimensions
        return body

    @override
    def decode(self, fields: Fields) -> tuple[tuple[float, ...], ...]:
        return (take_vector(fields, "embedding"),)


class _Nova(_Form):
    """One text a call, in a form that sounds and pictures have too."""

    _PURPOSES: Final = {
        "search_document": "GENERIC_INDEX",
        "search_query": "GENERIC_RETRIEVAL",
        "classification": "CLASSIFICATION",
        "clustering": "CLUSTERING",
    }

    @override
    def encode(self, words: list[str], dimensions: int | None, task: str | None, losses: Losses) -> JsonObject:
        asked: JsonObject = {
            "embeddingPurpose": self._PURPOSES.get(task or _DEFAULT_TASK, task),
            "text": {"truncationMode": "NONE", "value": words[0]},
        }
        if dimensions is not None:
            asked["embeddingDimension"] = dimensions
        return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}

    @override
    def decode(self, fields: Fields) -> tuple[tuple[float, ...], ...]:
        return tuple(take_vector(one, "embedding") for one in fields.children("embeddings"))


class _Cohere(_Form):
    """Many texts a call; it must be told what the vectors are for."""

    most_inputs = 96

    def __init__(self, *, lengths: bool) -> None:
        self._lengths = lengths

    @override
    def encode(self, words: list[str], dimensions: int | None, task: str | None, losses: Losses) -> JsonObject:
        body: JsonObject = {"texts": list[Json](words), "input_type": task or _DEFAULT_TASK}
        if dimensions is not None:
            if not self._lengths:
                fault = losses.refuse("dimensions", "choose another model or leave it out")
                raise fault
            body["output_dimension"] = dimensions
        return body

    @override
    def decode(self, fields: Fields) -> tuple[tuple[float, ...], ...]:
        if isinstance(fields.peek("embeddings"), dict):
            return take_vectors(fields.need_child("embeddings"), "float")
        return take_vectors(fields, "embeddings")


# By the beginning of a model's id; the first that fits.
_FORMS: Final[dict[str, _Form]] = {
    "amazon.titan-embed-text-v2": _Titan("dimensions"),
    "amazon.titan-embed-image": _Titan("embeddingConfig.outputEmbeddingLength"),
    "amazon.titan-embed": _Titan(),
    "amazon.nova-2-multimodal-embeddings": _Nova(),
    "cohere.embed-english-v3": _Cohere(lengths=False),
    "cohere.embed-multilingual-v3": _Cohere(lengths=False),
    "cohere.embed": _Cohere(lengths=True),
}


class BedrockEmbeddings(EmbeddingService):
    """``POST /model/{id}/invoke``."""

    name = _NAME

    @override
    def most_inputs(self, target: Target) -> int:
        return _form_of(target).most_inputs

    @override
    def encode_request(self, request: EmbeddingRequest, target: Target) -> Encoded:
        losses = Losses(target.provider)
        extras = dict(request.extras)
        task = extras.pop("input_type", None)
        if isinstance(named := extras.get("taskType"), str) and named in _TASKS:
            task = _TASKS[named]
            del extras["taskType"]
        if task is not None and not isinstance(task, str):
            message = "input_type: must be a string"
            raise InvalidFieldError(message, param="input_type")
        body = _form_of(target).encode(words_of(request, losses), request.dimensions, task, losses)
        body |= losses.extras(replace(request, extras=extras), _NAME)
        path = f"/model/{quote(target.model, safe='')}/invoke"
        return Encoded(path, dump(body), {}, losses.warnings)

    @override
    def decode_response(self, body: bytes, headers: Headers, target: Target) -> EmbeddingResponse:
        fields = response_object(body)
        vectors = _form_of(target).decode(fields)
        if not vectors:
            raise none_embedded()
        count = headers.get(_COUNT, "")
        tokens = int(count) if count.isascii() and count.isdigit() else fields.integer("inputTextTokenCount")
        return EmbeddingResponse(
            vectors=vectors, usage=None if tokens is None else Usage(input_tokens=tokens), dialect=_NAME
        )


def _form_of(target: Target) -> _Form:
    name = name_of(target.model)
    for start, form in _FORMS.items():
        if name.startswith(start):
            return form
    message = f"{target.model!r} is no id of the embedding models of Amazon Titan, Amazon Nova or Cohere"
    raise InvalidRequestError(message, code="unsupported_by_provider", param="model")
