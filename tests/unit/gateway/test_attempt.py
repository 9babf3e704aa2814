"""What of a call the front door cannot show: providers by hand, deadlines as handed down, streams that are left."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from typing_extensions import override

from genai_spine import errors
from genai_spine.gateway.attempt import MAX_STREAMED, Attempt, aclose, estimated, settled
from genai_spine.gateway.context import Call
from genai_spine.gateway.seals import Seals
from genai_spine.providers.base import NO_OPTIONS, CallOptions
from genai_spine.shared_state.memory import MemoryState
from genai_spine.testing.clock import ManualClock
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.messages import Message, Opaque, Text
from genai_spine.types.stream import Event, PartStart, Start, TextDelta
from genai_spine.types.usage import Usage
from tests.providers import OwnProvider

HI = CompletionRequest(messages=(Message(role="user", parts=(Text(text="Hi"),)),), model="mine-1")


def attempt(clock: ManualClock) -> Attempt:
    """What makes calls."""
    return Attempt(clock, Seals(MemoryState(0, clock), {}))


def call(clock: ManualClock, seconds: float | None = None) -> Call:
    """A request that begins now."""
    return Call(request_id="req_1", door="library", started=clock.monotonic(), seconds=seconds)


async def test_what_a_call_finds_out() -> None:
    """Usage, warnings once each, and when the first piece came are noted."""
    clock, usage = ManualClock(), Usage(input_tokens=3, output_tokens=4)
    provider = OwnProvider(usage=usage)
    noted = call(clock)
    clock.advance(2)
    for _ in range(2):
        await attempt(clock).complete(noted, HI, provider, NO_OPTIONS)
    assert (usage, 2.0, ["noted"]) == (noted.usage, noted.first_token_at, noted.warnings)


async def test_a_stream_that_nobody_counted() -> None:
    """Without usage from the provider, the words that passed are estimated at four characters a token."""
    clock = ManualClock()
    noted = call(clock)
    async for _ in attempt(clock).events(noted, HI, OwnProvider(), NO_OPTIONS):
        pass
    assert noted.usage == Usage(output_tokens=4, estimated=True)


async def test_a_stream_that_is_left() -> None:
    """A reader who leaves closes the provider's stream, and what came until then is counted."""
    clock, provider = ManualClock(), OwnProvider(usage=Usage(output_tokens=99))
    noted = call(clock)
    stream = attempt(clock).events(noted, HI, provider, NO_OPTIONS)
    async with contextlib.aclosing(stream) as reading:
        async for event in reading:
            if isinstance(event, TextDelta):
                break
    assert provider.closed == 1
    assert noted.usage == Usage(output_tokens=4, estimated=True)


async def test_a_stream_that_fails() -> None:
    """A failure told as the last event is raised, and the stream closed."""
    clock, provider = ManualClock(), OwnProvider()
    provider.broken = errors.StreamInterruptedError("cut")
    stream = aiter(attempt(clock).events(call(clock), HI, provider, NO_OPTIONS))
    told = [await anext(stream) for _ in range(3)]
    assert isinstance(told[0], Start)
    with pytest.raises(errors.StreamInterruptedError):
        await anext(stream)
    assert provider.closed == 1


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2)])
def test_the_estimate(characters: int, tokens: int) -> None:
    """Four characters are a token; a part of one counts whole."""
    assert Usage(output_tokens=tokens, estimated=True) == estimated(characters)


async def test_closing_what_cannot_be_closed() -> None:
    """An iterator without ``aclose`` is left alone."""

    class Plain:
        """Nothing but an iterator."""

        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

    await aclose(Plain())


@pytest.mark.parametrize(
    ("told", "characters", "whole", "used"),
    [
        (None, 0, False, None),
        (None, 8, True, Usage(output_tokens=2, estimated=True)),
        # What was known at the beginning: the input, and the first token.
        (Usage(input_tokens=9, output_tokens=1), 40, False, Usage(input_tokens=9, output_tokens=10, estimated=True)),
        (Usage(input_tokens=9, output_tokens=30), 40, False, Usage(input_tokens=9, output_tokens=30)),
        (Usage(input_tokens=9, output_tokens=1), 40, True, Usage(input_tokens=9, output_tokens=1)),
        (Usage(input_tokens=9), 0, False, Usage(input_tokens=9)),
    ],
)
def test_an_answer_cut_short_is_never_free(
    told: Usage | None,
    characters: int,
    whole: bool,  # noqa: FBT001  # a table of cases
    used: Usage | None,
) -> None:
    """A provider's last count is taken; one from before the words came is raised to what was passed on."""
    assert used == settled(told, characters, whole=whole)


@pytest.mark.parametrize(
    "piece",
    [
        TextDelta(index=0, text="a" * 1024 * 1024),
        PartStart(index=0, part="opaque", data=Opaque(dialect="d", data={"a": "b" * 1024 * 1024})),
        TextDelta(index=0, logprobs=["a" * 1024 * 1024]),
    ],
)
async def test_an_answer_without_end(piece: Event) -> None:
    """A stream is given up at a length past all reason: some callers are told it whole at its end."""

    class Endless(OwnProvider):
        @override
        async def stream_complete(
            self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
        ) -> AsyncIterator[Event]:
            self.asked.append((request, options))
            yield Start(model="mine-1")
            while True:
                yield piece

    stream = attempt(ManualClock()).events(call(ManualClock()), HI, Endless(), NO_OPTIONS)
    assert Start(model="mine-1") == await anext(stream)
    told = 0
    with contextlib.suppress(errors.MalformedResponseError):
        while True:
            await anext(stream)
            told += 1
    assert told == MAX_STREAMED // (1024 * 1024) - 1
