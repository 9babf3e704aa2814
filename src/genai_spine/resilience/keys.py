"""The keys of one provider: which to use next, and how each has done.

::

            third failure in a row, 429, no credit left
    healthy ──────────────────────────────────────────▶ cooling
       ▲ ▲                    time                         │
       │ └─────────────────────────────────────────────────┘
       │ reset                 401, revoked
       └──────────── refused ◀─────────────── from either

Nothing here awaits, so on an event loop each method is one step that no other task sees half done. Where several
workers use a key each has a copy of how it does; ``shared_health`` has it rest in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from math import inf
from typing import Final, Literal

import msgspec
from msgspec import Struct
from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.errors import NoUsableKeyError
from genai_spine.redact import Secret
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import PERMANENT, Fault, Patterns
from genai_spine.resilience.lease import Lease
from genai_spine.resilience.shared import Shared

__all__ = [
    "MAX_COOLDOWN_SECONDS",
    "KeyChange",
    "KeyHealth",
    "KeyLease",
    "KeyPolicy",
    "KeyPool",
    "KeyTurn",
    "Meter",
    "Tell",
]

MAX_COOLDOWN_SECONDS: Final = 3600.0
"""No cooldown that doubles grows beyond this."""

Meter = Literal["requests", "tokens"]
"""What a provider counts when it limits a key."""

KeyStatus = Literal["healthy", "cooling", "refused"]


class KeyPolicy(Struct, frozen=True, kw_only=True):
    """When a key rests, and for how long.

    Attributes:
        max_failures_before_cooldown: Failures in a row after which it rests.
        default_cooldown: Seconds of the first rest; each further failure doubles them.
        max_cooldown: Seconds that no such rest exceeds. What the upstream asks for is obeyed beyond it.
        max_key_attempts: Keys tried in one request, at most.
        patterns: What a key refused for good looks like.
    """

    max_failures_before_cooldown: int = 3
    default_cooldown: float = 60.0
    max_cooldown: float = MAX_COOLDOWN_SECONDS
    max_key_attempts: int = 3
    patterns: Patterns = PERMANENT

    def cooldown(self, failures: int) -> float:
        """Return for how many seconds a key rests after so many failures in a row."""
        # Beyond 2**60 a step is past any longest rest, and 2.0**1024 would overflow.
        doublings = min(max(0, failures - self.max_failures_before_cooldown), 60)
        return min(self.max_cooldown, self.default_cooldown * 2.0**doublings)


class KeyHealth(Struct, frozen=True, kw_only=True):
    """How a key does, for people and pages: it tells the key by its fingerprint.

    Attributes:
        failures: In a row, the latest of them last.
        in_flight: Calls under way.
        usable_in: Seconds until it may be used; 0 where it may be now, None where time will not help.
        running_dry: What the provider counts of it is nearly used up.
        last_fault: Of its latest failure.
    """

    fingerprint: str
    status: KeyStatus
    failures: int
    in_flight: int
    usable_in: float | None
    running_dry: bool
    last_fault: Fault | None


class KeyChange(Struct, frozen=True):
    """A call failed by a key's fault, or with it.

    Attributes:
        status: How the key does since.
        usable_in: As in ``KeyHealth``.
    """

    fingerprint: str
    status: KeyStatus
    fault: Fault
    usable_in: float | None


KeyListener = Callable[[KeyChange], None]

Tell = Callable[[str, Shared], None]
"""Called with a key's fingerprint and the key when other workers should know of what happened here."""


