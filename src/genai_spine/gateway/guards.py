"""How providers do: their keys, their circuits, how much may be tried again, and how fast they answer.

What is kept of a provider is made when it is first called, and goes by its name. All of it together is the snapshot by
which routes are planned. Where several workers share it, keys and circuits are told to them by fingerprint and by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.errors import OverloadedError, SpineError
from genai_spine.gateway.titles import Title, is_tellable, place_of
from genai_spine.providers.base import Provider
from genai_spine.redact import Secret, scrub
from genai_spine.resilience.breaker import Circuit, CircuitHealth, CircuitListener, CircuitPolicy, Circuits, Passage
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.keys import KeyChange, KeyHealth, KeyLease, KeyPolicy, KeyPool, KeyTurn
from genai_spine.resilience.measurements import Measurements, Pace
from genai_spine.resilience.retry import RetryBudget, RetryPolicy
from genai_spine.resilience.shared import Shared
from genai_spine.resilience.shared_health import SharedHealth
from genai_spine.shared_state.base import SharedState

__all__ = [
    "Admission",
    "Guard",
    "Guards",
    "KeyListener",
    "KeyNews",
    "Lookup",
    "ModelHealth",
    "Policies",
    "ProviderHealth",
]

# Of a provider that answers for its other models: the trouble is the model's.
_OF_THE_MODEL: Final = (OverloadedError,)


class Policies(Struct, frozen=True, kw_only=True):
    """The operator's choices; each has a default of its own.

    Attributes:
        retry_share: Which part of a provider's calls may be retries.
    """

    keys: KeyPolicy = KeyPolicy()
    circuit: CircuitPolicy = CircuitPolicy()
    retry: RetryPolicy = RetryPolicy()
    retry_share: float = 0.2


class KeyNews(Struct, frozen=True):
    """A call failed by the fault of a provider's key."""

    provider: str
    change: KeyChange


KeyListener: TypeAlias = Callable[[KeyNews], None]

Lookup: TypeAlias = Callable[[str], Provider | None]
"""Returns the provider of a name; None where there is none."""


class Admission(NamedTuple):
    """Leave to make one call: past the circuits of provider and model, with a key where one is needed."""

    of_provider: Passage
    of_model: Passage
    lease: KeyLease | None

    @property
    def asks(self) -> bool:
        """Whether the call is to find out whether one of them is back."""
        return self.of_provider.probing or self.of_model.probing

    def release(self) -> None:
        """Give all of it back: no call was made."""
        self.of_provider.release()
        self.of_model.release()
        if self.lease is not None:
            self.lease.release()


class ModelHealth(Struct, frozen=True, kw_only=True):
    """How a model does that was called of late.

    Attributes:
        circuit: Its own; None where it has nothing to tell.
        pace: How fast it answers.
    """

    circuit: CircuitHealth | None = None
    pace: Pace | None = None


class ProviderHealth(Struct, frozen=True, kw_only=True):
    """What is known of a provider, for people and pages.

    Attributes:
        trouble: Why it cannot be used now; None where it can.
        in_flight: Calls under way.
        retries_left: How many more calls may be retries at this moment.
        keys: Empty where it needs none.
        models: By name.
    """

    trouble: str | None
    in_flight: int
    retries_left: int
    circuit: CircuitHealth
    keys: tuple[KeyHealth, ...]
    models: dict[str, ModelHealth]


class Guard:
    """What is kept of one provider.

    Attributes:
        keys: Its keys; None where it needs none.
        circuit: Its own; those of its models are found by ``model_circuit``.
        budget: How many retries it may see.
        place: By which other workers know it.
    """

    __slots__ = ("_circuits", "budget", "circuit", "given", "keys", "name", "place")

    def __init__(
        self,
        name: str,
        given: tuple[Secret, ...],
        keys: KeyPool | None,
        circuits: Circuits,
        budget: RetryBudget,
        place: str,
    ) -> None:
        self.name = name
        self.place = place
        self.given = given
        self.keys = keys
        self.circuit = circuits.of(name)
        self.budget = budget
        self._circuits = circuits

    def model_circuit(self, model: str) -> Circuit:
        """Return the circuit of one of its models."""
        return self._circuits.of(f"{self.name}/{model}")

    def is_of_model(self, error: SpineError) -> bool:
        """Return whether a failure is counted against the model alone."""
        return isinstance(error, _OF_THE_MODEL)

    def admit(self, model: str, turn: KeyTurn | None, deadline: Deadline) -> Admission:
        """Allow one call.

        Args:
            model: Which is asked.
            turn: The request's way through the keys; None where none is needed.
            deadline: The request's own.

        Raises:
            CircuitOpenError: The provider, or the model there, is left alone for a while.
            NoUsableKeyError: No key of it can be used now.
        """
        of_provider = self.circuit.enter(deadline)
        try:
            of_model = self.model_circuit(model).enter(deadline)
            try:
                return Admission(of_provider, of_model, None if turn is None else turn.lease())
            except SpineError:
                of_model.release()
                raise
        except SpineError:
            of_provider.release()
            raise

    def reset(self) -> None:
        """Take the provider, its keys and its models for healthy again."""
        if self.keys is not None:
            self.keys.reset()
        self.close_circuits()

    def close_circuits(self) -> None:
        """Take it and its models for healthy again."""
        for circuit in self._circuits:
            if circuit.name == self.name or circuit.name.startswith(f"{self.name}/"):
                circuit.reset()


