"""The library's ``embed``: what it asks, what it returns, and what it raises."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from typing_extensions import override

from genai_spine import errors
from genai_spine.assembly import Spine
from genai_spine.providers.base import NO_OPTIONS, CallOptions
from genai_spine.settings import Settings
from genai_spine.testing.gateway import Recorder
from genai_spine.testing.upstream import ScriptedUpstream, json_reply
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage
from tests.providers import OwnProvider

OFFLINE = {"GENAI_PROBE_LOCAL": "false"}
ANSWER = b'{"data": [{"embedding": [1, 0.5]}], "model": "told", "usage": {"prompt_tokens": 1000}}'


def spine_before(upstream: ScriptedUpstream, recorder: Recorder) -> Spine:
    """An engine with one provider, which is ``upstream``."""
    environ = {"OPENAI_API_KEY": "sk-upstream-0001", "OPENAI_API_URL": f"{upstream.url}/v1", **OFFLINE}
    return Spine(Settings(environ), observers=[recorder])


async def test_vectors_and_what_they_cost(upstream: ScriptedUpstream) -> None:
    """A text, a model and a length go to the provider; vectors, tokens and their price come back, and are recorded."""
    upstream.enqueue(json_reply(ANSWER))
    recorder = Recorder()
    async with spine_before(upstream, recorder) as spine:
        answer = await spine.embed("Hi", model="openai/text-embedding-3-small", dimensions=2)
    asked = {"model": "text-embedding-3-small", "input": "Hi", "dimensions": 2}
    assert asked == upstream.received[0].json()
    assert (
        EmbeddingResponse(
            vectors=((1.0, 0.5),),
            model="told",
            provider="openai",
            usage=Usage(input_tokens=1000),
            cost_usd=Decimal("0.00002"),
            price_known=True,
            attempts=1,
            dialect="openai_embeddings",
        )
        == answer
    )
    assert 1000 == answer.input_tokens
    record = recorder.records[0]
    assert ("library", "success", "0.00002") == (record.door, record.outcome, record.cost_usd)


async def test_a_whole_request_is_taken_as_it_is(upstream: ScriptedUpstream) -> None:
    """Nothing is added to it; the model may be named beside it, the provider too."""
    upstream.enqueue(json_reply(ANSWER), json_reply(ANSWER))
    request = EmbeddingRequest(inputs=((1, 2),), model="a", user="u")
    async with spine_before(upstream, Recorder()) as spine:
        await spine.embed(request, provider="openai")
        await spine.embed(request, model="openai/b")
    assert [{"model": model, "input": [1, 2], "user": "u"} for model in "ab"] == [
        received.json() for received in upstream.received
    ]


@pytest.mark.parametrize("texts", [[], EmbeddingRequest(inputs=())])
async def test_no_texts(texts: Sequence[str] | EmbeddingRequest) -> None:
    """There is nothing to ask for."""
    async with Spine(Settings(OFFLINE)) as spine:
        with pytest.raises(errors.InvalidRequestError, match="no texts"):
            await spine.embed(texts)


async def test_without_a_provider_the_simulator_answers() -> None:
    """Its vectors follow from the texts alone, and cost nothing; its guess of the tokens is its own count."""
    async with Spine(Settings(OFFLINE)) as spine:
        answer = await spine.embed(["Hello", "Bye", "Hello"], dimensions=5)
        first, second, third = answer.vectors
        assert (first, 5) == (third, len(first))
        assert first != second
        assert ("simulator", "echo", Decimal(0), 3) == (
            answer.provider,
            answer.model,
            answer.cost_usd,
            answer.input_tokens,
        )
        assert not answer.warnings


@pytest.mark.parametrize("model", [None, "auto"])
async def test_no_model(upstream: ScriptedUpstream, model: str | None) -> None:
    """The provider's own for embeddings is taken, not its one for chats; the price is that one's too."""
    upstream.enqueue(json_reply(ANSWER))
    recorder = Recorder()
    async with spine_before(upstream, recorder) as spine:
        answer = await spine.embed("Hi", model=model)
    assert {"model": "text-embedding-3-small", "input": "Hi"} == upstream.received[0].json()
    assert Decimal("0.00002") == answer.cost_usd
    assert "text-embedding-3-small" == recorder.records[0].model


async def test_no_model_for_embeddings() -> None:
    """A provider that has none of its own is not asked with the one for chats."""
    async with Spine(Settings({"ANTHROPIC_API_KEY": "k", **OFFLINE})) as spine:
        with pytest.raises(errors.InvalidRequestError, match="anthropic has no default model for embeddings") as caught:
            await spine.embed("a")
    assert ("anthropic", "model") == (caught.value.provider, caught.value.param)


class Embedder(OwnProvider):
    """A user's own provider that makes vectors, and counts nothing."""

    embedding_model = "mine-1"
    count = 1

    @override
    async def embed(self, request: EmbeddingRequest, options: CallOptions = NO_OPTIONS) -> EmbeddingResponse:
        return EmbeddingResponse(vectors=((1.0,),) * self.count, model=request.model or "")


async def test_a_provider_of_ones_own() -> None:
    """It needs one method; its tokens are guessed where it does not count them, and marked as guessed."""
    async with Spine(Settings(OFFLINE)) as spine:
        spine.register_provider(Embedder())
        answer = await spine.embed(" four" * 10, provider="mine")
        assert Usage(input_tokens=10, estimated=True) == answer.usage
        assert (Decimal("0.01"), "mine-1") == (answer.cost_usd, answer.model)
        assert "guess" in answer.warnings[0]


@pytest.mark.parametrize("count", [0, 2])
async def test_a_provider_of_ones_own_that_miscounts(count: int) -> None:
    """More or fewer vectors than texts are no answer."""
    mine = Embedder()
    mine.count = count
    async with Spine(Settings(OFFLINE)) as spine:
        spine.register_provider(mine)
        with pytest.raises(errors.MalformedResponseError, match=f"{count} vectors of 1 inputs"):
            await spine.embed("a", provider="mine")


async def test_a_provider_without_embeddings() -> None:
    """It says so, by its name."""
    async with Spine(Settings(OFFLINE)) as spine:
        spine.register_provider(OwnProvider())
        with pytest.raises(errors.InvalidRequestError, match="mine has no embeddings") as caught:
            await spine.embed("a", model="mine/mine-1")
        assert ("mine", "unsupported_by_provider") == (caught.value.provider, caught.value.code)
