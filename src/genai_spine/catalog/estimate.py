"""How many tokens a request may have, guessed without a tokenizer: for admission, and where a provider cannot count."""

from __future__ import annotations

from typing import Final

import msgspec

from genai_spine.types.completion import CompletionRequest
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.messages import (
    Audio,
    Document,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from genai_spine.types.tools import Tool

__all__ = ["TOKENS_PER_IMAGE", "estimate_embedding_tokens", "estimate_input_tokens"]

CHARACTERS_PER_TOKEN: Final = 4
TOKENS_PER_MESSAGE: Final = 4
TOKENS_PER_IMAGE: Final = 1000
BYTES_PER_DOCUMENT_TOKEN: Final = 6


def estimate_input_tokens(request: CompletionRequest) -> int:
    """Return a guess of what the request's input counts: four characters a token, and flat rates for media."""
    characters = 0
    tokens = 0
    for parts in (request.system, *(message.parts for message in request.messages)):
        tokens += TOKENS_PER_MESSAGE
        for part in parts:
            more_characters, more_tokens = _size(part)
            characters += more_characters
            tokens += more_tokens
    for tool in request.tools:
        described = tool if isinstance(tool, Tool) else tool.data
        characters += len(msgspec.json.encode(described))
    if request.output_schema is not None:
        characters += len(msgspec.json.encode(request.output_schema.schema))
    return tokens + -(-characters // CHARACTERS_PER_TOKEN)


def estimate_embedding_tokens(request: EmbeddingRequest) -> int:
    """Return a guess of what texts to be embedded count; token ids count themselves."""
    return sum(-(-len(one) // CHARACTERS_PER_TOKEN) if isinstance(one, str) else len(one) for one in request.inputs)


def _size(part: Part) -> tuple[int, int]:
    match part:
        case Text() | Refusal() | Thinking():
            return len(part.text), 0
        case ToolCall():
            return len(part.name) + len(part.arguments), 0
        case ToolResult():
            sizes = [_size(inner) for inner in part.parts]
            return sum(size[0] for size in sizes), sum(size[1] for size in sizes)
        case Image():
            return 0, TOKENS_PER_IMAGE
        case Document():
            if part.text is not None:
                return len(part.text), 0
            return 0, TOKENS_PER_IMAGE + len(
                (part.media.data if part.media else None) or ""
            ) // BYTES_PER_DOCUMENT_TOKEN
        case Audio():
            return 0, TOKENS_PER_IMAGE
        case Opaque():
            return len(msgspec.json.encode(part.data)), 0
