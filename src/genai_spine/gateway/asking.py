"""What a request asks of routing: as it came in at a door, or in the project's own vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Final

from genai_spine.catalog.estimate import estimate_embedding_tokens, estimate_input_tokens
from genai_spine.errors import SpineError
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.embedding import EmbeddingQuestion
from genai_spine.routing.options import Ability, Needs
from genai_spine.routing.router import UNKNOWN, Ask
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.embedding import EmbeddingRequest
from genai_spine.types.messages import Image, Part, ToolResult
from genai_spine.types.routing import NO_WISHES, Wishes

__all__ = ["asked", "asked_in", "asked_of_texts", "asked_of_texts_in"]

# A token is seldom shorter, so that a guess by the length of a body is rather too high.
_BYTES_PER_TOKEN: Final = 3
# Of so little, nothing but text can be.
_LIGHT_BYTES: Final = 1 << 16

_KINDS: Final[tuple[Ability, ...]] = ("tools", "vision", "structured_output", "streaming")
# Made once, for they are looked up for each request.
_ABILITIES: Final[dict[tuple[bool, ...], frozenset[Ability]]] = {
    flags: frozenset(kind for kind, wanted in zip(_KINDS, flags, strict=True) if wanted)
    for flags in product((False, True), repeat=len(_KINDS))
}


def asked_in(question: Question) -> Ask:
    """Return what a request asks that came in at a door."""
    envelope = question.envelope
    needs = Needs(
        input_tokens=len(question.body) // _BYTES_PER_TOKEN,
        max_tokens=_limit(envelope.max_tokens),
        abilities=_ABILITIES[envelope.tools, envelope.images, envelope.schema, envelope.stream],
        max_cost=envelope.wishes.max_cost,
    )
    light = len(question.body) <= _LIGHT_BYTES and not envelope.images
    return _ask(envelope.model, envelope.wishes, needs, partial(_weighed, question), light=light)


def asked(request: CompletionRequest, wishes: Wishes = NO_WISHES, *, stream: bool = False) -> Ask:
    """Return what a request of the project's own vocabulary asks."""
    images = any(_is_picture(part) for message in request.messages for part in message.parts)
    schema = request.output_schema is not None and request.output_schema.schema is not None
    needs = Needs(
        input_tokens=UNKNOWN,
        max_tokens=_limit(request.max_tokens),
        abilities=_ABILITIES[bool(request.tools), images, schema, stream],
        max_cost=wishes.max_cost,
    )
    return _ask(request.model, wishes, needs, partial(estimate_input_tokens, request))


def asked_of_texts_in(question: EmbeddingQuestion) -> Ask:
    """Return what a request for vectors asks that came in at a door."""
    size = len(question.body) // _BYTES_PER_TOKEN
    return _of_texts(question.envelope.model, question.envelope.wishes, size, partial(_weighed_texts, question))


def asked_of_texts(request: EmbeddingRequest, wishes: Wishes = NO_WISHES) -> Ask:
    """Return what a request for vectors asks."""
    return _of_texts(request.model, wishes, UNKNOWN, partial(estimate_embedding_tokens, request))


def _of_texts(model: str | None, wishes: Wishes, size: int, weigh: Callable[[], int]) -> Ask:
    needs = Needs(input_tokens=size, max_tokens=0, max_cost=wishes.max_cost)
    # Vectors of two models cannot be compared: another one answers only whom the request itself names.
    return _ask(model, wishes, needs, weigh, or_else=())


def _ask(
    model: str | None,
    wishes: Wishes,
    needs: Needs,
    weigh: Callable[[], int],
    *,
    or_else: tuple[str, ...] | None = None,
    light: bool = False,
) -> Ask:
    return Ask(
        model=model,
        provider=wishes.provider,
        strategy=wishes.strategy,
        hint=wishes.hint,
        fallback=or_else if wishes.fallback is None else wishes.fallback,
        preferred=wishes.preferred,
        needs=needs,
        weigh=weigh,
        light=light,
    )


def _limit(tokens: int | None) -> int | None:
    """The limit that a request sets its answer; one below 0 is none, and so do some services take it."""
    return None if tokens is None or tokens < 0 else tokens


def _weighed(question: Question) -> int:
    try:
        return estimate_input_tokens(question.door.decode_request(question.body))
    except SpineError:
        # Whoever speaks the dialect may understand it all the same: it is not refused for being weighed.
        return len(question.body) // _BYTES_PER_TOKEN


def _weighed_texts(question: EmbeddingQuestion) -> int:
    try:
        return estimate_embedding_tokens(question.door.decode_request(question.body))
    except SpineError:
        return len(question.body) // _BYTES_PER_TOKEN


def _is_picture(part: Part) -> bool:
    return isinstance(part, Image) or (isinstance(part, ToolResult) and any(map(_is_picture, part.parts)))
