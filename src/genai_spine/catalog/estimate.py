"""How many tokens a request may have, guessed without a tokenizer: for admission, and where a provider cannot count.

The guess cuts text into pieces of which each is about one token: a short word with the space before it, three digits, a
few punctuation marks. Its sizes were fitted to OpenAI's o200k vocabulary on English prose and code, where it is within
a fifth of the true count; elsewhere it tends to guess too much, since other vocabularies cut finer. It takes time in
proportion to the text, whatever the text.
"""

from __future__ import annotations

import re
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

__all__ = [
    "TOKENS_PER_IMAGE",
    "estimate_embedding_tokens",
    "estimate_input_tokens",
    "estimate_text_tokens",
    "upper_estimate",
]

TOKENS_PER_MESSAGE: Final = 4
TOKENS_PER_TOOL: Final = 8
# The most that the usual models count for one picture, however large; OpenAI's rate for one to be looked at coarsely.
TOKENS_PER_IMAGE: Final = 1600
TOKENS_PER_COARSE_IMAGE: Final = 85
# Characters in base64: a document holds so many a token beside the pictures of its pages, quiet speech in MP3 so many.
BASE64_PER_DOCUMENT_TOKEN: Final = 6
BASE64_PER_AUDIO_TOKEN: Final = 170

# No repetition is without a bound, so that no text makes the search go back and forth.
_PIECE: Final = re.compile(
    r" ?[A-Z]?[a-zß-öø-ÿ]{1,9}"  # a short word, or nine letters of a long one
    r"| ?[A-ZÀ-ÖØ-Þ]{1,4}(?![a-z])"  # an abbreviation, a constant
    r"| ?[0-9]{1,3}"
    r"|[-=_*#.~/]{4,32}"  # a rule across the page
    r"| ?[!-/:-@\[-`{-~]{1,3}\n{0,4}"  # brackets and signs, with the end of the line
    r"|[ \t\r]{0,64}\n{1,8}"
    r"|\s{1,64}"  # indentation
    r"|[\u3040-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]"  # East Asian writing, one by one
    r"| ?[\u00a1-\u1fff]{1,4}"  # other alphabets
    r"|."
)
# A long text is cut into stretches, so that not all of its pieces are in memory at once.
_STRETCH: Final = 1 << 16


def estimate_text_tokens(text: str) -> int:
    """Return a guess of the tokens in a text."""
    return sum(len(_PIECE.findall(text, start, start + _STRETCH)) for start in range(0, len(text), _STRETCH))


def estimate_input_tokens(request: CompletionRequest) -> int:
    """Return a guess of what the request's input counts: words, tools and schema by their text, media by flat rates."""
    tokens = 0
    for parts in (request.system, *(message.parts for message in request.messages)):
        tokens += TOKENS_PER_MESSAGE + sum(map(_tokens, parts))
    for tool in request.tools:
        tokens += TOKENS_PER_TOOL + _json_tokens(tool if isinstance(tool, Tool) else tool.data)
    if request.output_schema is not None:
        tokens += _json_tokens(request.output_schema.schema)
    return tokens


def estimate_embedding_tokens(request: EmbeddingRequest) -> int:
    """Return a guess of what texts to be embedded count; token ids count themselves."""
    return sum(estimate_text_tokens(one) if isinstance(one, str) else len(one) for one in request.inputs)


def upper_estimate(tokens: int, body_bytes: int) -> int:
    """Return what to reserve for a guess: a quarter more, but never more than the body has bytes.

    Args:
        tokens: The guess.
        body_bytes: The length of the request's body: of what it says itself, no token is less than a byte.
    """
    return min(tokens + -(-tokens // 4), body_bytes)


def _json_tokens(value: object) -> int:
    return estimate_text_tokens(msgspec.json.encode(value).decode())


def _tokens(part: Part) -> int:
    match part:
        case Text() | Refusal() | Thinking():
            return estimate_text_tokens(part.text)
        case ToolCall():
            return TOKENS_PER_TOOL + estimate_text_tokens(part.name) + estimate_text_tokens(part.arguments)
        case ToolResult():
            return TOKENS_PER_TOOL + sum(map(_tokens, part.parts))
        case Image():
            return TOKENS_PER_COARSE_IMAGE if part.detail == "low" else TOKENS_PER_IMAGE
        case Document():
            return _document_tokens(part)
        case Audio():
            return len(part.media.data) // BASE64_PER_AUDIO_TOKEN if part.media.data else TOKENS_PER_IMAGE
        case Opaque():
            return _json_tokens(part.data)


def _document_tokens(document: Document) -> int:
    if document.text is not None:
        return estimate_text_tokens(document.text)
    data = (document.media.data if document.media else None) or ""
    return TOKENS_PER_IMAGE + len(data) // BASE64_PER_DOCUMENT_TOKEN
