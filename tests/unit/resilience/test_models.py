"""Keys and circuits against models of them: whatever happens in whatever order, both say the same."""

from __future__ import annotations

from typing import Final, Never

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from typing_extensions import override

from genai_spine.errors import CircuitOpenError, NoUsableKeyError
from genai_spine.redact import Secret
from genai_spine.resilience.breaker import Circuit, CircuitPolicy, Passage
from genai_spine.resilience.faults import Fault
from genai_spine.resilience.keys import KeyLease, KeyPool
from genai_spine.testing.clock import ManualClock

SECRETS: Final = [Secret(f"sk-test-{number}-0123456789") for number in range(4)]
FAULTS: Final[list[Fault]] = ["request", "refused", "denied", "exhausted", "limited", "provider"]


class ModelKey:
    """A key as the specification has it."""

    def __init__(self) -> None:
        self.failures = 0
        self.refused = False
        self.rests_until = 0.0
        self.rested_at = 0
        self.under_way = 0
        self.used = 0

    def usable(self, now: float) -> bool:
        """Whether it may be lent."""
        return not self.refused and self.rests_until <= now


class Keys(RuleBasedStateMachine):
    """A pool beside a model of its keys."""

    leases: Bundle[tuple[KeyLease, ModelKey, int]] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.pool = KeyPool([], self.clock)
        self.keys: dict[Secret, ModelKey] = {}
        self.lent = 0
        self.held: list[KeyLease] = []

    @property
    def now(self) -> float:
        """The time of both."""
        return self.clock.monotonic()

    @initialize(secrets=st.sets(st.sampled_from(SECRETS), min_size=1))
    def begin(self, secrets: set[Secret]) -> None:
        """Some keys are there at first."""
        self.configure(secrets)

    @rule(secrets=st.sets(st.sampled_from(SECRETS)))
    def configure(self, secrets: set[Secret]) -> None:
        """Keys come and go; those that stay keep their state."""
        ordered = sorted(secrets, key=Secret.reveal)
        self.pool.configure(ordered)
        self.keys = {secret: self.keys.get(secret) or ModelKey() for secret in ordered}

    @rule(seconds=st.sampled_from([0.0, 1.0, 59.0, 60.0, 120.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(target=leases, preferred=st.none() | st.sampled_from(SECRETS))
    def lease(self, preferred: Secret | None) -> tuple[KeyLease, ModelKey, int] | MultipleResults[Never]:
        """The preferred key, else the one with the fewest failures, calls under way, and the longest unused."""
        usable = [secret for secret, key in self.keys.items() if key.usable(self.now)]
        if not usable:
            waits = [key.rests_until - self.now for key in self.keys.values() if not key.refused]
            with pytest.raises(NoUsableKeyError) as caught:
                self.pool.lease()
            assert min(waits, default=None) == caught.value.retry_after
            return multiple()
        best = min(usable, key=lambda secret: (self.keys[secret].failures, self._merit(secret)))
        if preferred is not None and preferred in usable:
            best = preferred
        lease = self.pool.lease(preferred=preferred.fingerprint if preferred else None)
        assert best == lease.secret
        self.lent += 1
        key = self.keys[best]
        key.used = self.lent
        key.under_way += 1
        self.held.append(lease)
        return lease, key, self.lent

    def _merit(self, secret: Secret) -> tuple[int, int, int]:
        key = self.keys[secret]
        return key.under_way, key.used, list(self.keys).index(secret)

    @rule(held=consumes(leases))
    def succeed(self, held: tuple[KeyLease, ModelKey, int]) -> None:
        """A success clears the failures."""
        lease, key, _ = held
        lease.success()
        key.failures = 0
        key.under_way -= 1

    @rule(held=consumes(leases))
    def leave(self, held: tuple[KeyLease, ModelKey, int]) -> None:
        """A caller who leaves changes nothing."""
        lease, key, _ = held
        lease.release()
        key.under_way -= 1

    @rule(held=consumes(leases), fault=st.sampled_from(FAULTS), told=st.none() | st.sampled_from([0.0, 5.0, 9000.0]))
    def fail(self, held: tuple[KeyLease, ModelKey, int], fault: Fault, told: float | None) -> None:
        """A failure counts, rests or refuses by its fault."""
        lease, key, number = held
        lease.failure(fault, told)
        key.under_way -= 1
        fresh = number > key.rested_at
        others = any(other is not key and other.usable(self.now) for other in self.keys.values())
        rest: float | None = None
        if fault == "refused":
            key.refused = True
        elif fault == "exhausted":
            rest = max(3600.0, told or 0.0)
        elif fault == "limited" and told is not None:
            rest = told
        elif fault in {"limited", "provider"} and fresh:
            key.failures += 1
            if fault == "limited" or (key.failures >= 3 and others):
                rest = min(3600.0, 60.0 * 2 ** max(0, key.failures - 3))
        if rest is not None:
            key.rests_until = max(key.rests_until, self.now + rest)
            key.rested_at = key.used

    @rule(secret=st.sampled_from(SECRETS))
    def reset(self, secret: Secret) -> None:
        """What is held against a key is forgotten."""
        assert self.pool.reset(secret.fingerprint) == (secret in self.keys)
        if secret in self.keys:
            key = self.keys[secret]
            key.failures, key.refused, key.rests_until, key.rested_at = 0, False, 0.0, key.used

    @invariant()
    def health_agrees(self) -> None:
        """Each key does as the model says."""
        for (secret, key), health in zip(self.keys.items(), self.pool.health(), strict=True):
            wait = None if key.refused else max(0.0, key.rests_until - self.now)
            expected = (secret.fingerprint, key.failures, key.under_way, wait)
            assert expected == (health.fingerprint, health.failures, health.in_flight, health.usable_in)

    @override
    def teardown(self) -> None:
        """Give back what is still held, so that nothing warns."""
        for lease in self.held:
            if not lease.settled:
                lease.release()


class Breaker(RuleBasedStateMachine):
    """A circuit beside a model of it."""

    passages: Bundle[tuple[Passage, int]] = Bundle("passages")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.circuit = Circuit("openai", self.clock, CircuitPolicy(failures=3, open_seconds=300))
        self.state = "closed"
        self.failures = 0
        self.opened_at = 0.0
        self.era = 0
        self.probes = 0
        self.held: list[Passage] = []

    @property
    def passable(self) -> bool:
        """Whether a call may pass now."""
        if self.state == "open":
            return self.clock.monotonic() >= self.opened_at + 300
        return self.state == "closed" or self.probes == 0

    def become(self, state: str) -> None:
        """Change; what was begun before counts no more."""
        self.state = state
        self.era += 1
        self.probes = 0
        if state == "open":
            self.opened_at = self.clock.monotonic()
        if state == "closed":
            self.failures = 0

    @rule(seconds=st.sampled_from([0.0, 1.0, 299.0, 300.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @precondition(lambda self: not self.passable)
    @rule()
    def refused(self) -> None:
        """Nobody passes, and is told when to come again."""
        with pytest.raises(CircuitOpenError) as caught:
            self.circuit.enter()
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 0

    @precondition(lambda self: self.passable)
    @rule(target=passages)
    def enter(self) -> tuple[Passage, int]:
        """A call passes; the first after the rest makes the circuit half open."""
        passage = self.circuit.enter()
        if self.state == "open":
            self.become("half_open")
        self.probes += self.state == "half_open"
        self.held.append(passage)
        return passage, self.era

    @rule(held=consumes(passages))
    def succeed(self, held: tuple[Passage, int]) -> None:
        """A success closes, unless it is of an earlier time."""
        passage, era = held
        passage.success()
        if era == self.era:
            self.failures = 0
            if self.state == "half_open":
                self.become("closed")

    @rule(held=consumes(passages))
    def fail(self, held: tuple[Passage, int]) -> None:
        """A failure counts; a probe's opens again."""
        passage, era = held
        passage.failure("provider")
        if era == self.era:
            self.failures += 1
            if self.state == "half_open" or self.failures >= 3:
                self.become("open")

    @rule(held=consumes(passages), fault=st.sampled_from([fault for fault in FAULTS if fault != "provider"]))
    def neither(self, held: tuple[Passage, int], fault: Fault) -> None:
        """What is not the provider's fault counts for nothing, and frees a probe's place."""
        passage, era = held
        passage.failure(fault)
        if era == self.era:
            self.probes = 0

    @rule()
    def reset(self) -> None:
        """By hand it is closed at once."""
        self.circuit.reset()
        if self.state != "closed":
            self.become("closed")
        self.failures = 0

    @invariant()
    def state_agrees(self) -> None:
        """The circuit stands as the model does, and never more than one probe is under way."""
        assert self.state == self.circuit.state
        assert self.passable == (self.circuit.retry_after() == 0)
        assert self.failures == self.circuit.health().failures
        assert self.probes <= 1

    @override
    def teardown(self) -> None:
        """Give back what is still held, so that nothing warns."""
        for passage in self.held:
            if not passage.settled:
                passage.release()


TestKeys = Keys.TestCase
TestKeys.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBreaker = Breaker.TestCase
TestBreaker.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
