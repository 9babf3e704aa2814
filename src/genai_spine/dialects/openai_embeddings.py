"""OpenAI Embeddings, which nearly every service of embeddings speaks: requests and answers, read and written.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import struct
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target
from genai_spine.dialects.envelope import read_fields, read_typed, splice, without_own
from genai_spine.dialects.fields import Fields, dump, request_object, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.openai_errors import told_inside
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.usage import Usage

__all__ = [
    "NAME",
    "PATH",
    "check_response",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "read_envelope",
    "relay_request",
]

NAME: Final = "openai_embeddings"
PATH: Final = "/embeddings"

_FLOAT_BYTES: Final = 4
_FORMATS: Final[dict[str | None, Literal["float", "base64"] | None]] = {
    None: None,
    "float": "float",
    "base64": "base64",
}


# Requests.


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    input: str | list[str | int | list[int]]
    model: str | None = None
    provider: str | dict[str, Raw] | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs; raises as ``Dialect.read_envelope`` does."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.input:
        message = "input: must be a string or an array of at least one input"
        raise InvalidFieldError(message, param="input")
    return Envelope(
        fields=fields,
        model=head.model,
        provider=(head.provider if isinstance(head.provider, str) else None) or headers.get("x-spine-provider"),
    )


def decode_request(body: bytes) -> EmbeddingRequest:
    """Read a request.

    Raises:
        InvalidRequestError: The body is not JSON.
        InvalidFieldError: A field is of the wrong type.
    """
    fields = request_object(body)
    encoding = fields.text("encoding_format")
    if encoding not in _FORMATS:
        fault = fields.wrong("encoding_format", f"must be float or base64; got {encoding!r}")
        raise fault
    return EmbeddingRequest(
        inputs=_decode_inputs(fields),
        model=fields.text("model"),
        dimensions=fields.integer("dimensions"),
        encoding_format=_FORMATS[encoding],
        user=fields.text("user"),
        dialect=NAME,
        extras=without_own(fields.told()),
    )


def _decode_inputs(fields: Fields) -> tuple[str | tuple[int, ...], ...]:
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


def encode_request(request: EmbeddingRequest, target: Target) -> Encoded:
    """Write a request."""
    losses = Losses(target.provider)
    inputs: list[Json] = [item if isinstance(item, str) else list(item) for item in request.inputs]
    body: JsonObject = {"model": target.model, "input": inputs[0] if len(inputs) == 1 else inputs}
    optional: dict[str, Json] = {
        "dimensions": request.dimensions,
        "encoding_format": request.encoding_format,
        "user": request.user,
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    if request.dialect in {None, NAME}:
        body.update(request.extras)
    else:
        for name in request.extras:
            losses.drop(name)
    for name in target.quirks.drop:
        if body.pop(name, None) is not None:
            losses.drop(name)
    for name, other in target.quirks.rename.items():
        if name in body:
            body[other] = body.pop(name)
    return Encoded(PATH, dump(body), {}, losses.warnings)


def relay_request(envelope: Envelope, target: Target) -> Encoded:
    """Write a request as it came, with only the fields changed that must be."""
    losses = Losses(target.provider)
    fields = dict(envelope.fields)
    for name in target.quirks.drop:
        if fields.pop(name, None) is not None:
            losses.drop(name)
    for name, other in target.quirks.rename.items():
        if name in fields:
            fields[other] = fields.pop(name)
    return Encoded(PATH, splice(fields, target.model), {}, losses.warnings)


# Answers.


def decode_response(body: bytes, quirks: Quirks) -> EmbeddingResponse:
    """Read an answer.

    Raises:
        MalformedResponseError: It is not of the dialect.
        ProviderError: It tells of a failure despite its status.
    """
    fields = response_object(body)
    if (failure := told_inside(fields, quirks)) is not None:
        raise failure
    fields.take("object")
    rows = [(row.integer("index"), _vector(row)) for row in fields.children("data")]
    if not rows:
        message = "the provider's answer holds no embeddings"
        raise MalformedResponseError(message)
    if all(index is not None for index, _ in rows):
        rows.sort(key=lambda row: row[0] or 0)
    usage = fields.child("usage")
    return EmbeddingResponse(
        vectors=tuple(vector for _, vector in rows),
        model=fields.text("model") or "",
        usage=None if usage is None else _decode_usage(usage),
        dialect=NAME,
        extras=fields.told(),
    )


def _vector(fields: Fields) -> tuple[float, ...]:
    """Take a vector: numbers, or base64 of 32-bit floats, little-endian."""
    value = fields.take("embedding")
    if isinstance(value, str):
        try:
            data = base64.b64decode(value, validate=True)
        except ValueError as error:
            fault = fields.wrong("embedding", "is not base64")
            raise fault from error
        if len(data) % _FLOAT_BYTES:
            fault = fields.wrong("embedding", "is not a row of 32-bit floats")
            raise fault
        return struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)
    if isinstance(value, list):
        found = tuple(
            float(number) for number in value if isinstance(number, int | float) and not isinstance(number, bool)
        )
        if len(found) == len(value):
            return found
    fault = fields.wrong("embedding", "must be an array of numbers, or base64")
    raise fault


def _decode_usage(fields: Fields) -> Usage:
    total, tokens = fields.integer("total_tokens"), fields.integer("prompt_tokens")
    return Usage(input_tokens=(total if tokens is None else tokens) or 0, extras=fields.told())


def check_response(body: bytes, quirks: Quirks) -> Usage | None:
    """Read the usage of an answer that passes through; raises as ``decode_response`` does."""
    fields = response_object(body)
    if (failure := told_inside(fields, quirks)) is not None:
        raise failure
    if not fields.items("data"):
        message = "the provider's answer holds no embeddings"
        raise MalformedResponseError(message)
    usage = fields.child("usage")
    return None if usage is None else _decode_usage(usage)


def encode_response(
    response: EmbeddingResponse, encoding_format: Literal["float", "base64"] | None = None, *, model: str = ""
) -> bytes:
    """Write an answer.

    Args:
        response: The vectors.
        encoding_format: As the caller asked for; None is ``float``.
        model: Named in the answer where the provider names none.

    Raises:
        MalformedResponseError: ``base64`` is asked for, and a number is too large for a 32-bit float.
    """
    own = response.dialect == NAME
    data: list[Json] = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _packed(vector) if encoding_format == "base64" else list(vector),
        }
        for index, vector in enumerate(response.vectors)
    ]
    # The official client's model demands a usage.
    usage = response.usage or Usage()
    told: JsonObject = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.total_tokens}
    body: JsonObject = {
        "object": "list",
        "data": data,
        "model": response.model or model,
        "usage": told | usage.extras if own else told,
    }
    return dump(body | response.extras if own else body)


def _packed(vector: tuple[float, ...]) -> str:
    try:
        data = struct.pack(f"<{len(vector)}f", *vector)
    except (OverflowError, struct.error) as error:
        message = "the provider's answer holds a number too large for a 32-bit float"
        raise MalformedResponseError(message) from error
    return base64.b64encode(data).decode()
