"""Every cell of client dialect by provider dialect by feature: tested, or written down here as not possible and why.

How a cell that is not possible ends is one of

- ``unsaid``: the client's package, being faithful to its dialect, has no way to ask for it or to be told it;
- ``untold``: the provider dialect has no way to tell it, so that there is nothing to pass on;
- ``refused``: the request is answered with a 4xx that names the field;
- ``warned``: the request is served without it, or with the nearest thing, and ``x-spine-warnings`` names the field.

The tests hold the last two, and that no cell is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias, TypeVar

import pytest
from msgspec import Struct

from tests.flow.answers import PROVIDERS
from tests.flow.clients import CLIENTS

__all__ = ["FEATURES", "NOT_POSSIBLE", "Impossible", "cells", "impossible", "not_possible"]

F = TypeVar("F", bound=Callable[..., Any])
End: TypeAlias = Literal["unsaid", "untold", "refused", "warned"]

FEATURES: Final = {
    "text": "an answer in words, with instructions, usage and the reason to stop",
    "stream": "the same as a stream",
    "tools": "a tool is called, its result goes back",
    "tools_stream": "a call in a stream",
    "parallel_tools": "several calls at once, results in their order",
    "parallel_tools_stream": "the same in a stream",
    "tool_choice_required": "some tool must be called",
    "tool_choice_named": "a certain tool must be called",
    "tool_choice_none": "no tool may be called",
    "one_call": "calls one at a time",
    "strict_tools": "tools whose schema binds the model",
    "failed_tool": "a result marked as a failure",
    "image": "an image's bytes",
    "image_url": "an image's address",
    "image_in_result": "an image in a tool's result",
    "document": "a PDF's bytes",
    "text_document": "a document of plain words",
    "schema": "an answer that obeys a JSON schema",
    "schema_stream": "the same in a stream",
    "json_mode": "any JSON object",
    "length": "an answer cut at its limit says so",
    "refusal": "an answer ended by a filter says so",
    "stop_sequence": "stop sequences",
    "cached_usage": "cached input is counted once",
    "cached_usage_stream": "the same in a stream",
    "sampling": "temperature",
    "seed": "seed",
    "n": "several answers to one request",
    "logprobs": "probabilities of tokens",
    "logprobs_stream": "the same in a stream",
    "effort": "how hard to think",
    "thinking": "thoughts, apart from words",
    "thinking_stream": "the same in a stream",
    "error": "errors of each kind, as the client's package expects them",
    "error_in_stream": "an error amid a stream",
    "cut_stream": "a stream cut short is an error",
    "cut_call": "a call cut short is an error",
}
"""All that a client may ask for or be told, and what it is in words."""


class Impossible(Struct, frozen=True, kw_only=True):
    """Why a cell is empty, how a request for it ends, and the field that the refusal or warning names."""

    end: End
    why: str
    field: str = ""


_ANY: Final = tuple(PROVIDERS)


def _clients_but(*names: str) -> tuple[str, ...]:
    return tuple(name for name in CLIENTS if name not in {"completions", *names})


_OLD: Final = (
    *("tools", "tools_stream", "parallel_tools", "parallel_tools_stream"),
    *("tool_choice_required", "tool_choice_named", "tool_choice_none", "one_call", "strict_tools", "failed_tool"),
    *("image", "image_url", "image_in_result", "document", "text_document"),
    *("schema", "schema_stream", "json_mode", "effort", "thinking", "thinking_stream", "cut_call"),
)
"""What the older Completions have no words for."""

_ROWS: Final[list[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Impossible]]] = [
    (
        ("completions",),
        _ANY,
        _OLD,
        Impossible(end="unsaid", why="the older Completions take one text and continue it: no turns, tools or forms"),
    ),
    (
        ("ollama",),
        _ANY,
        ("tool_choice_required", "tool_choice_named", "tool_choice_none", "one_call"),
        Impossible(end="unsaid", why="Ollama's dialect has neither tool_choice nor a switch for parallel calls"),
    ),
    (
        _clients_but("ollama"),
        ("ollama",),
        ("tool_choice_required", "tool_choice_named"),
        Impossible(end="warned", why="Ollama cannot force a call: the model is told to make one", field="tool_choice"),
    ),
    (
        ("gemini",),
        _ANY,
        ("one_call", "strict_tools"),
        Impossible(end="unsaid", why="Gemini's dialect has no switch for parallel calls, its tools have no `strict`"),
    ),
    (
        _clients_but("ollama", "gemini"),
        ("google", "ollama"),
        ("one_call",),
        Impossible(
            end="warned", why="neither Gemini nor Ollama has a switch for parallel calls", field="parallel_tool_calls"
        ),
    ),
    (
        ("ollama",),
        _ANY,
        ("strict_tools", "failed_tool"),
        Impossible(end="unsaid", why="the package's tools have no `strict`, its results no mark of failure"),
    ),
    (
        ("openai", "responses"),
        _ANY,
        ("failed_tool",),
        Impossible(end="unsaid", why="a result in OpenAI's dialects has no mark of failure"),
    ),
    (
        _clients_but("ollama", "gemini"),
        ("google", "ollama"),
        ("strict_tools",),
        Impossible(
            end="warned", why="neither Gemini nor Ollama binds a model to a tool's schema", field="tools.strict"
        ),
    ),
    (
        ("ollama",),
        _ANY,
        ("image_url",),
        Impossible(end="unsaid", why="the package reads images from memory or disk and sends their bytes"),
    ),
    (
        ("ollama",),
        _ANY,
        ("document", "text_document"),
        Impossible(end="unsaid", why="Ollama's dialect has words and images alone"),
    ),
    (
        _clients_but("ollama"),
        ("ollama",),
        ("document",),
        Impossible(end="refused", why="Ollama reads no PDF", field="document"),
    ),
    (
        ("openai",),
        _ANY,
        ("image_in_result",),
        Impossible(end="unsaid", why="a tool message of Chat Completions holds text alone"),
    ),
    (
        ("anthropic",),
        _ANY,
        ("json_mode",),
        Impossible(end="unsaid", why="Anthropic has no mode for any JSON object, only schemas"),
    ),
    (
        tuple(CLIENTS),
        ("ollama",),
        ("refusal",),
        Impossible(end="untold", why="Ollama's done_reason knows no refusal"),
    ),
    (
        (*_clients_but("ollama"), "completions"),
        ("ollama",),
        ("cached_usage", "cached_usage_stream"),
        Impossible(end="untold", why="Ollama counts no cached tokens"),
    ),
    (
        ("ollama",),
        _ANY,
        ("cached_usage", "cached_usage_stream"),
        Impossible(end="unsaid", why="Ollama's answers have no place for cached tokens"),
    ),
    (
        ("responses",),
        _ANY,
        ("stop_sequence", "seed", "n"),
        Impossible(end="unsaid", why="Responses has no stop sequences, no seed and one answer to a request"),
    ),
    (
        (*_clients_but("responses"), "completions"),
        ("responses",),
        ("stop_sequence",),
        Impossible(end="refused", why="Responses has no stop sequences", field="stop"),
    ),
    (
        ("anthropic",),
        _ANY,
        ("sampling", "seed"),
        Impossible(end="unsaid", why="the package has no sampling parameters since 1.0, the dialect never had a seed"),
    ),
    (
        ("openai", "completions", "gemini", "ollama"),
        ("responses", "anthropic", "bedrock"),
        ("seed",),
        Impossible(end="warned", why="neither Responses nor Anthropic nor Bedrock has a seed", field="seed"),
    ),
    (
        ("openai", "completions", "gemini"),
        ("responses", "anthropic", "bedrock", "ollama"),
        ("n",),
        Impossible(
            end="refused", why="only Chat Completions and Gemini write several answers to one request", field="n"
        ),
    ),
    (
        ("anthropic", "ollama"),
        _ANY,
        ("n",),
        Impossible(end="unsaid", why="the dialect has one answer to a request"),
    ),
    (
        ("openai", "responses", "completions", "gemini", "ollama"),
        ("anthropic", "bedrock"),
        ("logprobs", "logprobs_stream"),
        Impossible(end="refused", why="neither Anthropic nor Bedrock tells logprobs", field="logprobs"),
    ),
    (
        ("anthropic",),
        _ANY,
        ("logprobs", "logprobs_stream"),
        Impossible(end="unsaid", why="Anthropic's dialect has no logprobs"),
    ),
    (
        _clients_but(),
        ("openai",),
        ("thinking", "thinking_stream"),
        Impossible(end="untold", why="OpenAI's Chat Completions never tells the reasoning itself"),
    ),
]

NOT_POSSIBLE: Final = {
    (client, provider, feature): cell
    for clients, providers, features, cell in _ROWS
    for client in clients
    for provider in providers
    for feature in features
}
"""The cells without a test of the feature itself."""


def _all(feature: str) -> Iterator[tuple[str, str]]:
    assert feature in FEATURES
    return ((client, provider) for client in CLIENTS for provider in PROVIDERS)


def cells(feature: str) -> pytest.MarkDecorator:
    """Run a test for each client and provider between which ``feature`` is possible."""
    possible = [pair for pair in _all(feature) if (*pair, feature) not in NOT_POSSIBLE]
    return pytest.mark.parametrize(("client_name", "provider_name"), possible)


def not_possible(end: End) -> pytest.MarkDecorator:
    """Run a test for each cell that ends in this way."""
    found = [cell for cell, why in NOT_POSSIBLE.items() if why.end == end]
    return pytest.mark.parametrize(("client_name", "provider_name", "feature"), found)


def impossible(client: str, provider: str, feature: str) -> Impossible:
    """Return why a cell is empty."""
    return NOT_POSSIBLE[client, provider, feature]
