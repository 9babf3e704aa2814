"""The one policy for what a target dialect cannot say.

What would change the meaning of the answer is refused with a 422 that names the field; anything else is left out, and
the caller is told by a warning. What cannot make a difference (a cache mark, a default spelt out) goes without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from genai_spine.dialects.base import Quirks
from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.json import Json, JsonObject

__all__ = ["Losses"]

T = TypeVar("T")

# Fields whose loss changes what comes back, by the dialect that has them.
_ESSENTIAL: Final = {
    "openai_chat": frozenset({"audio", "functions", "function_call", "web_search_options"}),
    "anthropic_messages": frozenset({"mcp_servers", "container"}),
    "bedrock_converse": frozenset({"guardrailConfig", "promptVariables"}),
    "gemini": frozenset({"cachedContent", "continuationToken"}),
    "ollama": frozenset({"suffix", "raw", "context", "template"}),
    "openai_completions": frozenset({"best_of", "echo", "suffix"}),
    "openai_responses": frozenset({"conversation", "prompt", "tool_choice"}),
}
_EARLIER: Final = "previous_response_id"
_HARMLESS: Final = {
    "openai_chat": frozenset(
        {
            "metadata",
            "modalities",
            "moderation",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "store",
            "stream_options",
        }
    ),
    "anthropic_messages": frozenset({"metadata", "cache_control", "diagnostics"}),
    "bedrock_converse": frozenset({"additionalModelResponseFieldPaths", "performanceConfig", "requestMetadata"}),
    "gemini": frozenset(
        {
            "labels",
            "store",
            "generationConfig.responseModalities",
            "generationConfig.responseMimeType",
            "generationConfig.thinkingConfig",
            # Of a choice that is told all the same.
            "toolConfig.functionCallingConfig",
        }
    ),
    "ollama": frozenset({"keep_alive", "truncate", "shift"}),
    "ollama_embeddings": frozenset({"keep_alive"}),
    "openai_completions": frozenset({"stream_options"}),
    "openai_responses": frozenset(
        {
            "include",
            "metadata",
            "moderation",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "store",
            "stream_options",
        }
    ),
}
# Objects whose fields are accounted for one by one.
_OBJECTS: Final = {"gemini": frozenset({"generationConfig", "toolConfig"})}


class Losses:
    """Keeps the record of what is left out of one request on its way to ``provider``."""

    def __init__(self, provider: str) -> None:
        self._provider = provider or "the provider"
        self._warnings: list[str] = []

    def drop(self, name: str) -> None:
        """Leave a field out, and say so once."""
        warning = f"{name}: left out, {self._provider} does not know it"
        if warning not in self._warnings:
            self._warnings.append(warning)

    def emulate(self, name: str, instead: str) -> None:
        """Say in another way what the target cannot be told, and say so once."""
        warning = f"{name}: {instead}, {self._provider} does not know it"
        if warning not in self._warnings:
            self._warnings.append(warning)

    def change(self, name: str, how: str) -> None:
        """Say another way what the provider cannot be told as it was; ``how`` tells which, and is told once."""
        warning = f"{name}: {how}"
        if warning not in self._warnings:
            self._warnings.append(warning)

    def refuse(self, name: str, advice: str = "choose another provider or leave it out") -> InvalidFieldError:
        """Return the error to raise for a field that must not be lost."""
        return InvalidFieldError(
            f"{name}: {self._provider} cannot do this; {advice}", code="unsupported_by_provider", param=name
        )

    def extras(self, request: CompletionRequest | EmbeddingRequest, dialect: str) -> JsonObject:
        """Return the request's own extras if it came in ``dialect``; else account for their loss and return none.

        Raises:
            InvalidFieldError: One of them must not be lost.
            InvalidRequestError: The request goes on from an answer that nobody knows.
        """
        origin = request.dialect
        if origin is None or origin == dialect:
            return request.extras
        for name, value in _fields(origin, request.extras):
            if name == _EARLIER:
                raise _unknown_answer(value)
            if name in _ESSENTIAL.get(origin, ()) or _is_other_output(name, value):
                raise self.refuse(name)
            if name not in _HARMLESS.get(origin, ()):
                self.drop(name)
        return {}

    def suited(self, fields: Mapping[str, T], quirks: Quirks, unknown: Iterable[str] = ()) -> dict[str, T]:
        """Return the fields of a body, left out or renamed as the provider's row says; ``unknown`` are left out too."""
        found = dict(fields)
        for name in (*quirks.drop, *unknown):
            if found.pop(name, None) is not None:
                self.drop(name)
        for name, other in quirks.rename.items():
            if name in found:
                found[other] = found.pop(name)
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out, a line each."""
        return tuple(self._warnings)


def _unknown_answer(answer_id: Json) -> InvalidRequestError:
    """What the gateway knows has been put into the conversation by now, and this provider keeps no answers."""
    message = f"previous_response_id: no answer {answer_id!r} is kept here; send the conversation itself as input"
    return InvalidRequestError(message, code="previous_response_not_found", param="previous_response_id")


def _fields(origin: str, extras: JsonObject) -> Iterator[tuple[str, Json]]:
    for name, value in extras.items():
        if name in _OBJECTS.get(origin, ()) and isinstance(value, dict):
            yield from ((f"{name}.{inner}", told) for inner, told in value.items())
        else:
            yield name, value


def _is_other_output(name: str, value: Json) -> bool:
    """Whether sound or pictures are asked for."""
    if not isinstance(value, list):
        return False
    if name == "generationConfig.responseModalities":
        return any(kind != "TEXT" for kind in value)
    return name == "modalities" and "audio" in value
