"""What is kept, as the rest of the program sees it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from genai_spine.types.limits import LimitAction, LimitScope, LimitWindow
from genai_spine.types.principal import Role, Scope

__all__ = ["BudgetRecord", "FoundKey", "KeyFacts", "KeyRecord", "Rates", "SecretRecord", "UserFacts", "UserRecord"]


class Rates(Struct, frozen=True, kw_only=True):
    """How much may be asked; None is without a limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None


class UserFacts(Struct, frozen=True, kw_only=True):
    """What is chosen of a user.

    Attributes:
        is_active: His keys are let in.
        rates: Of all of his keys together.
    """

    name: str
    email: str | None = None
    role: Role = "member"
    is_active: bool = True
    rates: Rates = Rates()


class UserRecord(Struct, frozen=True, kw_only=True):
    """A user."""

    id: int
    facts: UserFacts
    created_at: datetime | None
    updated_at: datetime | None


class KeyFacts(Struct, frozen=True, kw_only=True):
    """What is chosen of an API key.

    Attributes:
        user: Whose it is; None where it is nobody's.
        providers: Those that it may use; None is all.
        models: Those that it may use; None is all.
        tags: For the ledger.
        expires_at: From then on it is refused.
    """

    name: str
    user: int | None = None
    scopes: tuple[Scope, ...] = ("inference", "read")
    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    rates: Rates = Rates()
    expires_at: datetime | None = None


class KeyRecord(Struct, frozen=True, kw_only=True):
    """An API key, without its secret.

    Attributes:
        prefix: How it begins.
    """

    id: int
    prefix: str
    facts: KeyFacts
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


class SecretRecord(Struct, frozen=True):
    """What is kept of a key's secret: by what it is found, and by what it is known."""

    prefix: str
    salt: bytes
    hash: bytes


class BudgetRecord(Struct, frozen=True, kw_only=True):
    """A budget.

    Attributes:
        subject: The id of the user or key; 0 for everybody.
    """

    id: int
    scope: LimitScope
    subject: int
    window: LimitWindow
    nanodollars: int
    action: LimitAction
    created_at: datetime
    updated_at: datetime


class FoundKey(Struct, frozen=True, kw_only=True):
    """All that decides about a caller who presents a key.

    Attributes:
        secret: The one that was asked for; a key that was rotated has an older one for a while.
        expires_at: When that secret does, or its key.
        user: Whose it is.
        budgets: Those of the key and of the user.
    """

    secret: SecretRecord
    expires_at: datetime | None
    key: KeyRecord
    user: UserRecord | None
    budgets: tuple[BudgetRecord, ...]
