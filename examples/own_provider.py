"""A provider that needs code: it derives from Provider, is registered, and is then asked for like any other.

One that speaks a known dialect over HTTP needs none of this: see docs/providers/adding-a-provider.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

from typing_extensions import override

from genai_spine import CallOptions, CompletionRequest, CompletionResponse, Health, Provider, Spine, Text, Usage
from genai_spine.providers.base import NO_OPTIONS
from genai_spine.types.completion import Choice
from genai_spine.types.messages import text_of
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, events_of


class Backwards(Provider):
    """Answers with the last message, read backwards."""

    name = "backwards"
    default_model = "mirror"
    models = ("mirror",)
    local = True

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        text = text_of(request.messages[-1].parts)[::-1]
        return CompletionResponse(
            id="backwards-1",
            model=request.model or self.default_model,
            provider=self.name,
            choices=(Choice(parts=(Text(text=text),)),),
            usage=Usage(input_tokens=len(text), output_tokens=len(text)),
        )

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        for event in events_of(await self.complete(request, options)):
            yield event

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal(0)

    @override
    async def list_models(self) -> Sequence[Model]:
        return [Model(id=name, provider=self.name) for name in self.models]

    @override
    async def health(self) -> Health:
        return Health(healthy=True)


async def main() -> None:
    """Register it and ask it."""
    async with Spine.from_env() as spine:
        spine.register_provider(Backwards())
        answer = await spine.complete("Never odd or even", model="backwards/mirror")
        print(answer.content)
        async for words in spine.stream_text("stressed", provider="backwards"):
            print(words)


if __name__ == "__main__":
    asyncio.run(main())
