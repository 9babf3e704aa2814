"""Bedrock Converse, whole and in pieces.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from typing_extensions import override

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
from genai_spine.dialects.bedrock_converse.blocks import NAME, sealed
from genai_spine.dialects.bedrock_converse.embeddings import BedrockEmbeddings
from genai_spine.dialects.bedrock_converse.errors import decode_error, encode_error, encode_stream_error
from genai_spine.dialects.bedrock_converse.media import S3
from genai_spine.dialects.bedrock_converse.relay import ConverseWatch, check_response, read_envelope, relay_request
from genai_spine.dialects.bedrock_converse.request import decode_request, encode_request
from genai_spine.dialects.bedrock_converse.response import decode_response, encode_response
from genai_spine.dialects.bedrock_converse.stream import ConverseDecoder, ConverseEncoder
from genai_spine.dialects.embeddings import Embeds
from genai_spine.dialects.fields import dump, response_object
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import Json, JsonObject
from genai_spine.types.messages import Audio, Document, Image, Part
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["BedrockConverse"]

_RETIRING: Final = "LEGACY"


class BedrockConverse(Dialect, Embeds):
    """``POST /model/{id}/converse`` and ``/converse-stream``."""

    name = NAME
    limit_path = ("inferenceConfig", "maxTokens")
    stream_content_type = "application/vnd.amazon.eventstream"
    path = "/model"
    """Where the paths begin; the rest of each is the model's."""
    models_path = "/foundation-models"
    """At the service's other address, that of its administration."""
    embeddings = BedrockEmbeddings()

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return ConverseEncoder()

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return dump({"modelSummaries": [_summary(model) for model in models]})

    @override
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        return encode_request(request, target)

    @override
    def fetches(self, part: Image | Document | Audio, quirks: Quirks) -> bool:
        # What lies in S3 has an address of another kind.
        return (part.media.url or "").startswith(S3) if part.media else False

    @override
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        return decode_response(body, quirks)

    @override
    def sealed(self, parts: tuple[Part, ...]) -> JsonObject | None:
        return sealed(parts)

    @override
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return ConverseDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        found: list[Model] = []
        for model in response_object(body).children("modelSummaries"):
            lifecycle = model.child("modelLifecycle")
            retiring = lifecycle is not None and lifecycle.text("status") == _RETIRING
            found.append(
                Model(
                    id=model.need_text("modelId"),
                    display_name=model.text("modelName") or "",
                    owned_by=model.text("providerName") or "",
                    lifecycle="deprecated" if retiring else "active",
                )
            )
        return found

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target)

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return ConverseWatch(quirks)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)


def _summary(model: Model) -> Json:
    lifecycle: JsonObject = {"status": "ACTIVE" if model.lifecycle == "active" else _RETIRING}
    return {
        "modelId": model.id,
        "modelName": model.display_name or model.id,
        "providerName": model.owned_by,
        "modelLifecycle": lifecycle,
    }
