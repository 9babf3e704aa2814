"""What keeps account, put together: the database, the ledger and what brings it there, limits, and who reads it all."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from genai_spine.catalog.prices import Cost
from genai_spine.clock import Clock
from genai_spine.errors import DatabaseDownError, JournalError
from genai_spine.gateway.quota import Quota
from genai_spine.journal.writer import Journal
from genai_spine.ledger.audit import AuditTrail
from genai_spine.ledger.ledger import Ledger
from genai_spine.ledger.shipper import Shipper
from genai_spine.ledger.stories import Stories
from genai_spine.ledger.usage import UsageReports
from genai_spine.quota.budgets import Budgets, Spent
from genai_spine.quota.rate_limits import RateLimits
from genai_spine.redact import scrub
from genai_spine.settings import Settings
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.memory import MemoryState
from genai_spine.storage.sql.audit import AuditStore
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.ledger import LedgerStore
from genai_spine.storage.sql.usage import UsageStore
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.logging import logger
from genai_spine.types.limits import LimitScope
from genai_spine.types.usage import Usage

__all__ = ["Bookkeeping"]

_SEGMENT_BYTES: Final = 1 << 24
_AHEAD: Final = 3600
"""Seconds: clocks of several machines differ, and what began a moment ahead of ours counts too."""

Price = Callable[[str, str, Usage], Cost]


class Bookkeeping:
    """Keeps account, from ``start`` to ``close``.

    Attributes:
        state: What is kept between requests, and shared by several workers.
        database: Where records are kept.
        ledger: What is written of each call and request; of nothing, where the settings say so.
        shipper: Brings that into the database.
        budgets: Count the money that callers spend.
        quota: Looks after the limits of callers.
        usage: What was used, added up.
        stories: What was asked, one by one.
        audit: What an audit wants to know.
    """

    def __init__(self, settings: Settings, ledger: Ledger, price: Price, clock: Clock, observer: Observer) -> None:
        """Put it together.

        Args:
            settings: By which.
            ledger: What is written; not opened yet.
            price: Returns what tokens cost of a model at a provider, also one that is not there any more.
            clock: The source of time.
            observer: Who is told of what is lost, or must be looked at.

        Raises:
            ConfigurationError: The address of the database or of Redis is none.
        """
        values = settings.values
        self._settings = settings
        self._clock = clock
        self.state = _shared_state(settings, clock)
        self.database = Database.at(settings.database_url.reveal(), upgrades=True)
        self.ledger = ledger
        self._store = LedgerStore(self.database, clock)
        self.shipper = Shipper(
            ledger, self._store, settings.journals, self.state, price, clock, observer, seconds=values.ledger_seconds
        )
        self.budgets = Budgets(self.state, clock, self._spent, on_state_lost=values.on_state_lost)
        self.quota = Quota(
            RateLimits(self.state, on_state_lost=values.on_state_lost),
            self.budgets,
            ledger.call_id,
            output_tokens=values.budget_output_tokens,
        )
        used = UsageStore(self.database)
        self.usage, self.stories = UsageReports(used, clock), Stories(used, clock)
        self.audit = AuditTrail(AuditStore(self.database))

    async def start(self) -> None:
        """Open the database and the journal. A database that is down is opened when it is back.

        Raises:
            ConfigurationError: The database is not one for this version, or does not let the gateway in; or Redis does
                not.
            JournalError: The journal cannot be begun.
        """
        try:
            await self.database.upgrade()
        except DatabaseDownError as error:
            logger.warning(
                "the database cannot be reached; requests are served, and what happens is kept in the journal until it "
                "can be; see GENAI_DATABASE_URL if it should be there",
                database=str(self.database.url),
                reason=f"{type(error.__cause__).__name__}: {error.__cause__}",
            )
        await self.state.look()
        if self._settings.values.ledger:
            self.ledger.open(self._journal)
            await self.shipper.start()

    async def close(self) -> None:
        """Settle, ship and close, in this order."""
        await self.quota.settled()
        await self.shipper.close()
        await self.ledger.close()
        await self.state.close()
        await self.database.close()

    @property
    def degraded(self) -> dict[str, str]:
        """What does not do what it should, for anybody to read; the log tells why."""
        found = self.shipper.degraded
        if self.state.trouble:
            found["shared_state"] = (
                "it cannot be reached; callers with a budget or a limit cannot be counted, and workers tell each other "
                "nothing of keys and circuits"
            )
        elif self.state.concern:
            found["shared_state"] = self.state.concern
        return found

    def _journal(self) -> Journal:
        most = self._settings.values.journal_max_bytes
        size = min(_SEGMENT_BYTES, most // 8)
        return Journal(self._settings.journals, self._clock, segment_bytes=size, max_bytes=most)

    async def _spent(self, scope: LimitScope, subjects: Collection[str], since: int) -> dict[str, Spent]:
        """Tell budgets what the ledger counts, with all that this worker has written, and those that died."""
        if self.ledger.journal is not None:
            # What cannot be read is told of where it is looked for now and then.
            with suppress(JournalError):
                await self.shipper.adopt()
            await self.shipper.flush()
        start, end = datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(self._clock.now() + _AHEAD, UTC)
        ids = {int(subject or 0): subject for subject in subjects}
        found = await self._store.spent(scope, ids, start, end)
        return {ids[id_]: Spent(one.nanodollars, one.recent) for id_, one in found.items()}


def _shared_state(settings: Settings, clock: Clock) -> SharedState:
    values = settings.values
    if values.redis_url is not None:
        from genai_spine.shared_state.redis.state import RedisState  # noqa: PLC0415  # it takes its time to load

        return RedisState(values.redis_url.reveal(), clock, told=_tell_of_redis, concerned=_warn_of_redis)
    return MemoryState(values.state_max_bytes, clock)


def _tell_of_redis(trouble: str) -> None:
    if trouble:
        logger.error(
            "Redis cannot be reached; callers with a budget or a limit are served as GENAI_ON_STATE_LOST says, all "
            "others as ever, by what this worker knows itself of keys and circuits; see GENAI_REDIS_URL if it should "
            "be there",
            reason=scrub(trouble),
        )
    else:
        logger.info("Redis is back")


def _warn_of_redis(concern: str) -> None:
    logger.warning("Redis is not set up to keep budgets and limits", reason=concern)
