"""Gemini: how its JSON is spelt, and where its methods are.

Source: https://ai.google.dev/api/generate-content and https://protobuf.dev/programming-guides/json
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from genai_spine.dialects.fields import Fields, request_object
from genai_spine.errors import InvalidRequestError
from genai_spine.types.json import Json, JsonObject

__all__ = [
    "CAMEL",
    "COUNT",
    "GENERATE",
    "MODELS_PATH",
    "NAME",
    "STREAM",
    "camel",
    "merge",
    "method_path",
    "read_request",
    "standard_base64",
]

NAME: Final = "gemini"
VERSION_PATH: Final = "/v1beta"
MODELS_PATH: Final = "/v1beta/models?pageSize=1000"
"""The most that one page holds: only the first is read."""
GENERATE: Final = "generateContent"
STREAM: Final = "streamGenerateContent?alt=sse"
COUNT: Final = "countTokens"

# Whatever is a message in the protocol's definition, field by field. All else is free: arguments, schemas, labels.
_MESSAGES: Final = frozenset(
    {
        "content",
        "contents",
        "fileData",
        "functionCall",
        "functionCallingConfig",
        "functionDeclarations",
        "functionResponse",
        "generateContentRequest",
        "generationConfig",
        "inlineData",
        "parts",
        "requests",
        "systemInstruction",
        "thinkingConfig",
        "toolConfig",
        "tools",
    }
)
_NAMES: Final = _MESSAGES | {
    "allowedFunctionNames",
    "cachedContent",
    "candidateCount",
    "codeExecution",
    "codeExecutionResult",
    "displayName",
    "executableCode",
    "fileUri",
    "frequencyPenalty",
    "googleSearch",
    "includeThoughts",
    "maxOutputTokens",
    "mediaResolution",
    "mimeType",
    "outputDimensionality",
    "parametersJsonSchema",
    "presencePenalty",
    "responseJsonSchema",
    "responseLogprobs",
    "responseMimeType",
    "responseModalities",
    "responseSchema",
    "safetySettings",
    "serviceTier",
    "stopSequences",
    "thinkingBudget",
    "thinkingLevel",
    "thoughtSignature",
    "topK",
    "topP",
    "urlContext",
    "videoMetadata",
}
_HUMP: Final = re.compile(r"(?<!^)([A-Z])")
CAMEL: Final = {snake: name for name in _NAMES if (snake := _HUMP.sub(r"_\1", name).lower()) != name}
"""The names as the protocol's definition spells them, which its JSON allows as well, to those of its JSON."""


def camel(value: Json) -> Json:
    """Return ``value`` with the fields that are known spelt in one way, the JSON's."""
    if isinstance(value, list):
        return [camel(item) if isinstance(item, dict) else item for item in value]
    if not isinstance(value, dict):
        return value
    found: JsonObject = {}
    for told, inner in value.items():
        name = CAMEL.get(told, told)
        if name != told and name in value:
            name = told
        found[name] = camel(inner) if name in _MESSAGES else inner
    return found


def read_request(body: bytes) -> Fields:
    """Read a caller's body, whatever its spelling; a question for a count of tokens may wrap what is to be counted.

    Raises:
        InvalidRequestError: It is not JSON, or nested too deeply.
        InvalidFieldError: It is JSON, but no object.
    """
    fields = request_object(body)
    try:
        spelt = Fields(camel(fields.rest()))
    except RecursionError as error:
        message = "the body is nested too deeply"
        raise InvalidRequestError(message) from error
    return spelt.child("generateContentRequest") or spelt


def method_path(model: str, method: str) -> str:
    """Return the path of a model's method, below a provider's address."""
    kind, slash, rest = model.partition("/")
    if not slash or kind not in {"models", "tunedModels"}:
        kind, rest = "models", model
    return f"{VERSION_PATH}/{kind}/{quote(rest, safe='')}:{method}"


def standard_base64(data: str) -> str:
    """Return base64 in the alphabet that all services read; the official client writes the one for addresses."""
    data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)


def merge(into: JsonObject, extras: JsonObject) -> None:
    """Write ``extras`` into an object; where both hold an object, theirs are put together, at any depth."""
    todo = [(into, extras)]
    while todo:
        target, told = todo.pop()
        for name, value in told.items():
            known = target.get(name)
            if isinstance(known, dict) and isinstance(value, dict):
                joined = dict(known)
                target[name] = joined
                todo.append((joined, value))
            else:
                target[name] = value
