"""What of the ledger a caller may see."""

from __future__ import annotations

from genai_spine.storage.sql.usage import EVERYTHING, UsageFilter
from genai_spine.types.principal import Principal

__all__ = ["visible_to"]


def visible_to(principal: Principal) -> UsageFilter:
    """Whose usage a caller may see: what was asked with his own key; all where no key is needed."""
    return UsageFilter(fingerprint=principal.key) if principal.key else EVERYTHING
