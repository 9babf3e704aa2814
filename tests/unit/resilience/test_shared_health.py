"""Several workers with copies of the same keys and circuits: they agree, and one of them asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from genai_spine.errors import CircuitOpenError, NoUsableKeyError, SharedStateUnavailableError
from genai_spine.redact import Secret
from genai_spine.resilience.breaker import PROBE_SECONDS, Circuit, CircuitChange, CircuitPolicy, Passage
from genai_spine.resilience.faults import Fault
from genai_spine.resilience.keys import KeyLease, KeyPolicy, KeyPool
from genai_spine.resilience.shared import Shared
from genai_spine.resilience.shared_health import BOARD, KEPT_SECONDS, LOOK_SECONDS, SharedHealth
from genai_spine.shared_state.base import Note
from genai_spine.shared_state.memory import MemoryState
from genai_spine.testing.clock import ManualClock
from tests import virtual_time

REST = 30.0


class Board(MemoryState):
    """A place that can be out of reach, and forget; it counts how often it is asked.

    Attributes:
        meanwhile: What happens while an answer is on its way.
        mute: Messages are lost.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(0, clock)
        self.down = False
        self.asked = 0
        self.meanwhile: list[Callable[[], None]] = []
        self.mute = False

    def forget(self) -> None:
        """Have nothing on any board."""
        self._boards.clear()

    def _ask(self) -> None:
        self.asked += 1
        if self.down:
            message = "down"
            raise SharedStateUnavailableError(message)

    @override
    async def notes(self, board: str) -> dict[str, Note]:
        self._ask()
        found = await super().notes(board)
        while self.meanwhile:
            self.meanwhile.pop()()
        return found

    @override
    async def write(self, board: str, name: str, text: bytes, seconds: float, over: str) -> str | None:
        self._ask()
        return await super().write(board, name, text, seconds, over)

    @override
    async def publish(self, topic: str, message: bytes) -> None:
        self._ask()
        if not self.mute:
            await super().publish(topic, message)


class Worker:
    """One of them, with a circuit and a key."""

    def __init__(self, board: Board, clock: ManualClock) -> None:
        self.told: list[CircuitChange] = []
        self.circuit = Circuit(
            "p",
            clock,
            CircuitPolicy(failures=2, open_seconds=REST),
            [self.told.append],
            tell=lambda circuit: self.health.changed("circuit", circuit),
        )
        self.pool = KeyPool(
            [Secret("only")],
            clock,
            KeyPolicy(max_failures_before_cooldown=1),
            tell=lambda _, key: self.health.changed("key", key),
        )
        (key,) = self.pool.health()
        self.fingerprint = key.fingerprint
        self.health = SharedHealth(board, self.find)
        self.passages: list[Passage] = []
        self.leases: list[KeyLease] = []

    def find(self, name: str) -> Shared | None:
        """What others tell of."""
        return self.circuit if name == "circuit" else self.pool.shared(self.fingerprint)

    @property
    def key(self) -> tuple[str, float | None]:
        """How its key does."""
        (key,) = self.pool.health()
        return key.status, key.usable_in

    async def enter(self) -> bool:
        """Begin a call as the gateway does, if it may be made."""
        with suppress(CircuitOpenError):
            passage = self.circuit.enter()
            if passage.probing:
                await self.health.tell("circuit")
            if not passage.lapsed:
                self.passages.append(passage)
                return True
            passage.release()
        return False

    async def probe(self) -> Passage:
        """Begin the call that asks."""
        assert await self.enter()
        assert self.passages[-1].probing
        return self.passages[-1]

    def fail(self, times: int = 2) -> None:
        """Have so many calls fail."""
        for _ in range(times):
            self.circuit.enter().failure("provider")


class Crew:
    """Three of them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.board = Board(self.clock)
        self.workers = [Worker(self.board, self.clock) for _ in range(3)]

    async def look(self) -> None:
        """All look, till there is nothing new."""
        for _ in range(3):
            for worker in self.workers:
                await worker.health.look()

    # What may happen.

    async def begin(self, who: int) -> None:
        """A worker begins a call."""
        await self.workers[who].enter()

    async def end(self, who: int, how: Fault | None) -> None:
        """A worker's oldest call ends: well, badly, or without a word."""
        if passages := self.workers[who].passages:
            passage = passages.pop(0)
            if how is None:
                passage.success()
            else:
                passage.failure(how)

    async def use(self, who: int, how: Fault | None, retry_after: float | None) -> None:
        """A worker uses the key."""
        with suppress(NoUsableKeyError):
            lease = self.workers[who].pool.lease()
            if how is None:
                lease.success()
            else:
                lease.failure(how, retry_after)

    async def reset(self, who: int) -> None:
        """An operator takes all for healthy."""
        self.workers[who].circuit.reset()
        self.workers[who].pool.reset()

    async def advance(self, seconds: float) -> None:
        """Time passes; all look in between, those who can, before anybody is taken for dead."""
        self.clock.advance(seconds)
        await self.seen()

    async def seen(self) -> None:
        """All look, as far as they can."""
        for worker in self.workers:
            with suppress(SharedStateUnavailableError):
                await worker.health.look()

    async def seen_by(self, who: int) -> None:
        """One looks, if he can."""
        with suppress(SharedStateUnavailableError):
            await self.workers[who].health.look()

    async def outage(self, down: bool) -> None:  # noqa: FBT001  # a step's argument
        """The board goes or comes."""
        self.board.down = down

    async def loss(self) -> None:
        """The board forgets."""
        self.board.forget()

    @property
    def asking(self) -> int:
        """How many calls ask, as far as their workers know."""
        return sum(passage.probing and not passage.lapsed for one in self.workers for passage in one.passages)

    async def agreed(self) -> None:
        """All are well connected and have ended what was under way: they know the same."""
        self.board.down = False
        for who, worker in enumerate(self.workers):
            while worker.passages:
                await self.end(who, "request")
        await self.look()
        states = {(one.circuit.state, round(one.circuit.retry_after(), 3)) for one in self.workers}
        assert len(states) == 1
        keys = {(status, wait and round(wait, 3)) for status, wait in (worker.key for worker in self.workers)}
        assert len(keys) == 1


