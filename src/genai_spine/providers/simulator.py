"""A provider that needs neither network nor key: it stands where the network would, and speaks OpenAI's dialect.

What it answers follows from the request alone. ``echo`` repeats the last user message; offered tools, it calls them;
asked for a schema, it obeys it; asked for embeddings, it makes them of the texts. The other models fail: each in one
way, ``flaky`` in all the ways that are set, at their rates.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

from typing_extensions import override

from genai_spine import errors
from genai_spine.catalog.estimate import estimate_embedding_tokens
from genai_spine.catalog.models import ModelCatalog
from genai_spine.catalog.prices import Prices
from genai_spine.clock import Clock
from genai_spine.dialects.base import Reply
from genai_spine.dialects.fields import dump_text
from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.dialects.openai_embeddings import PATH as _EMBEDDINGS_PATH
from genai_spine.dialects.openai_embeddings import OpenAIEmbeddings
from genai_spine.providers.http import HttpProvider
from genai_spine.providers.registry import SIMULATOR
from genai_spine.providers.rows import Row
from genai_spine.providers.samples import sample, unit_vector
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.types.completion import Choice, CompletionRequest, CompletionResponse, FinishReason
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.messages import Part, Text, ToolCall, ToolResult, text_of
from genai_spine.types.models import Model
from genai_spine.types.stream import Event, TextDelta, events_of
from genai_spine.types.tools import Tool
from genai_spine.types.usage import Usage

__all__ = ["FAILURES", "MODELS", "SimulatorTransport", "simulator"]

FAILURES: Final = ("401", "429", "500", "529", "timeout", "cut", "slow")
"""The ways in which it can fail: a status, no answer at all, a stream cut in the middle, a slow first token."""
MODELS: Final = ("echo", "flaky", *(f"fail-{failure}" for failure in FAILURES))
RETRY_AFTER_SECONDS: Final = 7
SLOW_SECONDS: Final = 2.0
DIMENSIONS: Final = 256
MOST_DIMENSIONS: Final = 4096
MOST_NUMBERS: Final = 2**20

_DIALECT: Final = OpenAIChat()
_EMBEDDINGS: Final = OpenAIEmbeddings()
_PIECES: Final = re.compile(r"\S+\s*|\s+")
_ERRORS: Final[Mapping[str, errors.SpineError]] = {
    "401": errors.AuthenticationError("the simulator refuses the key, as it was asked to"),
    "429": errors.RateLimitedError("the simulator limits the rate, as it was asked to"),
    "500": errors.ProviderFailedError("the simulator fails, as it was asked to"),
    "529": errors.OverloadedError("the simulator is overloaded, as it was asked to be"),
}


def simulator(
    *, failures: Mapping[str, float], chunk_seconds: float, catalog: ModelCatalog, prices: Prices, clock: Clock
) -> HttpProvider:
    """Return the provider.

    Args:
        failures: How often ``flaky`` fails in each of ``FAILURES``, from 0 to 1.
        chunk_seconds: The pause before each piece of a stream.
        catalog: What is known of models.
        prices: What tokens cost; here nothing.
        clock: The source of time.

    Raises:
        ConfigurationError: A failure is unknown, a rate is none, or all together are more than 1.
    """
    for name, rate in failures.items():
        if name not in FAILURES or not 0 <= rate <= 1:
            message = f"simulator_failures: {name} = {rate}: name one of {', '.join(FAILURES)} with a rate from 0 to 1"
            raise errors.ConfigurationError(message)
    if sum(failures.values()) > 1 + 1e-9:
        message = "simulator_failures: the rates come to more than 1 together"
        raise errors.ConfigurationError(message)
    row = Row(
        dialect=_DIALECT.name,
        url="simulator:",
        local=True,
        auth="none",
        default_model="echo",
        embedding_model="echo",
        models=MODELS,
    )
    return HttpProvider(
        SIMULATOR,
        row,
        dialect=_DIALECT,
        address=row.url,
        keys=(),
        timeouts=Timeouts(),
        transport=SimulatorTransport(failures, chunk_seconds, clock),
        catalog=catalog,
        prices=prices,
        clock=clock,
    )


class SimulatorTransport(Transport):
    """Answers what is sent through it."""

    def __init__(self, failures: Mapping[str, float], chunk_seconds: float, clock: Clock) -> None:
        self._failures = failures
        self._chunk_seconds = chunk_seconds
        self._clock = clock
        self._calls = 0
        self._flaky_calls = 0
        self._failed = dict.fromkeys(failures, 0)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatorTransport) and (self._failures, self._chunk_seconds) == (
            other._failures,
            other._chunk_seconds,
        )

    __hash__ = None  # type: ignore[assignment]  # what it has counted changes

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        if outgoing.method == "GET":
            models = [Model(id=name, owned_by=SIMULATOR) for name in MODELS]
            return _Simulated(200, [_DIALECT.encode_models(models)])
        embeds = outgoing.url.endswith(_EMBEDDINGS_PATH)
        request = (_EMBEDDINGS if embeds else _DIALECT).decode_request(outgoing.body)
        self._calls += 1
        failure = self._failure(request.model or "")
        if failure in _ERRORS:
            error = _ERRORS[failure]
            headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if failure == "429" else {}
            return _Simulated(int(failure), [_DIALECT.encode_error(error, "").body], headers)
        if failure == "timeout":
            await asyncio.sleep(min(timeouts.first_byte, timeouts.total))
            message = "the simulator did not answer, as it was asked not to"
            raise errors.ProviderTimeoutError(message)
        if failure == "slow":
            await asyncio.sleep(SLOW_SECONDS)
        if isinstance(request, EmbeddingRequest):
            return _embed(request, cut=failure == "cut")
        return self._answer(request, cut=failure == "cut")

    def _failure(self, model: str) -> str:
        """The failure due: evenly spread over the calls, the same ones each time."""
        if model.startswith("fail-"):
            return model.removeprefix("fail-")
        if model == "flaky":
            self._flaky_calls += 1
            # The summand mends what a binary float falls short of a decimal rate.
            if int(self._flaky_calls * sum(self._failures.values()) + 1e-9) > sum(self._failed.values()):
                name = max(
                    self._failures, key=lambda name: self._flaky_calls * self._failures[name] - self._failed[name]
                )
                self._failed[name] += 1
                return name
        return ""

    def _answer(self, request: CompletionRequest, *, cut: bool) -> Incoming:
        now = int(self._clock.now())
        response = _respond(request, f"sim-{self._calls}", now)
        reply = Reply(model=request.model or "", now=now, wants_usage=request.stream_usage)
        if not request.stream:
            return _whole(_DIALECT.encode_response(response, reply), cut=cut)
        encoder = _DIALECT.stream_encoder(reply)
        chunks = [chunk for event in _piecewise(response) if (chunk := encoder.encode(event))]
        chunks.append(encoder.end())
        if cut:
            chunks = chunks[: max(1, len(chunks) // 2)]
        return _Simulated(200, chunks, cut=cut, pause=self._chunk_seconds)

    @override
    async def close(self) -> None:
        pass


class _Simulated(Incoming):
    """An answer that was there before it was asked for."""

    def __init__(
        self,
        status: int,
        chunks: list[bytes],
        headers: Mapping[str, str] | None = None,
        *,
        cut: bool = False,
        pause: float = 0,
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self._chunks = chunks
        self._cut = cut
        self._pause = pause

    @override
    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            # Even without a pause others get their turn between two pieces, as they would with a network in between.
            await asyncio.sleep(self._pause)
            yield chunk
        if self._cut:
            message = "the simulator cut its answer, as it was asked to"
            raise errors.StreamInterruptedError(message)

    @override
    def close(self) -> None:
        pass


def _whole(body: bytes, *, cut: bool) -> Incoming:
    return _Simulated(200, [body[: len(body) // 2], *([] if cut else [body[len(body) // 2 :]])], cut=cut)


def _embed(request: EmbeddingRequest, *, cut: bool) -> Incoming:
    length = DIMENSIONS if request.dimensions is None else request.dimensions
    if not 1 <= length <= MOST_DIMENSIONS or len(request.inputs) * length > MOST_NUMBERS:
        message = f"the simulator makes vectors of 1 to {MOST_DIMENSIONS} numbers, {MOST_NUMBERS} numbers in all"
        return _Simulated(400, [_DIALECT.encode_error(errors.InvalidRequestError(message), "").body])
    vectors = tuple(unit_vector(one if isinstance(one, str) else str(one), length) for one in request.inputs)
    usage = Usage(input_tokens=estimate_embedding_tokens(request))
    response = EmbeddingResponse(vectors=vectors, model=request.model or "", usage=usage)
    return _whole(_EMBEDDINGS.encode_response(response, request), cut=cut)


def _respond(request: CompletionRequest, response_id: str, now: int) -> CompletionResponse:
    parts, reason = _parts(request, response_id)
    choice = Choice(parts=parts, finish_reason=reason)
    written = sum(_length(part) for part in parts)
    count = max(1, request.n or 1)
    usage = Usage(input_tokens=_tokens(len(_prompt(request))), output_tokens=count * _tokens(written))
    return CompletionResponse(
        id=response_id, model=request.model or "", created=now, choices=(choice,) * count, usage=usage
    )


def _length(part: Part) -> int:
    if isinstance(part, Text):
        return len(part.text)
    return len(part.arguments) if isinstance(part, ToolCall) else 0


def _tokens(characters: int) -> int:
    return -(-characters // 4)


def _prompt(request: CompletionRequest) -> str:
    return "\n".join([text_of(request.system), *(text_of(message.parts) for message in request.messages)])


def _parts(request: CompletionRequest, response_id: str) -> tuple[tuple[Part, ...], FinishReason]:
    results = [part for part in request.messages[-1].parts if isinstance(part, ToolResult)]
    if not results and (calls := _calls(request, response_id)):
        return calls, "tool_calls"
    if results:
        text = "\n".join(f"{result.call_id} returned: {text_of(result.parts)}" for result in _latest_results(request))
    else:
        text = next((text_of(message.parts) for message in reversed(request.messages) if message.role == "user"), "")
    if request.output_schema is not None:
        schema = request.output_schema.schema
        text = dump_text({"answer": text} if schema is None else sample(schema, text))
    return _limited(text, request)


def _latest_results(request: CompletionRequest) -> list[ToolResult]:
    found: list[ToolResult] = []
    for message in reversed(request.messages):
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        if not results:
            break
        found = results + found
    return found


def _calls(request: CompletionRequest, response_id: str) -> tuple[Part, ...]:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        return ()
    offered = [
        tool
        for tool in request.tools
        if isinstance(tool, Tool) and (choice is None or not choice.names or tool.name in choice.names)
    ]
    if request.parallel_tool_calls is False:
        offered = offered[:1]
    return tuple(
        ToolCall(
            id=f"call_{response_id}_{number}",
            name=tool.name,
            arguments=dump_text(sample(tool.parameters or {"type": "object"}, tool.name))
            if tool.grammar is None
            else tool.name,
            custom=tool.grammar is not None,
        )
        for number, tool in enumerate(offered)
    )


def _limited(text: str, request: CompletionRequest) -> tuple[tuple[Part, ...], FinishReason]:
    cuts = [place for stop in request.stop if stop and (place := text.find(stop)) >= 0]
    if cuts:
        text = text[: min(cuts)]
    reason: FinishReason = "stop"
    if request.max_tokens is not None and _tokens(len(text)) > request.max_tokens:
        text, reason = text[: 4 * request.max_tokens], "length"
    return ((Text(text=text),) if text else ()), reason


def _piecewise(response: CompletionResponse) -> list[Event]:
    """The events of a stream, its words one by one."""
    events: list[Event] = []
    for event in events_of(response):
        if isinstance(event, TextDelta):
            events += [
                TextDelta(index=event.index, text=piece, choice=event.choice) for piece in _PIECES.findall(event.text)
            ]
        else:
            events.append(event)
    return events
