"""Gemini's list of models, and its count of tokens, read and written.

Source: https://ai.google.dev/api/models and https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from genai_spine.dialects.fields import dump, response_object
from genai_spine.errors import MalformedResponseError
from genai_spine.types.json import JsonObject
from genai_spine.types.models import Model

__all__ = ["decode_models", "decode_token_count", "encode_models", "encode_token_count", "model_object"]

_PREFIX: Final = "models/"


def decode_models(body: bytes) -> list[Model]:
    """Read the list of models, its first page; see ``Dialect.decode_models``."""
    return [
        Model(
            id=model.need_text("name").removeprefix(_PREFIX),
            owned_by="google",
            display_name=model.text("displayName") or "",
            max_input_tokens=model.integer("inputTokenLimit"),
            max_output_tokens=model.integer("outputTokenLimit"),
        )
        for model in response_object(body).children("models")
    ]


def encode_models(models: Sequence[Model]) -> bytes:
    """Write the list of models, as one page."""
    return dump({"models": [model_object(model) for model in models]})


def model_object(model: Model) -> JsonObject:
    """Write one model as ``GET /v1beta/models/{id}`` shows it."""
    written: JsonObject = {
        "name": f"{_PREFIX}{model.id}",
        "version": "",
        "displayName": model.display_name or model.id,
        "description": f"{model.id} of {model.provider or model.owned_by or 'an unnamed provider'}",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
    if model.max_input_tokens is not None:
        written["inputTokenLimit"] = model.max_input_tokens
    if model.max_output_tokens is not None:
        written["outputTokenLimit"] = model.max_output_tokens
    if model.abilities is not None:
        written["thinking"] = "thinking" in model.abilities
    return written


def decode_token_count(body: bytes) -> int:
    """Read the answer to a count of tokens.

    Raises:
        MalformedResponseError: It tells no count.
    """
    count = response_object(body).integer("totalTokens")
    if count is None:
        message = "the provider's answer tells no count of tokens"
        raise MalformedResponseError(message)
    return count


def encode_token_count(count: int) -> bytes:
    """Write the answer to a count of tokens."""
    return dump({"totalTokens": count})
