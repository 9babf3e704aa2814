"""Who is ill: what is remembered of it is what would be found out anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genai_spine.errors import SpineError
from genai_spine.gateway.guards import Guards, Policies
from genai_spine.redact import Secret
from genai_spine.resilience.breaker import CircuitPolicy
from genai_spine.resilience.faults import Fault
from genai_spine.resilience.keys import KeyPolicy
from genai_spine.resilience.lease import Lease
from genai_spine.testing.clock import ManualClock
from tests.providers import OwnProvider

FAULTS: list[Fault] = ["request", "refused", "denied", "exhausted", "limited", "provider"]
NAMES = ("one", "two")


class Ward:
    """Two providers with keys, one without, whose calls begin and end as a test wants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        policies = Policies(
            keys=KeyPolicy(max_failures_before_cooldown=1, default_cooldown=20),
            circuit=CircuitPolicy(failures=1, open_seconds=30),
        )
        self.guards = Guards(self.clock, policies)
        self.providers = {name: OwnProvider(name) for name in (*NAMES, "keyless")}
        for name in NAMES:
            self.exchange(name, 2)
        for provider in self.providers.values():
            self.guards.of(provider)
        self.under_way: list[Lease] = []

    def exchange(self, name: str, count: int) -> None:
        """Give a provider other keys, some of them those that it had."""
        self.providers[name].keys = tuple(Secret(f"{name}-{number}") for number in range(count))
        self.guards.of(self.providers[name])

    def begin(self, name: str, what: str) -> None:
        """Take a key, or the right to call a provider or its model, if it can be had."""
        guard = self.guards.of(self.providers[name])
        ways: dict[str, Callable[[], Lease]] = {
            "circuit": guard.circuit.enter,
            "model": guard.model_circuit("m").enter,
        }
        if guard.keys is not None:
            ways["key"] = guard.keys.lease
        # Who is ill refuses.
        with suppress(SpineError):
            self.under_way.append(ways.get(what, guard.circuit.enter)())

    def call(self, name: str, what: str, how: Fault | None) -> None:
        """Begin a call and end it."""
        before = len(self.under_way)
        self.begin(name, what)
        if len(self.under_way) > before:
            self.end(-1, how, 10)

    def end(self, number: int, how: Fault | None, retry_after: float | None) -> None:
        """End one of the calls under way: well, badly, or without a word."""
        if self.under_way:
            lease = self.under_way.pop(number % len(self.under_way))
            if how is None:
                lease.success()
            elif how == "request":
                lease.release()
            else:
                lease.failure(how, retry_after)

    def reset(self, name: str) -> None:
        """Take a provider for healthy."""
        self.guards.of(self.providers[name]).reset()

    def settle(self) -> None:
        """End all that is under way."""
        while self.under_way:
            self.end(0, None, None)


OPEN = ("call", "one", "circuit", "provider")
PROBE = ("begin", "one", "circuit")
REFUSED = ("call", "one", "key", "refused")

_names = st.sampled_from(["one", "keyless"])
_whats = st.sampled_from(["key", "circuit", "model"])
_faults = st.none() | st.sampled_from(FAULTS)
_steps = st.one_of(
    st.tuples(st.just("call"), _names, _whats, st.sampled_from(["provider", "refused", "limited"])),
    st.tuples(st.just("call"), _names, _whats, _faults),
    st.tuples(st.just("begin"), _names, _whats),
    st.tuples(st.just("end"), st.integers(0, 3), _faults, st.none() | st.sampled_from([0.5, 10])),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 10.0, 20.0, 30.0, 3600.0])),
    st.tuples(st.just("exchange"), st.just("one"), st.integers(0, 3)),
    st.tuples(st.just("reset"), _names),
)


@settings(max_examples=200)
@example([OPEN, ("advance", 30.0), PROBE, ("end", 0, "request", None), PROBE, ("end", 0, None, None)])
@example([REFUSED, REFUSED, ("reset", "one"), REFUSED, REFUSED, ("exchange", "one", 3)])
@given(st.lists(_steps, max_size=30))
def test_what_is_remembered_is_what_is_true(steps: list[tuple[str, *tuple[object, ...]]]) -> None:
    """Whatever calls, keys, time and the operator do: after each step the ill are just those who are in trouble."""
    ward = Ward()
    for name, *arguments in steps:
        act: Callable[..., None] = getattr(ward.clock if name == "advance" else ward, name)
        act(*arguments)
        before = ward.guards.ill
        assert frozenset(ward.guards.troubles) == before
        assert before is ward.guards.ill
    ward.settle()
    assert frozenset(ward.guards.troubles) == ward.guards.ill


def test_the_same_set_while_the_same_are_ill() -> None:
    """A further change that makes nobody else ill leaves the very set, by which plans are remembered."""
    ward = Ward()
    keys = ward.guards.of(ward.providers["one"]).keys
    assert keys is not None
    keys.lease().failure("limited", 10)
    assert frozenset() == ward.guards.ill
    keys.lease().failure("limited", 20)
    ill = ward.guards.ill
    assert {"one"} == ill
    keys.reset("nobody's")
    ward.exchange("two", 3)
    assert ill is ward.guards.ill
    ward.clock.advance(10)
    assert frozenset() == ward.guards.ill


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_that_lost_its_keys(name: str) -> None:
    """Without any it needs none, so it is well again; with new ones it is too."""
    ward = Ward()
    for _ in range(2):
        ward.call(name, "key", "refused")
    assert {name} == ward.guards.ill
    ward.exchange(name, 0)
    assert frozenset() == ward.guards.ill
    ward.exchange(name, 1)
    assert frozenset() == ward.guards.ill
