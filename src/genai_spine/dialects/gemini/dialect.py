"""Gemini: ``generateContent`` and its companions.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Raw
from msgspec.structs import replace
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
from genai_spine.dialects.envelope import with_number
from genai_spine.dialects.gemini.catalogue import (
    decode_models,
    decode_token_count,
    encode_models,
    encode_token_count,
    model_object,
)
from genai_spine.dialects.gemini.embeddings import GeminiEmbeddings
from genai_spine.dialects.gemini.errors import decode_error, encode_error
from genai_spine.dialects.gemini.media import is_held
from genai_spine.dialects.gemini.parts import sealed
from genai_spine.dialects.gemini.relay import (
    CONFIGS,
    GeminiWatch,
    check_response,
    read_count_envelope,
    read_envelope,
    relay_count_request,
    relay_request,
)
from genai_spine.dialects.gemini.request import decode_request, encode_count_request, encode_request
from genai_spine.dialects.gemini.response import decode_response, encode_response
from genai_spine.dialects.gemini.signatures import holds_unsigned_call
from genai_spine.dialects.gemini.stream import GeminiDecoder, GeminiEncoder, encode_stream_error
from genai_spine.dialects.gemini.wire import MODELS_PATH, NAME
from genai_spine.dialects.media import addresses_in
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Audio, Document, Image, Part
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["Gemini", "GeminiDoor", "model_object"]


class Gemini(Dialect, Embeds):
    """``POST /v1beta/models/{model}:generateContent``, streamed or not, and the count of tokens beside it.

    Model and stream are told by the path, which a request's body does not know: at a door, use ``GeminiDoor``.
    """

    name = NAME
    limit_path = (CONFIGS[0], "maxOutputTokens")
    carries_seals = True
    # Google's own client takes a comment for data.
    stream_comments = False
    path = "/v1beta/models/{model}:generateContent"
    models_path = MODELS_PATH
    address_suffixes = ("/v1beta/models", "/v1beta/openai", "/v1beta", "/v1")
    embeddings = GeminiEmbeddings()

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    @override
    def with_limit(self, fields: Mapping[str, Raw], tokens: int) -> dict[str, Raw]:
        name = next((name for name in CONFIGS if name in fields), CONFIGS[0])
        return with_number(fields, (name, *self.limit_path[1:]), tokens)

    def read_count_envelope(self, body: bytes, headers: Headers) -> Envelope:
        """Read a question for a count of tokens; raises as ``read_envelope`` does."""
        return read_count_envelope(body, headers)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return GeminiEncoder(reply)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return encode_models(models)

    @override
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        return encode_request(request, target)

    def encode_count_request(self, request: CompletionRequest, target: Target) -> Encoded:
        """Write the question how many tokens a request has; raises as ``encode_request`` does."""
        return encode_count_request(request, target)

    @override
    def fetches(self, part: Image | Document | Audio, quirks: Quirks) -> bool:
        return quirks.image_urls or (part.media is not None and is_held(part.media.url or ""))

    @override
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        return decode_response(body, quirks)

    @override
    def sealed(self, parts: tuple[Part, ...]) -> JsonObject | None:
        return sealed(parts)

    @override
    def marks_calls(self, request: CompletionRequest) -> bool:
        return True

    @override
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return GeminiDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        return decode_models(body)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target)

    def relay_count_request(self, envelope: Envelope, target: Target) -> Encoded:
        """Write a question for a count of tokens as it came, with only the fields changed that must be."""
        return relay_count_request(envelope, target)

    def decode_token_count(self, body: bytes) -> int:
        """Read a count of tokens; raises as ``decode_response`` does."""
        return decode_token_count(body)

    def encode_token_count(self, count: int) -> bytes:
        """Write a count of tokens."""
        return encode_token_count(count)

    @override
    def must_translate(self, body: bytes, quirks: Quirks) -> bool:
        # Calls that came of another model have no signature, which only a look inside can mend.
        unread = not quirks.image_urls and not all(map(is_held, addresses_in(body)))
        return unread or holds_unsigned_call(body)

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return GeminiWatch(quirks)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)


class GeminiDoor(Gemini):
    """One request at the door: what its path says, and how its stream is framed.

    Args:
        model: The model that the path names; None leaves the choice to the gateway.
        stream: The method is ``streamGenerateContent``.
        sse: The caller asked for ``alt=sse``; else a stream is one JSON array, told element by element.
    """

    def __init__(self, *, model: str | None = None, stream: bool = False, sse: bool = False) -> None:
        self._model = model
        self._stream = stream
        self._array = stream and not sse
        self.stream_content_type = "application/json" if self._array else "text/event-stream"

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers, model=self._model, stream=self._stream)

    @override
    def read_count_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_count_envelope(body, headers, model=self._model)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        request = decode_request(body)
        return replace(request, model=self._model or request.model, stream=self._stream, stream_usage=self._stream)

    @override
    def must_translate(self, body: bytes, quirks: Quirks) -> bool:
        # Upstream the framing is always that of events.
        return self._array or super().must_translate(body, quirks)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return GeminiEncoder(reply, array=self._array)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id, array=self._array)
