"""Ollama's own dialect, at its two doors: conversations and single prompts.

Source: https://docs.ollama.com/api
"""

from __future__ import annotations

from collections.abc import Sequence

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
from genai_spine.dialects.embeddings import Embeds
from genai_spine.dialects.ollama.catalogue import decode_models, encode_tags
from genai_spine.dialects.ollama.embeddings import OllamaEmbeddings
from genai_spine.dialects.ollama.errors import decode_error, encode_error, encode_stream_error
from genai_spine.dialects.ollama.relay import (
    OllamaWatch,
    check_response,
    read_envelope,
    read_generate_envelope,
    relay_request,
)
from genai_spine.dialects.ollama.request import (
    GENERATE_PATH,
    NAME,
    PATH,
    decode_generate_request,
    decode_request,
    encode_request,
)
from genai_spine.dialects.ollama.response import decode_response, encode_response, generate_shape
from genai_spine.dialects.ollama.stream import OllamaDecoder, OllamaEncoder
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.messages import Audio, Document, Image
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["Ollama", "OllamaGenerate"]


class Ollama(Dialect, Embeds):
    """``POST /api/chat``."""

    name = NAME
    limit_path = ("options", "num_predict")
    call_ids = False
    stream_comments = False
    stream_content_type = "application/x-ndjson"
    path = PATH
    models_path = "/api/tags"
    address_suffixes = (
        "/api/chat",
        "/api/generate",
        "/api/embed",
        "/api/embeddings",
        "/api/tags",
        "/api",
        "/v1",
    )
    embeddings = OllamaEmbeddings()

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return OllamaEncoder(reply)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return encode_tags(models)

    @override
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        return encode_request(request, target)

    @override
    def fetches(self, part: Image | Document | Audio, quirks: Quirks) -> bool:
        return False

    @override
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        return decode_response(body, quirks)

    @override
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return OllamaDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        return decode_models(body)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target, PATH)

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return OllamaWatch(quirks)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)


class OllamaGenerate(Ollama):
    """``POST /api/generate``: one prompt. A door only: an Ollama is asked there too, others by their own dialects.

    Its requests are of the dialect ``ollama``, so that options go on to an Ollama even where it has to be translated.
    """

    name = "ollama_generate"

    @property
    @override
    def passes_to(self) -> str:
        return NAME

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_generate_envelope(body, headers)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_generate_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply, generate_shape)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return OllamaEncoder(reply, generate_shape)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target, GENERATE_PATH)