Steps = list[tuple[str, *tuple[object, ...]]]

_who = st.integers(0, 2)
_how = st.sampled_from([None, "provider", "provider", "request"])
_calls = st.one_of(
    st.tuples(st.just("begin"), _who),
    st.tuples(st.just("end"), _who, _how),
    st.tuples(st.just("use"), _who, st.sampled_from([None, "refused", "limited"]), st.sampled_from([None, 5.0, 50.0])),
    st.tuples(st.just("reset"), _who),
    st.tuples(st.just("advance"), st.sampled_from([1.0, PROBE_SECONDS - 1, REST])),
    st.tuples(st.just("seen_by"), _who),
    st.just(("seen",)),
)
_trouble = st.one_of(_calls, st.tuples(st.just("outage"), st.booleans()), st.just(("loss",)))

OPEN: Steps = [("begin", 0), ("end", 0, "provider")] * 2
RESTED: Steps = [("seen",), ("advance", REST), ("begin", 0)]


async def _done(crew: Crew, steps: Steps) -> int:
    """Do steps; return the most calls that asked at a time."""
    most = 0
    for name, *arguments in steps:
        act: Callable[..., object] = getattr(crew, name)
        await act(*arguments)  # type: ignore[misc]  # all that may happen is awaited
        most = max(most, crew.asking)
    return most


@settings(max_examples=300)
@example([*OPEN, *RESTED, ("begin", 1), ("end", 0, "request"), ("begin", 1), ("begin", 2)])
@example([*OPEN, *RESTED, ("reset", 1), ("seen",), ("end", 0, "provider")])
@given(st.lists(_calls, max_size=40))
def test_one_asks_and_all_agree(steps: Steps) -> None:
    """T7: whoever calls, fails, resets and looks in whichever order, one call asks at a time; and all come to agree."""

    async def run() -> None:
        crew = Crew()
        assert await _done(crew, steps) <= 1
        await crew.agreed()

    asyncio.run(run())


@settings(max_examples=300)
@example([*OPEN, ("seen",), ("loss",), ("outage", True), ("advance", REST), ("begin", 0), ("end", 0, None)])
@given(st.lists(_trouble, max_size=40))
def test_all_agree_after_any_trouble(steps: Steps) -> None:
    """However often the board is out of reach or forgets: once it is there all come to agree."""

    async def run() -> None:
        crew = Crew()
        await _done(crew, steps)
        await crew.agreed()

    asyncio.run(run())


async def test_a_circuit_opens_and_closes_for_all() -> None:
    """For as long as it has still to rest; each tells its listeners, with what it was told and by whom it was found."""
    crew = Crew()
    one, two, _ = crew.workers
    one.fail()
    await one.health.look()
    crew.clock.advance(10)
    await two.health.look()
    assert ("open", REST - 10) == (two.circuit.state, two.circuit.retry_after())
    assert [CircuitChange("p", "closed", "open", "2 failures in a row", elsewhere=True)] == two.told
    crew.clock.advance(REST - 10)
    (await two.probe()).success()
    await crew.look()
    assert ["closed"] * 3 == [worker.circuit.state for worker in crew.workers]
    assert [("open", False), ("half_open", True), ("closed", True)] == [
        (change.after, change.elsewhere) for change in one.told
    ]


async def test_who_dies_while_he_asks() -> None:
    """He is waited for only for a time, so that another asks; while he lives he is waited for on."""
    crew = Crew()
    dead, living, third = crew.workers
    dead.fail()
    await crew.look()
    crew.clock.advance(REST)
    await dead.probe()
    await living.health.look()
    for _ in range(5):
        crew.clock.advance(PROBE_SECONDS - 1)
        await dead.health.look()
        await living.health.look()
        assert not await living.enter()
    crew.clock.advance(PROBE_SECONDS)
    probe = await living.probe()
    assert not await third.enter()
    await dead.health.look()
    assert dead.passages[0].lapsed
    dead.passages[0].failure("provider")
    assert 1 == crew.asking
    probe.success()


