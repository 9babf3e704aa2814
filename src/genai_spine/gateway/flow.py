"""A request, from its arrival to its record, on one page.

    plan ──▶ attempt ──▶ account

``answer``, ``stream`` and ``answer_embedding`` take a body in a caller's dialect and give bytes in the same;
``complete``, ``events`` and ``embed`` take and give the project's own vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Final, TypeVar

import msgspec

from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect
from genai_spine.errors import SpineError
from genai_spine.gateway.accounting import Accounts
from genai_spine.gateway.affinity import Affinities, at_home
from genai_spine.gateway.answers import KeptAnswers
from genai_spine.gateway.asking import asked, asked_in, asked_of_texts, asked_of_texts_in
from genai_spine.gateway.attempt import Attempt, Question
from genai_spine.gateway.context import Call
from genai_spine.gateway.counting import count_tokens
from genai_spine.gateway.embedding import EmbeddingQuestion, answer_embedding, embed
from genai_spine.gateway.failover import Failover
from genai_spine.gateway.guards import Guards
from genai_spine.gateway.media import MediaFetching
from genai_spine.gateway.planning import Planner
from genai_spine.gateway.quota import Quota
from genai_spine.gateway.seals import Seals
from genai_spine.gateway.setup import Setup
from genai_spine.ledger.ledger import Ledger
from genai_spine.routing.options import Option
from genai_spine.routing.router import Ask
from genai_spine.shared_state.base import SharedState
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.logging import logger
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.routing import NO_WISHES, Wishes
from genai_spine.types.stream import Event

__all__ = ["Gateway"]

R = TypeVar("R", CompletionResponse, EmbeddingResponse)

ALIVE: Final = b": keep-alive\n\n"
"""A comment line of an event stream, which clients' parsers skip."""


