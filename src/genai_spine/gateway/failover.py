"""One request's way from candidate to candidate and from key to key, until one answers.

::

    candidate ──▶ circuit ──▶ key ──▶ call ──▶ answered
        ▲            ▲                 │
        │            └──── wait ◀──────┤ the same provider once more
        └──────────────────────────────┘ the next candidate, or the end

Whole answers and streams go the same way: a stream has answered once a model's first words are there. What came before
them is held back till then, so that an early death can still be made good elsewhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, Generic, Protocol, TypeVar

from genai_spine.clock import Clock
from genai_spine.dialects.allowances import limits_told
from genai_spine.dialects.base import Headers
from genai_spine.errors import (
    BudgetExceededError,
    ContextLengthError,
    MalformedResponseError,
    ProviderTimeoutError,
    SpineError,
    UnavailableError,
)
from genai_spine.gateway.attempt import aclose
from genai_spine.gateway.context import Call
from genai_spine.gateway.guards import Admission, Guard, Guards
from genai_spine.gateway.trial import Trial
from genai_spine.providers.base import CallOptions
from genai_spine.quota.budgets import Reserved
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.keys import KeyLease, KeyTurn
from genai_spine.resilience.retry import Stop
from genai_spine.routing.options import Option
from genai_spine.routing.requirements import has_longer_context

__all__ = ["HOLD_SECONDS", "Accounting", "Failover"]

T = TypeVar("T")

HOLD_SECONDS: Final = 10.0
"""How long a stream's first frames are held back. Then they go out, and with them the chance to ask somebody else.

