"""A provider that implements the contract by hand, and says what it is told to say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

from typing_extensions import override

from genai_spine.errors import SpineError
from genai_spine.providers.base import NO_OPTIONS, CallOptions, Health, Provider
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse
from genai_spine.types.messages import Text
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, Failed, events_of
from genai_spine.types.usage import Usage

__all__ = ["OwnProvider"]


class OwnProvider(Provider):
    """A user's own provider.

    Attributes:
        asked: The requests that came, with their options.
        failure: Raised instead of an answer.
        broken: Told as the last event of a stream, instead of its end.
        closed: How many streams were closed, by their end or their reader.
    """

    def __init__(self, name: str = "mine", default_model: str = "mine-1", usage: Usage | None = None) -> None:
        self.name = name
        self.default_model = default_model
        self.asked: list[tuple[CompletionRequest, CallOptions]] = []
        self.failure: SpineError | None = None
        self.broken: SpineError | None = None
        self.closed = 0
        self._usage = usage

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        self.asked.append((request, options))
        if self.failure is not None:
            raise self.failure
        choice = Choice(parts=(Text(text="Hello from mine."),))
        return CompletionResponse(
            model=request.model or "", provider=self.name, choices=(choice,), usage=self._usage, warnings=("noted",)
        )

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        events = events_of(await self.complete(request, options))
        if self.broken is not None:
            events = [*events[:3], Failed(error=self.broken)]
        try:
            for event in events:
                yield event
        finally:
            self.closed += 1

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal("0.001") * (input_tokens + output_tokens)

    @override
    async def list_models(self) -> Sequence[Model]:
        return [Model(id=self.default_model, provider=self.name)]

    @override
    async def health(self) -> Health:
        return Health(healthy=self.failure is None, error=self.failure)
