"""Who may come in: the keys of the environment, and those of the database, which are remembered once they were seen.

A key that is remembered costs no look at the database, and goes on working while that is down. What changes there is
read as soon as ``storage.sql.versions`` tells of it, so a key that is revoked is refused within a second everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping, Sequence
from functools import partial
from math import inf
from typing import Final, NoReturn, TypeVar

import msgspec

from genai_spine.errors import AuthenticationError, DatabaseDownError
from genai_spine.identity.api_keys import KeyRing, is_secret, prefix_of
from genai_spine.identity.limits import completed, limit_of, limits_of
from genai_spine.identity.office import Office
from genai_spine.redact import Secret
from genai_spine.storage.records import FoundKey, SecretRecord
from genai_spine.types.ledger import NOBODY, AuditEvent, Caller
from genai_spine.types.limits import Limit
from genai_spine.types.principal import ANYBODY, SCOPES_OF, Allowance, Principal

__all__ = ["Callers"]

V = TypeVar("V")

MOST_REMEMBERED: Final = 10_000
UNKNOWN_SECONDS: Final = 5.0
"""For so long a key that nobody knows is refused without another look."""
MOST_TOLD: Final = 100
"""An audit is told of no more refusals in as long a time: whoever has no key must not fill the disk."""
USE_SECONDS: Final = 60.0
"""Between two notes of which keys are in use."""

_MISSING: Final = "no API key was sent; send the gateway's key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"


class _Known:
    """A key that was presented, and is in the database.

    Attributes:
        until: When it expires, in seconds since the Unix epoch.
        refusal: Why it is not let in, as a code and for people to read; None where it is.
        used: Since its use was noted.
    """

    __slots__ = ("principal", "refusal", "secret", "until", "used")

    def __init__(self, fingerprint: str, found: FoundKey, limits: tuple[Limit, ...]) -> None:
        self.secret: SecretRecord = found.secret
        self.until = inf if found.expires_at is None else found.expires_at.timestamp()
        self.principal = _principal(fingerprint, found, limits)
        self.refusal: tuple[str, str] | None = None
        self.used = False
        if found.key.revoked_at is not None:
            self.refusal = ("api_key_revoked", "the API key was revoked")
        elif found.user is not None and not found.user.facts.is_active:
            self.refusal = ("user_inactive", "the user of the API key may not come in")


class Callers:
    """Knows callers by the keys that they present."""

    def __init__(
        self,
        ring: KeyRing,
        office: Office,
        *,
        limits: Callable[[], Sequence[Limit]] = tuple,
        rates: Callable[[str], tuple[Limit, ...]] = lambda _: (),
    ) -> None:
        """Know callers.

        Args:
            ring: The keys of the environment.
            office: Keeps those of the database, and the budgets.
            limits: Those of everybody, by the settings of the moment; those of the database come to them.
            rates: Those of a key likewise, by its id or else its fingerprint; its own come before them.
        """
        self._ring = ring
        self._identities = office.identities
        self._budgets = office.budget_store
        self._clock = office.clock
        self._audit = office.audit
        self._limits = limits
        self._rates = rates
        self._known: dict[bytes, _Known] = {}
        self._unknown: dict[bytes, float] = {}
        self._looking: dict[bytes, asyncio.Task[_Known | None]] = {}
        # Grows with each change, so that what was read before it is not remembered after it.
        self._generation = 0
        # When what an audit was told of refusals began to count, and how much it was since.
        self._told_since, self._told = -inf, 0
        self._share(())

    async def admit(self, presented: str | None, request_id: str = "") -> Principal:
        """Return who presents a key; at once, where it is remembered.

        Raises:
            AuthenticationError: No key was presented; or it is not known, not valid any more, or its user is barred.
            DatabaseDownError: It is not remembered, and cannot be looked up.
        """
        if self._ring.open_to_all:
            return self._anybody
        if not presented:
            raise AuthenticationError(_MISSING, code="missing_api_key")
        digest = self._ring.digest(presented)
        found = self._fixed.get(digest)
        if found is not None:
            return found
        known = self._known.get(digest)
        if known is None:
            known = await self._look_up(digest, presented, request_id)
        if known.refusal is not None:
            self._refuse(*known.refusal, known.principal.caller, request_id)
        if self._clock.now() >= known.until:
            self._refuse("api_key_expired", "the API key has expired", known.principal.caller, request_id)
        known.used = True
        return known.principal

    async def refresh(self) -> None:
        """Read anew what is remembered. While that goes on, and where it fails, it stays as it was.

        Raises:
            DatabaseDownError: The database cannot be reached.
        """
        self._generation += 1
        self._unknown.clear()
        shared = await self._budgets.shared()
        before = dict(self._known)
        found = await self._identities.find([known.secret.prefix for known in before.values()])
        self._share(tuple(map(limit_of, shared)))
        for digest, known in before.items():
            if self._known.get(digest) is not known:
                continue
            fresh = found.get(known.secret.prefix)
            if fresh is None or fresh.secret != known.secret:
                del self._known[digest]
                continue
            self._known[digest] = _Known(known.principal.key, fresh, self._limits_of(fresh))
            self._known[digest].used = known.used

    async def note_use(self) -> None:
        """Note in the database which keys were used since the last time.

        Raises:
            DatabaseDownError: The database cannot be reached; they are noted the next time.
        """
        used = [known for known in self._known.values() if known.used]
        if not used:
            return
        await self._identities.note_use(sorted({known.principal.api_key or 0 for known in used}))
        for known in used:
            known.used = False

    async def run(self) -> None:
        """Note from time to time which keys are used, until cancelled."""
        while True:
            await asyncio.sleep(USE_SECONDS)
            try:
                await self.note_use()
            except DatabaseDownError:
                continue

    def _share(self, shared: tuple[Limit, ...]) -> None:
        """Let the limits of everybody count for those who are let in by the environment."""
        self._shared = (*self._limits(), *shared)
        self._anybody = msgspec.structs.replace(ANYBODY, limits=(*self._shared, *self._rates("anybody")))
        self._fixed = {
            digest: msgspec.structs.replace(principal, limits=(*self._shared, *self._rates(principal.key)))
            for digest, principal in self._ring.known.items()
        }

    def _limits_of(self, found: FoundKey) -> tuple[Limit, ...]:
        return (*completed(limits_of(found), self._rates(str(found.key.id))), *self._shared)

    async def _look_up(self, digest: bytes, presented: str, request_id: str) -> _Known:
        found: _Known | None = None
        prefix = prefix_of(presented)
        if self._is_unknown(digest):
            raise _unknown()
        if prefix is not None:
            task = self._looking.get(digest)
            if task is None:
                # Of its own: whoever asked first may leave, and the others still wait for it.
                task = asyncio.create_task(self._read(digest, prefix, presented))
                self._looking[digest] = task
                task.add_done_callback(partial(self._looked, digest))
            found = await asyncio.shield(task)
        if found is None:
            # Told once, however many wait for the answer and try again.
            if not self._is_unknown(digest):
                _remember(self._unknown, digest, self._clock.monotonic() + UNKNOWN_SECONDS)
                self._tell("invalid_api_key", NOBODY, request_id)
            raise _unknown()
        return found

    def _is_unknown(self, digest: bytes) -> bool:
        return self._unknown.get(digest, -inf) > self._clock.monotonic()

    async def _read(self, digest: bytes, prefix: str, presented: str) -> _Known | None:
        while True:
            generation = self._generation
            found = (await self._identities.find([prefix])).get(prefix)
            if generation == self._generation:
                break
        if found is None or not is_secret(presented, found.secret):
            return None
        known = _Known(Secret(presented).fingerprint, found, self._limits_of(found))
        _remember(self._known, digest, known)
        return known

    def _looked(self, digest: bytes, task: asyncio.Task[_Known | None]) -> None:
        del self._looking[digest]
        if not task.cancelled():
            # Where all who waited are gone, nobody else asks how it ended.
            task.exception()

    def _refuse(self, code: str, message: str, caller: Caller, request_id: str) -> NoReturn:
        self._tell(code, caller, request_id)
        raise AuthenticationError(message, code=code)

    def _tell(self, reason: str, caller: Caller, request_id: str) -> None:
        if (now := self._clock.monotonic()) >= self._told_since + UNKNOWN_SECONDS:
            self._told_since, self._told = now, 0
        self._told += 1
        if self._told > MOST_TOLD:
            return
        at = int(self._clock.now() * 1_000_000)
        self._audit(AuditEvent(at=at, event="auth_failure", caller=caller, request_id=request_id, reason=reason))


def _unknown() -> AuthenticationError:
    return AuthenticationError("the API key is not one of the gateway's keys")


def _remember(what: MutableMapping[bytes, V], digest: bytes, value: V) -> None:
    """Keep something, the newest in the place of the oldest where there is too much."""
    what.pop(digest, None)
    if len(what) >= MOST_REMEMBERED:
        del what[next(iter(what))]
    what[digest] = value


def _principal(fingerprint: str, found: FoundKey, limits: tuple[Limit, ...]) -> Principal:
    facts, user = found.key.facts, found.user
    scopes = frozenset(facts.scopes)
    if user is not None:
        scopes &= SCOPES_OF[user.facts.role]
        role = user.facts.role
    else:
        role = "admin" if "admin" in scopes else "member"
    limited = facts.providers is not None or facts.models is not None
    return Principal(
        fingerprint,
        limits=limits,
        user=None if user is None else user.id,
        api_key=found.key.id,
        role=role,
        scopes=scopes,
        allowance=Allowance(facts.providers, facts.models) if limited else None,
        tags=facts.tags,
    )
