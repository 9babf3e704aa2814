"""A circuit: it leaves a provider alone that failed again and again, and then asks with one call whether it is back.

::

              5 failures in a row                300 s, then the next call
    closed ─────────────────────────▶ open ─────────────────────────────────▶ half open: that call alone
       ▲                               ▲                                           │
       │                               └────────────── it failed ──────────────────┤
       └────────────────────────────────────────────── it went well ───────────────┘

Nothing here awaits, so on an event loop each method is one step that no other task sees half done. Where several
workers ask a provider each has a copy of its circuit; ``shared_health`` has them open and close together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite
from typing import Final, Literal

import msgspec
from msgspec import Struct
from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.errors import CircuitOpenError
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import PERMANENT, Fault, Patterns
from genai_spine.resilience.lease import Lease
from genai_spine.resilience.shared import Shared

__all__ = ["Circuit", "CircuitChange", "CircuitHealth", "CircuitPolicy", "Circuits", "Passage", "Tell"]

CircuitState = Literal["closed", "open", "half_open"]

# Nobody knows how long a probe takes; who asks again so soon costs nothing.
WHILE_PROBING: Final = 1.0
# For so long another worker's call is waited for. While it lasts that is told anew: only the dead are outwaited.
PROBE_SECONDS: Final = 10.0
# Callers choose the models, so the circuits that are remembered must have an end.
MOST_REMEMBERED: Final = 4096


class CircuitPolicy(Struct, frozen=True, kw_only=True):
    """When a circuit opens, and for how long.

    Attributes:
        failures: The provider's failures in a row that open it.
        open_seconds: For how long nobody passes.
        patterns: What a key refused for good looks like, which is no failure of the provider.
    """

    failures: int = 5
    open_seconds: float = 300.0
    patterns: Patterns = PERMANENT


class CircuitHealth(Struct, frozen=True):
    """How a circuit stands, for people and pages.

    Attributes:
        failures: In a row.
        retry_after: Seconds until the next call may pass; 0 where one may now.
    """

    name: str
    state: CircuitState
    failures: int
    retry_after: float


class CircuitChange(Struct, frozen=True):
    """A circuit went from one state to another.

    Attributes:
        elsewhere: Another worker found it out.
    """

    name: str
    before: CircuitState
    after: CircuitState
    reason: str
    elsewhere: bool = False


class _Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a circuit stands, as workers tell each other.

    Attributes:
        seconds: Since it opened.
        asked: A call is on its way that finds out whether the provider is back.
        reason: Why it came to stand so.
    """

    state: CircuitState
    failures: int = 0
    seconds: float = 0.0
    asked: bool = False
    reason: str = ""


CircuitListener = Callable[[CircuitChange], None]


class Passage(Lease):
    """The right to make one call."""

    __slots__ = ("_circuit", "_era")

    def __init__(self, circuit: Circuit, era: int, deadline: Deadline | None) -> None:
        super().__init__(deadline)
        self._circuit = circuit
        self._era = era

    @property
    def probing(self) -> bool:
        """Whether others wait for this call to learn whether the provider is back."""
        return self._circuit.state == "half_open" and not self.settled

    @property
    def circuit(self) -> Circuit:
        """What it passes."""
        return self._circuit

    @property
    def lapsed(self) -> bool:
        """Whether the circuit has changed since, so that how the call ends says nothing any more."""
        return self._era != self._circuit.era

    @override
    def _succeed(self) -> None:
        self._circuit.passed(self._era, well=True)

    @override
    def _fail(self, fault: Fault, retry_after: float | None) -> None:
        self._circuit.passed(self._era, well=False if fault == "provider" else None)

    @override
    def _free(self) -> None:
        self._circuit.passed(self._era, well=None)

    @override
    def _patterns(self) -> Patterns:
        return self._circuit.policy.patterns

    @override
    def __repr__(self) -> str:
        return f"Passage({self._circuit.name})"


