"""OpenAI Embeddings, which nearly every service of embeddings speaks: requests and answers, read and written.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, ErrorAnswer, Headers, Target
from genai_spine.dialects.embeddings import EmbeddingDoor, EmbeddingService, none_embedded, take_vector
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, without_own
from genai_spine.dialects.fields import Fields, dump, glimpse, request_object, response_fault, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_errors import encode_error, told_inside
from genai_spine.errors import InvalidFieldError, MalformedResponseError, SpineError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = ["PATH", "OpenAIEmbeddings"]

_NAME: Final = "openai_embeddings"
PATH: Final = "/embeddings"
_FLOAT_BYTES: Final = 4
_FORMATS: Final[dict[str | None, Literal["float", "base64"] | None]] = {
    None: None,
    "float": "float",
    "base64": "base64",
}


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class _WatchedVector(Struct):
    embedding: Raw


class _Watched(Struct):
    """What is looked at of an answer that passes through; the numbers are not."""

    data: list[_WatchedVector]
    usage: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_head: Final = msgspec.json.Decoder(_Head)
_watched: Final = msgspec.json.Decoder(_Watched)


class OpenAIEmbeddings(EmbeddingDoor, EmbeddingService):
    """``POST /embeddings``."""

    name = _NAME

    # Requests.

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        fields = read_fields(body)
        head = read_typed(_head, body)
        if not head.input:
            message = "input: must be a string or an array of at least one input"
            raise InvalidFieldError(message, param="input")
        return Envelope(
            fields=fields,
            model=head.model,
            wishes=read_wishes(fields, headers),
        )

    @override
    def decode_request(self, body: bytes) -> EmbeddingRequest:
        fields = request_object(body)
        encoding = fields.text("encoding_format")
        if encoding not in _FORMATS:
            fault = fields.wrong("encoding_format", f"must be float or base64; got {encoding!r}")
            raise fault
        return EmbeddingRequest(
            inputs=_take_inputs(fields),
            model=fields.text("model"),
            dimensions=fields.integer("dimensions"),
            encoding_format=_FORMATS[encoding],
            user=fields.text("user"),
            dialect=_NAME,
            extras=without_own(fields.told()),
        )

    @override
    def encode_request(self, request: EmbeddingRequest, target: Target) -> Encoded:
        losses = Losses(target.provider)
        inputs: list[Json] = [item if isinstance(item, str) else list(item) for item in request.inputs]
        body: JsonObject = {"model": target.model, "input": inputs[0] if len(inputs) == 1 else inputs}
        optional: dict[str, Json] = {
            "dimensions": request.dimensions,
            "encoding_format": request.encoding_format,
            "user": request.user,
        }
        body.update((name, value) for name, value in optional.items() if value is not None)
        body.update(losses.extras(request, _NAME))
        return Encoded(PATH, dump(losses.suited(body, target.quirks)), {}, losses.warnings)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        losses = Losses(target.provider)
        fields = losses.suited(envelope.fields, target.quirks)
        return Encoded(PATH, splice(fields, target.model), {}, losses.warnings)

    # Answers.

    @override
    def decode_response(self, body: bytes, headers: Headers, target: Target) -> EmbeddingResponse:
        fields = response_object(body)
        if (failure := told_inside(fields, target.quirks)) is not None:
            raise failure
        fields.take("object")
        rows = [(row.integer("index"), _take_vector(row)) for row in fields.children("data")]
        if not rows:
            raise none_embedded()
        if all(index is not None for index, _ in rows):
            rows.sort(key=lambda row: row[0] or 0)
        usage = fields.child("usage")
        return EmbeddingResponse(
            vectors=tuple(vector for _, vector in rows),
            model=fields.text("model") or "",
            usage=None if usage is None else _decode_usage(usage),
            dialect=_NAME,
            extras=fields.told(),
        )

    @override
    def check_response(self, body: bytes, target: Target) -> Usage | None:
        found = glimpse(_watched, body)
        if found is None or not found.data or found.error is not UNSET:
            # Not what a good answer looks like: the full reader finds out what is wrong with it.
            return self.decode_response(body, {}, target).usage
        usage = None if found.usage is UNSET else msgspec.json.decode(found.usage)
        return None if usage is None else _decode_usage(Fields(usage, "usage", fault=response_fault))

    @override
    def encode_response(self, response: EmbeddingResponse, request: EmbeddingRequest) -> bytes:
        own = response.dialect == _NAME
        packed = request.encoding_format == "base64"
        data: list[Json] = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else list(vector)}
            for index, vector in enumerate(response.vectors)
        ]
        # The official client's model demands a usage.
        usage = response.usage or Usage()
        told: JsonObject = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.total_tokens}
        body: JsonObject = {
            "object": "list",
            "data": data,
            "model": response.model or request.model,
            "usage": told | usage.extras if own else told,
        }
        return dump(body | response.extras if own else body)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)


def _take_inputs(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
    """Take ``input``: a text, the ids of its tokens, or a list of either."""
    value = fields.take("input")
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value:
        if (tokens := _tokens(value)) is not None:
            return (tokens,)
        inputs = [item if isinstance(item, str) else _tokens(item) for item in value]
        found = tuple(item for item in inputs if item is not None)
        if len(found) == len(inputs):
            return found
    fault = fields.wrong("input", "must be a string, an array of strings, or token ids; and not empty")
    raise fault


def _tokens(value: Json) -> tuple[int, ...] | None:
    """The ids in a list of nothing else; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    found = tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool))
    return found if len(found) == len(value) else None


def _take_vector(fields: Fields) -> tuple[float, ...]:
    """Take a vector: numbers, or base64 of 32-bit floats, little-endian."""
    value = fields.peek("embedding")
    if not isinstance(value, str):
        return take_vector(fields, "embedding")
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError as error:
        fault = fields.wrong("embedding", "is not base64")
        raise fault from error
    if not data or len(data) % _FLOAT_BYTES:
        fault = fields.wrong("embedding", "is not a row of 32-bit floats")
        raise fault
    found = struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)
    if not math.isfinite(sum(found)):
        # JSON's own numbers are checked by its reader.
        fault = fields.wrong("embedding", "holds what is no number")
        raise fault
    return found


def _decode_usage(fields: Fields) -> Usage:
    total, tokens = fields.integer("total_tokens"), fields.integer("prompt_tokens")
    return Usage(input_tokens=(total if tokens is None else tokens) or 0, extras=fields.told())


def _packed(vector: tuple[float, ...]) -> str:
    try:
        data = struct.pack(f"<{len(vector)}f", *vector)
    except (OverflowError, struct.error) as error:
        message = "the provider's answer holds a number too large for a 32-bit float"
        raise MalformedResponseError(message) from error
    return base64.b64encode(data).decode()
