"""Who is calling, and what he may."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from genai_spine.types.ledger import NOBODY, Caller
from genai_spine.types.limits import Limit

__all__ = ["ANYBODY", "SCOPES", "SCOPES_OF", "STRANGER", "Allowance", "Principal", "Role", "Scope"]

Role: TypeAlias = Literal["admin", "member"]
Scope: TypeAlias = Literal["inference", "read", "keys", "metrics", "admin"]

SCOPES: Final[Mapping[Scope, str]] = {
    "inference": "ask models, at every door",
    "read": "see providers, models, prices, and one's own usage, user and budgets",
    "keys": "make, change, rotate and revoke one's own API keys",
    "metrics": "see the metrics, where they are not open to all",
    "admin": "everything else: the keys and usage of others, users, budgets, the audit, the configuration",
}
"""What a key may be good for."""

SCOPES_OF: Final[Mapping[Role, frozenset[Scope]]] = {
    "admin": frozenset(SCOPES),
    "member": frozenset[Scope](("inference", "read", "keys")),
}
"""The scopes that a user's keys may have, by his role."""


class Allowance(Struct, frozen=True):
    """The providers and models that a caller may use; None is all of them.

    Attributes:
        providers: By name.
        models: Ids, alone or as ``provider/model``; ``*`` stands for anything.
    """

    providers: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None

    def allows_provider(self, provider: str) -> bool:
        """Return whether any model of a provider may be used."""
        return self.providers is None or provider in self.providers

    def allows(self, provider: str, model: str) -> bool:
        """Return whether a model at a provider may be used."""
        if not self.allows_provider(provider):
            return False
        if self.models is None:
            return True
        name = f"{provider}/{model}"
        return any(fnmatchcase(model, one) or fnmatchcase(name, one) for one in self.models)

    def covers(self, other: Allowance) -> bool:
        """Return whether this lets in all that ``other`` does, as far as the lists themselves tell."""
        return all(
            mine is None or (theirs is not None and set(theirs) <= set(mine))
            for mine, theirs in ((self.providers, other.providers), (self.models, other.models))
        )


class Principal(Struct, frozen=True):
    """The authenticated caller.

    Attributes:
        key: The fingerprint of the gateway key presented; empty where none is needed.
        limits: What he may use, his own limits and those that he shares; none where nobody set any.
        user: The user whose key it is; None where it is nobody's.
        api_key: Its id in the database; None where it is one of the environment.
        role: The user's.
        scopes: What the key is good for.
        allowance: Which providers and models he may use; None is all of them.
        tags: The key's, for the ledger.
        caller: The same as the ledger is told it; follows from the rest.
        owner: Whose the things are that he leaves with the gateway; follows from the rest.
    """

    key: str
    limits: tuple[Limit, ...] = ()
    user: int | None = None
    api_key: int | None = None
    role: Role = "member"
    scopes: frozenset[Scope] = frozenset()
    allowance: Allowance | None = None
    tags: tuple[str, ...] = ()
    caller: Caller = NOBODY
    owner: str = ""

    def __post_init__(self) -> None:
        # Put together once: they are looked up for each request.
        caller = Caller(user=self.user, api_key=self.api_key, fingerprint=self.key, tags=self.tags)
        force_setattr(self, "caller", caller)
        if self.user is not None:
            owner = f"user:{self.user}"
        else:
            owner = self.key if self.api_key is None else f"key:{self.api_key}"
        force_setattr(self, "owner", owner)

    @property
    def is_admin(self) -> bool:
        """He may administer: what is others' is his to see and change."""
        return "admin" in self.scopes


ANYBODY: Final = Principal("", role="admin", scopes=SCOPES_OF["admin"])
"""The caller where nobody is asked for a key, and a program that uses the library."""

STRANGER: Final = Principal("")
"""The caller who has not been let in yet; what he sends is nobody's."""
