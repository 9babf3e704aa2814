"""A provider that is a row of data: a dialect, an address and keys, over a transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from typing_extensions import override

from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Cost, Prices
from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect, Encoded, Target
from genai_spine.dialects.embeddings import Embeds, matched
from genai_spine.errors import DialectNotSpokenError, ProviderNotConfiguredError, SpineError
from genai_spine.providers.base import NO_OPTIONS, CallOptions, Health, Provider, Relays, Wire
from genai_spine.providers.fitting import fitted
from genai_spine.providers.pieces import all_done, cut, joined
from genai_spine.providers.rows import Row
from genai_spine.redact import Secret
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, Failed, Start
from genai_spine.types.usage import Usage

__all__ = ["HttpProvider"]

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_ERROR_BYTES: Final = 256 * 1024
_GLANCE: Final = Timeouts(connect=0.3, first_byte=0.7, between_chunks=0.7, total=1.0)
_PROBE: Final = Timeouts(connect=1.0, first_byte=5.0, between_chunks=5.0, total=8.0)


# Of statuses that tell of an unknown path; an unknown model is told by some of them too, but by its name.
_NO_SUCH_PATH: Final = frozenset({404, 405, 501})
_NO_SUCH_MODEL: Final = (b"model", b"deployment")


class HttpProvider(Relays):
    """A service spoken to over HTTP.

    Attributes:
        dialect: The first of those that it speaks: of its list of models, and of requests that call for no other.
    """

    def __init__(
        self,
        name: str,
        row: Row,
        *,
        dialect: Dialect,
        also: Mapping[str, Dialect] | None = None,
        address: str,
        keys: tuple[Secret, ...],
        timeouts: Timeouts,
        transport: Transport,
        catalog: ModelCatalog,
        prices: Prices,
        clock: Clock,
        default_model: str | None = None,
        models: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.row = row
        self.dialect = dialect
        self._first = Wire(dialect, row.quirks)
        self._wires = {name: Wire(other, row.also[name]) for name, other in (also or {}).items()}
        self._wires[dialect.name] = self._first
        self.address = address
        self.keys = keys
        self.timeouts = timeouts
        self.local = row.local
        default = default_model or row.default_model
        self.default_model = catalog.successor(name, default) if default else ""
        if self.default_model != default:
            self.default_warning = (
                f"{name} has retired its default model {default}; {self.default_model} answers instead"
            )
        self.embedding_model = row.embedding_model
        self.models = models or row.models
        self.open_models = row.open_models
        self._made_of = (
            (row, dialect.name, address, keys, timeouts, default_model, models),
            (transport, catalog, prices, clock),
        )
        self._transport = transport
        self._catalog = catalog
        self._prices = prices
        self._clock = clock
        self._targets: dict[tuple[str, Wire], Target] = {}
        self._base_headers: dict[str, str] = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "genai-spine",
            **row.headers,
        }
        self._headers: dict[tuple[Secret | None, str], dict[str, str]] = {}

    @override
    def is_same(self, other: Provider) -> bool:
        return (
            isinstance(other, HttpProvider)
            and type(self) is type(other)
            and self._made_of == other._made_of  # noqa: SLF001  # its own kind
            and (self.max_tokens, self.temperature_default) == (other.max_tokens, other.temperature_default)
            and self.stated == other.stated
        )

    # The wire.

    @override
    def wire(self, dialect: str | None, model: str, *, tools: bool, effort: str | None) -> Wire:
        if len(self._wires) == 1:
            return self._first
        if tools:
            facts = self._catalog.facts(model, self.name)
            if facts.tools_while_thinking and facts.thinks(effort):
                dialect = facts.tools_while_thinking
        return self._wires.get(dialect or "", self._first)

    @override
    def target(self, model: str, wire: Wire) -> Target:
        found = self._targets.get((model, wire))
        if found is None:
            if len(self._targets) > 1000:
                self._targets.clear()
            facts = self._catalog.facts(model, self.name)
            found = Target(model=model, provider=self.name, quirks=wire.quirks, facts=facts)
            self._targets[model, wire] = found
        return found

    @override
    async def open(self, wire: Wire, encoded: Encoded, options: CallOptions, *, stream: bool) -> Incoming:
        self._require_configured()
        accept = wire.dialect.stream_content_type if stream else "application/json"
        headers = self._headers_for(options.key or (self.keys[0] if self.keys else None), accept)
        if encoded.headers:
            headers = {**headers, **encoded.headers}
        outgoing = Outgoing(method="POST", url=self.address + encoded.path, headers=headers, body=encoded.body)
        sends = options.sends
        if sends is not None:
            sends.sending()
        try:
            incoming = await self._send(outgoing, self.timeouts.within(options.seconds), wire)
        except DialectNotSpokenError as error:
            if sends is not None:
                sends.declined(error)
            raise
        if options.heard is not None:
            options.heard(incoming.headers)
        return incoming

    def _require_configured(self) -> None:
        if self.status == "not_configured":
            message = f"{self.name} is not configured: {self.hint}"
            raise ProviderNotConfiguredError(message, provider=self.name)

    def _headers_for(self, key: Secret | None, accept: str = "application/json") -> dict[str, str]:
        found = self._headers.get((key, accept))
        if found is None:
            found = self._headers[key, accept] = {**self._base_headers, "Accept": accept, **self._credentials(key)}
        return found

    def _credentials(self, key: Secret | None) -> dict[str, str]:
        if key is None or self.row.auth == "none":
            return {}
        if self.row.auth == "bearer":
            return {"Authorization": f"Bearer {key.reveal()}"}
        return {self.row.auth: key.reveal()}

    async def _send(self, outgoing: Outgoing, timeouts: Timeouts, wire: Wire | None = None) -> Incoming:
        wire = wire or self._first
        try:
            incoming = await self._transport.send(outgoing, timeouts)
            if incoming.status < 300:
                return incoming
            try:
                body = await incoming.read(MAX_ERROR_BYTES)
            finally:
                incoming.close()
            if wire is not self._first and _is_unknown_path(incoming.status, body):
                self._wires.pop(wire.dialect.name, None)
                message = f"it answers {incoming.status} where it should speak {wire.dialect.name}"
                raise DialectNotSpokenError(message, upstream_status=incoming.status)
            raise wire.dialect.decode_error(incoming.status, incoming.headers, body, wire.quirks)
        except SpineError as error:
            self.own(error)
            raise

    # The contract.

    @override
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        wire, encoded, incoming = await self._ask(request, options, stream=False)
        try:
            body = await incoming.read(MAX_ANSWER_BYTES)
            response = wire.dialect.decode_response(body, wire.quirks)
        except SpineError as error:
            self.own(error)
            raise
        finally:
            incoming.close()
        return msgspec.structs.replace(
            response,
            provider=self.name,
            model=response.model or request.model or "",
            warnings=encoded.warnings,
            raw_response=msgspec.json.decode(body),
        )

    @override
    async def stream_complete(
        self, request: CompletionRequest, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[Event]:
        wire, encoded, incoming = await self._ask(request, options, stream=True)
        decoder = wire.dialect.stream_decoder(wire.quirks)
        try:
            async for data in incoming.chunks():
                for event in decoder.feed(data):
                    yield self._own(event, encoded)
                if decoder.over:
                    incoming.finish()
            for event in decoder.close():
                yield self._own(event, encoded)
        except SpineError as error:
            # After its end mark an answer is whole, however the connection goes then.
            if not decoder.over:
                yield self._own(Failed(error=error), encoded)
        finally:
            incoming.close()

    def _own(self, event: Event, encoded: Encoded) -> Event:
        """Add to an event what only the provider knows."""
        if isinstance(event, Failed):
            self.own(event.error)
        elif isinstance(event, Start) and encoded.warnings:
            return msgspec.structs.replace(event, warnings=encoded.warnings)
        return event

    async def _ask(
        self, request: CompletionRequest, options: CallOptions, *, stream: bool
    ) -> tuple[Wire, Encoded, Incoming]:
        """Send a request in the dialect that it calls for, or in the next if the service has not the first."""
        model = request.model or self.default_model
        while True:
            wire = self.wire_for(request)
            asked = msgspec.structs.replace(request, stream=stream, stream_usage=stream and wire.quirks.stream_usage)
            try:
                target = self.target(model, wire)
                asked, changed = fitted(asked, target)
                encoded = wire.dialect.encode_request(asked, target)
            except SpineError as error:
                self.own(error)
                raise
            if changed:
                encoded = encoded._replace(warnings=(*changed, *encoded.warnings))
            try:
                return wire, encoded, await self.open(wire, encoded, options, stream=stream)
            except DialectNotSpokenError:
                continue  # it has been forgotten, so that there is one fewer to choose from

    @override
    async def embed(self, request: EmbeddingRequest, options: CallOptions = NO_OPTIONS) -> EmbeddingResponse:
        if not isinstance(self.dialect, Embeds):
            return await super().embed(request, options)
        service, target = self.dialect.embeddings, self.target(request.model or self.embedding_model, self._first)

        async def ask(call: tuple[EmbeddingRequest, Encoded], seconds: float) -> EmbeddingResponse:
            piece, encoded = call
            options_left = CallOptions(key=options.key, seconds=seconds, sends=options.sends)
            incoming = await self.open(self._first, encoded, options_left, stream=False)
            try:
                body = await incoming.read(MAX_ANSWER_BYTES)
            finally:
                incoming.close()
            response = matched(service.decode_response(body, incoming.headers, target), piece)
            return msgspec.structs.replace(response, warnings=encoded.warnings)

        try:
            # All are written before the first is sent: what cannot be said must cost nothing.
            pieces = cut(request, service.most_inputs(target))
            calls = [(piece, service.encode_request(piece, target)) for piece in pieces]
            seconds = self.timeouts.within(options.seconds).total
            response = joined(await all_done(calls, ask, self._clock, seconds))
        except SpineError as error:
            self.own(error)
            raise
        return msgspec.structs.replace(response, provider=self.name, model=response.model or target.model)

    @override
    def cost_of(self, model: str, usage: Usage) -> Cost:
        return self._prices.cost(self.name, model, usage, local=self.local)

    @override
    def picodollars_of(self, model: str, input_tokens: int, output_tokens: int) -> int:
        return self._prices.picodollars(self.name, model, input_tokens, output_tokens, local=self.local)

    @override
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        return self.cost_of(model, Usage(input_tokens=input_tokens, output_tokens=output_tokens)).usd

    @override
    def knows(self, model: str) -> bool:
        # What costs nothing has a price too, whether it is there or not.
        return super().knows(model) or (not self.local and self._prices.rate(self.name, model) is not None)

    @override
    async def list_models(self) -> Sequence[Model]:
        if self.models:
            return [self._catalog.describe(self.name, model) for model in self.models]
        body = await self._get(self.dialect.models_path)
        try:
            found = self.dialect.decode_models(body)
        except SpineError as error:
            self.own(error)
            raise
        return [self._catalog.complete(msgspec.structs.replace(model, provider=self.name)) for model in found]

    @override
    async def health(self) -> Health:
        began = self._clock.monotonic()
        try:
            await self._get(self.dialect.models_path)
        except SpineError as error:
            return Health(healthy=False, seconds=self._clock.monotonic() - began, error=error)
        return Health(healthy=True, seconds=self._clock.monotonic() - began)

    async def probe(self) -> Sequence[Model] | None:
        """Return the models of whoever answers at the address, configured or not; None if nobody does."""
        try:
            return self.dialect.decode_models(await self._fetch(self.dialect.models_path, _GLANCE))
        except SpineError:
            return None

    async def _get(self, path: str) -> bytes:
        self._require_configured()
        return await self._fetch(path, _PROBE)

    async def _fetch(self, path: str, timeouts: Timeouts) -> bytes:
        key = self.keys[0] if self.keys else None
        headers = {**self._headers_for(key), **self.dialect.default_headers}
        incoming = await self._send(Outgoing(method="GET", url=self.address + path, headers=headers), timeouts)
        try:
            return await incoming.read(MAX_ANSWER_BYTES)
        except SpineError as error:
            self.own(error)
            raise
        finally:
            incoming.close()


def _is_unknown_path(status: int, body: bytes) -> bool:
    """Whether a refusal is of the path, not of the model: some services have one status for both."""
    return status in _NO_SUCH_PATH and not any(word in body.lower() for word in _NO_SUCH_MODEL)