class Gateway:
    """Serves requests.

    Attributes:
        setup: By what; another takes its place between two requests.
    """

    def __init__(
        self,
        setup: Setup,
        clock: Clock,
        observer: Observer,
        state: SharedState,
        dialects: Mapping[str, Dialect],
        guards: Guards,
        ledger: Ledger,
        quota: Quota,
        media: MediaFetching | None = None,
    ) -> None:
        self.setup = setup
        self.clock = clock
        self.guards = guards
        self.answers = KeptAnswers(state)
        self._seals = Seals(state, dialects)
        self._attempt = Attempt(clock, self._seals, media)
        self._affinities = Affinities(clock)
        self._quota = quota
        self._accounts = Accounts(ledger, quota, self._affinities, clock, observer)
        self._failover = Failover(self.guards, clock, self._accounts)

    @property
    def planner(self) -> Planner:
        """Where requests go now."""
        return self.setup.planner

    def refused(self, call: Call, error: SpineError) -> None:
        """Record a request that was refused before it could be planned."""
        call.error = error
        self._accounts.done(call)

    async def answer(self, call: Call, question: Question) -> bytes:
        """Return the whole answer in the caller's dialect.

        Raises:
            SpineError: There is none.
        """
        with self._recorded(call):
            options = self._routed(call, question)
            question = await self._admitted(call, await self.answers.resume(call.principal, question))
            body = await self._failover.whole(
                call, options, lambda trial: self._attempt.answer(call, question, trial.provider, trial.options)
            )
            await self.answers.keep(call, question, body)
            return body

    async def stream(self, call: Call, question: Question) -> AsyncGenerator[bytes, None]:
        """Yield the answer in the caller's dialect. A failure after the first bytes is told in them, and ends them.

        Raises:
            SpineError: There is none; nothing has been yielded.
        """
        try:
            with self._recorded(call):
                options = self._routed(call, question)
                question = await self._admitted(call, await self.answers.resume(call.principal, question))
                pieces = self._failover.stream(
                    call,
                    options,
                    lambda trial: self._attempt.stream(call, question, trial.provider, trial.options),
                    ALIVE if question.door.stream_comments else None,
                )
                async with aclosing(pieces) as stream:
                    async for data in stream:
                        # Before its end is told: the caller may go on from it at once.
                        await self.answers.keep(call, question, data)
                        if not call.begun:
                            await self._accounts.durable(call)
                            call.begun = True
                        yield data
        except SpineError as error:
            if not call.begun:
                raise
            yield question.door.encode_stream_error(error, call.request_id)

    async def complete(self, call: Call, request: CompletionRequest, wishes: Wishes = NO_WISHES) -> CompletionResponse:
        """Return the answer, with its cost.

        Raises:
            SpineError: There is none.
        """
        with self._recorded(call):
            options = self._plan(call, asked(request, wishes))
            request = await self._admitted_request(call, request)
            response = await self._failover.whole(
                call,
                options,
                lambda trial: self._attempt.complete(
                    call, self._addressed(call, request), trial.provider, trial.options
                ),
            )
        return _served(call, response)

    async def events(
        self, call: Call, request: CompletionRequest, wishes: Wishes = NO_WISHES
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of an answer.

        Raises:
            SpineError: There is none, or it broke off.
        """
        with self._recorded(call):
            options = self._plan(call, asked(request, wishes, stream=True))
            request = await self._admitted_request(call, request)
            events = self._failover.stream(
                call,
                options,
                lambda trial: self._attempt.events(call, self._addressed(call, request), trial.provider, trial.options),
            )
            async with aclosing(events) as stream:
                async for event in stream:
                    if not call.begun:
                        await self._accounts.durable(call)
                        call.begun = True
                    yield event

    async def count_tokens(self, call: Call, question: Question) -> int:
        """Return how many tokens a request has; a guess where the provider cannot tell.

        Raises:
            SpineError: The provider failed, or the request is wrong.
        """
        with self._recorded(call):
            options = self._plan(call, asked_in(question))
            question = await self._admitted(call, await self.answers.resume(call.principal, question), counting=True)
            return await self._failover.whole(
                call,
                options,
                lambda trial: count_tokens(call, question, trial.provider, trial.options, self._seals, self._attempt),
            )

    async def answer_embedding(self, call: Call, question: EmbeddingQuestion) -> bytes:
        """Return embeddings in the caller's dialect.

        Raises:
            SpineError: There are none.
        """
        with self._recorded(call):
            options = self._plan(call, asked_of_texts_in(question))
            if call.principal.limits:
                call.admission = await self._quota.admit(call)
            return await self._failover.whole(
                call,
                options,
                lambda trial: answer_embedding(call, question, trial.provider, trial.options, self._attempt),
            )

    async def embed(self, call: Call, request: EmbeddingRequest, wishes: Wishes = NO_WISHES) -> EmbeddingResponse:
        """Return embeddings, with their cost.

        Raises:
            SpineError: There are none.
        """
        with self._recorded(call):
            options = self._plan(call, asked_of_texts(request, wishes))
            if call.principal.limits:
                call.admission = await self._quota.admit(call)
            response = await self._failover.whole(
                call, options, lambda trial: embed(call, request, trial.provider, trial.options, self._attempt)
            )
        return _served(call, response)

    # The steps.

    def _routed(self, call: Call, question: Question) -> Sequence[Option]:
        """Return where a question may go, best first: a conversation goes on where its beginning may be cached."""
        envelope = question.envelope
        options = self._plan(call, asked_in(question))
        if len(options) == 1 and len(call.registry.get(options[0].candidate.provider).keys) < 2:
            return options
        call.conversation, home = self._affinities.find(call.principal, envelope)
        if home is None:
            return options
        call.home, call.preferred_key = home.name, home.key
        wishes = envelope.wishes
        chosen = wishes.strategy is not None or wishes.hint is not None or wishes.preferred
        return options if chosen else at_home(options, home)

    def _plan(self, call: Call, ask: Ask) -> Sequence[Option]:
        """Return where the request may go, best first; a provider that was named may turn out not to be usable."""
        if call.principal.allowance is not None:
            ask = msgspec.structs.replace(ask, allowance=call.principal.allowance)
        call.asked_model = ask.model
        call.input_tokens, call.max_tokens = ask.tokens, ask.needs.max_tokens
        call.weigh = None if ask.light else ask.weigh
        setup = self.setup
        plan = setup.planner.plan(ask)
        call.registry, call.strategy, options = setup.registry, plan.strategy, plan.options
        call.candidate = first = options[0].candidate
        obstacle = setup.registry.obstacle(first.provider, first.model)
        if obstacle is not None:
            raise obstacle
        return options

    async def _admitted(self, call: Call, question: Question, *, counting: bool = False) -> Question:
        """Count a request, and return it with a limit of its answer where its caller's budget needs one.

        Raises:
            RateLimitExceededError: He asks too often, or for too much.
            SharedStateUnavailableError: Nobody can tell now.
        """
        call.body_bytes = len(question.body)
        if call.principal.limits:
            call.admission = await self._quota.admit(call)
        if counting or not self._lacks_limit(call):
            return question
        call.max_tokens = self._quota.output_tokens
        return question.limited(call.max_tokens)

    async def _admitted_request(self, call: Call, request: CompletionRequest) -> CompletionRequest:
        """Do the same for a request of the project's own vocabulary."""
        if call.principal.limits:
            call.admission = await self._quota.admit(call)
        if not self._lacks_limit(call):
            return request
        call.max_tokens = self._quota.output_tokens
        return msgspec.structs.replace(request, max_tokens=call.max_tokens)

    def _lacks_limit(self, call: Call) -> bool:
        """Whether the answer needs a limit, so that it is known what it may cost, and has none."""
        return call.principal.budgeted and call.max_tokens is None

    def _addressed(self, call: Call, request: CompletionRequest) -> CompletionRequest:
        """The request for the model chosen, with defaults of the project's own only where the project makes it."""
        model = call.candidate.model if call.candidate else request.model
        temperature, max_tokens = request.temperature, request.max_tokens
        if call.temperature is not None and call.candidate is not None:
            provider = call.registry.get(call.candidate.provider)
            if max_tokens is None:
                max_tokens = provider.max_tokens
            if temperature is None and self.planner.facts(model or "").sampling:
                own = provider.temperature_default
                temperature = call.temperature if own is None else own
        return msgspec.structs.replace(request, model=model, temperature=temperature, max_tokens=max_tokens)

    def _recorded(self, call: Call) -> _Recorded:
        """Return a context in which a request is served, and after which it is recorded."""
        return _Recorded(self._accounts, call)


class _Recorded:
    """Notes how what is done within ends, and records it whatever its end. A fault of ours becomes our error."""

    __slots__ = ("_accounts", "_call")

    def __init__(self, accounts: Accounts, call: Call) -> None:
        self._accounts = accounts
        self._call = call

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._note(error)
        finally:
            self._accounts.done(self._call)

    def _note(self, error: BaseException) -> None:
        """Note why there is no answer; raises what is to be told in the place of ``error``."""
        call = self._call
        match error:
            case SpineError():
                call.error = error
            case GeneratorExit():
                call.error, call.gone = call.cut, call.cut is None
            case asyncio.CancelledError():
                if call.cut is None or (task := asyncio.current_task()) is None:
                    call.gone = True
                    return
                # Not the caller has gone, but the gateway goes: he may still be told.
                task.uncancel()
                call.error = call.cut
                raise call.error from None
            case Exception():
                logger.exception("internal error", request_id=call.request_id)
                call.error = SpineError("the gateway failed; its log tells more under this request id")
                raise call.error from error


def _served(call: Call, response: R) -> R:
    """Add to an answer what is known once it has been accounted for."""
    return msgspec.structs.replace(
        response,
        provider=call.candidate.provider if call.candidate else "",
        cost_usd=call.cost.usd if call.cost else None,
        price_known=call.cost.known if call.cost else False,
        attempts=call.attempts,
        warnings=tuple(call.warnings),
    )
