"""A fault of the gateway's own, here of a provider somebody wrote: told without its details, and never a success."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Final

import aiohttp
import pytest
from typing_extensions import override

from genai_spine.errors import SpineError
from genai_spine.providers.base import NO_OPTIONS, CallOptions, Health, Provider
from genai_spine.testing.gateway import RunningGateway
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, PartStart, Start, TextDelta
from tests.conftest import Gateways

SECRET: Final = "what only the log may hold"
ASKED: Final = {"model": "broken/m", "messages": [{"role": "user", "content": "Hi"}]}


class Broken(Provider):
    """A provider with a fault in its code, before its answer or in the middle of it."""

    name = "broken"
    default_model = "m"

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        raise ZeroDivisionError(SECRET)

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        if request.max_tokens != 1:
            yield Start(id="1", model="m")
            yield PartStart(index=0, part="text")
            yield TextDelta(index=0, text="Hel")
        raise ZeroDivisionError(SECRET)

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return Decimal(0)

    @override
    async def list_models(self) -> Sequence[Model]:
        return [Model(id="m")]

    @override
    async def health(self) -> Health:
        return Health(healthy=True)


@pytest.fixture
async def gateway(gateways: Gateways) -> RunningGateway:
    """A gateway with the broken provider."""
    gateway = await gateways.start()
    gateway.spine.register_provider(Broken())
    return gateway


@pytest.mark.parametrize("more", [{}, {"stream": True, "max_tokens": 1}], ids=["whole", "stream"])
async def test_before_the_answer(gateway: RunningGateway, more: dict[str, object]) -> None:
    """It is a 500 in the caller's dialect, which names the request and nothing else; the record says error."""
    url = f"{gateway.url}/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers=gateway.headers) as session,
        session.post(url, json=ASKED | more) as answer,
    ):
        assert 500 == answer.status
        body = await answer.text()
    assert "internal_error" in body
    assert SECRET not in body
    assert ["error"] == [record.outcome for record in gateway.recorder.records]


async def test_in_the_middle_of_a_stream(gateway: RunningGateway) -> None:
    """It is told in the stream, which has no end mark; the record says interrupted."""
    url = f"{gateway.url}/v1/chat/completions"
    asked = ASKED | {"stream": True}
    async with aiohttp.ClientSession(headers=gateway.headers) as session, session.post(url, json=asked) as answer:
        assert 200 == answer.status
        body = await answer.text()
    assert '"content":"Hel"' in body
    assert "internal_error" in body
    assert "[DONE]" not in body
    assert SECRET not in body
    await gateway.recorder.until(1)
    assert ["interrupted"] == [record.outcome for record in gateway.recorder.records]


async def test_in_a_program(gateway: RunningGateway) -> None:
    """A program that uses the library gets an error of the library's, with the fault as its cause."""
    with pytest.raises(SpineError, match="the gateway failed") as caught:
        await gateway.spine.complete("Hi", model="broken/m")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(SpineError, match="the gateway failed"):
        assert [event async for event in gateway.spine.stream("Hi", model="broken/m")]
