"""With which arguments a program may ask a model, beside the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TypedDict

from genai_spine.types.json import JsonObject
from genai_spine.types.tools import Tool

__all__ = ["Asking"]


class Asking(TypedDict, total=False):
    """What ``Spine.complete`` says of each."""

    model: str | None
    provider: str | None
    system: str | None
    temperature: float | None
    max_tokens: int | None
    output_schema: JsonObject | None
    tools: Sequence[Tool]
    timeout: float | None
    strategy: str | None
    hint: str | None
    fallback: bool | Sequence[str] | None
    preferred: Sequence[str]
    max_cost_usd: Decimal | str | None