Signs of life come as often. A stream without any frames gets as long again, till the first of them ends that chance.
"""
EMPTY: Final = "the provider's stream ended without an answer"
OUT_OF_TIME: Final = "the request's own deadline has passed"


class Accounting(Protocol):
    """Who keeps account of calls."""

    def reserve(self, call: Call, trial: Trial) -> Awaitable[Reserved]:
        """Set aside what a call may cost, where its caller has a budget; what this raises keeps it from being made."""
        ...

    def sending(self, call: Call, trial: Trial) -> None:
        """Take note that a call is about to be sent; what this raises keeps it from being sent."""
        ...

    def declined(self, trial: Trial, error: SpineError) -> None:
        """Take note that the call sent last came to nothing, and that another is sent for it; must not raise."""
        ...

    def durable(self, call: Call) -> Awaitable[None]:
        """Return when what was sent for a request survives the machine; what this raises keeps its answer back."""
        ...

    def ended(self, call: Call, trial: Trial) -> None:
        """Take note that a call is over, whatever its end; must not raise."""
        ...


class _Sends:
    """Tells of what is sent for one trial (``providers.base.Sends``)."""

    __slots__ = ("_accounts", "_call", "trial")

    def __init__(self, accounts: Accounting, call: Call) -> None:
        self._accounts = accounts
        self._call = call
        self.trial: Trial

    def sending(self) -> None:
        self._accounts.sending(self._call, self.trial)

    def declined(self, error: SpineError) -> None:
        self._accounts.declined(self.trial, error)


class _Begun(Generic[T]):
    """A stream, and what of it was held back; ``task`` waits for its first words where they took too long."""

    __slots__ = ("held", "stream", "task")

    def __init__(self, stream: AsyncGenerator[T, None]) -> None:
        self.stream = stream
        self.held: list[T] = []
        self.task: asyncio.Task[None] | None = None


class _Visit:
    """A request's calls to one provider, over all of its candidates there.

    Attributes:
        turn: Its way through the provider's keys; None where it needs none.
        made: How many calls were made.
        failure: How the last of them failed.
    """

    __slots__ = ("failure", "guard", "made", "turn")

    def __init__(self, guard: Guard, turn: KeyTurn | None) -> None:
        self.guard = guard
        self.turn = turn
        self.made = 0
        self.failure: SpineError | None = None


class Failover:
    """Makes calls until one succeeds, as often as the policies allow."""

    def __init__(
        self,
        guards: Guards,
        clock: Clock,
        accounts: Accounting,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare to make calls.

        Args:
            guards: How providers do.
            clock: Whose time counts.
            accounts: Told of each call.
            jitter: Returns a number from 0 up to 1, by which waits differ.
        """
        self._guards = guards
        self._clock = clock
        self._accounts = accounts
        self._jitter = jitter

    async def whole(self, call: Call, options: Sequence[Option], ask: Callable[[Trial], Awaitable[T]]) -> T:
        """Return the first answer that ``ask`` gets, once it is on disk that the calls for it were made.

        Raises:
            SpineError: There is none; of several failures, the one that tells the caller most.
        """
        answer, trial = await self._first(call, options, ask)
        trial.succeeded(call)
        try:
            await self._accounts.durable(call)
        finally:
            # It is told of with its request, in one turn of the loop, where nothing comes between them.
            self._accounts.ended(call, trial)
        return answer

    async def stream(
        self,
        call: Call,
        options: Sequence[Option],
        begin: Callable[[Trial], AsyncGenerator[T, None]],
        alive: T | None = None,
    ) -> AsyncGenerator[T, None]:
        """Yield the first stream that comes to a model's words.

        Args:
            call: The request.
            options: Where it may go, best first.
            begin: Begins a stream; it notes in ``call`` when the first words are there.
            alive: Yielded from time to time once the first frames were let out and the words still do not come.

        Raises:
            SpineError: There is none, or it broke off.
        """
        begun, trial = await self._first(
            call, options, lambda trial: _until_words(call, begin(trial), signs=alive is not None)
        )
        try:
            if begun.task is not None:
                async with aclosing(_late(begun, begun.task, alive)) as late:
                    async for piece in late:
                        yield piece
            for piece in begun.held:
                yield piece
            trial.answering()
            async for piece in begun.stream:
                yield piece
            self._over(call, trial, well=True)
        except SpineError as error:
            trial.provider.own(error)
            self._over(call, trial, error)
            raise
        finally:
            # What was used is known once the stream has ended; a caller who left says nothing of the provider.
            await aclose(begun.stream)
            self._over(call, trial)

    async def _first(
        self, call: Call, options: Sequence[Option], ask: Callable[[Trial], Awaitable[T]]
    ) -> tuple[T, Trial]:
        deadline = Deadline(self._clock, call.left(self._clock.monotonic()))
        failure: SpineError | None = None
        too_long: Option | None = None
        only_free = False
        visits: dict[str, _Visit] = {}
        for place, option in enumerate(options):
            if too_long is not None and not has_longer_context(option, too_long):
                continue
            if only_free and not option.traits.free:
                continue
            visit = self._visit(call, option.candidate.provider, visits, deadline)
            if visit.failure is not None and visit.made >= self._guards.policies.retry.most(visit.failure):
                continue
            try:
                return await self._at(call, visit, options[place:], deadline, ask, moved=place > 0)
            except ContextLengthError as error:
                too_long, failure = option, error
            except BudgetExceededError as error:
                failure = error
                if not error.may_be_free:
                    break
                only_free = True
            except SpineError as error:
                error.provider = error.provider or option.candidate.provider
                failure = _more_telling(failure, error)
                if not error.retry.other_provider:
                    break
            if deadline.expired:
                break
        raise failure or MalformedResponseError(EMPTY)

    def _visit(self, call: Call, provider: str, visits: dict[str, _Visit], deadline: Deadline) -> _Visit:
        visit = visits.get(provider)
        if visit is None:
            guard = self._guards.of(call.registry.get(provider))
            turn = guard.keys.turn(call.preferred_key, deadline=deadline) if guard.keys is not None else None
            visit = visits[provider] = _Visit(guard, turn)
        elif visit.turn is not None:
            visit.turn.without.clear()  # what a key may not do with one model it may with another
        return visit

    async def _at(
        self,
        call: Call,
        visit: _Visit,
        options: Sequence[Option],
        deadline: Deadline,
        ask: Callable[[Trial], Awaitable[T]],
        *,
        moved: bool,
    ) -> tuple[T, Trial]:
        """Try the first of the candidates that are left, as often as makes sense; raises why it gave no answer."""
        option, *others = options
        guard, turn = visit.guard, visit.turn
        failure: SpineError | None = None
        while True:
            try:
                if deadline.expired:
                    raise ProviderTimeoutError(OUT_OF_TIME)
                admission = guard.admit(option.candidate.model, turn, deadline)
                if self._guards.is_shared and admission.asks and not await self._guards.is_alone(admission):
                    continue
            except UnavailableError as unavailable:
                # Its last failure may be what closed the way: that tells more.
                raise failure or unavailable from None
            trial = self._begin(call, option, guard, admission, deadline, again=visit.made > 0)
            call.fallback = moved or not option.same_model
            if not visit.made:
                guard.budget.called()
            visit.made += 1
            try:
                if call.principal.budgeted:
                    trial.reserved = reserved = await self._accounts.reserve(call, trial)
                    if reserved.warnings:
                        call.warn(reserved.warnings)
                return await ask(trial), trial
            except SpineError as error:
                trial.provider.own(error)
                failure = visit.failure = error
                self._over(call, trial, error)
            except BaseException:  # the caller left, or a fault of ours: it says nothing of the provider
                self._over(call, trial)
                raise
            decision = self._guards.policies.retry.decide(
                failure,
                visit.made,
                # Its provider's other models get their chance too, as far as the provider's calls go.
                kept=sum(one.candidate.provider == option.candidate.provider for one in others),
                deadline=deadline,
                budget=guard.budget,
                random=self._jitter,
                ready_in=_ready_in(turn, failure),
                elsewhere=bool(others),
            )
            if isinstance(decision, Stop):
                raise failure
            if decision.seconds > 0:
                await asyncio.sleep(decision.seconds)
                if deadline.expired:
                    # It tells more than that the time is up.
                    raise failure

    def _begin(
        self, call: Call, option: Option, guard: Guard, admission: Admission, deadline: Deadline, *, again: bool
    ) -> Trial:
        """Return a call that was allowed, with what it needs."""
        candidate, lease = option.candidate, admission.lease
        call.begin_attempt(candidate)
        provider = call.registry.get(candidate.provider)
        if provider.default_warning and candidate.model == provider.default_model != call.asked_model:
            call.warn((provider.default_warning,))
        seconds = None if deadline.endless else max(0.001, deadline.left())
        # What is left of a key counts only where there is another to take instead.
        heard = self._heard(lease) if lease is not None and len(guard.given) > 1 else None
        sends = _Sends(self._accounts, call)
        trial = sends.trial = Trial(
            again=again,
            option=option,
            provider=provider,
            guard=guard,
            admission=admission,
            measured=self._guards.measurements.measure(option.name),
            options=CallOptions(key=None if lease is None else lease.secret, seconds=seconds, heard=heard, sends=sends),
            deadline=deadline,
            clock=self._clock,
        )
        return trial

    def _heard(self, lease: KeyLease) -> Callable[[Headers], None]:
        def heard(headers: Headers) -> None:
            for allowance in limits_told(headers, self._clock.now()):
                lease.told(allowance.meter, allowance.left, allowance.resets_in)

        return heard

    def _over(self, call: Call, trial: Trial, error: SpineError | None = None, *, well: bool = False) -> None:
        """Settle a call and tell of it."""
        if trial.over:
            return
        if well:
            trial.succeeded(call)
        elif error is not None:
            trial.failed(call, error)
        else:
            trial.abandoned(call)
        self._accounts.ended(call, trial)


