"""The conformance suite of providers: plain checks that raise AssertionError where a provider breaks its contract.

Hand ``check_provider`` a provider that can be reached, real or scripted; or call the single checks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final

import msgspec

from genai_spine.errors import SpineError
from genai_spine.providers.base import Provider
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.messages import Message, Text, ToolCall
from genai_spine.types.stream import Collector, Event, Failed, Start
from genai_spine.types.usage import Usage

__all__ = [
    "HELLO",
    "WORDS",
    "check_closing",
    "check_complete",
    "check_cost",
    "check_embeddings",
    "check_health",
    "check_identity",
    "check_models",
    "check_provider",
    "check_stream",
]

HELLO: Final = CompletionRequest(messages=(Message(role="user", parts=(Text(text="Say hello."),)),), max_tokens=64)
"""What a provider is asked."""

WORDS: Final = EmbeddingRequest(inputs=("Say hello.", "Say goodbye."), dimensions=3)
"""What a provider is asked to make vectors of."""

_NO_SUCH_MODEL: Final = "no-such-model-conformance"


async def check_provider(
    provider: Provider,
    request: CompletionRequest = HELLO,
    *,
    repeatable: bool = True,
    until_released: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run every check of the suite.

    Args:
        provider: One that is ready, and whose service answers.
        request: What to ask; without a model, the provider's default is asked.
        repeatable: The service gives the same answer to the same request, so that a stream and a whole one are equal.
        until_released: Waits until the service has noticed that its caller left. It is called once a stream has been
            begun and closed; without it this check is left out.

    Raises:
        AssertionError: The provider breaks its contract; the message says where.
    """
    check_identity(provider)
    check_cost(provider)
    await check_health(provider)
    await check_models(provider)
    whole = await check_complete(provider, request)
    await check_stream(provider, request, whole if repeatable else None)
    if until_released is not None:
        await check_closing(provider, until_released, request)


def check_identity(provider: Provider) -> None:
    """A provider has a name, is ready, and knows its own default model."""
    assert provider.name, "a provider must have a name"
    assert provider.name == provider.name.strip().lower(), "its name is lower case, without blanks around it"
    assert "/" not in provider.name, "its name must not hold a slash, which parts provider and model"
    assert provider.status == "ready", f"{provider.name} is not configured: {provider.hint}"
    if provider.default_model:
        assert provider.knows(provider.default_model), "knows: it must know its own default model"
    for model in provider.models:
        assert provider.knows(model), f"knows: it must know {model}, which it lists"


def check_cost(provider: Provider) -> None:
    """Costs are exact, never negative, nothing for nothing, never less for more, and never silently nothing."""
    model = provider.default_model or _NO_SUCH_MODEL
    for asked in (model, _NO_SUCH_MODEL):
        cost = provider.cost_of(asked, Usage(input_tokens=1000, output_tokens=1000))
        assert cost.picodollars >= 0, "cost_of: a cost is never negative"
        if provider.local:
            assert (cost.picodollars, cost.known) == (0, True), "cost_of: a local provider costs nothing, that is known"
        else:
            assert cost.picodollars or cost.known, "cost_of: a model without a known price is never silently free"
    assert provider.calculate_cost(model, 0, 0) == 0, "calculate_cost: no tokens cost nothing"
    once = provider.calculate_cost(model, 1000, 500)
    assert isinstance(once, Decimal), "calculate_cost: money is Decimal, never a float"
    expected = provider.cost_of(model, Usage(input_tokens=1000, output_tokens=500))
    assert expected.usd == once, "calculate_cost and cost_of differ"
    assert expected.picodollars == provider.picodollars_of(model, 1000, 500), "picodollars_of and cost_of differ"
    assert once <= provider.calculate_cost(model, 2000, 1000), "calculate_cost: more tokens never cost less"


async def check_health(provider: Provider) -> None:
    """A provider whose service answers is healthy, and says how long that took."""
    health = await provider.health()
    assert health.healthy, f"health: {provider.name} does not answer: {health.error}"
    assert health.error is None, "health: healthy, and still an error"
    assert health.seconds >= 0, "health: the seconds are negative"


async def check_models(provider: Provider) -> None:
    """Models are listed under the provider's name, each once; what is listed is valid, what nobody serves is not."""
    models = await provider.list_models()
    ids = [model.id for model in models]
    assert all(ids), "list_models: a model without an id"
    assert len(set(ids)) == len(ids), "list_models: a model stands in the list twice"
    strangers = {model.provider for model in models} - {provider.name}
    assert not strangers, f"list_models: models of {strangers}"
    for model in ids[:3]:
        assert await provider.validate_model(model), f"validate_model: refuses {model}, which list_models tells"
    if not provider.open_models:
        assert not await provider.validate_model(_NO_SUCH_MODEL), "validate_model: accepts a model that nobody has"