class Guards:
    """What is kept of all providers."""

    def __init__(
        self,
        clock: Clock,
        policies: Policies | None = None,
        *,
        circuit_listeners: Sequence[CircuitListener] = (),
        key_listeners: Sequence[KeyListener] = (),
        machine: str = "",
    ) -> None:
        """Make it, empty.

        Args:
            clock: Whose time counts.
            policies: The operator's choices.
            circuit_listeners: Who is told of each change of a circuit.
            key_listeners: Who is told when a call failed by a key's fault.
            machine: The name of this machine, among those that share.
        """
        self.policies = policies or Policies()
        self.circuits = Circuits(clock, self.policies.circuit, circuit_listeners, self._touch, self._tell_of_circuit)
        self.measurements: Measurements[str] = Measurements(clock)
        self._clock = clock
        self._key_listeners = tuple(key_listeners)
        self._machine = machine
        self._shared: SharedHealth | None = None
        self._lookup: Lookup = lambda _: None
        self._guards: dict[str, Guard] = {}
        # Who is ill, until when that holds, and those whose keys have changed since they were last seen to be usable.
        self._ill: frozenset[str] = frozenset()
        self._ill_until = inf
        self._suspects: set[str] = set()

    def of(self, provider: Provider) -> Guard:
        """Return what is kept of a provider. Keys that were exchanged are noticed; the others keep their state."""
        guard = self._guards.get(provider.name)
        if guard is None:
            guard = self._guards[provider.name] = self._make(provider)
        elif guard.given is not provider.keys and guard.given != provider.keys:
            if provider.retired:
                # Whoever still uses it has its keys, and not those that are for another address.
                return self._make(provider)
            self._exchange(guard, provider)
        return guard

    def follow(self, policies: Policies, former: Iterable[Provider], latter: Iterable[Provider]) -> None:
        """Have other policies and providers from now on. What is known of those that stay is kept."""
        self.policies = policies
        self.circuits.obey(policies.circuit)
        for kept in self._guards.values():
            kept.budget.share = policies.retry_share
            if kept.keys is not None:
                kept.keys.policy = policies.keys
        addresses = {provider.name: provider.address for provider in latter}
        for provider in former:
            guard = self._guards.get(provider.name)
            if guard is not None and addresses.get(provider.name) != provider.address:
                # Another service, or none: what is known of the former says nothing of it, and stays known to others.
                del self._guards[provider.name]
                guard.close_circuits()
                self._suspects.discard(provider.name)
                self._touch()

    def health(self, provider: Provider) -> ProviderHealth:
        """Return what is known of a provider. Nobody is asked."""
        guard = self.of(provider)
        # Callers write the models, and may have put a key there: their names are scrubbed.
        prefix = f"{provider.name}/"
        paces = {name: pace for name, pace in self.measurements.paces().items() if name.startswith(prefix)}
        circuits = {
            circuit.name: msgspec.structs.replace(circuit.health(), name=scrub(circuit.name))
            for circuit in self.circuits
            if circuit.name.startswith(prefix) and not circuit.quiet
        }
        return ProviderHealth(
            trouble=self.troubles.get(provider.name),
            in_flight=sum(pace.in_flight for pace in paces.values()),
            retries_left=int(guard.budget.left),
            circuit=guard.circuit.health(),
            keys=guard.keys.health() if guard.keys else (),
            models={
                scrub(name.removeprefix(prefix)): ModelHealth(circuit=circuits.get(name), pace=paces.get(name))
                for name in sorted({*paces, *circuits})
            },
        )

    # Among several workers.

    @property
    def is_shared(self) -> bool:
        """Whether other workers are told."""
        return self._shared is not None

    def share(self, state: SharedState, lookup: Lookup) -> SharedHealth:
        """Share all of it with other workers from now on; return what does it once it is run."""
        self._lookup = lookup
        self._shared = SharedHealth(state, self._find)
        return self._shared

    async def is_alone(self, admission: Admission) -> bool:
        """Return whether no other worker's call asks what this one would; else the admission is given back."""
        passages = (admission.of_provider, admission.of_model)
        try:
            for passage in passages:
                if passage.probing and self._shared is not None and (title := self._title(passage.circuit)):
                    await self._shared.tell(title)
                if passage.lapsed:
                    break
        except BaseException:  # the caller left
            admission.release()
            raise
        if any(passage.lapsed for passage in passages):
            admission.release()
            return False
        return True

    def _tell_of_circuit(self, circuit: Circuit) -> None:
        if self._shared is not None and (title := self._title(circuit)):
            self._shared.changed(title, circuit)

    def _title(self, circuit: Circuit) -> str | None:
        name, _, model = circuit.name.partition("/")
        guard = self._guards.get(name)
        return Title("circuit", guard.place, model).text() if guard is not None and is_tellable(model) else None

    def _find(self, text: str) -> Shared | None:
        """Return this worker's copy of what another tells of."""
        title = Title.read(text)
        if title is None or (provider := self._lookup(title.provider)) is None:
            return None
        guard = self.of(provider)
        if guard.place != title.place:
            return None
        if title.kind == "circuit":
            return guard.model_circuit(title.what) if title.what else guard.circuit
        return None if guard.keys is None else guard.keys.shared(title.what)

    # How things stand at this moment (routing.base.Snapshot).

    @property
    def ill(self) -> frozenset[str]:
        """The names of ``troubles``, found out anew only once a circuit or a key has changed, or its rest is over."""
        if (now := self._clock.monotonic()) < self._ill_until:
            return self._ill
        waits: dict[str, float | None] = {**self.circuits.troubles()}
        for name in [*self._suspects]:
            # A call that was under way may tell of keys that have gone since with their provider.
            keys = guard.keys if (guard := self._guards.get(name)) is not None else None
            if keys is None or (wait := keys.ready_in()) == 0:
                self._suspects.discard(name)
            else:
                waits.setdefault(name, wait)
        ill = frozenset(waits)
        # The very same set as long as it holds the same names: what was derived from it holds too.
        self._ill = self._ill if ill == self._ill else ill
        self._ill_until = now + min((wait for wait in waits.values() if wait), default=inf)
        return self._ill

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why a provider, or a ``provider/model``, cannot be used now, for people to read."""
        found = {name: f"its circuit is open for {wait:.0f} s" for name, wait in self.circuits.troubles().items()}
        for name, guard in self._guards.items():
            if guard.keys is not None and guard.keys.ready_in() != 0 and name not in found:
                found[name] = "no key of it can be used"
        return found

    def seconds(self, names: Sequence[str], tokens: int) -> Sequence[float]:
        """How long an answer of so many tokens takes at each ``provider/model``."""
        return self.measurements.seconds(names, tokens)

    def loads(self, names: Sequence[str]) -> Sequence[int]:
        """How many calls are under way at each ``provider/model``."""
        return self.measurements.loads(names)

    def _touch(self) -> None:
        """Note that who is ill must be found out anew."""
        self._ill_until = -inf

    def _make(self, provider: Provider) -> Guard:
        place = place_of(provider, self._machine)
        keys = self._pool(provider.name, place, provider.keys)
        budget = RetryBudget(self._clock, share=self.policies.retry_share)
        self._look_soon()
        return Guard(provider.name, provider.keys, keys, self.circuits, budget, place)

    def _exchange(self, guard: Guard, provider: Provider) -> None:
        guard.given = provider.keys
        self._look_soon()
        if guard.keys is None or not provider.keys:
            guard.keys = self._pool(provider.name, guard.place, provider.keys)
            self._touch()
        else:
            guard.keys.configure(provider.keys)
        # What failed with the old keys says nothing of the new ones.
        guard.circuit.reset()

    def _look_soon(self) -> None:
        """See to it that what others know of keys and providers that are new here is known."""
        if self._shared is not None:
            self._shared.nudge()

    def _pool(self, name: str, place: str, keys: tuple[Secret, ...]) -> KeyPool | None:
        if not keys:
            return None

        def tell(change: KeyChange) -> None:
            for listener in self._key_listeners:
                listener(KeyNews(name, change))

        def touched() -> None:
            self._suspects.add(name)
            self._touch()

        def tell_others(fingerprint: str, key: Shared) -> None:
            if self._shared is not None:
                self._shared.changed(Title("key", place, fingerprint).text(), key)

        return KeyPool(keys, self._clock, self.policies.keys, [tell], touched, tell_others)
