"""OpenAI's retired Completions, for callers that still speak it.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Reply, StreamEncoder, Target
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_completions.request import NAME, PATH, decode_request, read_envelope
from genai_spine.dialects.openai_completions.response import CompletionsEncoder, encode_response
from genai_spine.types.completion import CompletionRequest, CompletionResponse

__all__ = ["OpenAICompletions"]


class OpenAICompletions(OpenAIChat):
    """``POST /completions``: one prompt. A door only: towards a provider the same is said by ``/chat/completions``."""

    name = NAME
    limit_path = ("max_tokens",)

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
        return CompletionsEncoder(reply)

    @override
    def relay_request(self, envelope: Envelope, target: Target) -> Encoded:
        return super().relay_request(envelope, target)._replace(path=PATH)
