"""The circuit: when it opens, who passes, and what closes it."""

from __future__ import annotations

import asyncio

import pytest

from genai_spine import errors
from genai_spine.errors import CircuitOpenError
from genai_spine.resilience import breaker
from genai_spine.resilience.breaker import Circuit, CircuitChange, CircuitHealth, CircuitPolicy, Circuits, Passage
from genai_spine.resilience.deadline import Deadline
from genai_spine.testing.clock import ManualClock


def made(policy: CircuitPolicy | None = None) -> tuple[Circuit, ManualClock, list[CircuitChange]]:
    """A circuit, its clock, and what it tells."""
    clock = ManualClock()
    heard: list[CircuitChange] = []
    return Circuit("openai", clock, policy, [heard.append]), clock, heard


def fail(circuit: Circuit, times: int = 1) -> None:
    """So many calls fail by the provider's fault, one after another."""
    for _ in range(times):
        circuit.enter().failure("provider")


def opened() -> tuple[Circuit, ManualClock, list[CircuitChange]]:
    """A circuit that has just opened."""
    circuit, clock, heard = made()
    fail(circuit, 5)
    return circuit, clock, heard


def test_five_failures_in_a_row() -> None:
    """Four leave it closed, a success between them begins the count anew, the fifth in a row opens it."""
    circuit, _, heard = made()
    fail(circuit, 4)
    assert ("closed", False) == (circuit.health().state, circuit.quiet)
    circuit.enter().success()
    assert circuit.quiet
    fail(circuit, 4)
    assert heard == []
    fail(circuit)
    assert CircuitHealth("openai", "open", 5, 300) == circuit.health()
    assert [CircuitChange("openai", "closed", "open", "5 failures in a row")] == heard


def test_an_open_circuit() -> None:
    """Nobody passes, and everybody is told for how long."""
    circuit, clock, _ = opened()
    clock.advance(100)
    with pytest.raises(CircuitOpenError, match="openai failed too often in a row and rests for 200 s") as caught:
        circuit.enter()
    assert (200, 503, "circuit_open") == (caught.value.retry_after, caught.value.status, caught.value.code)


@pytest.mark.parametrize("fault", ["request", "refused", "denied", "exhausted", "limited"])
def test_what_does_not_count(fault: str) -> None:
    """Faults of callers and keys neither open a circuit nor begin the count anew."""
    circuit, _, _ = made()
    fail(circuit, 4)
    for _ in range(20):
        circuit.enter().failure(fault)  # type: ignore[arg-type]  # a parameter's text is a plain string
        circuit.enter().release()
    assert "closed" == circuit.health().state
    fail(circuit)
    assert "open" == circuit.health().state


def test_a_probe_that_goes_well() -> None:
    """After its rest one call passes, and closes it."""
    circuit, clock, heard = opened()
    clock.advance(300)
    assert ("open", 0) == (circuit.health().state, circuit.retry_after())
    probe = circuit.enter()
    assert "half_open" == circuit.health().state
    with pytest.raises(CircuitOpenError, match="being tried with another call") as caught:
        circuit.enter()
    assert caught.value.retry_after == 1
    probe.success()
    assert circuit.quiet
    assert ["open", "half_open", "closed"] == [change.after for change in heard]
    fail(circuit, 4)
    assert "closed" == circuit.health().state


def test_a_probe_that_fails() -> None:
    """It opens again, for as long again."""
    circuit, clock, heard = opened()
    clock.advance(300)
    fail(circuit)
    assert ("open", 300) == (circuit.health().state, circuit.retry_after())
    assert ["open", "half_open", "open"] == [change.after for change in heard]
    clock.advance(300)
    circuit.enter().success()
    assert "closed" == circuit.health().state


def test_a_probe_that_never_reports() -> None:
    """A caller who leaves frees the place, by his block's end or, at worst, when the right is collected."""
    circuit, clock, _ = opened()
    clock.advance(300)

    def leaves() -> None:
        with circuit.enter():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        leaves()
    assert ("half_open", 0) == (circuit.health().state, circuit.retry_after())
    lost: list[Passage] = [circuit.enter()]
    assert circuit.retry_after() == 1
    with pytest.warns(ResourceWarning, match=r"Passage\(openai\) was never settled"):
        lost.clear()
    circuit.enter().success()
    assert "closed" == circuit.health().state


def test_a_probe_with_a_wrong_request() -> None:
    """Its own fault says nothing of the provider: the next call asks again."""
    circuit, clock, _ = opened()
    clock.advance(300)
    circuit.enter().failure("request")
    assert ("half_open", 0) == (circuit.health().state, circuit.retry_after())


def test_a_block_settles_itself() -> None:
    """An error of the provider's in it counts, one of the request's not, and a good end clears."""
    circuit, _, _ = made()

    def ends_with(error: Exception) -> None:
        with circuit.enter():
            raise error

    with pytest.raises(errors.ProviderFailedError):
        ends_with(errors.ProviderFailedError("500"))
    with pytest.raises(errors.InvalidRequestError):
        ends_with(errors.InvalidRequestError("wrong"))
    assert circuit.health().failures == 1
    with pytest.raises(errors.NoUsableKeyError):
        ends_with(errors.NoUsableKeyError("all refused"))
    assert circuit.health().failures == 2
    with circuit.enter():
        pass
    assert circuit.quiet