def _ready_in(turn: KeyTurn | None, failure: SpineError) -> float | None:
    """Return the seconds until a further call can be made; None where it takes another key and there is none."""
    if turn is not None:
        return turn.ready_in()
    return 0.0 if failure.retry.same_key else None


def _more_telling(former: SpineError | None, latter: SpineError) -> SpineError:
    """Return which of two failures to tell: one of a provider that was asked before one of nobody asked."""
    asked_nobody = isinstance(latter, UnavailableError)
    return latter if former is None or not asked_nobody or isinstance(former, UnavailableError) else former


async def _until_words(call: Call, stream: AsyncGenerator[T, None], *, signs: bool) -> _Begun[T]:
    """Wait for a stream's first words, for some time; raises why there will be none.

    Where nothing could be let out, neither frames nor ``signs`` of life, nothing is lost by waiting on.
    """
    begun = _Begun(stream)

    async def words() -> None:
        async for piece in stream:
            begun.held.append(piece)
            if call.first_token_at is not None:
                return
        if not begun.held:
            raise MalformedResponseError(EMPTY)

    task = asyncio.ensure_future(words())
    try:
        await asyncio.wait({task}, timeout=HOLD_SECONDS)
        signs_due = False
        while not (task.done() or begun.held or signs_due):
            await asyncio.wait({task}, timeout=HOLD_SECONDS)
            signs_due = signs
        if task.done():
            task.result()
        else:
            begun.task = task
    except BaseException:  # whatever it was: the stream must end before anybody else is asked
        await _ended(task)
        await aclose(stream)
        raise
    return begun


async def _late(begun: _Begun[T], task: asyncio.Task[None], alive: T | None) -> AsyncGenerator[T, None]:
    """Yield what was held back, and signs of life, until the first words are there."""
    try:
        if not begun.held and not task.done() and alive is not None:
            yield alive
        while True:
            while begun.held:
                yield begun.held.pop(0)
            if task.done():
                task.result()
                return
            await asyncio.wait({task}, timeout=HOLD_SECONDS)
            if not task.done() and alive is not None:
                yield alive
    finally:
        await _ended(task)


async def _ended(task: asyncio.Task[None]) -> None:
    """Make sure that nothing goes on in a task, and that nobody misses how it failed: its caller is gone."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
