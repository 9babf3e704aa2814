"""The official client packages, each saying the same in its own way.

Only the address and the key differ from what a user of the package writes; repeated attempts are switched off so that a
failure is seen as it is told. Turns are sent back as the packages' own documentation does it: the message as it came,
and the results after it.
"""

from __future__ import annotations

from typing import Final

from tests.flow.packages.anthropic_messages import AnthropicClient
from tests.flow.packages.base import Ask, Client, Round, Told
from tests.flow.packages.ollama import OllamaClient
from tests.flow.packages.openai_chat import OpenAIClient

__all__ = ["CLIENTS", "Ask", "Client", "Round", "Told", "connect"]

CLIENTS: Final = ("openai", "anthropic", "ollama")
"""The packages, by the name of their dialect."""


def connect(name: str, url: str, key: str) -> Client:
    """Return a package's client for the gateway at ``url``."""
    made: dict[str, type[OpenAIClient | AnthropicClient | OllamaClient]] = {
        "openai": OpenAIClient,
        "anthropic": AnthropicClient,
        "ollama": OllamaClient,
    }
    return made[name](url, key)
