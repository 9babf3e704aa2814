"""Two workers' guards over one board: what each finds of what the other tells."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from typing_extensions import override

from genai_spine.gateway.guards import Guard, Guards, Policies
from genai_spine.redact import Secret
from genai_spine.resilience.breaker import CircuitPolicy
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.keys import KeyPool
from genai_spine.shared_state.memory import MemoryState
from genai_spine.testing.clock import ManualClock
from tests.providers import OwnProvider

POLICIES = Policies(circuit=CircuitPolicy(failures=1, open_seconds=30))


class Worker:
    """One of them, with the providers that it is configured with."""

    def __init__(self, state: MemoryState, clock: ManualClock) -> None:
        self.clock = clock
        self.providers: dict[str, OwnProvider] = {}
        self.guards = Guards(clock, POLICIES, machine="here")
        self.health = self.guards.share(state, self.providers.get)

    def configure(self, name: str, address: str = "https://one", keys: int = 1) -> Guard:
        """Have a provider, at an address, with so many keys."""
        made = OwnProvider(name)
        made.address, made.keys = address, tuple(Secret(f"key-{number}") for number in range(keys))
        former = [self.providers[name]] if name in self.providers else []
        for one in former:
            one.retired = True
        self.providers[name] = made
        self.guards.follow(POLICIES, former, [made])
        return self.guards.of(made)

    def keys(self, name: str) -> KeyPool:
        """The keys of a provider."""
        keys = self.guards.of(self.providers[name]).keys
        assert keys is not None
        return keys

    def statuses(self, name: str) -> list[str]:
        """How they do."""
        return [key.status for key in self.keys(name).health()]


class Slow(MemoryState):
    """A place that takes its time to write.

    Attributes:
        asked: It is to write.
        answers: It does.
    """

    def __init__(self, max_bytes: int, clock: ManualClock) -> None:
        super().__init__(max_bytes, clock)
        self.asked, self.answers = asyncio.Event(), asyncio.Event()

    @override
    async def write(self, board: str, name: str, text: bytes, seconds: float, over: str) -> str | None:
        self.asked.set()
        await self.answers.wait()
        return await super().write(board, name, text, seconds, over)


def two() -> tuple[Worker, Worker]:
    """Two workers."""
    clock = ManualClock()
    state = MemoryState(0, clock)
    return Worker(state, clock), Worker(state, clock)


async def test_a_provider_that_was_never_asked_here() -> None:
    """What another found out is known before the first call: who is planned with knows who is ill."""
    one, other = two()
    one.configure("p")
    other.configure("p")
    one.keys("p").lease().failure("refused")
    one.guards.of(one.providers["p"]).model_circuit("a/b").enter().failure("provider")
    await one.health.look()
    await other.health.look()
    assert {"p", "p/a/b"} == set(other.guards.ill)
    assert ["refused"] == other.statuses("p")


async def test_a_provider_that_comes_later() -> None:
    """And a key that comes later: what others told before is in effect as soon as it is looked at."""
    one, other = two()
    one.configure("p", keys=2)
    one.keys("p").lease().release()
    one.keys("p").lease().failure("refused")
    await one.health.look()
    await other.health.look()
    other.configure("p", keys=1)
    await other.health.look()
    assert ["healthy"] == other.statuses("p")
    other.configure("p", keys=2)
    await other.health.look()
    assert ["healthy", "refused"] == other.statuses("p")


async def test_two_providers_with_one_key() -> None:
    """Are two; so is one at another address, of which nothing is known, and which is not told of the former."""
    one, other = two()
    for name in ("p", "q"):
        one.configure(name)
        other.configure(name)
    one.keys("p").lease().failure("refused")
    await one.health.look()
    await other.health.look()
    assert (["refused"], ["healthy"]) == (other.statuses("p"), other.statuses("q"))
    one.configure("p", "https://two")
    await one.health.look()
    await other.health.look()
    assert (["healthy"], ["refused"]) == (one.statuses("p"), other.statuses("p"))


async def test_who_leaves_while_his_call_is_not_allowed_yet() -> None:
    """Gives back all that he was lent, and the next one asks."""
    state = Slow(0, clock := ManualClock())
    one = Worker(state, clock)
    guard = one.configure("p")
    guard.circuit.enter().failure("provider")
    one.clock.advance(30)
    deadline = Deadline(one.clock, None)
    admission = guard.admit("m", one.keys("p").turn(), deadline)
    waiting = asyncio.create_task(one.guards.is_alone(admission))
    await state.asked.wait()
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert 0 == one.keys("p").health()[0].in_flight
    state.answers.set()
    admission = guard.admit("m", one.keys("p").turn(), deadline)
    assert admission.asks
    assert await one.guards.is_alone(admission)
    admission.release()
