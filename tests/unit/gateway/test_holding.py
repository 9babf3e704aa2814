"""What of a stream is held back until a model's first words are there, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import pytest
from typing_extensions import override

from genai_spine.errors import SpineError, StreamInterruptedError
from genai_spine.gateway.context import Call
from genai_spine.gateway.failover import HOLD_SECONDS, Failover
from genai_spine.gateway.guards import Guards
from genai_spine.gateway.trial import Trial
from genai_spine.providers.registry import Registry
from genai_spine.testing.clock import ManualClock
from tests import virtual_time
from tests.accounts import NoAccounts
from tests.providers import OwnProvider
from tests.routing import option

Begin = Callable[[Call], AsyncGenerator[str, None]]

BROKE: Final = "it broke"
OPTIONS: Final = [option("one/small"), option("two/small")]


class LoopClock(ManualClock):
    """The time of the running loop, in which waiting takes none."""

    @override
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Told:
    """What came of a stream: its pieces with the seconds when they came, its failure, and how each call ended."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, str]] = []
        self.error: SpineError | None = None
        self.outcomes: list[tuple[str, str]] = []


def told_of(*begins: Begin, most: int = 100, alive: str | None = "alive") -> Told:
    """Stream from the first provider by the first of ``begins``, and so on; leave after ``most`` pieces."""
    told = Told()

    async def main() -> None:
        clock = LoopClock()
        registry = Registry()
        for name in ("one", "two"):
            registry.add(OwnProvider(name))

        class Accounts(NoAccounts):
            @override
            def ended(self, call: Call, trial: Trial) -> None:
                record = trial.record(call)
                told.outcomes.append((record.provider, record.outcome))

        failover = Failover(Guards(clock), clock, Accounts(), jitter=lambda: 0.0)
        call = Call(request_id="req_1", door="openai", started=0.0)
        call.registry = registry
        left = list(begins)
        pieces = failover.stream(call, OPTIONS, lambda _: left.pop(0)(call), alive)
        try:
            async with aclosing(pieces) as stream:
                async for piece in stream:
                    told.pieces.append((clock.monotonic(), piece))
                    if len(told.pieces) == most:
                        break
        except SpineError as error:
            told.error = error
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtual_time.run(main)
    return told


def speaking(silence: float, *, fails: bool = False, opens: bool = True) -> Begin:
    """A stream that opens at once and says nothing for so many seconds; then come its words, or its failure."""

    async def begin(call: Call) -> AsyncGenerator[str, None]:
        if opens:
            yield "opening"
        await asyncio.sleep(silence)
        if fails:
            raise StreamInterruptedError(BROKE)
        call.first_token_at = asyncio.get_running_loop().time()
        yield "words"
        yield "end"

    return begin


def test_first_frames_wait_for_the_first_words() -> None:
    """They go out together with them."""
    told = told_of(speaking(HOLD_SECONDS - 1))
    assert [(9.0, "opening"), (9.0, "words"), (9.0, "end")] == told.pieces
    assert [("one", "success")] == told.outcomes


def test_late_words() -> None:
    """After ten seconds the first frames go out, and a sign of life every ten seconds until the words are there."""
    told = told_of(speaking(35))
    assert [
        (10.0, "opening"),
        (20.0, "alive"),
        (30.0, "alive"),
        (35.0, "words"),
        (35.0, "end"),
    ] == told.pieces
    assert [("one", "success")] == told.outcomes


@pytest.mark.parametrize("silence", [0, HOLD_SECONDS - 1])
def test_a_failure_while_nothing_is_out(silence: float) -> None:
    """Nothing of that stream is seen, however often it is tried; the next provider's is whole."""
    told = told_of(*[speaking(silence, fails=True)] * 3, speaking(0))
    assert ["opening", "words", "end"] == [piece for _, piece in told.pieces]
    assert [("one", "error")] * 3 + [("two", "success")] == told.outcomes


def test_a_failure_after_the_first_frames() -> None:
    """Nobody else is asked any more: it is the answer."""
    told = told_of(speaking(15, fails=True), speaking(0))
    assert [(10.0, "opening")] == told.pieces
    assert isinstance(told.error, StreamInterruptedError)
    assert [("one", "error")] == told.outcomes


@pytest.mark.parametrize(("silence", "alive"), [(HOLD_SECONDS + 5, "alive"), (HOLD_SECONDS * 9, None)])
def test_a_failure_after_long_silence(silence: float, alive: str | None) -> None:
    """Where there was nothing to let out, it is still made good, until a sign of life must be given."""
    told = told_of(*[speaking(silence, fails=True, opens=False)] * 3, speaking(0), alive=alive)
    waits = 0.5 + 1.0
    assert [(3 * silence + waits, piece) for piece in ("opening", "words", "end")] == told.pieces
    assert [("one", "error")] * 3 + [("two", "success")] == told.outcomes


def test_signs_of_life_alone() -> None:
    """A stream of which nothing is there shows that it lives after twice ten seconds, and every ten from then on."""
    told = told_of(speaking(35, opens=False))
    assert [(20.0, "alive"), (30.0, "alive"), (35.0, "words"), (35.0, "end")] == told.pieces


@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_caller_who_leaves(most: int) -> None:
    """Whenever that is, the call is given back and nothing goes on; it says nothing of the provider."""
    told = told_of(speaking(35), most=most)
    assert most == len(told.pieces)
    assert [("one", "cancelled")] == told.outcomes
