"""What a provider was asked: bodies of requests, read strictly by the rules of each provider's own dialect.

The readers share nothing with the project's decoders. They assert where a body is not of the dialect, so that a request
that only happens to be understood does not pass: they stand for the 400 of a strict service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.flow.readers import (
    anthropic_messages,
    bedrock_converse,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
)
from tests.flow.seen import Result, Seen, ToolSpec, Turn

__all__ = ["READERS", "Result", "Seen", "ToolSpec", "Turn"]

READERS: Final[dict[str, Callable[[dict[str, Any]], Seen]]] = {
    "openai": openai_chat.read,
    "responses": openai_responses.read,
    "anthropic": anthropic_messages.read,
    "google": gemini.read,
    "bedrock": bedrock_converse.read,
    "ollama": ollama.read,
}
"""The reader of a provider's requests. Where model and stream stand in the path, it leaves them out."""
