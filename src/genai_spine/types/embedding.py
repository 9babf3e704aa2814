"""A request for embeddings, and the answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

from genai_spine.types.json import JsonObject
from genai_spine.types.usage import Usage

__all__ = ["EmbeddingRequest", "EmbeddingResponse"]


class EmbeddingRequest(Struct, frozen=True, kw_only=True):
    """Texts to be made into vectors.

    Attributes:
        inputs: What to embed, each a text or the ids of its tokens.
        model: The model's id; None leaves the choice to the gateway.
        dimensions: The length of the vectors; None is the model's own.
        encoding_format: How the caller wants the vectors written; ``base64`` is of 32-bit floats, little-endian.
        user: Whom the vectors are for, as an opaque id.
        dialect: The dialect that ``extras`` belong to.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    model: str | None = None
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    dialect: str | None = None
    extras: JsonObject = field(default_factory=dict)


class EmbeddingResponse(Struct, frozen=True, kw_only=True):
    """Vectors, in the order of the inputs.

    Attributes:
        model: The model that made them, as the provider names it.
        provider: The provider that served it.
        cost_usd: What they cost; None until it has been priced.
        price_known: Whether ``cost_usd`` is by the provider's price, not a stand-in's.
        attempts: Calls made upstream.
        warnings: What of the request could not be said to the provider and was left out.
        dialect: The dialect that ``extras`` belong to.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    provider: str = ""
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    price_known: bool = False
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    dialect: str | None = None
    extras: JsonObject = field(default_factory=dict)

    @property
    def input_tokens(self) -> int:
        """Tokens read; 0 where nobody told."""
        return self.usage.input_tokens if self.usage else 0
