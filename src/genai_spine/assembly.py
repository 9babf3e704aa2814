"""From settings to objects, and the one object that holds them: ``Spine``, the engine without a server."""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from typing_extensions import Unpack

from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Cost, Prices
from genai_spine.catalog.refresh import open_book
from genai_spine.clock import Clock, SystemClock
from genai_spine.configuration.live import Configuration, PutInPlace
from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import InvalidFieldError, InvalidRequestError, SharedStateUnavailableError, SpineError
from genai_spine.gateway.bookkeeping import Bookkeeping
from genai_spine.gateway.context import Call
from genai_spine.gateway.fetching import Fetcher, Hosts
from genai_spine.gateway.flow import Gateway
from genai_spine.gateway.guards import Guards, KeyNews
from genai_spine.gateway.media import Bounds, MediaFetching
from genai_spine.gateway.setup import Parts, Setup, policies_from, set_up
from genai_spine.identity.office import Office
from genai_spine.identity.owner import Owner
from genai_spine.identity.standings import Standings
from genai_spine.ledger.ledger import Ledger
from genai_spine.money import picodollars_from
from genai_spine.providers.base import Provider
from genai_spine.providers.probing import LocalProbe
from genai_spine.providers.registry import Registry
from genai_spine.quota.operator import budgets_in
from genai_spine.redact import scrub
from genai_spine.resilience.breaker import CircuitChange
from genai_spine.routing.base import Strategy
from genai_spine.routing.registry import load_strategies
from genai_spine.routing.router import Ask
from genai_spine.settings import FileSettings, Settings
from genai_spine.storage.sql.identities import TOPIC as IDENTITY
from genai_spine.storage.sql.versions import Watcher
from genai_spine.telemetry.audit import AuditObserver
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import CircuitChanged, KeyFailed
from genai_spine.telemetry.logging import logger
from genai_spine.telemetry.observers import Observers
from genai_spine.telemetry.prometheus import PrometheusObserver
from genai_spine.transport.base import Transport
from genai_spine.transport.http import HttpTransport
from genai_spine.transport.names import Resolver, SystemResolver
from genai_spine.types.asking import Asking
from genai_spine.types.candidate import Candidate
from genai_spine.types.completion import CompletionRequest, CompletionResponse, OutputSchema
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text
from genai_spine.types.principal import Allowance
from genai_spine.types.routing import Wishes
from genai_spine.types.stream import Event, TextDelta
from genai_spine.types.tools import Tool
from genai_spine.types.usage import Usage

__all__ = ["DIALECTS", "Spine"]

DIALECTS: Final[Mapping[str, Dialect]] = {
    dialect.name: dialect
    for dialect in (OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Gemini(), Ollama(), BedrockConverse())
}
"""The dialects that a provider may speak, by name."""

DEFAULT_TEMPERATURE: Final = 0.7


