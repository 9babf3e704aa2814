"""What is told and written of each call and request: prices, records, the ledger.

A call's beginning is written right before it is sent, its end and that of the request as they come. Nothing here awaits
but ``durable``, so that a caller who leaves changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from msgspec.structs import replace

from genai_spine.catalog.prices import Cost
from genai_spine.clock import Clock
from genai_spine.errors import SpineError
from genai_spine.gateway.affinity import Affinities, Home
from genai_spine.gateway.context import Call, shown
from genai_spine.gateway.quota import Quota
from genai_spine.gateway.trial import Trial
from genai_spine.ledger.ledger import Ledger
from genai_spine.money import nanodollars_up
from genai_spine.quota.budgets import Reserved
from genai_spine.routing.options import ASSUMED_OUTPUT
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import Outcome, RequestEnded
from genai_spine.types.ledger import CallBegun, CallEnded, RequestDone
from genai_spine.types.principal import STRANGER
from genai_spine.types.usage import Usage

__all__ = ["Accounts"]

_MICRO: Final = 1_000_000
_CUT: Final = frozenset[Outcome]({"cancelled", "timeout", "interrupted"})


class Accounts:
    """Keeps account of calls and requests."""

    def __init__(self, ledger: Ledger, quota: Quota, affinities: Affinities, clock: Clock, observer: Observer) -> None:
        self._ledger = ledger
        self._quota = quota
        self._affinities = affinities
        self._clock = clock
        self._observer = observer

    # Of a call.

    def reserve(self, call: Call, trial: Trial) -> Awaitable[Reserved]:
        """Set aside what a call may cost; returns and raises as ``Quota.reserve`` does."""
        trial.id = self._ledger.call_id()
        return self._quota.reserve(call, trial)

    def sending(self, call: Call, trial: Trial) -> None:
        """Write that a call is about to be sent.

        Raises:
            JournalFullError: There is no room to write it; it must not be sent.
            JournalError: The disk has failed; likewise.
        """
        call.attempts += 1
        candidate = call.candidate or trial.option.candidate
        # What was set aside was so under the id of the first that is sent.
        call_id, trial.id = trial.id or self._ledger.call_id(), ""
        begun = CallBegun(
            id=call_id,
            request=call.answer_id,
            request_id=call.request_id,
            number=call.attempts,
            at=self._now(),
            door=call.door,
            provider=candidate.provider,
            model=shown(candidate.model),
            key=trial.key,
            reason=shown(candidate.reason),
            caller=call.principal.caller,
            stream=call.stream,
            retry=trial.again,
            fallback=call.fallback,
            strategy=call.strategy,
            input_tokens=call.input_tokens,
            # As long as most answers are, where a call is cut short and nobody tells.
            output_tokens=min(call.max_tokens or ASSUMED_OUTPUT, ASSUMED_OUTPUT) // 2,
            hold=self._quota.held(trial),
        )
        call.written = self._ledger.begin(begun)
        trial.sent.append(call_id)

    def declined(self, trial: Trial, error: SpineError) -> None:
        """Write that the call sent last came to nothing, and that another is sent for it."""
        self._ledger.end(self._end(trial.sent.pop(), trial, "error", error.code))

    def ended(self, call: Call, trial: Trial) -> None:
        """Price what a call used, note whom its conversation may come back to, and tell of it."""
        if not trial.sent:
            # Nobody was asked: it could not be said to the provider, or the caller may not.
            self._quota.ended(trial, 0)
            return
        record = trial.record(call)
        usage, cost = self._used(call, trial, record.outcome), None
        if usage is not None:
            # Where none was named, the model that makes embeddings is another than the one that writes.
            candidate = call.candidate or trial.option.candidate
            cost = trial.provider.cost_of(candidate.model, usage)
            call.charge(usage, cost)
        nanodollars = 0 if cost is None else nanodollars_up(cost.picodollars)
        over_held = trial.reserved is not None and trial.reserved.is_passed_by(nanodollars)
        # Vectors may be put together from several calls: what all of them used stands in the first's row.
        first, *others = trial.sent
        self._ledger.end(self._end(first, trial, record.outcome, record.error, usage, cost, over_held=over_held))
        for sent in others:
            self._ledger.end(self._end(sent, trial, record.outcome, record.error))
        # That is written before this is settled elsewhere: who takes over from a dead worker settles once more what is
        # over, and at a guessed cost what is open.
        self._quota.ended(trial, nanodollars)
        if call.conversation is not None and trial.error is None and not trial.left:
            self._affinities.note(call.conversation, Home(trial.option.name, trial.key))
        self._observer.attempt_ended(record)

    def _used(self, call: Call, trial: Trial, outcome: Outcome) -> Usage | None:
        """Return what is charged: an answer that was cut short is never free, for its question was read."""
        usage = trial.usage
        if usage is None and outcome in _CUT:
            usage = Usage(estimated=True)
        if usage is not None and usage.estimated and not usage.input_tokens:
            usage = call.usage = replace(usage, input_tokens=call.input_tokens)
        return usage

    def _end(
        self,
        sent: str,
        trial: Trial,
        outcome: Outcome,
        error: str,
        usage: Usage | None = None,
        cost: Cost | None = None,
        *,
        over_held: bool = False,
    ) -> CallEnded:
        first = trial.first_token_at
        return CallEnded(
            id=sent,
            at=self._now(),
            outcome=outcome,
            error=error,
            usage=usage,
            cost=0 if cost is None else cost.picodollars,
            price_known=cost is None or cost.known,
            cost_estimated=usage is not None and usage.estimated,
            over_held=over_held,
            seconds=trial.ended - trial.started,
            first_token_seconds=None if first is None else first - trial.started,
            by_kind=None if cost is None else cost.by_kind,
        )

    # Of a request.

    def durable(self, call: Call) -> Awaitable[None]:
        """Return when the beginnings of a request's calls survive the machine.

        Raises:
            JournalError: The disk has failed.
        """
        return self._ledger.durable(call.written)

    def done(self, call: Call) -> None:
        """Tell of a request that is over."""
        record = call.record(self._clock.monotonic())
        if call.principal is not STRANGER:
            # Who is not let in leaves no row: anybody who finds the address could fill the disk.
            self._ledger.request(self._done(call, record))
        self._quota.done(call)
        self._observer.request_ended(record)

    def _done(self, call: Call, record: RequestEnded) -> RequestDone:
        cost, usage = call.cost, call.used
        return RequestDone(
            id=call.answer_id,
            request_id=call.request_id,
            at=self._now() - int(record.seconds * _MICRO),
            door=call.door,
            caller=call.principal.caller,
            asked_model=record.asked_model,
            provider=record.provider,
            model=record.model,
            outcome=record.outcome,
            status=record.status,
            error=record.error,
            attempts=call.attempts,
            fallback=call.fallback,
            strategy=call.strategy,
            affinity=record.affinity,
            stream=call.stream,
            passthrough=call.passthrough,
            usage=usage,
            cost=0 if cost is None else cost.picodollars,
            price_known=cost is None or cost.known,
            cost_estimated=usage is not None and usage.estimated,
            seconds=record.seconds,
            first_token_seconds=record.first_token_seconds,
        )

    def _now(self) -> int:
        return int(self._clock.now() * _MICRO)
