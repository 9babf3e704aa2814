"""GenAI Spine: every large language model behind one contract.

The public names are listed in ``__all__`` and imported when they are first used: importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_spine.assembly import Spine as Spine
    from genai_spine.catalog.models import get_provider_for_model as get_provider_for_model
    from genai_spine.catalog.prices import estimate_cost_usd as estimate_cost_usd
    from genai_spine.catalog.prices import is_free_model as is_free_model
    from genai_spine.errors import SpineError as SpineError
    from genai_spine.providers.base import CallOptions as CallOptions
    from genai_spine.providers.base import Health as Health
    from genai_spine.providers.base import Provider as Provider
    from genai_spine.types.completion import CompletionRequest as CompletionRequest
    from genai_spine.types.completion import CompletionResponse as CompletionResponse
    from genai_spine.types.embedding import EmbeddingRequest as EmbeddingRequest
    from genai_spine.types.embedding import EmbeddingResponse as EmbeddingResponse
    from genai_spine.types.messages import Message as Message
    from genai_spine.types.messages import Text as Text
    from genai_spine.types.messages import ToolCall as ToolCall
    from genai_spine.types.messages import ToolResult as ToolResult
    from genai_spine.types.tools import Tool as Tool
    from genai_spine.types.usage import Usage as Usage

__version__ = "0.1.0"

_HOMES = {
    "CallOptions": "genai_spine.providers.base",
    "CompletionRequest": "genai_spine.types.completion",
    "CompletionResponse": "genai_spine.types.completion",
    "EmbeddingRequest": "genai_spine.types.embedding",
    "EmbeddingResponse": "genai_spine.types.embedding",
    "Health": "genai_spine.providers.base",
    "Message": "genai_spine.types.messages",
    "Provider": "genai_spine.providers.base",
    "Spine": "genai_spine.assembly",
    "SpineError": "genai_spine.errors",
    "Text": "genai_spine.types.messages",
    "Tool": "genai_spine.types.tools",
    "ToolCall": "genai_spine.types.messages",
    "ToolResult": "genai_spine.types.messages",
    "Usage": "genai_spine.types.usage",
    "estimate_cost_usd": "genai_spine.catalog.prices",
    "get_provider_for_model": "genai_spine.catalog.models",
    "is_free_model": "genai_spine.catalog.prices",
}

__all__ = [
    "CallOptions",
    "CompletionRequest",
    "CompletionResponse",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "Health",
    "Message",
    "Provider",
    "Spine",
    "SpineError",
    "Text",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "estimate_cost_usd",
    "get_provider_for_model",
    "is_free_model",
]


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message) from None
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