class Spine:
    """The gateway's engine, for use inside a program.

    ::

        async with Spine.from_env() as spine:
            answer = await spine.complete("Say hello.", model="openai/gpt-4o-mini")
            print(answer.content, answer.cost_usd)

    Attributes:
        strategies: In which orders it may ask them.
        guards: How they do.
        sharing: What tells other workers of that; None where there are none.
        ledger: What is written of each call and request, once the engine has started.
        books: What keeps account: the database, limits, usage, the audit.
        office: Where users, API keys and budgets are made and changed.
        standings: How budgets stand.
        owner: The program itself, as a caller.
        gateway: What serves the requests.
        metrics: What it counts.
        configuration: What is in effect of the settings, and how they are changed.
        watcher: Looks at what others change in the database.
        open: It has been started and not closed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport | None = None,
        clock: Clock | None = None,
        observers: Sequence[Observer] = (),
        resolver: Resolver | None = None,
        metrics: PrometheusObserver | None = None,
    ) -> None:
        """Build the engine. Nothing is opened before ``start``.

        Args:
            settings: The settings, read.
            transport: What carries requests; by default HTTP.
            clock: The source of time.
            observers: Who is told of what happens, beside the metrics.
            resolver: What looks up the hosts of media that callers name; by default the operating system.
            metrics: What counts; by default for this engine alone.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        self.clock = clock or SystemClock()
        self._transport = transport or HttpTransport()
        self._resolver = resolver or SystemResolver()
        self.metrics = metrics or PrometheusObserver()
        self.strategies = load_strategies()
        self.ledger = Ledger()
        observed = Observers([self.metrics, AuditObserver(self.ledger.audit, self.clock), *observers])
        self.guards = _guards(settings, self.clock, observed)
        book, self._aside = open_book(settings.data_dir)
        self._own: dict[str, Provider] = {}
        self._parts = Parts(
            transport=self._transport,
            dialects=DIALECTS,
            book=book,
            strategies=self.strategies,
            snapshot=self.guards,
            clock=self.clock,
            own=self._own,
        )
        setup = set_up(settings, self._parts)
        values = settings.values
        self.books = Bookkeeping(settings, self.ledger, self._price, self.clock, observed)
        self.gateway = self._gateway(setup, observed)
        state = self.books.state
        self.sharing = None if state.meters is not None else self.guards.share(state, self._provider)
        self._probe = LocalProbe(setup.registry) if values.probe_local else None
        self.watcher = Watcher(self.books.database, self.books.state)
        self.configuration = Configuration(
            settings, self.books.database, self.watcher, self._make, clock=self.clock, audit=self.ledger.audit
        )
        self.office = Office(self.books.database, clock=self.clock, audit=self.ledger.audit)
        self.standings = Standings(self.office, self.books.budgets, lambda: budgets_in(self.settings.values))
        self.owner = Owner(self.office.budget_store, values)
        self.watcher.on(IDENTITY, self.owner.refresh)
        self._tasks: list[asyncio.Task[None]] = []
        self._replaced: list[Provider] = []
        self.open = False

    @property
    def settings(self) -> Settings:
        """The settings in effect."""
        return self.gateway.setup.settings

    @property
    def registry(self) -> Registry:
        """Its providers."""
        return self.gateway.setup.registry

    @property
    def catalog(self) -> ModelCatalog:
        """What it knows of models."""
        return self.gateway.setup.catalog

    @property
    def prices(self) -> Prices:
        """What they cost."""
        return self.gateway.setup.prices

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found in the settings and should be looked at, a line each."""
        return (*((self._aside,) if self._aside else ()), *self.gateway.setup.warnings)

    def _provider(self, name: str) -> Provider | None:
        registry = self.registry
        return registry.get(name) if name in registry else None

    def _price(self, provider: str, model: str, usage: Usage) -> Cost:
        """Return what tokens cost, also of a provider that is not there any more."""
        registry = self.registry
        if provider in registry:
            return registry.get(provider).cost_of(model, usage)
        return self.prices.cost(provider, model, usage)

    def _make(self, settings: Settings) -> PutInPlace:
        """Make what follows from settings, aside.

        Raises:
            ConfigurationError: One is wrong.
        """
        made = set_up(settings, self._parts, self.gateway.setup)
        return lambda: self._put_in_place(made)

    async def _put_in_place(self, made: Setup) -> None:
        if self._probe is not None and self._probe.follow(made.registry):
            await self._probe.look()
        # From here on nothing waits: no request sees some of it and not the rest.
        former = self.gateway.setup
        for provider in self._own.values():
            made.registry.add(provider)
        stay = {id(provider) for provider in made.registry}
        for provider in former.registry:
            if id(provider) not in stay:
                provider.retired = True
                self._replaced.append(provider)
        self.guards.follow(made.policies, former.registry, made.registry)
        self.gateway.setup = made
        values, bound = made.settings.values, self.owner.principal
        self.books.quota.follow(values)
        self.owner.follow(values)
        if self.owner.principal != bound:
            # What is remembered of callers has the limits of the settings in it.
            self.watcher.again(IDENTITY)
        for warning in made.warnings:
            if warning not in former.warnings:
                logger.warning(warning)

    def _gateway(self, setup: Setup, observer: Observer) -> Gateway:
        values = setup.settings.values
        media = self._media(values) if values.fetch_media else None
        books = self.books
        return Gateway(setup, self.clock, observer, books.state, DIALECTS, self.guards, self.ledger, books.quota, media)

    def _media(self, values: FileSettings) -> MediaFetching:
        fetcher = Fetcher(self._transport, self._resolver, Hosts(values.fetch_hosts))
        bounds = Bounds(
            max_bytes=values.fetch_max_bytes, max_files=values.fetch_max_files, seconds=values.fetch_timeout
        )
        return MediaFetching(fetcher, bounds)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Build an engine from the environment, and ``spine.toml`` if there is one in the working folder.

        Raises:
            ConfigurationError: A setting is wrong; the message names it.
        """
        return cls(Settings(os.environ if environ is None else environ))

    @classmethod
    def from_file(cls, path: str | Path, environ: Mapping[str, str] | None = None) -> Self:
        """Build an engine from a file, the environment over it; raises as ``from_env`` does."""
        return cls(Settings(os.environ if environ is None else environ, Path(path)))

    async def start(self) -> None:
        """Open the database, and look for local providers, now and from time to time; nothing, where that is done.

        Raises:
            ConfigurationError: The database is not one for this version, or it or Redis does not let the gateway in.
            JournalError: What happens cannot be written down.
        """
        if self.open:
            return
        await self.books.start()
        self.open = True
        await self.watcher.look()
        self._tasks.append(asyncio.create_task(self.watcher.run()))
        if self.sharing is not None:
            # It tells by itself when Redis is back.
            with suppress(SharedStateUnavailableError):
                await self.sharing.look()
            self._tasks.append(asyncio.create_task(self.sharing.run()))
        if self._probe is not None:
            await self._probe.look()
            self._tasks.append(asyncio.create_task(self._probe.run()))

    async def close(self) -> None:
        """Close what was opened."""
        self.open = False
        await self.watcher.rest()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(provider.close() for provider in self._replaced))
        self._replaced.clear()
        await self.registry.close()
        await self._transport.close()
        await self._resolver.close()
        await self.books.close()
        self.metrics.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:  # whatever it is, nothing stays open
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def place(self, model: str | None, provider: str | None = None, *, allowance: Allowance | None = None) -> Candidate:
        """Return where a request for a model would go first; raises as ``complete`` does where nobody serves it."""
        ask = Ask(model=model, provider=provider, allowance=allowance)
        return self.gateway.planner.explain(ask).considered[0].candidate

    def register_provider(self, provider: Provider) -> None:
        """Add a provider of your own, or put it in the place of one of the same name; it takes effect at once."""
        self._own[provider.name] = provider
        self.registry.add(provider)

    def register_strategy(self, strategy: Strategy) -> None:
        """Add a strategy of your own, or put it in the place of one of the same name; it takes effect at once."""
        self.strategies.register(strategy)

    def estimate_cost_usd(self, model_id: str, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what so many tokens of a model cost, exactly; a stand-in's price for a model without a known one."""
        return self.estimate_cost(model_id, input_tokens, output_tokens).usd

    def estimate_cost(self, model_id: str, input_tokens: int, output_tokens: int) -> Cost:
        """Return the same, with whether the price is known; ``provider/model`` is priced by that provider itself."""
        name, _, model = model_id.partition("/")
        if model and name in self.registry:
            usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
            found = self.registry.get(name).cost_of(model, usage)
            if found.known:
                return found
        return self.prices.estimate(model_id, input_tokens, output_tokens)

    async def complete(
        self,
        prompt: str | Sequence[Message] | CompletionRequest,
        *,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        output_schema: JsonObject | None = None,
        tools: Sequence[Tool] = (),
        timeout: float | None = None,
        strategy: str | None = None,
        hint: str | None = None,
        fallback: bool | Sequence[str] | None = None,
        preferred: Sequence[str] = (),
        max_cost_usd: Decimal | str | None = None,
        raise_on_error: bool = True,
    ) -> CompletionResponse:
        """Ask a model, and return its whole answer.

        Args:
            prompt: What the user says; or the whole conversation; or a request, to which nothing is added.
            model: An id, ``provider/model``, or None for the provider's default.
            provider: That provider and no other.
            system: Instructions before the conversation.
            temperature: By default 0.7, where the model takes one.
            max_tokens: Limit of the answer.
            output_schema: JSON Schema that the answer must obey.
            tools: Functions that the model may ask to have called.
            timeout: Seconds for all of it.
            strategy: What puts the candidates in order; by default the configured one.
            hint: ``cheapest``, ``best_quality``, ``local_preferred`` or ``cloud_preferred``, for a strategy.
            fallback: Whether other models may answer, or which (models, aliases or providers).
            preferred: Providers to ask first where they are candidates.
            max_cost_usd: The most that the answer may cost.
            raise_on_error: False returns failures as an answer whose ``error`` is set.

        Raises:
            SpineError: There is no answer; see ``genai_spine.errors``.
        """
        request = self._request(prompt, model, system, temperature, max_tokens, output_schema, tools)
        call = self.new_call(stream=False, timeout=timeout)
        try:
            wishes = _wishes(provider, strategy, hint, fallback, preferred, max_cost_usd)
            return await self.gateway.complete(call, request, wishes)
        except SpineError as error:
            if raise_on_error:
                raise
            return CompletionResponse(
                model=request.model or "", provider=error.provider or "", error=error, attempts=call.attempts
            )

    async def stream(
        self,
        prompt: str | Sequence[Message] | CompletionRequest,
        *,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        output_schema: JsonObject | None = None,
        tools: Sequence[Tool] = (),
        timeout: float | None = None,
        strategy: str | None = None,
        hint: str | None = None,
        fallback: bool | Sequence[str] | None = None,
        preferred: Sequence[str] = (),
        max_cost_usd: Decimal | str | None = None,
    ) -> AsyncIterator[Event]:
        """Ask a model, and yield its answer's events as they come; arguments as for ``complete``.

        Raises:
            SpineError: There is no answer, or it broke off.
        """
        request = self._request(prompt, model, system, temperature, max_tokens, output_schema, tools)
        wishes = _wishes(provider, strategy, hint, fallback, preferred, max_cost_usd)
        async for event in self.gateway.events(self.new_call(stream=True, timeout=timeout), request, wishes):
            yield event

    async def stream_text(
        self, prompt: str | Sequence[Message] | CompletionRequest, **asking: Unpack[Asking]
    ) -> AsyncIterator[str]:
        """Yield just the words of an answer as they come; takes and raises what ``stream`` does."""
        async for event in self.stream(prompt, **asking):
            if isinstance(event, TextDelta):
                yield event.text

    async def embed(
        self,
        texts: str | Sequence[str] | EmbeddingRequest,
        *,
        model: str | None = None,
        provider: str | None = None,
        dimensions: int | None = None,
        timeout: float | None = None,
        strategy: str | None = None,
        hint: str | None = None,
        fallback: bool | Sequence[str] | None = None,
        preferred: Sequence[str] = (),
        max_cost_usd: Decimal | str | None = None,
    ) -> EmbeddingResponse:
        """Have vectors made of texts, one of each.

        Args:
            texts: One text, or several; or a request, to which nothing is added.
            model: An id, ``provider/model``, or None for the provider's default.
            provider: That provider and no other.
            dimensions: The length of the vectors; None is the model's own.
            timeout: Seconds for all of it.
            strategy: What puts the candidates in order, as for ``complete``; so are the others.
            hint: What stands for a strategy.
            fallback: Whether other models may answer, or which; their vectors are of another kind.
            preferred: Providers to ask first where they are candidates.
            max_cost_usd: The most that the vectors may cost.

        Raises:
            SpineError: There are none; see ``genai_spine.errors``.
        """
        if isinstance(texts, EmbeddingRequest):
            request = texts if model is None else msgspec.structs.replace(texts, model=model)
        else:
            inputs = (texts,) if isinstance(texts, str) else tuple(texts)
            request = EmbeddingRequest(inputs=inputs, model=model, dimensions=dimensions)
        if not request.inputs:
            message = "there is nothing to embed: no texts"
            raise InvalidRequestError(message, param="texts")
        wishes = _wishes(provider, strategy, hint, fallback, preferred, max_cost_usd)
        return await self.gateway.embed(self.new_call(timeout=timeout), request, wishes)

    def new_call(self, *, stream: bool = False, timeout: float | None = None) -> Call:
        """Return the context of a request that the project makes itself."""
        return Call(
            request_id=f"req_{uuid.uuid4().hex}",
            door="library",
            started=self.clock.monotonic(),
            principal=self.owner.principal,
            seconds=timeout,
            stream=stream,
            temperature=DEFAULT_TEMPERATURE,
        )

    def _request(
        self,
        prompt: str | Sequence[Message] | CompletionRequest,
        model: str | None,
        system: str | None,
        temperature: float | None,
        max_tokens: int | None,
        output_schema: JsonObject | None,
        tools: Sequence[Tool],
    ) -> CompletionRequest:
        if isinstance(prompt, CompletionRequest):
            return prompt if model is None else msgspec.structs.replace(prompt, model=model)
        messages = (Message(role="user", parts=(Text(text=prompt),)),) if isinstance(prompt, str) else tuple(prompt)
        if not messages or (isinstance(prompt, str) and not prompt):
            message = "there is nothing to ask: the prompt is empty"
            raise InvalidRequestError(message, param="prompt")
        return CompletionRequest(
            messages=messages,
            model=model,
            system=(Text(text=system),) if system else (),
            temperature=temperature,
            max_tokens=max_tokens,
            output_schema=None if output_schema is None else OutputSchema(schema=output_schema),
            tools=tuple(tools),
        )


def _guards(settings: Settings, clock: Clock, observer: Observer) -> Guards:
    """Return what is kept of the providers, and have its changes told."""

    def circuit_changed(change: CircuitChange) -> None:
        provider, _, model = change.name.partition("/")
        observer.circuit_changed(
            CircuitChanged(
                provider=provider,
                # Callers write the models, and may have put a key there.
                model=scrub(model),
                before=change.before,
                after=change.after,
                reason=change.reason,
                elsewhere=change.elsewhere,
            )
        )

    def key_failed(news: KeyNews) -> None:
        change = news.change
        observer.key_failed(
            KeyFailed(
                provider=news.provider,
                key=change.fingerprint,
                fault=change.fault,
                status=change.status,
                usable_in=change.usable_in,
            )
        )

    return Guards(
        clock,
        policies_from(settings),
        circuit_listeners=[circuit_changed],
        key_listeners=[key_failed],
        machine=platform.node(),
    )


def _wishes(
    provider: str | None,
    strategy: str | None,
    hint: str | None,
    fallback: bool | Sequence[str] | None,  # noqa: FBT001  # three answers to one question: yes, no, or these
    preferred: Sequence[str],
    max_cost_usd: Decimal | str | None,
) -> Wishes:
    try:
        max_cost = None if max_cost_usd is None else picodollars_from(max_cost_usd)
    except ValueError as error:
        message = f"max_cost_usd: {error}"
        raise InvalidFieldError(message, param="max_cost_usd") from error
    if isinstance(fallback, str):
        fallback = (fallback,)
    return Wishes(
        provider=provider,
        strategy=strategy,
        hint=hint,
        fallback=fallback if fallback is None or isinstance(fallback, bool) else tuple(fallback),
        preferred=tuple(preferred),
        max_cost=max_cost,
    )