async def test_well_calls_ask_nobody() -> None:
    """Neither calls that go well, nor a failure here and there."""
    crew = Crew()
    (worker, *_) = crew.workers
    for _ in range(3):
        await crew.begin(0)
        await crew.begin(0)
        await crew.end(0, "provider")
        await crew.end(0, None)
        await crew.use(0, None, None)
        await worker.health.tell("circuit")
    assert ("closed", 0) == (worker.circuit.state, crew.board.asked)


async def test_the_graver_finding_counts() -> None:
    """Of two that were made at once about one key; but an operator's word counts over both."""
    crew = Crew()
    one, two, three = crew.workers
    await crew.use(0, "limited", 5)
    await crew.use(1, "refused", None)
    await crew.use(2, "limited", 60)
    await crew.look()
    assert [("refused", None)] * 3 == [worker.key for worker in crew.workers]
    await crew.reset(0)
    await crew.look()
    assert [("healthy", 0.0)] * 3 == [worker.key for worker in crew.workers]
    three_lease = three.pool.lease()
    two.pool.lease().failure("refused")
    await two.health.look()
    three_lease.failure("limited", 7)
    one.pool.reset()
    await one.health.look()
    await crew.look()
    assert [("healthy", 0.0)] * 3 == [worker.key for worker in crew.workers]


async def test_what_is_found_while_one_looks() -> None:
    """What a look brings is older: it does not undo what was found out meanwhile."""
    crew = Crew()
    one, two, _ = crew.workers
    await crew.use(0, "limited", 5)
    await one.health.look()
    lease = two.pool.lease()
    crew.board.meanwhile.append(lambda: lease.failure("refused"))
    await two.health.look()
    await crew.look()
    assert [("refused", None)] * 3 == [worker.key for worker in crew.workers]


async def test_one_asks_where_nothing_is_remembered() -> None:
    """Though the board forgot that the circuit is open, and nobody has looked since."""
    crew = Crew()
    crew.workers[0].fail()
    await crew.look()
    crew.board.forget()
    crew.clock.advance(REST)
    assert [True, False, False] == [await worker.enter() for worker in crew.workers]
    await crew.end(0, None)
    await crew.agreed()
    assert "closed" == crew.workers[2].circuit.state


async def test_a_key_that_is_well_again() -> None:
    """After a call went well its failures are forgotten by all, so that none of them makes its next rest longer."""
    crew = Crew()
    await crew.use(0, "limited", None)
    await crew.look()
    assert [1] * 3 == [worker.pool.health()[0].failures for worker in crew.workers]
    crew.clock.advance(60)
    await crew.use(1, None, None)
    await crew.look()
    assert [0] * 3 == [worker.pool.health()[0].failures for worker in crew.workers]


async def test_a_note_outlives_nobody() -> None:
    """While a worker lives that knows of something ill its note stands; it goes an hour after the last of them."""
    crew = Crew()
    await crew.use(0, "refused", None)
    await crew.look()
    for _ in range(2):
        crew.clock.advance(KEPT_SECONDS)
        assert {} == await crew.board.notes(BOARD)
        await crew.look()
        assert {"key"} == set(await crew.board.notes(BOARD))


def test_each_looks_now_and_then() -> None:
    """So that a message that is lost costs seconds; who asks is waited for on meanwhile; and no outage ends it."""

    async def main() -> None:
        crew = Crew()
        crew.board.mute = True
        one, two, _ = crew.workers
        running = [asyncio.create_task(worker.health.run()) for worker in (one, two)]
        one.fail()
        await asyncio.sleep(LOOK_SECONDS + 1)
        assert REST == two.circuit.retry_after()
        crew.board.down = True
        await crew.use(0, "refused", None)
        await asyncio.sleep(LOOK_SECONDS + 1)
        crew.board.down = False
        await asyncio.sleep(2 * LOOK_SECONDS + 1)
        assert "refused" == two.key[0]
        crew.clock.advance(REST)
        probe = await one.probe()
        for _ in range(5):
            await asyncio.sleep(LOOK_SECONDS + 1)
            assert not await two.enter()
            crew.clock.advance(PROBE_SECONDS - 1)
        probe.success()
        await asyncio.sleep(2 * LOOK_SECONDS + 1)
        assert "closed" == two.circuit.state
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    virtual_time.run(main)


async def test_a_note_of_another_version() -> None:
    """What cannot be read is passed over, and written over by who has something to tell."""
    crew = Crew()
    for name in ("circuit", "key"):
        await crew.board.write(BOARD, name, b'{"by":"x","how":"?"}', 60, "")
    one, two, _ = crew.workers
    await two.health.look()
    assert (two.circuit.quiet, "healthy") == (True, two.key[0])
    one.fail()
    await crew.use(0, "refused", None)
    await crew.look()
    assert ("open", "refused") == (two.circuit.state, two.key[0])
