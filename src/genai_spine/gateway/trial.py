"""One call to one candidate with one key, from the moment it is allowed to the moment it is settled."""

from __future__ import annotations

from genai_spine.clock import Clock
from genai_spine.errors import ProviderTimeoutError, SpineError
from genai_spine.gateway.context import Call, shown
from genai_spine.gateway.guards import Admission, Guard
from genai_spine.providers.base import CallOptions, Provider
from genai_spine.quota.budgets import Reserved
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.measurements import Measured
from genai_spine.routing.options import ASSUMED_OUTPUT, Option
from genai_spine.telemetry.events import AttemptEnded, Outcome
from genai_spine.types.usage import Usage

__all__ = ["Trial"]


class Trial:
    """A call that may be made. It must be settled, and is so once: what comes later is without effect.

    Attributes:
        id: By which the ledger will know the first call that is sent for it, once something was set aside for that.
        options: How it is to be made.
        reserved: What was set aside for it; None where nothing was.
        sent: The ids of the calls that were sent for it and are not over.
        again: The request has called this provider before.
        started: When it was allowed, on the clock's monotonic time.
        ended: When it was settled.
        first_token_at: When the first piece of its answer was there.
        error: How it failed; None where it did not.
        left: The caller was gone before its end.
        usage: What it used.
    """

    __slots__ = (
        "_clock",
        "_guard",
        "_lease",
        "_measured",
        "_of_model",
        "_of_provider",
        "again",
        "deadline",
        "ended",
        "error",
        "first_token_at",
        "id",
        "left",
        "option",
        "options",
        "over",
        "provider",
        "reserved",
        "sent",
        "started",
        "usage",
    )

    def __init__(
        self,
        *,
        option: Option,
        provider: Provider,
        guard: Guard,
        admission: Admission,
        measured: Measured[str],
        options: CallOptions,
        again: bool,
        deadline: Deadline,
        clock: Clock,
    ) -> None:
        self.option = option
        self.id = ""
        self.reserved: Reserved | None = None
        self.sent: list[str] = []
        self.provider = provider
        self.options = options
        self.again = again
        self.deadline = deadline
        self.started = self.ended = clock.monotonic()
        self.first_token_at: float | None = None
        self.error: SpineError | None = None
        self.left = False
        self.over = False
        self.usage: Usage | None = None
        self._clock = clock
        self._guard = guard
        self._of_provider, self._of_model, self._lease = admission
        self._measured = measured
        measured.__enter__()

    @property
    def key(self) -> str:
        """The fingerprint of the key in use; empty where none is needed."""
        return "" if self._lease is None else self._lease.fingerprint

    def answering(self) -> None:
        """Note that the first words are there: whoever waits to see whether the provider is back need wait no more."""
        for passage in (self._of_provider, self._of_model):
            if passage.probing:
                passage.success()

    def succeeded(self, call: Call) -> None:
        """Settle it: there was an answer."""
        if self._settle(call):
            self._measured.wrote(call.usage.output_tokens if call.usage else 0)
            self._leave(None)

    def failed(self, call: Call, error: SpineError) -> None:
        """Settle it: there was none, or it broke off."""
        if not self._settle(call):
            return
        self.error = error
        hangs = self._hangs(call, error)
        if hangs and not self._of_model.settled:
            self._of_model.failure("provider")
        spared = self._of_provider if hangs or self._guard.is_of_model(error) else self._of_model
        if not spared.settled:
            spared.release()
        self._leave(error)

    def abandoned(self, call: Call) -> None:
        """Settle it if it is not: the caller left, or the end was our doing, which says nothing of the provider."""
        if self._settle(call):
            self.error, self.left = call.cut, call.cut is None
            self._leave(GeneratorExit())

    def _hangs(self, call: Call, error: SpineError) -> bool:
        """Return whether a model would have answered anybody in the time that its caller had.

        Otherwise that the caller's time was up says nothing of it.
        """
        if not isinstance(error, ProviderTimeoutError) or not self.deadline.expired:
            return False
        # An answer that is no stream is silent while it is written.
        return self._measured.overdue(0 if call.stream else call.max_tokens or ASSUMED_OUTPUT)

    def record(self, call: Call) -> AttemptEnded:
        """Return the record of it, once it is settled."""
        if self.error is None:
            outcome: Outcome = "cancelled" if self.left else "success"
        elif isinstance(self.error, ProviderTimeoutError):
            outcome = "timeout"
        else:
            outcome = "error" if self.first_token_at is None else "interrupted"
        candidate = call.candidate or self.option.candidate
        return AttemptEnded(
            request_id=call.request_id,
            number=call.attempts,
            provider=candidate.provider,
            model=shown(candidate.model),
            key=self.key,
            reason=shown(candidate.reason),
            retry=self.again,
            outcome=outcome,
            error=self.error.code if self.error is not None else "",
            seconds=self.ended - self.started,
            first_token_seconds=None if self.first_token_at is None else self.first_token_at - self.started,
            usage=self.usage,
        )

    def _leave(self, error: BaseException | None) -> None:
        """Give everything back; each takes from the error what concerns it, and from one of the caller's nothing."""
        kind = None if error is None else type(error)
        self._measured.__exit__(kind, error, None)
        self._of_provider.__exit__(kind, error, None)
        self._of_model.__exit__(kind, error, None)
        if self._lease is not None:
            self._lease.__exit__(kind, error, None)

    def _settle(self, call: Call) -> bool:
        if self.over:
            return False
        self.over = True
        self.ended = self._clock.monotonic()
        self.usage = call.usage
        self.first_token_at = call.first_token_at
        if self.first_token_at is not None:
            self._measured.first(self.first_token_at)
        return True
