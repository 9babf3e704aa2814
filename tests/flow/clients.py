"""The official client packages, each saying the same in its own way.

Only the address and the key differ from what a user of the package writes; repeated attempts are switched off so that a
failure is seen as it is told. Turns are sent back as the packages' own documentation does it: the message as it came,
and the results after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.flow.packages.anthropic_messages import AnthropicClient
from tests.flow.packages.base import Ask, Client, Round, Told
from tests.flow.packages.gemini import GeminiClient
from tests.flow.packages.ollama import OllamaClient
from tests.flow.packages.openai_chat import OpenAIClient
from tests.flow.packages.openai_completions import CompletionsClient
from tests.flow.packages.openai_responses import ResponsesClient

__all__ = ["CLIENTS", "Ask", "Client", "Round", "Told", "connect"]

_MADE: Final[dict[str, Callable[[str, str], Client]]] = {
    "openai": OpenAIClient,
    "responses": ResponsesClient,
    "completions": CompletionsClient,
    "anthropic": AnthropicClient,
    "gemini": GeminiClient,
    "ollama": OllamaClient,
}

CLIENTS: Final = tuple(_MADE)
"""The packages, by the name of the dialect that they speak; the package ``openai`` speaks three."""


def connect(name: str, url: str, key: str) -> Client:
    """Return a package's client for the gateway at ``url``."""
    return _MADE[name](url, key)
