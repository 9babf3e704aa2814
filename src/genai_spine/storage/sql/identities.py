"""Users and their API keys in the database.

All that workers remember of them is told of by the topic ``identity``: each change grows its version. Changes take
turns by that, so a change is decided on what it changes.

An API key has one row, which stays the same when its secret is replaced. The older secret then gets a row of its own
that points to the key by ``replaced_by``, for as long as it is still let in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import RowMapping, Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.clock import Clock
from genai_spine.errors import InvalidFieldError
from genai_spine.storage.records import (
    FoundKey,
    KeyFacts,
    KeyRecord,
    Rates,
    SecretRecord,
    UserFacts,
    UserRecord,
)
from genai_spine.storage.sql.budgets import budgets_of, forget_budgets
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import api_keys, users
from genai_spine.storage.sql.versions import bump

__all__ = ["TOPIC", "Identities"]

TOPIC: Final = "identity"
"""What its changes are told by."""

MOST_AT_ONCE: Final = 500
"""A statement names no more keys."""


class Identities:
    """The users and API keys of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self._clock = clock

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    # Callers.

    async def find(self, prefixes: Sequence[str]) -> dict[str, FoundKey]:
        """Return what is known of the secrets that begin so, by how they begin."""
        found: dict[str, FoundKey] = {}
        async with self.database.reading() as connection:
            for start in range(0, len(prefixes), MOST_AT_ONCE):
                found |= await _find(connection, prefixes[start : start + MOST_AT_ONCE])
        return found

    async def note_use(self, key_ids: Sequence[int]) -> None:
        """Note that keys are in use."""
        async with self.database.writing() as connection:
            for start in range(0, len(key_ids), MOST_AT_ONCE):
                chosen = api_keys.c.id.in_(key_ids[start : start + MOST_AT_ONCE])
                await connection.execute(update(api_keys).where(chosen).values(last_used_at=self._now()))

    # Keys.

    async def has_keys(self) -> bool:
        """Return whether there is, or ever was, any key."""
        async with self.database.reading() as connection:
            return await _has_keys(connection)

    async def add_first_key(self, facts: KeyFacts, secret: SecretRecord, keep: Callable[[], None]) -> bool:
        """Add a key where there is none yet; return whether it was added.

        Args:
            facts: Of the key.
            secret: Its secret.
            keep: Keeps the key for its owner; where it raises, the key is not added.
        """
        async with self.database.writing() as connection:
            # Replicas that start together take turns from here on.
            await bump(connection, TOPIC)
            if await _has_keys(connection):
                return False
            await self._insert(connection, facts, secret)
            keep()
        return True

    async def add_key(self, facts: KeyFacts, secret: SecretRecord) -> KeyRecord:
        """Add a key.

        Raises:
            InvalidFieldError: There is no such user.
        """
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            return await self._insert(connection, facts, secret)

    async def key(self, key_id: int) -> KeyRecord | None:
        """Return a key."""
        async with self.database.reading() as connection:
            return await _key(connection, key_id)

    async def keys(self, user: int | None = None, *, after: int = 0, limit: int = 100) -> list[KeyRecord]:
        """Return keys, or those of a user, in the order in which they were made."""
        asked = _keys().where(api_keys.c.id > after).order_by(api_keys.c.id).limit(limit)
        if user is not None:
            asked = asked.where(api_keys.c.user_id == user)
        async with self.database.reading() as connection:
            return [_key_record(row) for row in (await connection.execute(asked)).mappings()]

    async def change_key(self, key_id: int, change: Callable[[KeyRecord], KeyFacts]) -> KeyRecord | None:
        """Change a key to what ``change`` makes of it, which may raise; return it as it is then, None if it is not."""
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            record = await _key(connection, key_id)
            if record is None:
                return None
            facts = change(record)
            await _check_user(connection, facts.user)
            await connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(_key_columns(facts)))
            return await _key(connection, key_id)

    async def replace_secret(
        self, key_id: int, secret: SecretRecord, grace: timedelta, check: Callable[[KeyRecord], None]
    ) -> KeyRecord | None:
        """Give a key another secret; return it, None if it is not. The older one is let in for the time of ``grace``.

        ``check`` may raise, and then nothing is changed.
        """
        now = self._now()
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            record = await _key(connection, key_id)
            if record is None:
                return None
            check(record)
            mine = api_keys.c.id == key_id
            older = (await connection.execute(select(api_keys).where(mine))).mappings().one()
            columns = {"prefix": secret.prefix, "salt": secret.salt, "hash": secret.hash}
            await connection.execute(update(api_keys).where(mine).values(columns))
            lapsed = (api_keys.c.replaced_by == key_id) & (api_keys.c.expires_at <= now)
            await connection.execute(delete(api_keys).where(lapsed))
            if grace > timedelta():
                kept = {name: value for name, value in older.items() if name != "id"}
                kept |= {"replaced_by": key_id, "expires_at": now + grace}
                await connection.execute(insert(api_keys).values(kept))
            return await _key(connection, key_id)

    async def revoke_key(self, key_id: int, check: Callable[[KeyRecord], None]) -> KeyRecord | None:
        """Let a key in no more, nor its older secrets; return it, None if it is not. ``check`` may raise."""
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            record = await _key(connection, key_id)
            if record is None:
                return None
            check(record)
            living = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
            await connection.execute(update(api_keys).where(living).values(revoked_at=self._now()))
            await connection.execute(delete(api_keys).where(api_keys.c.replaced_by == key_id))
            return await _key(connection, key_id)

    async def _insert(self, connection: AsyncConnection, facts: KeyFacts, secret: SecretRecord) -> KeyRecord:
        await _check_user(connection, facts.user)
        columns = {
            **_key_columns(facts),
            "prefix": secret.prefix,
            "salt": secret.salt,
            "hash": secret.hash,
            "created_at": self._now(),
        }
        row = (await connection.execute(insert(api_keys).values(columns).returning(api_keys))).mappings().one()
        return _key_record(row)

    # Users.

    async def add_user(self, facts: UserFacts) -> UserRecord:
        """Add a user.

        Raises:
            InvalidFieldError: There is one of this name.
        """
        now = self._now()
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            await _check_name(connection, facts.name)
            columns = {**_user_columns(facts), "created_at": now, "updated_at": now}
            row = (await connection.execute(insert(users).values(columns).returning(users))).mappings().one()
            return _user_record(row)

    async def user(self, user_id: int) -> UserRecord | None:
        """Return a user."""
        async with self.database.reading() as connection:
            return await _user(connection, user_id)

    async def user_named(self, name: str) -> UserRecord | None:
        """Return the user of a name."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(users).where(users.c.name == name))).mappings().first()
            return None if row is None else _user_record(row)

    async def users(self, *, after: int = 0, limit: int = 100) -> list[UserRecord]:
        """Return users, in the order in which they were made."""
        asked = select(users).where(users.c.id > after).order_by(users.c.id).limit(limit)
        async with self.database.reading() as connection:
            return [_user_record(row) for row in (await connection.execute(asked)).mappings()]

    async def change_user(self, user_id: int, change: Callable[[UserRecord], UserFacts]) -> UserRecord | None:
        """Change a user to what ``change`` makes of him; return him as he is then, None if he is not.

        Raises:
            InvalidFieldError: Another has this name.
        """
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            record = await _user(connection, user_id)
            if record is None:
                return None
            facts = change(record)
            if facts.name != record.facts.name:
                await _check_name(connection, facts.name)
            columns = {**_user_columns(facts), "updated_at": self._now()}
            await connection.execute(update(users).where(users.c.id == user_id).values(columns))
            return await _user(connection, user_id)

    async def remove_user(self, user_id: int) -> UserRecord | None:
        """Remove a user with his keys and their budgets; return who he was, None if he was not. His usage stays."""
        async with self.database.writing() as connection:
            await bump(connection, TOPIC)
            record = await _user(connection, user_id)
            if record is None:
                return None
            his = (await connection.execute(select(api_keys.c.id).where(api_keys.c.user_id == user_id))).scalars().all()
            await forget_budgets(connection, "key", his)
            await forget_budgets(connection, "user", [user_id])
            await connection.execute(delete(users).where(users.c.id == user_id))
            return record


async def _find(connection: AsyncConnection, prefixes: Sequence[str]) -> dict[str, FoundKey]:
    asked = select(api_keys).where(api_keys.c.prefix.in_(prefixes))
    secrets = (await connection.execute(asked)).mappings().all()
    pointed = {row["replaced_by"] for row in secrets} - {None}
    pointed -= {row["id"] for row in secrets}
    keys = {row["id"]: row for row in secrets if row["replaced_by"] is None}
    if pointed:
        holders = await connection.execute(select(api_keys).where(api_keys.c.id.in_(pointed)))
        keys |= {row["id"]: row for row in holders.mappings()}
    owners = {row["user_id"] for row in keys.values()} - {None}
    found = (await connection.execute(select(users).where(users.c.id.in_(owners)))).mappings() if owners else ()
    people = {row["id"]: _user_record(row) for row in found}
    of_keys, of_users = await budgets_of(connection, "key", keys), await budgets_of(connection, "user", people)
    result: dict[str, FoundKey] = {}
    for row in secrets:
        key = keys.get(row["replaced_by"] or row["id"])
        if key is None:
            continue
        ends = [moment for moment in (row["expires_at"], key["expires_at"]) if moment is not None]
        result[row["prefix"]] = FoundKey(
            secret=SecretRecord(row["prefix"], row["salt"], row["hash"]),
            expires_at=min(ends, default=None),
            key=_key_record(key),
            user=people.get(key["user_id"]),
            budgets=(*of_keys.get(key["id"], ()), *of_users.get(key["user_id"], ())),
        )
    return result


async def _has_keys(connection: AsyncConnection) -> bool:
    return (await connection.execute(select(api_keys.c.id).limit(1))).first() is not None


def _keys() -> Select[Any]:
    return select(api_keys).where(api_keys.c.replaced_by.is_(None))


async def _key(connection: AsyncConnection, key_id: int) -> KeyRecord | None:
    row = (await connection.execute(_keys().where(api_keys.c.id == key_id))).mappings().first()
    return None if row is None else _key_record(row)


async def _user(connection: AsyncConnection, user_id: int) -> UserRecord | None:
    row = (await connection.execute(select(users).where(users.c.id == user_id))).mappings().first()
    return None if row is None else _user_record(row)


async def _check_user(connection: AsyncConnection, user_id: int | None) -> None:
    if user_id is not None and await _user(connection, user_id) is None:
        message = f"user_id: there is no user {user_id}"
        raise InvalidFieldError(message, param="user_id")


async def _check_name(connection: AsyncConnection, name: str) -> None:
    taken = select(users.c.id).where(users.c.name == name)
    if (await connection.execute(taken)).first() is not None:
        message = f"name: there is a user {name!r} already"
        raise InvalidFieldError(message, param="name")


def _key_columns(facts: KeyFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "user_id": facts.user,
        "scopes": sorted(facts.scopes),
        "providers": None if facts.providers is None else list(facts.providers),
        "models": None if facts.models is None else list(facts.models),
        "tags": list(facts.tags),
        **_rate_columns(facts.rates),
        "expires_at": facts.expires_at,
    }


def _user_columns(facts: UserFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "email": facts.email,
        "role": facts.role,
        "is_active": facts.is_active,
        **_rate_columns(facts.rates),
    }


def _rate_columns(rates: Rates) -> dict[str, int | None]:
    return {
        "requests_per_minute": rates.requests_per_minute,
        "tokens_per_minute": rates.tokens_per_minute,
        "max_concurrent": rates.max_concurrent,
    }


def _rates(row: RowMapping) -> Rates:
    return Rates(
        requests_per_minute=row["requests_per_minute"],
        tokens_per_minute=row["tokens_per_minute"],
        max_concurrent=row["max_concurrent"],
    )


def _key_record(row: RowMapping) -> KeyRecord:
    return KeyRecord(
        id=row["id"],
        prefix=row["prefix"],
        facts=KeyFacts(
            name=row["name"],
            user=row["user_id"],
            scopes=tuple(row["scopes"]),
            providers=None if row["providers"] is None else tuple(row["providers"]),
            models=None if row["models"] is None else tuple(row["models"]),
            tags=tuple(row["tags"]),
            rates=_rates(row),
            expires_at=row["expires_at"],
        ),
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        created_at=row["created_at"],
    )


def _user_record(row: RowMapping) -> UserRecord:
    facts = UserFacts(
        name=row["name"],
        email=row["email"],
        # Older databases may know other roles; who is no admin here is a member.
        role="admin" if row["role"] == "admin" else "member",
        is_active=row["is_active"],
        rates=_rates(row),
    )
    return UserRecord(id=row["id"], facts=facts, created_at=row["created_at"], updated_at=row["updated_at"])
