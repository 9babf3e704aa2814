"""OpenAI Chat Completions, the dialect that most services speak.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Raw
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
from genai_spine.dialects.fields import dump, response_object
from genai_spine.dialects.media import addresses_in
from genai_spine.dialects.openai_chat.relay import ChatWatch, check_response, read_envelope, relay_request
from genai_spine.dialects.openai_chat.request import PATH, decode_request, encode_request
from genai_spine.dialects.openai_chat.response import decode_response, encode_response
from genai_spine.dialects.openai_chat.stream import ChatDecoder, ChatEncoder, encode_stream_error
from genai_spine.dialects.openai_chat.turns import NAME
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.dialects.openai_errors import decode_error, encode_error
from genai_spine.errors import SpineError
from genai_spine.types.completion import CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Audio, Document, Image, Part, Thinking
from genai_spine.types.models import Model
from genai_spine.types.usage import Usage

__all__ = ["OpenAIChat", "model_object"]


class OpenAIChat(Dialect, Embeds):
    """``POST /chat/completions``."""

    name = NAME
    limit_path = ("max_completion_tokens",)
    path = PATH
    models_path = "/models"
    address_suffixes = ("/chat/completions", "/completions", "/embeddings", "/responses", "/models")
    embeddings = OpenAIEmbeddings()

    @override
    def read_envelope(self, body: bytes, headers: Headers) -> Envelope:
        return read_envelope(body, headers)

    @override
    def with_limit(self, fields: Mapping[str, Raw], tokens: int) -> dict[str, Raw]:
        # Under the older name there may stand what is no limit.
        return super().with_limit({name: value for name, value in fields.items() if name != "max_tokens"}, tokens)

    @override
    def decode_request(self, body: bytes) -> CompletionRequest:
        return decode_request(body)

    @override
    def encode_response(self, response: CompletionResponse, reply: Reply) -> bytes:
        return encode_response(response, reply)

    @override
    def stream_encoder(self, reply: Reply) -> StreamEncoder:
        return ChatEncoder(reply)

    @override
    def encode_error(self, error: SpineError, request_id: str) -> ErrorAnswer:
        return encode_error(error, request_id)

    @override
    def encode_stream_error(self, error: SpineError, request_id: str) -> bytes:
        return encode_stream_error(error, request_id)

    @override
    def encode_models(self, models: Sequence[Model]) -> bytes:
        return dump({"object": "list", "data": [model_object(model) for model in models]})

    @override
    def encode_request(self, request: CompletionRequest, target: Target) -> Encoded:
        return encode_request(request, target)

    @override
    def fetches(self, part: Image | Document | Audio, quirks: Quirks) -> bool:
        # A file has no address here.
        return isinstance(part, Image) and quirks.image_urls

    @override
    def decode_response(self, body: bytes, quirks: Quirks) -> CompletionResponse:
        return decode_response(body, quirks)

    @override
    def sealed(self, parts: tuple[Part, ...]) -> JsonObject | None:
        # Some services demand reasoning back though it bears no seal.
        part = parts[-1]
        return {"text": part.text} if isinstance(part, Thinking) and part.text else None

    @override
    def opened(self, data: JsonObject) -> Part:
        text = data.get("text")
        return Thinking(text=text if isinstance(text, str) else "")

    @override
    def stream_decoder(self, quirks: Quirks) -> StreamDecoder:
        return ChatDecoder(quirks)

    @override
    def decode_error(self, status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
        return decode_error(status, headers, body, quirks)

    @override
    def decode_models(self, body: bytes) -> list[Model]:
        # Together lists its models bare.
        fields = response_object(b'{"data":%b}' % body if body.lstrip().startswith(b"[") else body)
        return [
            Model(
                id=model.need_text("id"),
                created=model.integer("created") or 0,
                owned_by=model.text("owned_by") or "",
            )
            for model in fields.children("data")
        ]

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return relay_request(envelope, target)

    @override
    def must_translate(self, body: bytes, quirks: Quirks) -> bool:
        # As a JSON string of its own: inside a text its quotation marks would be escaped.
        return (
            (not quirks.developer_role and b'"developer"' in body)
            # Reasoning that the service demands back is seen, and kept for callers who do not hand it back.
            or (quirks.replay_reasoning and (b'"tools"' in body or b'"tool_calls"' in body))
            # A service that tells no reasoning refuses turns that bear another's.
            or (not quirks.reasoning_field and b'"reasoning_content"' in body)
            or (not quirks.image_urls and any(addresses_in(body)))
        )

    @override
    def watch(self, envelope: Envelope, quirks: Quirks) -> Watch:
        return ChatWatch(quirks, wants_usage=envelope.wants_usage)

    @override
    def check_response(self, body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
        return check_response(body, quirks)


def model_object(model: Model) -> JsonObject:
    """Write one model as ``GET /v1/models/{id}`` shows it."""
    return {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": model.owned_by or model.provider,
    }
