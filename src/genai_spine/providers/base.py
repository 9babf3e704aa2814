"""What every provider offers.

A provider of your own derives from ``Provider`` and is handed to ``Spine.register_provider``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Final, Literal, Protocol

from msgspec import Struct

from genai_spine.catalog.prices import Cost
from genai_spine.dialects.base import Dialect, Encoded, Headers, Quirks, Target
from genai_spine.errors import InvalidRequestError, SpineError
from genai_spine.money import picodollars_from
from genai_spine.redact import Secret, scrub
from genai_spine.transport.base import Incoming
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.models import Model
from genai_spine.types.stream import Event
from genai_spine.types.usage import Usage

__all__ = ["NO_OPTIONS", "CallOptions", "Health", "Provider", "Relays", "Sends", "Status", "Wire"]

Status = Literal["ready", "not_configured", "disabled"]


class Sends(Protocol):
    """Who is told of what is sent for one call. One call may need several: vectors of many texts come in pieces."""

    def sending(self) -> None:
        """Take note that a request is about to be sent; what this raises keeps it from being sent."""
        ...

    def declined(self, error: SpineError) -> None:
        """Take note that the request sent last came to nothing, and that another will be sent for it."""
        ...


class CallOptions(Struct, frozen=True, kw_only=True):
    """How one call is to be made.

    Attributes:
        key: The key chosen for it; None leaves that to the provider.
        heard: Told the headers of a good answer, which say what is left of the key.
        seconds: What is left of the request's own deadline; it only ever shortens the provider's timeouts.
        sends: Told of each request that is sent for it.
    """

    key: Secret | None = None
    seconds: float | None = None
    heard: Callable[[Headers], None] | None = None
    sends: Sends | None = None


PICODOLLAR: Final = Decimal("1e-12")

NO_OPTIONS: Final = CallOptions()
"""A call made as the provider sees fit."""


class Health(Struct, frozen=True, kw_only=True):
    """Whether a provider answers, found out without spending a token.

    Attributes:
        seconds: How long the answer took.
        error: Why there was none.
    """

    healthy: bool
    seconds: float = 0.0
    error: SpineError | None = None


class Provider(ABC):
    """A service that answers.

    Attributes:
        name: In requests, settings and records.
        default_model: Where the caller names none; empty if there is none.
        embedding_model: The same for embeddings.
        max_tokens: The limit of an answer where the project makes the request itself and names none.
        temperature_default: The same of the temperature; None is the project's own.
        models: The ids known without asking.
        stated: Further ids, of which the user says something in a table of models: it serves them too.
        local: It runs on the user's own machines and costs nothing.
        open_models: It serves models that it does not list.
        default_warning: What a caller who gets the default model should know.
        address: Where it is, if that is told; another address is another service.
        status: ``not_configured`` where a key or an address is missing. ``Registry.status`` knows of those that are
            switched off too.
        hint: What to do about that.
        keys: Its keys, which no error may show.
        retired: Another has taken its place; requests that were under way may still use it.
    """

    name: str
    default_model: str = ""
    embedding_model: str = ""
    default_warning: str = ""
    max_tokens: int | None = None
    temperature_default: float | None = None
    models: tuple[str, ...] = ()
    stated: tuple[str, ...] = ()
    local: bool = False
    open_models: bool = False
    address: str = ""
    status: Status = "ready"
    hint: str = ""
    keys: tuple[Secret, ...] = ()
    retired: bool = False

    def is_same(self, other: Provider) -> bool:
        """Return whether another, made anew, is just this one: it may then stay, with all that it has learnt."""
        return self is other

    def own(self, error: SpineError) -> None:
        """Mark an error as this provider's, and take its keys out of it: upstreams quote them in all shapes."""
        error.provider = self.name
        error.message = scrub(error.message, *self.keys)
        error.code = scrub(error.code, *self.keys)
        error.param = None if error.param is None else scrub(error.param, *self.keys)
        error.args = (error.message,)

    @abstractmethod
    async def complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> CompletionResponse:
        """Return the answer to a request whose ``model`` is set.

        Raises:
            SpineError: The upstream, or the request, failed; see ``genai_spine.errors``.
        """

    @abstractmethod
    def stream_complete(self, request: CompletionRequest, options: CallOptions = NO_OPTIONS) -> AsyncIterator[Event]:
        """Yield the answer's events; a failure after the first is the last event, ``Failed``.

        Closing the iterator ends the upstream's work at once.

        Raises:
            SpineError: There will be no answer.
        """

    async def embed(
        self,
        request: EmbeddingRequest,  # noqa: ARG002  # for the providers that can
        options: CallOptions = NO_OPTIONS,  # noqa: ARG002  # as above
    ) -> EmbeddingResponse:
        """Return a vector for each input of a request whose ``model`` is set; not every provider can.

        Raises:
            SpineError: As for ``complete``; always where the provider has no embeddings.
        """
        message = f"{self.name} has no embeddings; choose a model of another provider"
        raise InvalidRequestError(message, code="unsupported_by_provider", param="model", provider=self.name)

    @abstractmethod
    def calculate_cost(self, model: str, input_tokens: int, output_tokens: int) -> Decimal:
        """Return what so many tokens cost in USD."""

    def cost_of(self, model: str, usage: Usage) -> Cost:
        """Return what ``usage`` costs, cached and reasoning tokens told apart where the provider prices them apart."""
        amount = self.calculate_cost(model, usage.input_tokens, usage.output_tokens)
        return Cost(picodollars_from(amount.quantize(PICODOLLAR)), known=True)

    def picodollars_of(self, model: str, input_tokens: int, output_tokens: int) -> int:
        """Return what so many tokens cost, not below 0 and none cached: as ``cost_of``, for less work."""
        return self.cost_of(model, Usage(input_tokens=input_tokens, output_tokens=output_tokens)).picodollars

    @abstractmethod
    async def list_models(self) -> Sequence[Model]:
        """Return the models that can be asked for; raises as ``complete`` does."""

    def knows(self, model: str) -> bool:
        """Return whether it is known without asking that the provider serves ``model``."""
        return model in self.models or model in self.stated or model == self.default_model

    async def validate_model(self, model: str) -> bool:
        """Return whether the provider serves ``model``; raises as ``complete`` does."""
        return self.open_models or any(known.id == model for known in await self.list_models())

    @abstractmethod
    async def health(self) -> Health:
        """Find out whether the provider answers, without spending a token. Never raises a ``SpineError``."""

    async def close(self) -> None:  # noqa: B027  # most providers hold nothing of their own
        """Let go of what the provider holds."""


