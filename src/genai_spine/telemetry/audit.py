"""What happens, as events of the audit: circuits, keys, retries, fallbacks and failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed
from genai_spine.types.ledger import AuditEvent

__all__ = ["AuditObserver"]

_MICROSECONDS: Final = 1_000_000
_CIRCUITS: Final = {"open": "circuit_open", "closed": "circuit_close"}
_FAILED: Final = frozenset({"error", "timeout", "interrupted"})


class AuditObserver(Observer):
    """Hands events of the audit on. Calls that go well at the first try are none."""

    def __init__(self, take: Callable[[AuditEvent], None], clock: Clock) -> None:
        """Make one.

        Args:
            take: Who keeps them; it must not block.
            clock: Says when.
        """
        self._take = take
        self._clock = clock

    @override
    def attempt_ended(self, record: AttemptEnded) -> None:
        if record.number > 1:
            self._of_call("llm_retry" if record.retry else "llm_fallback", record, record.reason)
        if record.outcome in _FAILED:
            self._of_call("llm_error", record, record.error)

    @override
    def circuit_changed(self, record: CircuitChanged) -> None:
        # Who found it out has it in the audit, once.
        if not record.elsewhere and (event := _CIRCUITS.get(record.after)):
            model = f"{record.provider}/{record.model}" if record.model else ""
            details = {"provider": record.provider, "before": record.before}
            self._take(AuditEvent(at=self._now, event=event, model=model, reason=record.reason, details=details))

    @override
    def key_failed(self, record: KeyFailed) -> None:
        details = {"provider": record.provider, "key": record.key, "status": record.status}
        self._take(AuditEvent(at=self._now, event="key_failure", reason=record.fault, details=details))
        if record.status == "cooling":
            seconds = {} if record.usable_in is None else {"seconds": f"{record.usable_in:.3f}"}
            details = {"provider": record.provider, "key": record.key, **seconds}
            self._take(AuditEvent(at=self._now, event="key_cooldown", reason=record.fault, details=details))

    @property
    def _now(self) -> int:
        return int(self._clock.now() * _MICROSECONDS)

    def _of_call(self, event: str, record: AttemptEnded, reason: str) -> None:
        usage = record.usage
        self._take(
            AuditEvent(
                at=self._now,
                event=event,
                request_id=record.request_id,
                model=f"{record.provider}/{record.model}",
                input_tokens=None if usage is None else usage.input_tokens,
                output_tokens=None if usage is None else usage.output_tokens,
                reason=reason,
                details={"number": str(record.number), "outcome": record.outcome, "key": record.key},
            )
        )
