"""A request for more embeddings than its service makes in one call, cut into several calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec.structs import replace

from genai_spine.clock import Clock
from genai_spine.errors import ProviderTimeoutError
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage

__all__ = ["AT_ONCE", "embed_in_pieces"]

AT_ONCE: Final = 8
"""So many calls of one request are under way at a time: its limits are shared with everybody else's."""

Ask = Callable[[EmbeddingRequest, float], Awaitable[EmbeddingResponse]]
"""Makes one call, in so many seconds at most."""


async def embed_in_pieces(
    request: EmbeddingRequest, most: int, ask: Ask, clock: Clock, seconds: float
) -> EmbeddingResponse:
    """Return the vectors of a request, ``most`` of them from each call; the first call that fails ends the others.

    Raises:
        SpineError: A call failed, or all together took longer than ``seconds``.
    """
    inputs = request.inputs
    if len(inputs) <= most:
        return await ask(request, seconds)
    pieces = [replace(request, inputs=inputs[start : start + most]) for start in range(0, len(inputs), most)]
    free = asyncio.Semaphore(AT_ONCE)
    end = clock.monotonic() + seconds

    async def answered(piece: EmbeddingRequest) -> EmbeddingResponse:
        async with free:
            left = end - clock.monotonic()
            if left <= 0:
                message = f"the provider did not make {len(inputs)} embeddings within {seconds:g} seconds"
                raise ProviderTimeoutError(message)
            return await ask(piece, left)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(answered(piece)) for piece in pieces]
    except BaseExceptionGroup as failed:
        # The others were cancelled for its sake; there is one caller, and he is told one reason.
        raise failed.exceptions[0] from None
    return _joined([task.result() for task in tasks])


def _joined(answers: Sequence[EmbeddingResponse]) -> EmbeddingResponse:
    """One answer of several; what they say beside the vocabulary is each one's own, and left out."""
    told = [answer.usage for answer in answers if answer.usage is not None]
    usage = Usage(input_tokens=sum(one.input_tokens for one in told)) if len(told) == len(answers) else None
    return EmbeddingResponse(
        vectors=tuple(vector for answer in answers for vector in answer.vectors),
        model=answers[0].model,
        usage=usage,
        warnings=tuple(dict.fromkeys(warning for answer in answers for warning in answer.warnings)),
    )
