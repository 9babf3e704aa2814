"""From settings to objects, and the one object that holds them: ``Spine``, the engine without a server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Cost, Prices, Rate, own_rates
from genai_spine.catalog.refresh import open_book
from genai_spine.clock import Clock, SystemClock
from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.base import Dialect
from genai_spine.dialects.bedrock_converse.dialect import BedrockConverse
from genai_spine.dialects.gemini.dialect import Gemini
from genai_spine.dialects.ollama.dialect import Ollama
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.errors import (
    ConfigurationError,
    DatabaseDownError,
    InvalidFieldError,
    InvalidRequestError,
    SpineError,
)
from genai_spine.gateway.context import Call
from genai_spine.gateway.directory import RoutingWishes
from genai_spine.gateway.fetching import Fetcher, Hosts
from genai_spine.gateway.flow import Gateway
from genai_spine.gateway.guards import Guards, KeyNews, Policies
from genai_spine.gateway.media import Bounds, MediaFetching
from genai_spine.gateway.planning import Planner
from genai_spine.identity.office import Office
from genai_spine.money import picodollars_from
from genai_spine.providers.base import Provider
from genai_spine.providers.plugins import Context, load_providers
from genai_spine.providers.probing import LocalProbe
from genai_spine.providers.registry import Registry
from genai_spine.redact import scrub
from genai_spine.resilience.breaker import CircuitChange, CircuitPolicy
from genai_spine.resilience.faults import permanent_patterns
from genai_spine.resilience.keys import KeyPolicy
from genai_spine.resilience.retry import RetryPolicy
from genai_spine.routing.base import Strategy
from genai_spine.routing.registry import load_strategies
from genai_spine.routing.router import Ask
from genai_spine.routing.shortlist import Alias, Target
from genai_spine.settings import Settings
from genai_spine.shared_state.memory import MemoryState
from genai_spine.storage.sql.budgets import Budgets
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.identities import Identities
from genai_spine.storage.sql.versions import Watcher
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import CircuitChanged, KeyFailed
from genai_spine.telemetry.logging import logger
from genai_spine.telemetry.observers import Observers
from genai_spine.telemetry.prometheus import PrometheusObserver
from genai_spine.transport.base import Transport
from genai_spine.transport.http import HttpTransport
from genai_spine.transport.names import Resolver, SystemResolver
from genai_spine.types.candidate import Candidate
from genai_spine.types.completion import CompletionRequest, CompletionResponse, OutputSchema
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.json import JsonObject
from genai_spine.types.ledger import AuditEvent
from genai_spine.types.messages import Message, Text
from genai_spine.types.principal import Allowance
from genai_spine.types.routing import Wishes
from genai_spine.types.stream import Event, TextDelta
from genai_spine.types.tools import Tool
from genai_spine.types.usage import Usage

__all__ = ["DIALECTS", "Spine", "policies_from"]

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
        settings: What it was built from.
        registry: Its providers.
        catalog: What it knows of models.
        prices: What they cost.
        strategies: In which orders it may ask them.
        guards: How they do.
        database: Where records are kept.
        watcher: Notices what others change there.
        identities: The users and API keys there.
        budgets: The budgets there.
        office: Where all of these are made and changed.
        audit: Is told what an audit wants to know.
        gateway: What serves the requests.
        metrics: What it counts.
        warnings: What was found at start and should be looked at, a line each.
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
        audit: Callable[[AuditEvent], None] | None = None,
    ) -> None:
        """Build the engine. Nothing is opened before ``start``.

        Args:
            settings: The settings, read.
            transport: What carries requests; by default HTTP.
            clock: The source of time.
            observers: Who is told of what happens, beside the metrics.
            resolver: What looks up the hosts of media that callers name; by default the operating system.
            audit: Is told what an audit wants to know; by default it becomes a line of the log, at debug.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        self.settings = settings
        self.clock = clock or SystemClock()
        self._transport = transport or HttpTransport()
        self._resolver = resolver or SystemResolver()
        self.registry = Registry()
        values = settings.values
        book, aside = open_book(settings.data_dir)
        self.catalog = catalog = ModelCatalog(book, own=values.models, clock=self.clock)
        self.prices = Prices(
            book,
            overrides=own_rates(values.models),
            stand_in=Rate.per_million(input=values.unknown_price_input, output=values.unknown_price_output),
            catalog=catalog,
            clock=self.clock,
        )
        context = Context(
            settings=settings,
            transport=self._transport,
            dialects=DIALECTS,
            catalog=catalog,
            prices=self.prices,
            clock=self.clock,
        )
        for provider in load_providers(context):
            self.registry.add(provider)
        self.metrics = PrometheusObserver()
        self.strategies = load_strategies()
        observed = Observers([self.metrics, *observers])
        self.guards = _guards(settings, self.clock, observed)
        planner = self._planner()
        self._state = MemoryState(values.state_max_bytes, self.clock)
        self.database = Database.at(settings.database_url.reveal(), upgrades=True)
        self.watcher = Watcher(self.database)
        self.identities = Identities(self.database, self.clock)
        self.budgets = Budgets(self.database, self.clock)
        self.audit = audit or _log_event
        self.office = Office(self.identities, self.budgets, clock=self.clock, audit=self.audit)
        media = self._media() if values.fetch_media else None
        self.gateway = Gateway(self.registry, planner, self.clock, observed, self._state, DIALECTS, self.guards, media)
        self.warnings = (*((aside,) if aside else ()), *self._check())
        self._probe = LocalProbe(self.registry) if values.probe_local else None
        self._probing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self.open = False

    def _planner(self) -> Planner:
        values = self.settings.values
        wishes = RoutingWishes(
            default_provider=values.default_provider,
            aliases=tuple(
                Alias(name, tuple(Target(target.model, target.weight) for target in targets))
                for name, targets in values.aliases.items()
            ),
            chain=values.fallback_chain,
            weights={name: file.weight for name, file in values.providers.items()},
        )
        try:
            return Planner(self.registry, self.catalog, self.strategies, self.guards, wishes, values.routing_strategy)
        except InvalidFieldError as error:
            message = f"GENAI_ROUTING_STRATEGY (or routing_strategy in spine.toml): {error.message}"
            raise ConfigurationError(message) from error

    def _media(self) -> MediaFetching:
        values = self.settings.values
        fetcher = Fetcher(self._transport, self._resolver, Hosts(values.fetch_hosts))
        bounds = Bounds(
            max_bytes=values.fetch_max_bytes, max_files=values.fetch_max_files, seconds=values.fetch_timeout
        )
        return MediaFetching(fetcher, bounds)

    def _check(self) -> tuple[str, ...]:
        names = [provider.name for provider in self.registry]
        values = self.settings.values
        for variable, name in (
            ("GENAI_DEFAULT_PROVIDER", values.default_provider),
            ("GENAI_GENERATE_DEFAULT_PROVIDER", values.generate_default_provider),
            *(("GENAI_FALLBACK_CHAIN", name) for name in values.fallback_chain),
        ):
            if name not in self.registry:
                message = f"{variable}: {self.registry.unknown_provider(name).message}"
                raise ConfigurationError(message)
        for alias, targets in values.aliases.items():
            for target in targets:
                self._check_target(alias, target.model)
        retired = [
            provider.default_warning
            for provider in self.registry
            if provider.default_warning and provider.status == "ready"
        ]
        return (*self.settings.check_names(names), *retired)

    def _check_target(self, alias: str, model: str) -> None:
        """Find the misspelt provider of an alias' target. A name with a slash may also be that of a model."""
        name, slash, _ = model.partition("/")
        known = not slash or name in self.registry or any(provider.knows(model) for provider in self.registry)
        if not (known or self.catalog.home(model) or self.catalog.home_by_form(model)):
            message = f"aliases.{alias}: {model!r}: {self.registry.unknown_provider(name).message}"
            raise ConfigurationError(message)

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
        """Open the database, and look for local providers, now and from time to time.

        Raises:
            ConfigurationError: The database is not one for this version.
        """
        try:
            await self.database.upgrade()
        except DatabaseDownError as error:
            logger.warning(
                "the database cannot be reached", database=str(self.database.url), reason=str(error.__cause__)
            )
        self.open = True
        if self._watching is None:
            await self.watcher.look()
            self._watching = asyncio.create_task(self.watcher.run())
        if self._probe is not None and self._probing is None:
            await self._probe.look()
            self._probing = asyncio.create_task(self._probe.run())

    async def close(self) -> None:
        """Close what was opened."""
        self.open = False
        for task in (self._probing, self._watching):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._probing = self._watching = None
        await self.registry.close()
        await self._state.close()
        await self._transport.close()
        await self._resolver.close()
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def place(self, model: str | None, provider: str | None = None, *, allowance: Allowance | None = None) -> Candidate:
        """Return where a request for a model would go first; raises as ``complete`` does where nobody serves it.

        Args:
            model: The model that it names.
            provider: The provider that it names.
            allowance: What its caller may use.
        """
        ask = Ask(model=model, provider=provider, allowance=allowance)
        return self.gateway.planner.explain(ask).considered[0].candidate

    def register_provider(self, provider: Provider) -> None:
        """Add a provider of your own, or put it in the place of one of the same name; it takes effect at once."""
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
        self,
        prompt: str | Sequence[Message] | CompletionRequest,
        *,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
    ) -> AsyncIterator[str]:
        """Yield just the words of an answer as they come; raises as ``stream`` does."""
        async for event in self.stream(prompt, model=model, provider=provider, system=system):
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


def policies_from(settings: Settings) -> Policies:
    """Return when keys rest, circuits open and calls are made again."""
    values = settings.values
    patterns = permanent_patterns(*values.permanent_error_patterns)
    return Policies(
        keys=KeyPolicy(
            max_failures_before_cooldown=values.max_failures_before_cooldown,
            default_cooldown=values.default_cooldown,
            max_cooldown=values.max_cooldown_seconds,
            max_key_attempts=values.max_key_attempts,
            patterns=patterns,
        ),
        circuit=CircuitPolicy(
            failures=values.circuit_failures, open_seconds=values.circuit_open_seconds, patterns=patterns
        ),
        retry=RetryPolicy(
            attempts=values.retry_attempts,
            first_wait=values.retry_first_wait,
            longest_wait=values.retry_longest_wait,
            patterns=patterns,
        ),
        retry_share=values.retry_share,
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

    return Guards(clock, policies_from(settings), circuit_listeners=[circuit_changed], key_listeners=[key_failed])


def _log_event(event: AuditEvent) -> None:
    caller = event.caller
    logger.debug(
        event.event,
        reason=event.reason,
        by=caller.fingerprint,
        user=caller.user,
        request_id=event.request_id,
        details=event.details,
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