async def check_complete(provider: Provider, request: CompletionRequest = HELLO) -> CompletionResponse:
    """A whole answer names who gave it, says something, ends for a reason and counts its tokens. Returns it."""
    response = await provider.complete(_addressed(provider, request))
    assert response.provider == provider.name, "complete: the answer must name the provider"
    assert response.model, "complete: the answer must name the model"
    assert response.success, f"complete: a failure must be raised, not returned: {response.error}"
    assert response.choices, "complete: an answer without a choice"
    assert any(isinstance(part, Text | ToolCall) for part in response.parts), "complete: the answer says nothing"
    assert response.finish_reason != "error", "complete: the answer did not end properly"
    if response.usage is not None:
        assert response.input_tokens >= 0, "complete: negative input tokens"
        assert response.output_tokens > 0, "complete: an answer of no tokens"
    return response


async def check_embeddings(provider: Provider, request: EmbeddingRequest = WORDS) -> EmbeddingResponse:
    """Each input has its vector, all of one length, and the answer names who made them. Returns it.

    It is no part of ``check_provider``: not every provider has embeddings.
    """
    model = request.model or provider.default_model or None
    response = await provider.embed(msgspec.structs.replace(request, model=model))
    assert response.provider == provider.name, "embed: the answer must name the provider"
    assert response.model, "embed: the answer must name the model"
    assert len(response.vectors) == len(request.inputs), "embed: each input must have its vector"
    lengths = {len(vector) for vector in response.vectors}
    assert len(lengths) == 1, f"embed: vectors of unlike lengths: {sorted(lengths)}"
    assert lengths != {0}, "embed: a vector without a number"
    if request.dimensions is not None:
        assert lengths == {request.dimensions}, f"embed: vectors must have {request.dimensions} numbers"
    assert response.input_tokens >= 0, "embed: negative input tokens"
    return response


async def check_stream(
    provider: Provider, request: CompletionRequest = HELLO, whole: CompletionResponse | None = None
) -> CompletionResponse:
    """A stream begins with its start, does not fail, and collects to an answer: to ``whole``, if that is given."""
    events: list[Event] = []
    collector = Collector()
    async for event in provider.stream_complete(_addressed(provider, request)):
        events.append(event)
        collector.add(event)
    assert events, "stream_complete: an answer without events"
    assert isinstance(events[0], Start), f"stream_complete: it must begin with Start, not {type(events[0]).__name__}"
    assert not any(isinstance(event, Start) for event in events[1:]), "stream_complete: it starts twice"
    failures = [event.error for event in events if isinstance(event, Failed)]
    assert not failures, f"stream_complete: it failed: {failures[0]}"
    streamed = collector.response()
    assert streamed.finish_reason != "error", "stream_complete: it ended without a finish"
    if whole is not None:
        assert _gist(whole) == _gist(streamed), "T3: the answer streamed is another than the answer whole"
    return streamed


async def check_closing(
    provider: Provider, until_released: Callable[[], Awaitable[None]], request: CompletionRequest = HELLO
) -> None:
    """A reader who leaves after the first event ends the upstream's work: ``until_released`` returns."""
    stream = provider.stream_complete(_addressed(provider, request))
    first = await anext(stream)
    assert isinstance(first, Start), "stream_complete: it must begin with Start"
    close = getattr(stream, "aclose", None)
    assert close is not None, "stream_complete: its iterator must have aclose, as an async generator has"
    await close()
    try:
        await anext(stream)
    except (StopAsyncIteration, SpineError):
        pass
    else:
        message = "stream_complete: it goes on after it was closed"
        raise AssertionError(message)
    await until_released()


def _addressed(provider: Provider, request: CompletionRequest) -> CompletionRequest:
    return msgspec.structs.replace(request, model=request.model or provider.default_model or None)


def _gist(response: CompletionResponse) -> tuple[object, ...]:
    """What must not depend on how an answer came."""
    calls = [(call.name, call.arguments) for call in response.tool_calls]
    usage = response.usage
    tokens = None if usage is None else (usage.input_tokens, usage.output_tokens)
    return response.content, response.thinking, calls, response.finish_reason, tokens
