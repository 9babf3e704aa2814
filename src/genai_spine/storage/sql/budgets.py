"""Budgets in the database: how much everybody, a user or an API key may spend in a window of time."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from genai_spine.clock import Clock
from genai_spine.storage.records import BudgetRecord
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.tables import api_keys, budgets, users
from genai_spine.storage.sql.versions import bump
from genai_spine.types.limits import LimitAction, LimitScope, LimitWindow

__all__ = ["BudgetStore", "budgets_of", "forget_budgets"]

# With users and keys they make up what decides about a caller.
_TOPIC = "identity"


class BudgetStore:
    """The budgets of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def shared(self) -> tuple[BudgetRecord, ...]:
        """Return those of everybody."""
        async with self._database.reading() as connection:
            return (await budgets_of(connection, "global", [0])).get(0, ())

    async def all(self, *, after: int = 0, limit: int = 100) -> list[BudgetRecord]:
        """Return budgets, in the order in which they were made."""
        asked = select(budgets).where(budgets.c.id > after).order_by(budgets.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [_record(row) for row in (await connection.execute(asked)).mappings()]

    async def of_user(self, user: int | None, key: int | None) -> list[BudgetRecord]:
        """Return those of everybody, of a user and his keys, and of a key."""
        binding = [budgets.c.scope == "global"]
        if user is not None:
            his = select(api_keys.c.id).where(api_keys.c.user_id == user)
            binding.append((budgets.c.scope == "user") & (budgets.c.subject_id == user))
            binding.append((budgets.c.scope == "key") & budgets.c.subject_id.in_(his))
        if key is not None:
            binding.append((budgets.c.scope == "key") & (budgets.c.subject_id == key))
        async with self._database.reading() as connection:
            asked = select(budgets).where(or_(*binding)).order_by(budgets.c.id)
            return [_record(row) for row in (await connection.execute(asked)).mappings()]

    async def put(
        self, scope: LimitScope, subject: int, window: LimitWindow, nanodollars: int, action: LimitAction
    ) -> BudgetRecord | None:
        """Set a budget, or change it; return it, None if there is no such user or key."""
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        columns: dict[str, Any] = {"limit_nanodollars": nanodollars, "action": action, "updated_at": now}
        names = {"scope": scope, "subject_id": subject, "window": window}
        async with self._database.writing() as connection:
            await bump(connection, _TOPIC)
            if not await _is_there(connection, scope, subject):
                return None
            same = (budgets.c.scope == scope) & (budgets.c.subject_id == subject) & (budgets.c.window == window)
            changed = await connection.execute(update(budgets).where(same).values(columns).returning(budgets))
            row = changed.mappings().first()
            if row is None:
                made = insert(budgets).values({**columns, **names, "created_at": now}).returning(budgets)
                row = (await connection.execute(made)).mappings().one()
            return _record(row)

    async def remove(self, budget_id: int) -> BudgetRecord | None:
        """Remove a budget; return what it was, None if it was not."""
        async with self._database.writing() as connection:
            await bump(connection, _TOPIC)
            gone = await connection.execute(delete(budgets).where(budgets.c.id == budget_id).returning(budgets))
            row = gone.mappings().first()
            return None if row is None else _record(row)


async def budgets_of(
    connection: AsyncConnection, scope: LimitScope, subjects: Collection[int]
) -> dict[int, tuple[BudgetRecord, ...]]:
    """Return the budgets of some users or keys, by their ids."""
    if not subjects:
        return {}
    asked = select(budgets).where(budgets.c.scope == scope, budgets.c.subject_id.in_(list(subjects)))
    found: dict[int, tuple[BudgetRecord, ...]] = {}
    for row in (await connection.execute(asked.order_by(budgets.c.id))).mappings():
        record = _record(row)
        found[record.subject] = (*found.get(record.subject, ()), record)
    return found


async def forget_budgets(connection: AsyncConnection, scope: LimitScope, subjects: Collection[int]) -> None:
    """Remove the budgets of some users or keys."""
    if subjects:
        its = (budgets.c.scope == scope) & budgets.c.subject_id.in_(list(subjects))
        await connection.execute(delete(budgets).where(its))


async def _is_there(connection: AsyncConnection, scope: LimitScope, subject: int) -> bool:
    if scope == "global":
        return subject == 0
    table = users if scope == "user" else api_keys
    return (await connection.execute(select(table.c.id).where(table.c.id == subject))).first() is not None


def _record(row: RowMapping) -> BudgetRecord:
    return BudgetRecord(
        id=row["id"],
        scope=row["scope"],
        subject=row["subject_id"],
        window=row["window"],
        nanodollars=row["limit_nanodollars"],
        action=row["action"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
