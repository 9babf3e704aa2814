"""A request for more embeddings than its service makes in one call, cut into several calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from genai_spine.clock import Clock
from genai_spine.errors import ProviderTimeoutError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage

__all__ = ["AT_ONCE", "all_done", "cut", "joined"]

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 8
"""So many calls of one request are under way at a time: its limits are shared with everybody else's."""


def cut(request: EmbeddingRequest, most: int) -> list[EmbeddingRequest]:
    """Return requests of no more than ``most`` inputs each, in their order."""
    inputs = request.inputs
    if len(inputs) <= most:
        return [request]
    return [replace(request, inputs=inputs[start : start + most]) for start in range(0, len(inputs), most)]


async def all_done(
    pieces: Sequence[T], ask: Callable[[T, float], Awaitable[R]], clock: Clock, seconds: float
) -> list[R]:
    """Return what ``ask`` returns of each piece, in their order; the first that fails ends the others.

    Args:
        pieces: What to ask.
        ask: Makes one call, in so many seconds at most.
        clock: The source of time.
        seconds: For all of them together.

    Raises:
        SpineError: A call failed, or the time is up.
    """
    if len(pieces) == 1:
        return [await ask(pieces[0], seconds)]
    end = clock.monotonic() + seconds
    waiting = iter(enumerate(pieces))
    found: dict[int, R] = {}

    async def work() -> None:
        for number, piece in waiting:
            left = end - clock.monotonic()
            if left <= 0:
                message = f"the provider did not answer {len(pieces)} calls within {seconds:g} seconds"
                raise ProviderTimeoutError(message)
            found[number] = await ask(piece, left)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(pieces))):
                group.create_task(work())
    except BaseExceptionGroup as failed:
        # The others were ended for its sake; there is one caller, and he is told one reason.
        raise failed.exceptions[0] from None
    return [found[number] for number in range(len(pieces))]


def joined(answers: Sequence[EmbeddingResponse]) -> EmbeddingResponse:
    """Return one answer of several; what they say beside the vocabulary is each one's own, and left out."""
    if len(answers) == 1:
        return answers[0]
    told = [answer.usage for answer in answers if answer.usage is not None]
    return EmbeddingResponse(
        vectors=tuple(vector for answer in answers for vector in answer.vectors),
        model=answers[0].model,
        # What one of them did not count, nobody knows.
        usage=Usage(input_tokens=sum(one.input_tokens for one in told)) if len(told) == len(answers) else None,
        warnings=tuple(dict.fromkeys(warning for answer in answers for warning in answer.warnings)),
    )
