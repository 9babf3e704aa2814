"""What is known of a model."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

__all__ = ["Ability", "Lifecycle", "Model", "ModelFacts"]

Ability: TypeAlias = Literal["vision", "tools", "structured_output", "streaming", "thinking", "embeddings"]
Lifecycle: TypeAlias = Literal["active", "deprecated", "retired"]


class ModelFacts(Struct, frozen=True, kw_only=True):
    """What a model accepts, where it differs from what its dialect allows.

    Attributes:
        sampling: It takes ``temperature``, ``top_p`` and ``top_k``.
        thinking: ``budget`` for one told how many tokens to think, ``adaptive`` for one told only how hard, ``level``
            for one told one of a few degrees.
        efforts: The degrees that it knows, the least first; empty where that is not known.
        thinking_range: The least and the most tokens that it may be told to think.
        max_output_tokens: The most that it writes: none higher is sent, and this one where a dialect demands one and
            the caller set none.
        thinks_by_default: It thinks unless told not to, so that its reasoning must be replayed with tool calls.
        thinks_always: It cannot be told not to.
        thinks_never: It is known not to think, and refuses to be told how hard.
        media_results: It takes pictures and documents in the results of tools, where its dialect leaves that open.
        tools_while_thinking: The dialect in which alone it takes tools while it thinks, where its provider speaks more
            than one.
    """

    sampling: bool = True
    thinking: Literal["budget", "adaptive", "level"] | None = None
    efforts: tuple[str, ...] = ()
    thinking_range: tuple[int, int] | None = None
    max_output_tokens: int | None = None
    thinks_by_default: bool = False
    thinks_always: bool = False
    thinks_never: bool = False
    media_results: bool = False
    tools_while_thinking: str | None = None

    def thinks(self, effort: str | None) -> bool:
        """Return whether it thinks, told ``effort``; None tells it nothing."""
        return self.thinks_by_default if effort is None else effort != "none"


class Model(Struct, frozen=True, kw_only=True):
    """A model as a provider lists it, with what the catalogue knows of it.

    Attributes:
        created: Seconds since the Unix epoch; 0 where the provider does not tell.
        lifecycle: ``active``, ``deprecated`` or ``retired``.
        replaced_by: The model that its provider names as successor.
        max_input_tokens: The most that it reads; None where that is not known.
        max_output_tokens: The most that it writes; None where that is not known.
        abilities: What it can do; None where that is not known.
        quality_rank: Its place among all models, the best having the least; None where it has none.
        same_as: The name that it shares with the same model at other providers; empty where none is known.
    """

    id: str
    provider: str = ""
    created: int = 0
    owned_by: str = ""
    display_name: str = ""
    lifecycle: Lifecycle = "active"
    replaced_by: str | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    abilities: frozenset[Ability] | None = None
    quality_rank: int | None = None
    same_as: str = ""
