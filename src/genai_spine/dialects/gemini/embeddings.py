"""Gemini: embeddings, of one content or of many at once, read and written.

Source: https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Encoded, Quirks, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump
from genai_spine.dialects.gemini.parts import children
from genai_spine.dialects.gemini.response import read_piece
from genai_spine.dialects.gemini.wire import NAME, method_path, read_request
from genai_spine.dialects.losses import Losses
from genai_spine.errors import MalformedResponseError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = [
    "BATCH",
    "SINGLE",
    "decode_embedding_request",
    "decode_embedding_response",
    "encode_embedding_request",
    "encode_embedding_response",
]

SINGLE: Final = "embedContent"
BATCH: Final = "batchEmbedContents"
_EACH: Final = "requests"
"""The extra that holds what the requests of a batch say beside the vocabulary, where they differ in it."""


# Requests.


def decode_embedding_request(body: bytes, model: str | None = None) -> EmbeddingRequest:
    """Read a request to ``batchEmbedContents``, which holds ``requests``, or to ``embedContent``, which is one of them.

    Args:
        body: The request's.
        model: The one that the path names.

    Raises:
        InvalidRequestError: It is not JSON.
        InvalidFieldError: A field is of the wrong type, or the requests of a batch ask for vectors of unlike lengths.
    """
    fields = read_request(body)
    asked = children(fields, _EACH) if _EACH in fields else [fields]
    inputs: list[str] = []
    lengths: list[int | None] = []
    extras: list[JsonObject] = []
    for one in asked:
        named = one.text("model")
        model = model or (None if named is None else named.removeprefix("models/"))
        inputs.append(_decode_content(one.need_child("content")))
        lengths.append(one.integer("outputDimensionality"))
        if one is not fields:
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
    return EmbeddingRequest(inputs=tuple(inputs), model=model, dimensions=lengths[0], dialect=NAME, extras=kept)


def _decode_content(fields: Fields) -> str:
    words: list[str] = []
    for part in children(fields, "parts"):
        if "text" not in part:
            message = "is required: only words can be embedded here"
            fault = part.wrong("text", message)
            raise fault
        words.append(part.need_text("text"))
    return "".join(words)


def encode_embedding_request(request: EmbeddingRequest, target: Target, *, batch: bool = True) -> Encoded:
    """Write a request to ``batchEmbedContents``; with ``batch=False`` to ``embedContent``, which takes one input.

    Raises:
        InvalidFieldError: An input is of token ids, or there are several where one can be asked for.
    """
    losses = Losses(target.provider)
    own = request.dialect in {None, NAME}
    extras = dict(request.extras) if own else {}
    for name in () if own else request.extras:
        losses.drop(name)
    each = extras.pop(_EACH, None)
    name = target.model if "/" in target.model else f"models/{target.model}"
    asked: list[Json] = []
    for number, one in enumerate(request.inputs):
        if not isinstance(one, str):
            fault = losses.refuse("input", "send the words instead of their token ids")
            raise fault
        written: JsonObject = {"model": name, "content": {"parts": [{"text": one}]}}
        if request.dimensions is not None:
            written["outputDimensionality"] = request.dimensions
        more = each[number] if isinstance(each, list) and number < len(each) else None
        asked.append({**written, **extras, **(more if isinstance(more, dict) else {})})
    if batch:
        return Encoded(method_path(target.model, BATCH), dump({_EACH: asked}), {}, losses.warnings)
    if len(asked) != 1:
        fault = losses.refuse("input", "send one text at a time")
        raise fault
    return Encoded(method_path(target.model, SINGLE), dump(asked[0]), {}, losses.warnings)


# Answers.


def decode_embedding_response(body: bytes) -> EmbeddingResponse:
    """Read an answer of either kind.

    Raises:
        MalformedResponseError: It is not of the dialect.
        ProviderError: It tells of a failure despite its status.
    """
    fields = read_piece(body.strip(), Quirks())
    single = fields.child("embedding")
    vectors = tuple(_decode_vector(one) for one in ([single] if single is not None else fields.children("embeddings")))
    if not vectors:
        message = "the provider's answer holds no embeddings"
        raise MalformedResponseError(message)
    usage = fields.child("usageMetadata")
    return EmbeddingResponse(
        vectors=vectors,
        usage=None if usage is None else _decode_usage(usage),
        dialect=NAME,
        extras=fields.told(),
    )


def _decode_vector(fields: Fields) -> tuple[float, ...]:
    values = fields.items("values") or []
    found = tuple(value for value in values if isinstance(value, int | float) and not isinstance(value, bool))
    if not found or len(found) != len(values):
        message = "must be an array of numbers"
        fault = fields.wrong("values", message)
        raise fault
    return found


def _decode_usage(fields: Fields) -> Usage:
    count = fields.integer("promptTokenCount")
    total = fields.integer("totalTokenCount")
    return Usage(input_tokens=(total if count is None else count) or 0, extras=fields.told())


def encode_embedding_response(response: EmbeddingResponse, *, batch: bool = True) -> bytes:
    """Write an answer of ``batchEmbedContents``; with ``batch=False`` of ``embedContent``, which holds one vector."""
    own = response.dialect == NAME
    embeddings: list[Json] = [{"values": list[Json](vector)} for vector in response.vectors]
    body: JsonObject = {"embeddings": embeddings} if batch else {"embedding": embeddings[0]}
    if (usage := response.usage) is not None:
        extras = usage.extras if own else {}
        body["usageMetadata"] = {"promptTokenCount": usage.input_tokens, **extras}
    return dump(body | response.extras if own else body)