class Circuit(Shared):
    """The circuit of one provider, or of one model there."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        policy: CircuitPolicy | None = None,
        listeners: Iterable[CircuitListener] = (),
        touched: Callable[[], None] = lambda: None,
        tell: Tell = lambda _: None,
    ) -> None:
        """Make a circuit, closed.

        Args:
            name: What it protects.
            clock: Whose time counts.
            policy: When it opens.
            listeners: Who is told of each change, after it is made; they must not raise.
            touched: Called when ``retry_after`` has become another by anything but time.
            tell: Called when other workers should know of what happened here.
        """
        self.name = name
        self.policy = policy or CircuitPolicy()
        self._clock = clock
        self._listeners = tuple(listeners)
        self._touched = touched
        self._tell = tell
        self._state: CircuitState = "closed"
        self._reason = ""
        self._failures = 0
        self._opened_at = 0.0
        # Till when a call that asks is waited for: without end for one of ours, for a time for another worker's.
        self._asked_until = -inf
        self._under_way = 0
        # Grows with each change: what was begun before it is over says nothing of what is now.
        self.era = 0

    @property
    def state(self) -> CircuitState:
        """How it stands; open until a call has passed, even where one may."""
        return self._state

    @property
    def quiet(self) -> bool:
        """Whether nothing would be lost with it."""
        return self._state == "closed" and not self._failures and not self._under_way

    def retry_after(self) -> float:
        """Return the seconds until the next call may pass; 0 where one may now."""
        if self._state == "closed":
            return 0.0
        if self._state == "half_open":
            return WHILE_PROBING if self._clock.monotonic() < self._asked_until else 0.0
        return max(0.0, self._opened_at + self.policy.open_seconds - self._clock.monotonic())

    def enter(self, deadline: Deadline | None = None) -> Passage:
        """Return the right to make a call.

        Args:
            deadline: The request's own, if it has one.

        Raises:
            CircuitOpenError: Nobody passes now, or the one who may is on his way.
        """
        if self._state != "closed":
            if wait := self.retry_after():
                what = "is being tried with another call" if self._state == "half_open" else f"rests for {wait:.0f} s"
                message = f"{self.name} failed too often in a row and {what}"
                raise CircuitOpenError(message, retry_after=wait)
            self._asked_until = inf
            if self._state == "open":
                self._change("half_open", "the next call asks whether it is back")
            else:
                self._touched()
            self._has_changed()
        self._under_way += 1
        return Passage(self, self.era, deadline)

    def passed(self, era: int, *, well: bool | None) -> None:
        """Note how a call ended that began in an era; None where it says nothing of the provider."""
        self._under_way -= 1
        if era != self.era:
            return
        if asked := self._asked_until == inf:
            self._asked_until = -inf
            self._touched()
        if well:
            self._failures = 0
            if self._state == "half_open":
                self._change("closed", "the call that asked went well")
        elif well is False:
            self._failures += 1
            if self._state == "half_open":
                self._open("the call that asked failed")
            elif self._failures >= self.policy.failures:
                self._open(f"{self._failures} failures in a row")
        if asked or era != self.era:
            self._has_changed()

    def reset(self) -> None:
        """Close it, whatever it was."""
        self._failures = 0
        self._asked_until = -inf
        if self._state != "closed":
            self._change("closed", "reset by hand")
        elif not self.version:
            # Of the many models that were always well nobody need be told.
            return
        self._has_changed(by_hand=True)

    def health(self) -> CircuitHealth:
        """Return how it stands."""
        return CircuitHealth(self.name, self._state, self._failures, self.retry_after())

    # As other workers know it.

    @property
    @override
    def ill(self) -> bool:
        return self._state != "closed"

    @property
    @override
    def asking(self) -> bool:
        return self._asked_until == inf

    @property
    @override
    def asked_elsewhere(self) -> bool:
        return isfinite(self._asked_until)

    @override
    def note(self) -> bytes:
        note = _Note(
            state=self._state,
            failures=self._failures,
            seconds=self._clock.monotonic() - self._opened_at if self._state == "open" else 0.0,
            asked=self.asking,
            reason=self._reason,
        )
        return msgspec.json.encode(note)

    @override
    def follow(self, note: bytes, age: float) -> None:
        told = msgspec.json.decode(note, type=_Note)
        if told.state == self._state == "closed":
            return
        now = self._clock.monotonic()
        self._failures = told.failures
        self._opened_at = now - age - told.seconds
        self._asked_until = now - age + PROBE_SECONDS if told.asked else -inf
        if told.state == self._state:
            self.era += 1
            self._touched()
        else:
            self._change(told.state, told.reason, elsewhere=True)

    def _has_changed(self, *, by_hand: bool = False) -> None:
        self.by_hand = by_hand
        self._tell(self)

    def _open(self, reason: str) -> None:
        self._opened_at = self._clock.monotonic()
        self._change("open", reason)

    def _change(self, state: CircuitState, reason: str, *, elsewhere: bool = False) -> None:
        change = CircuitChange(self.name, self._state, state, reason, elsewhere)
        self._state, self._reason = state, reason
        self.era += 1
        self._touched()
        for listener in self._listeners:
            listener(change)


Tell = Callable[[Circuit], None]


class Circuits:
    """Circuits by name, made as they are asked for: of providers, or of models as ``provider/model``."""

    def __init__(
        self,
        clock: Clock,
        policy: CircuitPolicy | None = None,
        listeners: Iterable[CircuitListener] = (),
        touched: Callable[[], None] = lambda: None,
        tell: Tell = lambda _: None,
    ) -> None:
        """Make a collection; see ``Circuit`` for what its members are handed."""
        self._clock = clock
        self._policy = policy or CircuitPolicy()
        self._touched = touched
        self._tell = tell
        self._listeners = (self._watch, *listeners)
        self._circuits: dict[str, Circuit] = {}
        self._unwell: dict[str, Circuit] = {}

    def __iter__(self) -> Iterator[Circuit]:
        return iter(self._circuits.values())

    def obey(self, policy: CircuitPolicy) -> None:
        """Have another policy from now on; how each stands does not change by it."""
        self._policy = policy
        for circuit in self._circuits.values():
            circuit.policy = policy

    def of(self, name: str) -> Circuit:
        """Return the circuit of a name."""
        circuit = self._circuits.get(name)
        if circuit is None:
            if len(self._circuits) >= MOST_REMEMBERED:
                self._circuits = {name: circuit for name, circuit in self._circuits.items() if not circuit.quiet}
            circuit = self._circuits[name] = Circuit(
                name, self._clock, self._policy, self._listeners, self._touched, self._tell
            )
        return circuit

    def troubles(self) -> dict[str, float]:
        """Return the seconds until a call may pass, by name, of those where none may now."""
        if not self._unwell:
            return {}
        return {name: wait for name, circuit in self._unwell.items() if (wait := circuit.retry_after())}

    def reset(self, name: str | None = None) -> bool:
        """Close a circuit, or all; return whether there was one."""
        found = [circuit for circuit in self._circuits.values() if name in {None, circuit.name}]
        for circuit in found:
            circuit.reset()
        return bool(found)

    def health(self) -> tuple[CircuitHealth, ...]:
        """Return how each stands."""
        return tuple(circuit.health() for circuit in self._circuits.values())

    def _watch(self, change: CircuitChange) -> None:
        if change.after == "closed":
            self._unwell.pop(change.name, None)
        else:
            self._unwell[change.name] = self._circuits[change.name]
