"""A request, from its arrival to its record, on one page.

    plan ──▶ attempt ──▶ account

``answer``, ``stream`` and ``answer_embedding`` take a body in a caller's dialect and give bytes in the same;
``complete``, ``events`` and ``embed`` take and give the project's own vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Final, TypeVar

import msgspec

from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect
from genai_spine.errors import MalformedResponseError, ProviderNotConfiguredError, SpineError
from genai_spine.gateway.answers import KeptAnswers
from genai_spine.gateway.asking import asked, asked_in, asked_of_texts, asked_of_texts_in
from genai_spine.gateway.attempt import Attempt, Question
from genai_spine.gateway.context import Call
from genai_spine.gateway.counting import count_tokens
from genai_spine.gateway.embedding import EmbeddingQuestion, answer_embedding, embed
from genai_spine.gateway.guards import Guards
from genai_spine.gateway.media import MediaFetching
from genai_spine.gateway.planning import Planner
from genai_spine.gateway.seals import Seals
from genai_spine.providers.base import Provider
from genai_spine.providers.registry import Registry
from genai_spine.routing.router import Ask, Plan
from genai_spine.shared_state.base import SharedState
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.logging import logger
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.routing import NO_WISHES, Wishes
from genai_spine.types.stream import Event

__all__ = ["Gateway"]

R = TypeVar("R", CompletionResponse, EmbeddingResponse)

EMPTY: Final = "the provider's stream ended without an answer"


class Gateway:
    """Serves requests."""

    def __init__(
        self,
        registry: Registry,
        planner: Planner,
        clock: Clock,
        observers: Sequence[Observer],
        state: SharedState,
        dialects: Mapping[str, Dialect],
        guards: Guards,
        media: MediaFetching | None = None,
    ) -> None:
        self.registry = registry
        self.planner = planner
        self.clock = clock
        self.guards = guards
        self.answers = KeptAnswers(state)
        self._seals = Seals(state, dialects)
        self._attempt = Attempt(clock, self._seals, media)
        self._observers = observers

    def refused(self, call: Call, error: SpineError) -> None:
        """Record a request that was refused before it could be planned."""
        call.error = error
        self._account(call)

    async def answer(self, call: Call, question: Question) -> bytes:
        """Return the whole answer in the caller's dialect.

        Raises:
            SpineError: There is none.
        """
        with self._recorded(call):
            provider = self._first(self._plan(call, asked_in(question)))
            question = await self.answers.resume(call.principal, question)
            body = await self._attempt.answer(call, question, provider)
            await self.answers.keep(call, question, body)
            return body

    async def stream(self, call: Call, question: Question) -> AsyncGenerator[bytes, None]:
        """Yield the answer in the caller's dialect. A failure after the first bytes is told in them, and ends them.

        Raises:
            SpineError: There is none; nothing has been yielded.
        """
        try:
            with self._recorded(call):
                provider = self._first(self._plan(call, asked_in(question)))
                question = await self.answers.resume(call.principal, question)
                async with aclosing(self._attempt.stream(call, question, provider)) as stream:
                    async for data in stream:
                        # Before its end is told: the caller may go on from it at once.
                        await self.answers.keep(call, question, data)
                        call.begun = True
                        yield data
                if not call.begun:
                    raise MalformedResponseError(EMPTY)
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
            chosen = self._first(self._plan(call, asked(request, wishes)))
            response = await self._attempt.complete(call, self._addressed(call, request), chosen)
        return _served(call, response, chosen)

    async def events(
        self, call: Call, request: CompletionRequest, wishes: Wishes = NO_WISHES
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of an answer.

        Raises:
            SpineError: There is none, or it broke off.
        """
        with self._recorded(call):
            chosen = self._first(self._plan(call, asked(request, wishes, stream=True)))
            async with aclosing(self._attempt.events(call, self._addressed(call, request), chosen)) as stream:
                async for event in stream:
                    call.begun = True
                    yield event

    async def count_tokens(self, call: Call, question: Question) -> int:
        """Return how many tokens a request has; a guess where the provider cannot tell.

        Raises:
            SpineError: The provider failed, or the request is wrong.
        """
        with self._recorded(call):
            provider = self._first(self._plan(call, asked_in(question)))
            question = await self.answers.resume(call.principal, question)
            return await count_tokens(call, question, provider, self._seals, self._attempt)

    async def answer_embedding(self, call: Call, question: EmbeddingQuestion) -> bytes:
        """Return embeddings in the caller's dialect.

        Raises:
            SpineError: There are none.
        """
        with self._recorded(call):
            provider = self._first(self._plan(call, asked_of_texts_in(question)))
            return await answer_embedding(call, question, provider, self._attempt)

    async def embed(self, call: Call, request: EmbeddingRequest, wishes: Wishes = NO_WISHES) -> EmbeddingResponse:
        """Return embeddings, with their cost.

        Raises:
            SpineError: There are none.
        """
        with self._recorded(call):
            chosen = self._first(self._plan(call, asked_of_texts(request, wishes)))
            response = await embed(call, request, chosen, self._attempt)
        return _served(call, response, chosen)

    # The steps.

    def _plan(self, call: Call, ask: Ask) -> Plan:
        plan = self.planner.plan(ask)
        candidate = call.candidate = plan.options[0].candidate
        chosen = self._first(plan)
        if chosen.status == "not_configured":
            message = f"{chosen.name} is not configured: {chosen.hint}"
            raise ProviderNotConfiguredError(message, provider=chosen.name)
        if chosen.default_warning and candidate.model == chosen.default_model and ask.model != candidate.model:
            call.warn((chosen.default_warning,))
        return plan

    def _first(self, plan: Plan) -> Provider:
        return self.registry.get(plan.options[0].candidate.provider)

    def _addressed(self, call: Call, request: CompletionRequest) -> CompletionRequest:
        """The request for the model chosen; its temperature is the project's own only where the project makes it."""
        model = call.candidate.model if call.candidate else request.model
        temperature = request.temperature
        if temperature is None and call.temperature is not None and self.planner.facts(model or "").sampling:
            temperature = call.temperature
        return msgspec.structs.replace(request, model=model, temperature=temperature)

    @contextmanager
    def _recorded(self, call: Call) -> Iterator[None]:
        """Note how what is done within ends, and record it whatever its end. A fault of ours becomes our error."""
        try:
            yield
        except SpineError as error:
            self._failed(call, error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            call.gone = True
            raise
        except Exception as error:  # whatever failed, it must be told and recorded as a failure
            logger.exception("internal error", request_id=call.request_id)
            call.error = SpineError("the gateway failed; its log tells more under this request id")
            raise call.error from error
        finally:
            self._account(call)

    def _failed(self, call: Call, error: SpineError) -> None:
        call.error = error
        if call.attempts and call.candidate is not None:
            self.registry.get(call.candidate.provider).own(error)

    def _account(self, call: Call) -> None:
        """Price what was used, and tell the observers. Nothing is awaited: the caller may be gone."""
        if call.usage is not None and call.candidate is not None:
            provider = self.registry.get(call.candidate.provider)
            call.charge(provider.cost_of(call.candidate.model, call.usage))
        record = call.record(self.clock.monotonic())
        for observer in self._observers:
            try:
                observer.request_ended(record)
            except Exception:  # noqa: BLE001  # an observer's fault must cost nobody an answer
                logger.exception("an observer failed", observer=type(observer).__name__)


def _served(call: Call, response: R, provider: Provider) -> R:
    """Add to an answer what is known once it has been accounted for."""
    return msgspec.structs.replace(
        response,
        provider=provider.name,
        cost_usd=call.cost.usd if call.cost else None,
        price_known=call.cost.known if call.cost else False,
        attempts=call.attempts,
        warnings=tuple(call.warnings),
    )
