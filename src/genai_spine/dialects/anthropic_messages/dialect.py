"""Anthropic Messages.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final, Literal

from typing_extensions import override

from genai_spine.dialects.anthropic_messages.blocks import NAME, sealed
from genai_spine.dialects.anthropic_messages.errors import decode_error, encode_error, encode_stream_error
from genai_spine.dialects.anthropic_messages.relay import (
    FORWARDED,
    MessagesWatch,
    check_response,
    read_envelope,
    relay_count_request,
    relay_request,
)
from genai_spine.dialects.anthropic_messages.request import (
    COUNT_PATH,
    PATH,
    VERSION,
    decode_request,
    encode_count_request,
    encode_request,
)
from genai_spine.dialects.anthropic_messages.response import (
    decode_response,
    decode_token_count,
    encode_response,
    encode_token_count,
)
from genai_spine.dialects.anthropic_messages.stream import MessagesDecoder, MessagesEncoder
from genai_spine.dialects.base import (
    Dialect,
    Encoded,
    Envelope,
    ErrorAnswer,
    Headers,
    Quirks,
    Reply,
    StreamDecoder,
    StreamEncoder,
    Target,
    Watch,
)
from genai_spine.dialects.fields import Fields, dump, response_object
from genai_spine.dialects.media import addresses_in
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Part
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["COUNT_PATH", "AnthropicMessages", "decode_token_count", "encode_token_count", "model_object"]

_LIFECYCLES: Final[dict[str | None, Literal["active", "deprecated", "retired"]]] = {
    "deprecated": "deprecated",
    "retired": "retired",
}


class AnthropicMessages(Dialect):
    """``POST /v1/messages``, and the count of tokens beside it."""

    name = NAME
    limit_path = ("max_tokens",)
    carries_seals = True
    forwarded_headers = FORWARDED
    default_headers: ClassVar[Headers] = {"anthropic-version": VERSION}
    path = PATH
    models_path = "/v1/models"
    address_suffixes = ("/v1/messages", "/v1/models", "/v1")

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    def read_count_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read a request to count tokens as ``read_envelope`` does; it has no ``max_tokens``."""
        return read_envelope(body, headers, counting=True)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return MessagesEncoder(reply)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return dump(
            {
                "data": [model_object(model) for model in models],
                "has_more": False,
                "first_id": models[0].id if models else None,
                "last_id": models[-1].id if models else None,
            }
        )

    @override
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        return encode_request(request, target)

    def encode_count_request(self, request: CompletionRequest, target: Target) -> Encoded:
        """Write the question how many tokens a request has; raises as ``encode_request`` does."""
        return encode_count_request(request, target)

    @override
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        return decode_response(body, quirks)

    @override
    def sealed(self, parts: tuple[Part, ...]) -> JsonObject | None:
        return sealed(parts)

    @override
    def marks_calls(self, request: CompletionRequest) -> bool:
        return request.reasoning is not None and request.reasoning.mode not in {None, "disabled"}

    @override
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return MessagesDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        return [
            Model(
                id=model.need_text("id"),
                created=_seconds(model),
                display_name=model.text("display_name") or "",
                lifecycle=_LIFECYCLES.get(model.text("lifecycle"), "active"),
                max_input_tokens=model.integer("max_input_tokens"),
                max_output_tokens=model.integer("max_tokens"),
            )
            for model in response_object(body).children("data")
        ]

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target)

    def relay_count_request(self, envelope: Envelope, target: Target) -> Encoded:
        """Write a request to count tokens as it came, with only the fields changed that must be."""
        return relay_count_request(envelope, target)

    def decode_token_count(self, body: bytes) -> int:
        """Read a count of tokens; raises as ``decode_response`` does."""
        return decode_token_count(body)

    def encode_token_count(self, count: int) -> bytes:
        """Write a count of tokens."""
        return encode_token_count(count)

    @override
    def must_translate(self, body: bytes, quirks: Quirks) -> bool:
        # Another provider's reasoning bears an empty signature, which the service refuses.
        unsealed = b'"signature":""' in body or b'"signature": ""' in body
        return unsealed or (not quirks.image_urls and any(addresses_in(body)))

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return MessagesWatch(quirks)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)


def _seconds(model: Fields) -> int:
    """Take the model's date, RFC 3339, as seconds since the epoch; 0 where it tells none that can be read."""
    told = model.text("created_at")
    try:
        moment = datetime.fromisoformat(told or "")
    except ValueError:
        return 0
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def model_object(model: Model) -> JsonObject:
    """Write one model as ``GET /v1/models/{id}`` shows it; a date not known is the epoch, as at the service."""
    created: Json = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name or model.id,
        "created_at": created,
        "lifecycle": model.lifecycle,
        "max_input_tokens": model.max_input_tokens,
        "max_tokens": model.max_output_tokens,
    }
