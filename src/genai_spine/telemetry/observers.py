"""Several observers as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from typing_extensions import override

from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, LedgerFault, RequestEnded
from genai_spine.telemetry.logging import logger

__all__ = ["Observers"]

R = TypeVar("R")


class Observers(Observer):
    """Tells each of its members. A fault of one is logged, and costs neither the others nor a caller anything."""

    def __init__(self, members: Iterable[Observer]) -> None:
        members = tuple(members)
        # What only the contract's empty method would take is not handed round.
        self._requests = [one.request_ended for one in members if _wants(one, "request_ended")]
        self._attempts = [one.attempt_ended for one in members if _wants(one, "attempt_ended")]
        self._circuits = [one.circuit_changed for one in members if _wants(one, "circuit_changed")]
        self._keys = [one.key_failed for one in members if _wants(one, "key_failed")]
        self._ledger = [one.ledger_failed for one in members if _wants(one, "ledger_failed")]

    @override
    def request_ended(self, record: RequestEnded) -> None:
        _tell(self._requests, record)

    @override
    def attempt_ended(self, record: AttemptEnded) -> None:
        _tell(self._attempts, record)

    @override
    def circuit_changed(self, record: CircuitChanged) -> None:
        _tell(self._circuits, record)

    @override
    def key_failed(self, record: KeyFailed) -> None:
        _tell(self._keys, record)

    @override
    def ledger_failed(self, record: LedgerFault) -> None:
        _tell(self._ledger, record)


def _wants(observer: Observer, method: str) -> bool:
    """Whether an observer takes records of a kind; one that does not derive from the contract may lack the method."""
    return getattr(type(observer), method, None) not in {None, getattr(Observer, method)}


def _tell(takers: Iterable[Callable[[R], None]], record: R) -> None:
    for take in takers:
        try:
            take(record)
        except Exception:  # noqa: BLE001  # an observer's fault must cost nobody an answer
            logger.exception("an observer failed", observer=getattr(take, "__qualname__", type(take).__name__))
