"""What a caller with limits may still use: counted when a request comes in, set aside before each call, and settled.

A caller without limits costs one look at an empty tuple.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from genai_spine.catalog.estimate import upper_estimate
from genai_spine.gateway.context import Call
from genai_spine.gateway.trial import Trial
from genai_spine.money import nanodollars_up
from genai_spine.quota.budgets import Budgets, Reserved
from genai_spine.quota.rate_limits import Admission, RateLimits
from genai_spine.routing.options import ASSUMED_OUTPUT
from genai_spine.settings import FileSettings
from genai_spine.shared_state.base import DONE

__all__ = ["Quota"]

_hold: Final = msgspec.msgpack.Encoder()


class Quota:
    """Looks after the limits of callers.

    Attributes:
        output_tokens: The limit that is set to answers of a caller with a budget, where his request sets none.
    """

    def __init__(self, rates: RateLimits, budgets: Budgets, new_id: Callable[[], str], *, output_tokens: int) -> None:
        """Look after limits.

        Args:
            rates: Counts requests and tokens.
            budgets: Counts money.
            new_id: Returns an id that no other call or request has.
            output_tokens: See above.
        """
        self.output_tokens = output_tokens
        self._rates = rates
        self._budgets = budgets
        self._new_id = new_id
        self._settling: set[asyncio.Future[object]] = set()

    def follow(self, values: FileSettings) -> None:
        """Go by other settings from now on."""
        self.output_tokens = values.budget_output_tokens
        self._budgets.on_state_lost = self._rates.on_state_lost = values.on_state_lost

    # Of a request.

    def admit(self, call: Call) -> Awaitable[Admission]:
        """Count a request, under an id of its own; what is returned is the call's ``admission``.

        Raises:
            RateLimitExceededError: Its caller asks too often, or for too much.
            SharedStateUnavailableError: Nobody can tell now.
        """
        most = ASSUMED_OUTPUT if call.max_tokens is None else call.max_tokens
        return self._rates.admit(call.principal, self._new_id(), call.weighed + most)

    def done(self, call: Call) -> None:
        """Count what a request did use; one for which nobody was asked counts no tokens."""
        if call.admission is not None:
            tokens = call.used.total_tokens if call.used is not None else 0
            self._later(self._rates.settle(call.admission, tokens))

    # Of a call to a provider.

    def reserve(self, call: Call, trial: Trial) -> Awaitable[Reserved]:
        """Set aside what a call may cost; what is returned is the trial's ``reserved``.

        Raises:
            BudgetExceededError: A budget does not cover it.
            SharedStateUnavailableError: Nobody can tell now.
        """
        candidate = call.candidate or trial.option.candidate
        # The quick guess of a short text is rather too high by itself.
        tokens = call.input_tokens if call.weigh is None else upper_estimate(call.weighed, call.body_bytes)
        cost = trial.provider.picodollars_of(candidate.model, tokens, call.max_tokens or 0)
        return self._budgets.reserve(call.principal, trial.id, nanodollars_up(cost))

    def held(self, trial: Trial) -> bytes:
        """Return what was set aside for a call, to be written down with its beginning; nothing that dies with us."""
        reserved = trial.reserved
        if reserved is None or reserved.hold is None or not self._budgets.outlive:
            return b""
        return _hold.encode(reserved.hold)

    def ended(self, trial: Trial, nanodollars: int) -> None:
        """Count what a call did cost in the place of what was set aside, if anything was."""
        reserved, trial.reserved = trial.reserved, None
        if reserved is not None:
            self._later(self._budgets.commit(reserved.hold, nanodollars))

    async def settled(self) -> None:
        """Return when all that is being settled is."""
        while self._settling:
            await asyncio.wait(self._settling)

    def _later(self, work: Awaitable[object]) -> None:
        """Have it done, if it is not, without awaiting it: the caller may be gone."""
        if work is DONE:
            return
        task = asyncio.ensure_future(work)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
