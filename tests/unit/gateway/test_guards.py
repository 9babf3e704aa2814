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
from genai_spine.resilience.keys import KeyPolicy, KeyPool
from genai_spine.resilience.lease import Lease
from genai_spine.testing.clock import ManualClock
from tests.providers import OwnProvider

FAULTS: list[Fault] = ["request", "refused", "denied", "exhausted", "limited", "provider"]
NAMES = ("one", "two")


def taken(keys: KeyPool) -> list[str]:
    """The keys that a pool hands out, one after another."""
    leases = [keys.lease() for _ in keys.health()]
    for lease in leases:
        lease.release()
    return [lease.secret.reveal() for lease in leases]


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

    def move(self, name: str, count: int) -> None:
        """Put a provider at another address in its place, by a change of the configuration; none for a count of 0."""
        former = self.providers[name]
        former.retired = True
        latter = self.providers[name] = OwnProvider(name)
        latter.address, latter.keys = f"{former.address}x", former.keys
        self.guards.follow(self.guards.policies, [former], [latter] if count else [])

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
    st.tuples(st.just("move"), _names, st.integers(0, 1)),
)


@settings(max_examples=200)
@example([OPEN, ("advance", 30.0), PROBE, ("end", 0, "request", None), PROBE, ("end", 0, None, None)])
@example([REFUSED, REFUSED, ("reset", "one"), REFUSED, REFUSED, ("exchange", "one", 3)])
@example([("begin", "one", "key"), ("move", "one", 0), ("end", 0, "refused", None)])
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


def test_what_stays_of_a_provider_when_another_takes_its_place() -> None:
    """All of it at the same address, with its keys the same; a key that came fresh, none that went, is new."""
    ward = Ward()
    ward.call("one", "key", "refused")
    ward.call("one", "circuit", "provider")
    former = ward.providers["one"]
    guard, before = ward.guards.of(former), ward.guards.health(former)
    latter = ward.providers["one"] = OwnProvider("one")
    latter.keys = tuple(former.keys)
    former.retired = True
    ward.guards.follow(ward.guards.policies, [former], [latter])
    assert (guard, before) == (ward.guards.of(latter), ward.guards.health(latter))
    assert guard is ward.guards.of(former)


def test_a_request_under_way_gets_no_key_of_another_address() -> None:
    """Whoever still asks the former provider takes of its keys, and changes nothing of the latter's."""
    ward = Ward()
    former = ward.providers["one"]
    ward.move("one", 1)
    latter = ward.providers["one"]
    latter.keys = (Secret("one-new"),)
    there = ward.guards.of(latter)
    assert there.keys is not None
    old = ward.guards.of(former).keys
    assert old is not None
    assert [["one-0", "one-1"], ["one-new"]] == [sorted(taken(keys)) for keys in (old, there.keys)]
    assert there is ward.guards.of(latter)


def test_other_policies_are_obeyed_by_what_is_there() -> None:
    """Circuits, keys and shares of retries that exist follow them, and those that are made later."""
    ward = Ward()
    policies = Policies(
        keys=KeyPolicy(max_failures_before_cooldown=9), circuit=CircuitPolicy(failures=9), retry_share=0.9
    )
    ward.guards.follow(policies, ward.providers.values(), ward.providers.values())
    for name in ("one", "keyless"):
        ward.call(name, "circuit", "provider")
        ward.call(name, "model", "provider")
    ward.call("one", "key", "limited")
    ward.call("two", "key", "provider")
    assert {"one"} >= ward.guards.ill
    guard = ward.guards.of(ward.providers["two"])
    assert guard.keys is not None
    assert (9, 0.9) == (guard.keys.policy.max_failures_before_cooldown, guard.budget.share)
