"""A request cut into several calls: how many are under way, what ends them, and what becomes of their answers."""

from __future__ import annotations

import asyncio

import pytest

from genai_spine.errors import OverloadedError, ProviderTimeoutError
from genai_spine.providers.pieces import AT_ONCE, all_done, cut, joined
from genai_spine.testing.clock import ManualClock
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage


class Bench:
    """Calls that end when they are told to."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.begun: list[int] = []
        self.seconds: list[float] = []
        self.cancelled: list[int] = []
        self.ends: dict[int, asyncio.Future[int]] = {}

    async def ask(self, piece: int, seconds: float) -> int:
        """Make a call."""
        self.begun.append(piece)
        self.seconds.append(seconds)
        self.ends[piece] = asyncio.get_running_loop().create_future()
        try:
            return await self.ends[piece]
        except asyncio.CancelledError:
            self.cancelled.append(piece)
            raise

    async def settle(self) -> None:
        """Let everything run that can."""
        for _ in range(5):
            await asyncio.sleep(0)


def test_cutting() -> None:
    """Each piece is the request with its share of the inputs; one that is small enough is itself."""
    request = EmbeddingRequest(inputs=("a", "b", "c"), model="m", dimensions=2)
    assert [request] == cut(request, 3)
    assert [("a", "b"), ("c",)] == [piece.inputs for piece in cut(request, 2)]
    assert {("m", 2)} == {(piece.model, piece.dimensions) for piece in cut(request, 2)}


async def test_calls_under_way() -> None:
    """No more than so many at once; one that ends makes room for the next; the order is that of the pieces."""
    bench = Bench()
    work = asyncio.create_task(all_done(range(AT_ONCE + 2), bench.ask, bench.clock, 5.0))
    await bench.settle()
    assert list(range(AT_ONCE)) == bench.begun
    bench.ends[3].set_result(30)
    await bench.settle()
    assert [*range(AT_ONCE), AT_ONCE] == bench.begun
    bench.ends[AT_ONCE].set_result(10 * AT_ONCE)
    await bench.settle()
    for piece, end in bench.ends.items():
        if not end.done():
            end.set_result(10 * piece)
    assert [10 * piece for piece in range(AT_ONCE + 2)] == await work


async def test_a_failure_ends_the_others() -> None:
    """What is under way is cancelled, what waits is never begun, and the failure is raised as it is."""
    bench = Bench()
    work = asyncio.create_task(all_done(range(AT_ONCE + 2), bench.ask, bench.clock, 5.0))
    await bench.settle()
    failure = OverloadedError("busy")
    bench.ends[2].set_exception(failure)
    with pytest.raises(OverloadedError) as caught:
        await work
    assert failure is caught.value
    assert list(range(AT_ONCE)) == bench.begun
    assert [piece for piece in range(AT_ONCE) if piece != 2] == sorted(bench.cancelled)


async def test_a_caller_that_leaves() -> None:
    """All calls are cancelled with him."""
    bench = Bench()
    work = asyncio.create_task(all_done(range(3), bench.ask, bench.clock, 5.0))
    await bench.settle()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [0, 1, 2] == sorted(bench.cancelled)


async def test_the_time_is_that_of_all() -> None:
    """A later call has what the earlier ones left over; when nothing is left it is not begun."""
    bench = Bench()
    work = asyncio.create_task(all_done(range(AT_ONCE + 2), bench.ask, bench.clock, 5.0))
    await bench.settle()
    bench.clock.advance(2.0)
    bench.ends[0].set_result(0)
    await bench.settle()
    assert [5.0] * AT_ONCE + [3.0] == bench.seconds
    bench.clock.advance(3.0)
    bench.ends[1].set_result(1)
    with pytest.raises(ProviderTimeoutError):
        await work
    assert AT_ONCE + 1 not in bench.begun


async def test_a_single_piece() -> None:
    """It is asked as it is, with all the time there is."""
    bench = Bench()
    work = asyncio.create_task(all_done([7], bench.ask, bench.clock, 5.0))
    await bench.settle()
    bench.ends[7].set_result(70)
    assert [70] == await work
    assert [5.0] == bench.seconds


def test_joining() -> None:
    """Vectors in order, tokens together, each warning once; where one did not count its tokens nobody has."""
    first = EmbeddingResponse(
        vectors=((1.0,), (2.0,)), model="m", usage=Usage(input_tokens=2), warnings=("a",), extras={"id": 1}
    )
    second = EmbeddingResponse(vectors=((3.0,),), model="m", usage=Usage(input_tokens=1), warnings=("a", "b"))
    assert first is joined([first])
    expected = EmbeddingResponse(
        vectors=((1.0,), (2.0,), (3.0,)), model="m", usage=Usage(input_tokens=3), warnings=("a", "b")
    )
    assert expected == joined([first, second])
    assert joined([first, EmbeddingResponse(vectors=((3.0,),))]).usage is None
