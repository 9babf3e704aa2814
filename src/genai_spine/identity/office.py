"""Where users, API keys and budgets are made and changed, each by those who may; an audit is told of it.

An administrator may do everything. Anybody else sees and changes what is his own, and gives no key more than the one
that he comes with may do. What is not his he is told is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias

from genai_spine.clock import Clock
from genai_spine.errors import InvalidFieldError, NotFoundError, PermissionDeniedError
from genai_spine.identity.api_keys import new_key, secret_of
from genai_spine.redact import Secret
from genai_spine.storage.records import BudgetRecord, KeyFacts, KeyRecord, Rates, UserFacts, UserRecord
from genai_spine.storage.sql.budgets import BudgetStore
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.identities import Identities
from genai_spine.types.ledger import AuditEvent
from genai_spine.types.limits import LimitAction, LimitScope, LimitWindow
from genai_spine.types.principal import SCOPES_OF, Allowance, Principal

__all__ = ["Audit", "ChangeKey", "ChangeUser", "Office"]

Audit: TypeAlias = Callable[[AuditEvent], None]
"""Told of what an audit wants to know; it must not raise."""
ChangeKey: TypeAlias = Callable[[KeyFacts], KeyFacts]
ChangeUser: TypeAlias = Callable[[UserFacts], UserFacts]


class Office:
    """Keeps users, keys and budgets; each method is told by whom it is asked.

    Attributes:
        identities: The users and keys of the database.
        budget_store: The budgets there.
        clock: The source of time.
        audit: Told of each change.
    """

    def __init__(self, database: Database, *, clock: Clock, audit: Audit) -> None:
        """Keep those of a database; ``audit`` is told of each change, and must not raise."""
        self.clock = clock
        self.audit = audit
        self.identities = Identities(database, clock)
        self.budget_store = BudgetStore(database, clock)

    # Keys.

    async def create_key(self, by: Principal, facts: KeyFacts) -> tuple[KeyRecord, Secret]:
        """Make a key; return it with its secret, which nobody can be shown again.

        Raises:
            PermissionDeniedError: It is for another, or for more than the caller may himself.
            InvalidFieldError: There is no such user, or his keys may not have such a scope.
        """
        if not by.is_admin:
            if by.user is None or facts.user != by.user:
                message = "an API key that is no administrator's makes keys for its own user only"
                raise PermissionDeniedError(message)
            _check_given(by, await self._own(by), facts)
        await self._check_scopes(facts)
        key = new_key()
        record = await self.identities.add_key(facts, secret_of(key))
        self.tell(by, "key_created", f"key {record.id} was made", key=record.id, user=facts.user)
        return record, key

    async def keys(
        self, by: Principal, user: int | None = None, *, after: int = 0, limit: int = 100
    ) -> list[KeyRecord]:
        """Return keys, or those of a user; of one who does not administer, his own."""
        if by.is_admin:
            return await self.identities.keys(user, after=after, limit=limit)
        if by.user is not None:
            mine = user is None or user == by.user
            return await self.identities.keys(by.user, after=after, limit=limit) if mine else []
        record = await self.identities.key(by.api_key or 0)
        return [record] if record is not None and record.id > after and user is None else []

    async def key(self, by: Principal, key_id: int) -> KeyRecord:
        """Return a key.

        Raises:
            NotFoundError: It is not, or is not the caller's.
        """
        record = await self.identities.key(key_id)
        if record is None:
            raise _no_key(key_id)
        _check_seen(by, record)
        return record

    async def change_key(self, by: Principal, key_id: int, change: ChangeKey) -> KeyRecord:
        """Change a key; raises as ``create_key`` and ``key`` do."""
        own = None if by.is_admin else await self._own(by)

        def changed(record: KeyRecord) -> KeyFacts:
            _check_seen(by, record)
            facts = change(record.facts)
            if own is not None:
                _check_held(by, own, record)
                _check_given(by, own, facts, before=record)
            return facts

        if by.is_admin:
            await self._check_scopes(change((await self.key(by, key_id)).facts))
        found = await self.identities.change_key(key_id, changed)
        if found is None:
            raise _no_key(key_id)
        self.tell(by, "key_changed", f"key {key_id} was changed", key=key_id, user=found.facts.user)
        return found

    async def rotate_key(self, by: Principal, key_id: int, grace: timedelta) -> tuple[KeyRecord, Secret]:
        """Give a key another secret, and let the older one in for the time of ``grace``; raises as ``change_key``.

        Raises:
            InvalidFieldError: It was revoked, or has expired.
        """
        own = None if by.is_admin else await self._own(by)
        now = self.clock.now()

        def check(record: KeyRecord) -> None:
            _check_seen(by, record)
            if own is not None:
                _check_held(by, own, record)
            ends = record.facts.expires_at
            if record.revoked_at is not None or (ends is not None and ends.timestamp() <= now):
                message = f"API key {key_id} is not valid any more; make another"
                raise InvalidFieldError(message)

        key = new_key()
        found = await self.identities.replace_secret(key_id, secret_of(key), grace, check)
        if found is None:
            raise _no_key(key_id)
        self.tell(by, "key_rotated", f"key {key_id} got another secret", key=key_id, user=found.facts.user)
        return found, key

    async def revoke_key(self, by: Principal, key_id: int) -> KeyRecord:
        """Let a key in no more; raises as ``key`` does."""
        found = await self.identities.revoke_key(key_id, lambda record: _check_seen(by, record))
        if found is None:
            raise _no_key(key_id)
        self.tell(by, "key_revoked", f"key {key_id} was revoked", key=key_id, user=found.facts.user)
        return found

    async def _own(self, by: Principal) -> KeyRecord:
        """The key that a caller comes with."""
        record = await self.identities.key(by.api_key or 0)
        if record is None:
            message = "the API key is no longer there"
            raise PermissionDeniedError(message)
        return record

    async def _check_scopes(self, facts: KeyFacts) -> None:
        if facts.user is None:
            return
        user = await self.identities.user(facts.user)
        if user is not None and (lacking := set(facts.scopes) - SCOPES_OF[user.facts.role]):
            names = ", ".join(sorted(lacking))
            message = f"scopes: user {user.id} is a {user.facts.role}, whose keys cannot have: {names}"
            raise InvalidFieldError(message, param="scopes")

    # Users.

    async def add_user(self, by: Principal, facts: UserFacts) -> UserRecord:
        """Add a user; for administrators.

        Raises:
            InvalidFieldError: There is one of this name.
        """
        record = await self.identities.add_user(facts)
        self.tell(by, "user_created", f"user {record.id} was added", user=record.id)
        return record

    async def user(self, by: Principal, user_id: int) -> UserRecord:
        """Return a user.

        Raises:
            NotFoundError: He is not, or is another than the caller.
        """
        record = await self.identities.user(user_id) if by.is_admin or by.user == user_id else None
        if record is None:
            raise _no_user(user_id)
        return record

    async def users(self, *, after: int = 0, limit: int = 100) -> list[UserRecord]:
        """Return users; for administrators."""
        return await self.identities.users(after=after, limit=limit)

    async def change_user(self, by: Principal, user_id: int, change: ChangeUser) -> UserRecord:
        """Change a user; for administrators; raises as ``user`` and ``add_user`` do."""
        record = await self.identities.change_user(user_id, lambda record: change(record.facts))
        if record is None:
            raise _no_user(user_id)
        self.tell(by, "user_changed", f"user {user_id} was changed", user=user_id)
        return record

    async def remove_user(self, by: Principal, user_id: int) -> UserRecord:
        """Remove a user with his keys; for administrators; raises as ``user`` does."""
        record = await self.identities.remove_user(user_id)
        if record is None:
            raise _no_user(user_id)
        self.tell(by, "user_removed", f"user {user_id} was removed", user=user_id)
        return record

    # Budgets.

    async def budgets(self, by: Principal, *, after: int = 0, limit: int = 100) -> list[BudgetRecord]:
        """Return budgets; of one who does not administer, those that bind him."""
        if by.is_admin:
            return await self.budget_store.all(after=after, limit=limit)
        binding = await self.budget_store.of_user(by.user, by.api_key)
        return [record for record in binding if record.id > after][:limit]

    async def put_budget(
        self,
        by: Principal,
        scope: LimitScope,
        subject: int,
        window: LimitWindow,
        nanodollars: int,
        action: LimitAction,
    ) -> BudgetRecord:
        """Set a budget, or change it; for administrators.

        Raises:
            InvalidFieldError: There is no such user or key.
        """
        record = await self.budget_store.put(scope, subject, window, nanodollars, action)
        if record is None:
            message = f"subject_id: there is no {scope} {subject}"
            raise InvalidFieldError(message, param="subject_id")
        self.tell(by, "budget_changed", f"budget {record.id} was set", budget=record.id)
        return record

    async def remove_budget(self, by: Principal, budget_id: int) -> BudgetRecord:
        """Remove a budget; for administrators.

        Raises:
            NotFoundError: It is not.
        """
        record = await self.budget_store.remove(budget_id)
        if record is None:
            message = f"there is no budget {budget_id}"
            raise NotFoundError(message)
        self.tell(by, "budget_removed", f"budget {budget_id} was removed", budget=budget_id)
        return record

    def tell(self, by: Principal, event: str, reason: str, **subjects: int | None) -> None:
        """Tell an audit what was done, by whom and to whom."""
        details = {name: str(subject) for name, subject in subjects.items() if subject is not None}
        at = int(self.clock.now() * 1_000_000)
        self.audit(AuditEvent(at=at, event=event, caller=by.caller, reason=reason, details=details))


def _no_key(key_id: int) -> NotFoundError:
    return NotFoundError(f"there is no API key {key_id}")


def _no_user(user_id: int) -> NotFoundError:
    return NotFoundError(f"there is no user {user_id}")


def _check_seen(by: Principal, record: KeyRecord) -> None:
    his = by.user is not None and record.facts.user == by.user
    if not (by.is_admin or his or record.id == by.api_key):
        raise _no_key(record.id)


def _check_held(by: Principal, own: KeyRecord, record: KeyRecord) -> None:
    """Refuse a caller's hand on a key of his that may do more than the one that he comes with."""
    if record.id != own.id:
        _check_given(by, own, record.facts)


