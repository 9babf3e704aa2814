"""What is asked and told in the tests of the matrix: tools, pictures, documents, calls, and packages' arguments."""

from __future__ import annotations

import base64
from typing import Any, Final

from msgspec.structs import replace

from tests.flow.said import Call, Provider, Said
from tests.flow.seen import ToolSpec

__all__ = [
    "ADDRESS",
    "CAPITAL",
    "COUNTRY",
    "GUIDE",
    "ONE_CALL",
    "PDF",
    "PNG",
    "PNG_TEXT",
    "STRICT",
    "TWO_ANSWERS",
    "TWO_CALLS",
    "WITH_LOGPROBS",
    "calls_of",
    "options",
]

PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_TEXT: Final = base64.b64encode(PNG).decode()
ADDRESS: Final = "https://example.com/potato.png"

CAPITAL: Final = ToolSpec(
    "get_capital",
    "Look up a country's capital.",
    {
        "type": "object",
        "properties": {"country": {"type": "string", "description": "English name"}},
        "required": ["country"],
    },
)
COUNTRY: Final = ToolSpec("get_user_country", "Where the user is.", {"type": "object", "properties": {}})
STRICT: Final = ToolSpec(
    "get_capital",
    "Look up a country's capital.",
    {
        "type": "object",
        "properties": {"country": {"type": "string"}},
        "required": ["country"],
        "additionalProperties": False,
    },
    strict=True,
)

PDF: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
GUIDE: Final = "The capital of France is Paris."

ONE_CALL: Final = Said(calls=(Call("call_scripted_1", "get_user_country", {}),), finish="tool_calls")
TWO_CALLS: Final = Said(
    text="Let me look.",
    calls=(
        Call("call_scripted_1", "get_capital", {"country": "France"}),
        Call("call_scripted_2", "get_capital", {"country": "Peru"}),
    ),
    finish="tool_calls",
)


def calls_of(provider: Provider) -> Said:
    """Two calls at once; Ollama's older versions give them no ids."""
    if provider.name != "ollama":
        return TWO_CALLS
    return replace(TWO_CALLS, calls=tuple(replace(call, id="") for call in TWO_CALLS.calls))


def options(client: str, **values: object) -> dict[str, Any]:
    """Arguments of the package; Ollama's stand in its options."""
    return {"options": values} if client == "ollama" else values


TWO_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"n": 2},
    "completions": {"n": 2},
    "gemini": {"candidate_count": 2},
}

WITH_LOGPROBS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"logprobs": True},
    "responses": {"include": ["message.output_text.logprobs"]},
    "completions": {"logprobs": 1},
    "gemini": {"response_logprobs": True},
    "ollama": {"logprobs": True},
}