class Wire(Struct, frozen=True, eq=False):
    """A dialect that a provider speaks, and how it departs from it."""

    dialect: Dialect
    quirks: Quirks


class Relays(Provider):
    """A provider that takes a body in a dialect of its own as it came, and hands back the answer's bytes."""

    @abstractmethod
    def wire(self, dialect: str | None, model: str, *, tools: bool, effort: str | None) -> Wire:
        """Return how the provider is spoken to in one request.

        Args:
            dialect: The caller's, which is taken if the provider speaks it and the model allows.
            model: The model's id, as the provider knows it.
            tools: Tools are offered.
            effort: How hard the model shall think; None where the caller does not say.
        """

    def wire_for(self, request: CompletionRequest) -> Wire:
        """Return how the provider is spoken to in a request of the project's own vocabulary."""
        effort = request.reasoning.asked_effort if request.reasoning else None
        model = request.model or self.default_model
        return self.wire(request.dialect, model, tools=bool(request.tools), effort=effort)

    @abstractmethod
    def target(self, model: str, wire: Wire) -> Target:
        """Return to whom requests for ``model`` are encoded."""

    @abstractmethod
    async def open(self, wire: Wire, encoded: Encoded, options: CallOptions, *, stream: bool) -> Incoming:
        """Send a request and return once a good answer begins; ``options.sends`` is told before.

        Raises:
            DialectNotSpokenError: The service does not have the wire's API after all; ``wire`` will return another.
            SpineError: There will be no answer.
        """
