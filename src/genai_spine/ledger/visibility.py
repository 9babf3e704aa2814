"""What of the ledger a caller may see."""

from __future__ import annotations

from genai_spine.storage.sql.audit import AuditFilter
from genai_spine.storage.sql.usage import UsageFilter
from genai_spine.types.principal import Principal

__all__ = ["audit_visible_to", "visible_to"]


def visible_to(principal: Principal) -> UsageFilter:
    """Whose usage a caller may see: what was asked with his own key; all where no key is needed."""
    return UsageFilter(fingerprint=principal.key or None)


def audit_visible_to(principal: Principal) -> AuditFilter:
    """Whose events a caller may see, likewise."""
    return AuditFilter(fingerprint=principal.key or None)