class _Note(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a key does, as workers tell each other.

    Attributes:
        failures: In a row.
        rest: Seconds for which it is not used.
        fault: Of its latest failure.
        by_hand: An operator took it for healthy.
    """

    refused: bool = False
    failures: int = 0
    rest: float = 0.0
    fault: Fault | None = None
    by_hand: bool = False


class _Allowance:
    """What a provider said is left of a key until a moment, less what was taken since."""

    __slots__ = ("left", "until")

    def __init__(self, left: float, until: float) -> None:
        self.left = left
        self.until = until


class _Key(Shared):
    """One key and its state."""

    def __init__(self, secret: Secret, pool: KeyPool) -> None:
        self.secret = secret
        self.fingerprint = secret.fingerprint
        self.in_flight = 0
        self.last_lease = 0
        self._pool = pool
        self._allowances: dict[Meter, _Allowance] = {}
        self._forget()

    def reset(self) -> None:
        """Forget all that is held against it."""
        self._forget()
        self._has_changed(by_hand=True)

    def _forget(self) -> None:
        self.failures = 0
        self.refused = False
        self.last_fault: Fault | None = None
        self.cooling_until = -inf
        self._cooled_after = self.last_lease
        self._allowances.clear()
        self._pool.touched()

    def usable(self, now: float) -> bool:
        return not self.refused and self.cooling_until <= now

    def dry(self, now: float, tokens: int) -> bool:
        """Whether a call of so many tokens would meet a limit, by what the provider last said."""
        return bool(self._allowances) and any(
            allowance.left < (tokens if meter == "tokens" else 1) and now < allowance.until
            for meter, allowance in self._allowances.items()
        )

    def health(self) -> KeyHealth:
        now = self._pool.clock.monotonic()
        wait = None if self.refused else max(0.0, self.cooling_until - now)
        return KeyHealth(
            fingerprint=self.fingerprint,
            status="refused" if wait is None else "cooling" if wait else "healthy",
            failures=self.failures,
            in_flight=self.in_flight,
            usable_in=wait,
            running_dry=self.dry(now, 1),
            last_fault=self.last_fault,
        )

    # What happens to it.

    def taken(self, number: int, tokens: int) -> None:
        self.last_lease = number
        self.in_flight += 1
        for meter, allowance in self._allowances.items():
            allowance.left -= tokens if meter == "tokens" else 1

    def told(self, meter: Meter, left: float, resets_in: float) -> None:
        self._allowances[meter] = _Allowance(left, self._pool.clock.monotonic() + max(0.0, resets_in))

    def recovered(self) -> None:
        """Note that a call went well after others had failed."""
        self.failures = 0
        self._has_changed()

    def failed(self, number: int, fault: Fault, retry_after: float | None) -> None:
        """Note that the call of a lease's number failed."""
        policy = self._pool.policy
        # A call that was sent before the key was last cooled tells nothing that the cooldown did not know: many calls
        # that fail together are no long row of failures.
        fresh = number > self._cooled_after
        self.last_fault = fault
        if fault == "refused":
            self.refused = True
            self._pool.touched()
            self._has_changed()
        elif fault == "exhausted":
            self._cool(max(policy.max_cooldown, retry_after or 0.0))
        elif fault == "limited" and retry_after is not None:
            self._cool(retry_after)
        elif fault in {"limited", "provider"} and fresh:
            self.failures += 1
            grave = self.failures >= policy.max_failures_before_cooldown and self._pool.others_usable(self)
            if fault == "limited" or grave:
                self._cool(policy.cooldown(self.failures))

    def _cool(self, seconds: float) -> None:
        """Let it rest; a rest that has begun only ever gets longer."""
        self.cooling_until = max(self.cooling_until, self._pool.clock.monotonic() + seconds)
        self._cooled_after = self.last_lease
        self._pool.touched()
        self._has_changed()

    # As other workers know it.

    @property
    @override
    def ill(self) -> bool:
        grave = self.failures >= self._pool.policy.max_failures_before_cooldown
        return grave or not self.usable(self._pool.clock.monotonic())

    @override
    def note(self) -> bytes:
        note = _Note(
            refused=self.refused,
            failures=self.failures,
            rest=max(0.0, self.cooling_until - self._pool.clock.monotonic()),
            fault=self.last_fault,
            by_hand=self.by_hand,
        )
        return msgspec.json.encode(note)

    @override
    def follow(self, note: bytes, age: float) -> None:
        told = msgspec.json.decode(note, type=_Note)
        self.refused, self.failures, self.last_fault = told.refused, told.failures, told.fault
        self.cooling_until = self._pool.clock.monotonic() + told.rest - age
        self._cooled_after = self.last_lease
        self._pool.touched()

    @override
    def outweighs(self, note: bytes) -> bool:
        told = msgspec.json.decode(note, type=_Note)
        rest = self.cooling_until - self._pool.clock.monotonic()
        return not told.by_hand and (self.refused, rest) > (told.refused, told.rest)

    def _has_changed(self, *, by_hand: bool = False) -> None:
        self.by_hand = by_hand
        self._pool.tell_others(self.fingerprint, self)


class KeyLease(Lease):
    """A key for one call.

    Attributes:
        secret: The key.
        fingerprint: By which it is told in records.
    """

    __slots__ = ("_key", "_number", "_turn", "fingerprint", "secret")

    def __init__(self, key: _Key, turn: KeyTurn, number: int) -> None:
        super().__init__(turn.deadline)
        self._key = key
        self._turn = turn
        self._number = number
        self.secret = key.secret
        self.fingerprint = key.fingerprint

    def told(self, meter: Meter, left: float, resets_in: float) -> None:
        """Note what the provider said is left of the key, and for how many seconds that holds."""
        self._key.told(meter, left, resets_in)

    @override
    def _succeed(self) -> None:
        if self._key.failures:
            self._key.recovered()
        self._free()

    @override
    def _fail(self, fault: Fault, retry_after: float | None) -> None:
        self._free()
        if fault != "request":
            self._key.failed(self._number, fault, retry_after)
            self._turn.failed(self._key.health(), fault)

    @override
    def _free(self) -> None:
        self._key.in_flight -= 1

    @override
    def _patterns(self) -> Patterns:
        return self._turn.pool.policy.patterns

    @override
    def __repr__(self) -> str:
        return f"KeyLease({self.fingerprint})"


class KeyPool:
    """The keys of one provider."""

    def __init__(
        self,
        keys: Iterable[Secret],
        clock: Clock,
        policy: KeyPolicy | None = None,
        listeners: Iterable[KeyListener] = (),
        touched: Callable[[], None] = lambda: None,
        tell: Tell = lambda _, __: None,
    ) -> None:
        """Make a pool.

        Args:
            keys: In the order in which they are first used; one given twice counts once.
            clock: Whose time counts.
            policy: When a key rests.
            listeners: Who is told when a call fails by a key's fault, after it is noted; they must not raise.
            touched: Called when ``ready_in`` may have become another by anything but time.
            tell: Called when other workers should know of what happened to a key.
        """
        self.clock = clock
        self.policy = policy or KeyPolicy()
        self.touched = touched
        self.tell_others = tell
        self._listeners = tuple(listeners)
        self._keys: dict[Secret, _Key] = {}
        self._leases = 0
        self.configure(keys)

    def configure(self, keys: Iterable[Secret]) -> None:
        """Have these keys from now on; those that were there keep their state. Calls under way are not disturbed."""
        self._keys = {secret: self._keys.get(secret) or _Key(secret, self) for secret in keys}
        self.touched()

    def reset(self, fingerprint: str | None = None) -> bool:
        """Take a key, or all, for healthy again; return whether there was one."""
        found = [key for key in self._keys.values() if fingerprint in {None, key.fingerprint}]
        for key in found:
            key.reset()
        return bool(found)

    def shared(self, fingerprint: str) -> Shared | None:
        """Return a key as other workers know it; None where it is none of these."""
        return next((key for key in self._keys.values() if key.fingerprint == fingerprint), None)

    def health(self) -> tuple[KeyHealth, ...]:
        """Return how each key does."""
        return tuple(key.health() for key in self._keys.values())

    def turn(self, preferred: str | None = None, tokens: int = 1, deadline: Deadline | None = None) -> KeyTurn:
        """Begin a request: it tries a few of the keys, one after another.

        Args:
            preferred: The fingerprint of the key to begin with while it is healthy.
            tokens: How many the request needs, by which a key that is about to run dry is known.
            deadline: The request's own, if it has one.
        """
        return KeyTurn(self, preferred, tokens, deadline)

    def lease(self, preferred: str | None = None, tokens: int = 1) -> KeyLease:
        """Return the key for a request that makes one call; as ``turn`` and its ``lease``."""
        return self.turn(preferred, tokens).lease()

    def ready_in(self, without: Collection[str] = (), among: Collection[str] | None = None) -> float | None:
        """Return the seconds until a key can be had: 0 for now, None where time will not help.

        Args:
            without: Fingerprints of keys that do not count.
            among: Fingerprints of the only keys that do; None for all.
        """
        now = self.clock.monotonic()
        allowed = (key for key in self._keys.values() if not key.refused and _allowed(key, without, among))
        return min((max(0.0, key.cooling_until - now) for key in allowed), default=None)

    def others_usable(self, one: _Key) -> bool:
        """Return whether a key could go on without ``one``.

        The last is not cooled for what may be the provider's own trouble: that is the circuit's affair.
        """
        now = self.clock.monotonic()
        return any(key is not one and key.usable(now) for key in self._keys.values())

    def take(self, turn: KeyTurn, preferred: str | None, tokens: int) -> KeyLease | None:
        """Return the best key: fewest failures in a row, then fewest calls under way, then longest unused."""
        now = self.clock.monotonic()
        without, among = turn.without, turn.among
        best: _Key | None = None
        lowest = (True, 0, 0, 0)
        for key in self._keys.values():
            if not key.usable(now) or not _allowed(key, without, among):
                continue
            dry = key.dry(now, tokens)
            if key.fingerprint == preferred and not dry:
                best = key
                break
            # A limit that is nearly reached is a forecast: it puts a key last, and makes no pool unusable.
            merit = (dry, key.failures, key.in_flight, key.last_lease)
            if best is None or merit < lowest:
                best, lowest = key, merit
        if best is None:
            return None
        self._leases += 1
        best.taken(self._leases, tokens)
        return KeyLease(best, turn, self._leases)

    def tell(self, change: KeyChange) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener(change)


def _allowed(key: _Key, without: Collection[str], among: Collection[str] | None) -> bool:
    return key.fingerprint not in without and (among is None or key.fingerprint in among)


class KeyTurn:
    """One request's way through the keys of a provider: a few of them, and none again that it may not use.

    Attributes:
        pool: Whose keys they are.
        tried: The fingerprints of those that were tried, in order.
        without: Of those that may not do what this request wants, or have no credit left: that is not waited for.
        deadline: The request's own, if it has one.
    """

    __slots__ = ("_preferred", "_tokens", "deadline", "pool", "tried", "without")

    def __init__(self, pool: KeyPool, preferred: str | None, tokens: int, deadline: Deadline | None) -> None:
        self.pool = pool
        self.deadline = deadline
        self.tried: list[str] = []
        self.without: set[str] = set()
        self._preferred = preferred
        self._tokens = tokens

    @property
    def among(self) -> Collection[str] | None:
        """The only keys left to it, once it has tried as many as it may."""
        return self.tried if len(self.tried) >= self.pool.policy.max_key_attempts else None

    def ready_in(self) -> float | None:
        """Return the seconds until a key can be had: 0 for now, None where time will not help."""
        return self.pool.ready_in(self.without, self.among)

    def lease(self) -> KeyLease:
        """Return the next key to use; the preferred one only at first.

        Raises:
            NoUsableKeyError: Each is refused, cooling down, or not for this request.
        """
        lease = self.pool.take(self, None if self.tried else self._preferred, self._tokens)
        if lease is None:
            raise self._none_usable()
        if lease.fingerprint not in self.tried:
            self.tried.append(lease.fingerprint)
        return lease

    def failed(self, health: KeyHealth, fault: Fault) -> None:
        """Note that a call failed by a key's fault, or with it."""
        if fault in {"denied", "exhausted"}:
            self.without.add(health.fingerprint)
        self.pool.tell(KeyChange(health.fingerprint, health.status, fault, health.usable_in))

    def _none_usable(self) -> NoUsableKeyError:
        wait = self.ready_in()
        if wait is None:
            message = (
                "none of the provider's keys can be used: it refused them, or they may not do this; set a valid one"
            )
        else:
            message = f"the provider's keys are cooling down after failures, for {wait:.0f} s more"
        return NoUsableKeyError(message, retry_after=wait)
