"""What of the ledger a caller may see."""

from __future__ import annotations

from genai_spine.storage.sql.audit import AuditFilter
from genai_spine.storage.sql.usage import UsageFilter
from genai_spine.types.principal import Principal

__all__ = ["audit_visible_to", "visible_to"]


def visible_to(principal: Principal) -> UsageFilter:
    """Whose usage a caller may see: an administrator everybody's, a user that of his keys, a key of nobody its own."""
    if principal.is_admin:
        return UsageFilter()
    return UsageFilter(user=principal.user, api_key=_key(principal))


def audit_visible_to(principal: Principal) -> AuditFilter:
    """Whose events a caller may see, likewise."""
    if principal.is_admin:
        return AuditFilter()
    return AuditFilter(user=principal.user, api_key=_key(principal))


def _key(principal: Principal) -> int | None:
    """The key by which alone a caller is known, where it is no user's."""
    return principal.api_key or 0 if principal.user is None else None