def test_callers_in_a_hurry() -> None:
    """Who gives the provider less time than it needs opens no circuit; a timeout within his time counts."""
    circuit, clock, _ = made()

    def times_out(deadline: Deadline) -> None:
        with circuit.enter(deadline):
            clock.advance(1)
            message = "late"
            raise errors.ProviderTimeoutError(message)

    for seconds, failures in ((0.5, 0), (1, 0), (2, 1)):
        with pytest.raises(errors.ProviderTimeoutError):
            times_out(Deadline(clock, seconds))
        assert failures == circuit.health().failures


def test_calls_of_an_earlier_time() -> None:
    """What was begun before a change says nothing of what is now, for better or worse."""
    circuit, clock, _ = made()
    well, ill = circuit.enter(), circuit.enter()
    fail(circuit, 5)
    well.success()
    assert "open" == circuit.health().state
    clock.advance(300)
    probe = circuit.enter()
    ill.failure("provider")
    assert ("half_open", 1) == (circuit.health().state, circuit.retry_after())
    probe.success()
    assert circuit.quiet


def test_reset_by_hand() -> None:
    """It closes at once, and a probe under way decides nothing any more."""
    circuit, clock, heard = opened()
    circuit.reset()
    assert circuit.quiet
    assert CircuitChange("openai", "open", "closed", "reset by hand") == heard[-1]
    fail(circuit, 5)
    clock.advance(300)
    probe = circuit.enter()
    circuit.reset()
    probe.failure("provider")
    assert circuit.quiet
    changes = len(heard)
    circuit.reset()
    assert len(heard) == changes


def test_other_numbers() -> None:
    """How many failures, and how long a rest, is settable."""
    circuit, clock, _ = made(CircuitPolicy(failures=1, open_seconds=2))
    fail(circuit)
    assert circuit.retry_after() == 2
    clock.advance(2)
    circuit.enter().success()
    assert circuit.quiet


async def test_one_probe_among_a_hundred() -> None:
    """Of a hundred tasks at a circuit whose rest is over exactly one passes, also after that one is cancelled."""
    circuit, clock, _ = opened()
    clock.advance(300)
    answered = asyncio.Event()
    passed: list[int] = []

    async def call(number: int) -> None:
        with circuit.enter():
            passed.append(number)
            await answered.wait()

    tasks = [asyncio.create_task(call(number)) for number in range(100)]
    await asyncio.sleep(0)
    assert len(passed) == 1
    tasks[passed[0]].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [99, 1] == [
        sum(isinstance(result, kind) for result in results) for kind in (CircuitOpenError, asyncio.CancelledError)
    ]
    tasks = [asyncio.create_task(call(number)) for number in range(100)]
    await asyncio.sleep(0)
    assert len(passed) == 2
    answered.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [None] == [result for result in results if not isinstance(result, CircuitOpenError)]
    assert "closed" == circuit.health().state


# Many of them.


def test_circuits_by_name() -> None:
    """Each name has its own; those where nobody may pass are known at once."""
    clock = ManualClock()
    heard: list[CircuitChange] = []
    circuits = Circuits(clock, CircuitPolicy(failures=1), [heard.append])
    fail(circuits.of("openai/gpt-4o"))
    with circuits.of("openai").enter():
        pass
    assert {"openai/gpt-4o": 300} == circuits.troubles()
    assert [("openai/gpt-4o", "open"), ("openai", "closed")] == [
        (found.name, found.state) for found in circuits.health()
    ]
    assert {"openai", "openai/gpt-4o"} == {circuit.name for circuit in circuits}
    clock.advance(300)
    assert circuits.troubles() == {}
    probe = circuits.of("openai/gpt-4o").enter()
    assert {"openai/gpt-4o": 1} == circuits.troubles()
    probe.success()
    assert circuits.troubles() == {}
    assert ["open", "half_open", "closed"] == [change.after for change in heard]


def test_circuits_are_reset() -> None:
    """One by name, or all."""
    circuits = Circuits(ManualClock(), CircuitPolicy(failures=1))
    for name in ("a", "b", "c"):
        fail(circuits.of(name))
    assert circuits.reset("a")
    assert not circuits.reset("nobody")
    assert ["closed", "open", "open"] == [circuit.state for circuit in circuits]
    assert circuits.reset()
    assert circuits.troubles() == {}


def test_the_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many names were used, those with nothing to tell are forgotten; an open one never is."""
    monkeypatch.setattr(breaker, "MOST_REMEMBERED", 10)
    circuits = Circuits(ManualClock(), CircuitPolicy(failures=1))
    fail(circuits.of("open"))
    with circuits.of("busy").enter() as busy:
        for number in range(100):
            with circuits.of(f"made-up-{number}").enter():
                pass
        assert len(list(circuits)) <= 10
        busy.failure("provider")
    assert ["open", "open"] == [circuits.of(name).state for name in ("open", "busy")]
