"""OpenAI Responses.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from typing_extensions import override

from genai_spine.dialects.base import (
    Continues,
    Dialect,
    Encoded,
    Envelope,
    ErrorAnswer,
    Headers,
    Kept,
    Quirks,
    Reply,
    StreamDecoder,
    StreamEncoder,
    Target,
    Watch,
)
from genai_spine.dialects.embeddings import Embeds
from genai_spine.dialects.media import addresses_in
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.dialects.openai_errors import decode_error, encode_error
from genai_spine.dialects.openai_responses.encoder import ResponsesEncoder, encode_stream_error
from genai_spine.dialects.openai_responses.items import MADE_UP, NAME, sealed
from genai_spine.dialects.openai_responses.kept import earlier_answers, keep, resume
from genai_spine.dialects.openai_responses.relay import (
    ResponsesWatch,
    check_response,
    read_envelope,
    relay_count_request,
    relay_request,
)
from genai_spine.dialects.openai_responses.request import (
    COUNT_PATH,
    PATH,
    decode_request,
    encode_count_request,
    encode_request,
)
from genai_spine.dialects.openai_responses.response import (
    decode_response,
    decode_token_count,
    encode_response,
    encode_token_count,
)
from genai_spine.dialects.openai_responses.stream import ResponsesDecoder
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Part
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["COUNT_PATH", "OpenAIResponses"]

# Its list of models is the same.
_CHAT: Final = OpenAIChat()


class OpenAIResponses(Dialect, Embeds, Continues):
    """``POST /responses``, and the count of tokens beside it."""

    name = NAME
    limit_path = ("max_output_tokens",)
    carries_seals = True
    path = PATH
    models_path = "/models"
    address_suffixes = ("/responses", "/chat/completions", "/completions", "/embeddings", "/models")
    embeddings = OpenAIEmbeddings()

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    def read_count_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read a request to count tokens as ``read_envelope`` does."""
        return read_envelope(body, headers)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def earlier_answers(self, envelope: Envelope) -> Sequence[str]:
        return earlier_answers(envelope)

    @override
    def resume(self, envelope: Envelope, records: Mapping[str, bytes]) -> Envelope:
        return resume(envelope, records)

    @override
    def keep(self, envelope: Envelope, told: bytes) -> Kept | None:
        return keep(envelope, told)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return ResponsesEncoder(reply)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return _CHAT.encode_models(models)

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
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return ResponsesDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        return _CHAT.decode_models(body)

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
        # As a JSON string of its own: inside a text its quotation marks would be escaped.
        return (
            (not quirks.developer_role and b'"developer"' in body)
            or MADE_UP.encode() in body
            or (not quirks.image_urls and any(addresses_in(body)))
        )

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return ResponsesWatch(quirks)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)
