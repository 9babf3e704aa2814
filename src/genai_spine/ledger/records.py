"""What can be asked of the ledger."""

from __future__ import annotations

from genai_spine.clock import Clock
from genai_spine.ledger.audit import AuditTrail
from genai_spine.ledger.stories import Stories
from genai_spine.ledger.usage import UsageReports
from genai_spine.storage.sql.audit import AuditStore
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.usage import UsageStore

__all__ = ["Records"]


class Records:
    """Reads what the ledger has brought into the database.

    Attributes:
        usage: What was used, added up.
        stories: What was asked, one by one.
        audit: What an audit wants to know.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        used = UsageStore(database)
        self.usage = UsageReports(used, clock)
        self.stories = Stories(used, clock)
        self.audit = AuditTrail(AuditStore(database))