def _check_given(by: Principal, own: KeyRecord, facts: KeyFacts, before: KeyRecord | None = None) -> None:
    """Refuse a key that would be allowed more than the one that the caller comes with; or, changed, than it was.

    Raises:
        PermissionDeniedError: It would.
    """
    lacking = set(facts.scopes) - by.scopes
    if lacking:
        message = f"the API key has not the scopes that it would give: {', '.join(sorted(lacking))}"
        raise PermissionDeniedError(message, param="scopes")
    mine = Allowance(own.facts.providers, own.facts.models)
    if not mine.covers(Allowance(facts.providers, facts.models)):
        message = "the API key may not use all the providers and models that it would give"
        raise PermissionDeniedError(message, param="models")
    ends, wanted = own.facts.expires_at, facts.expires_at
    if ends is not None and (wanted is None or wanted > ends):
        message = "a key may not outlive the API key that makes it"
        raise PermissionDeniedError(message, param="expires_at")
    if before is not None and _lifts(before.facts.rates, facts.rates):
        message = "only an administrator raises the limits of a key"
        raise PermissionDeniedError(message)
    budgeted = any(limit.scope == "key" and limit.kind == "usd" for limit in by.limits)
    if (before is None or before.id != own.id) and (budgeted or own.facts.rates != Rates()):
        message = "an API key with limits of its own makes and changes no others"
        raise PermissionDeniedError(message)


def _lifts(before: Rates, after: Rates) -> bool:
    pairs = (
        (before.requests_per_minute, after.requests_per_minute),
        (before.tokens_per_minute, after.tokens_per_minute),
        (before.max_concurrent, after.max_concurrent),
    )
    return any(old is not None and (new is None or new > old) for old, new in pairs)
