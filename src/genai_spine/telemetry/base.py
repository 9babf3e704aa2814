"""Who is told of what happens: an observer, called once for each record, off the caller's path."""

from __future__ import annotations

from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, LedgerFault, RequestEnded

__all__ = ["Observer"]


class Observer:
    """Takes records. One of your own derives from this and overrides what it wants to know.

    It must not block: it is called on the event loop.
    """

    def request_ended(self, record: RequestEnded) -> None:
        """Take the record of a request that is over."""

    def attempt_ended(self, record: AttemptEnded) -> None:
        """Take the record of a call to a provider that is over; a request makes one, or several."""

    def circuit_changed(self, record: CircuitChanged) -> None:
        """Take the news that a provider, or a model of it, is left alone for a while, or asked again."""

    def key_failed(self, record: KeyFailed) -> None:
        """Take the news that a call failed by the fault of a provider's key."""

    def ledger_failed(self, record: LedgerFault) -> None:
        """Take the news that something of the ledger is lost, or must be looked at."""
