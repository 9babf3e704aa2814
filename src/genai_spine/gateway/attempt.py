"""One call to one candidate, in one of two ways: passing the body through, or translating it.

Both yield bytes in the caller's dialect. What the call finds out is written into ``call`` as it goes, so that it is
there whatever the end; a ``finally`` here awaits no more than that its own generators end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import msgspec

from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect, Encoded, Envelope, Reply, Watch
from genai_spine.dialects.seals import holds_tags
from genai_spine.errors import DialectNotSpokenError, MalformedResponseError, SpineError
from genai_spine.gateway.context import Call
from genai_spine.gateway.media import MediaFetching
from genai_spine.gateway.seals import LIBRARY, Carrier, Sealing, Seals, origin_of
from genai_spine.providers.base import CallOptions, Provider, Relays, Wire
from genai_spine.transport.base import Incoming
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.embedding import EmbeddingResponse
from genai_spine.types.stream import Event, Failed, Finish, Start, TextDelta, ThinkingDelta, ToolArguments, UsageTold
from genai_spine.types.usage import Usage

__all__ = ["Attempt", "Question", "announce", "passing_wire"]

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
MAX_STREAMED: Final = 2 * MAX_ANSWER_BYTES
_CONTENT: Final = (TextDelta, ThinkingDelta, ToolArguments)
_TOO_LONG: Final = f"the provider's stream holds an answer of more than {MAX_STREAMED} bytes"
# What any event costs whoever keeps it.
_EVENT: Final = 16


class Question(msgspec.Struct, frozen=True):
    """A request as it came in at a door."""

    door: Dialect
    envelope: Envelope
    body: bytes

    def limited(self, tokens: int) -> Question:
        """Return the same with a limit of its answer, which it lacks."""
        fields = self.door.with_limit(self.envelope.fields, tokens)
        envelope = msgspec.structs.replace(self.envelope, fields=fields, max_tokens=tokens)
        return Question(self.door, envelope, msgspec.json.encode(fields))


class Attempt:
    """Makes calls."""

    def __init__(self, clock: Clock, seals: Seals, media: MediaFetching | None = None) -> None:
        """Make calls by ``clock``; without ``media`` nothing is fetched for a provider that fetches nothing itself."""
        self._clock = clock
        self._seals = seals
        self._media = media

    # Bytes in, bytes out.

    async def answer(self, call: Call, question: Question, provider: Provider, options: CallOptions) -> bytes:
        """Return the whole answer in the caller's dialect.

        Raises:
            SpineError: There is none.
        """
        if isinstance(provider, Relays) and (wire := passing_wire(call, question, provider)) is not None:
            try:
                dialect = _spoken(question, wire)
                encoded = dialect.relay_request(question.envelope, provider.target(_model(call), wire))
                body = await self.relay(call, encoded, provider, wire, options)
            except DialectNotSpokenError:
                pass  # the provider speaks another, into which the request is translated
            else:
                call.usage, _ = dialect.check_response(body, wire.quirks)
                return body
        request, sealing = await self._translated(call, question, provider, options)
        announce(provider, options)
        response = await provider.complete(request, options)
        self.note(call, response)
        response = sealing.response(response)
        await self._seals.keep(call.principal, sealing)
        return question.door.encode_response(response, self._reply(call, question, request))

    def stream(
        self, call: Call, question: Question, provider: Provider, options: CallOptions
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answer in the caller's dialect, as it comes.

        Raises:
            SpineError: There is none, or it broke off.
        """
        if isinstance(provider, Relays) and (wire := passing_wire(call, question, provider)) is not None:
            return self._relay_stream(call, question, provider, wire, options)
        return self._translate_stream(call, question, provider, options)

    async def relay(self, call: Call, encoded: Encoded, provider: Relays, wire: Wire, options: CallOptions) -> bytes:
        """Return the whole answer to a body that passes through.

        Raises:
            SpineError: There is none.
        """
        incoming = await self._open(call, encoded, provider, wire, options, stream=False)
        try:
            body = await incoming.read(MAX_ANSWER_BYTES)
        finally:
            incoming.close()
        call.first_token_at = self._clock.monotonic()
        return body

    async def _open(
        self, call: Call, encoded: Encoded, provider: Relays, wire: Wire, options: CallOptions, *, stream: bool
    ) -> Incoming:
        """Send a body that passes through."""
        incoming = await provider.open(wire, encoded, options, stream=stream)
        call.warn(encoded.warnings)
        call.passthrough = True
        return incoming

    async def _relay_stream(
        self, call: Call, question: Question, provider: Relays, wire: Wire, options: CallOptions
    ) -> AsyncGenerator[bytes, None]:
        dialect = _spoken(question, wire)
        try:
            encoded = dialect.relay_request(question.envelope, provider.target(_model(call), wire))
            incoming = await self._open(call, encoded, provider, wire, options, stream=True)
        except DialectNotSpokenError:
            async with aclosing(self._translate_stream(call, question, provider, options)) as translated:
                async for data in translated:
                    yield data
            return
        watch = dialect.watch(question.envelope, wire.quirks)
        try:
            async for data in incoming.chunks():
                out = watch.feed(data)
                if watch.content and call.first_token_at is None:
                    call.first_token_at = self._clock.monotonic()
                if out and _goes_on(watch):
                    yield out
                if watch.failure is not None:
                    raise watch.failure
                if watch.over:
                    incoming.finish()
            out = watch.close()
            if out and _goes_on(watch):
                yield out
            if watch.failure is not None:
                raise watch.failure
        except SpineError:
            # After its end mark an answer is whole, however the connection goes then.
            if not watch.over:
                raise
        finally:
            incoming.close()
            call.usage = settled(watch.usage, watch.characters, whole=watch.finish_reason is not None)

    async def _translate_stream(
        self, call: Call, question: Question, provider: Provider, options: CallOptions
    ) -> AsyncGenerator[bytes, None]:
        request, sealing = await self._translated(call, question, provider, options)
        encoder = question.door.stream_encoder(self._reply(call, question, request))
        events = self._events(call, request, provider, options)
        try:
            async for event in events:
                if data := b"".join([encoder.encode(told) for told in sealing.add(event)]):
                    yield data
        finally:
            # What was used is known once this has ended, and the record is written right after.
            await aclose(events)
        # Before the end is told: the caller may go on from it at once.
        await self._seals.keep(call.principal, sealing)
        if data := encoder.end():
            yield data

    async def _translated(
        self, call: Call, question: Question, provider: Provider, options: CallOptions
    ) -> tuple[CompletionRequest, Sealing]:
        """Return the request in the project's own words, and what is to tag the seals of its answer."""
        request = question.door.decode_request(question.body)
        addressed = msgspec.structs.replace(request, model=_model(call) or request.model)
        return await self._prepared(call, question.door, addressed, provider, options)

    async def _prepared(
        self, call: Call, carrier: Carrier, request: CompletionRequest, provider: Provider, options: CallOptions
    ) -> tuple[CompletionRequest, Sealing]:
        """Return the request with what it lacks, and what is to tag its answer's seals."""
        filled = await self.filled(call, request, provider)
        origin = origin_of(provider, _model(call), options)
        opened = await self._seals.to_provider(call.principal, carrier, filled, origin)
        return opened, self._seals.to_caller(carrier, request, origin)

    def _reply(self, call: Call, question: Question, request: CompletionRequest) -> Reply:
        return Reply(
            model=call.candidate.model if call.candidate else "",
            request_id=call.answer_id,
            now=int(self._clock.now()),
            wants_usage=question.envelope.wants_usage,
            tools=request.tools,
        )

    # The vocabulary in, the vocabulary out.

    async def complete(
        self, call: Call, request: CompletionRequest, provider: Provider, options: CallOptions
    ) -> CompletionResponse:
        """Return the whole answer.

        Raises:
            SpineError: There is none.
        """
        request, sealing = await self._prepared(call, LIBRARY, request, provider, options)
        announce(provider, options)
        response = await provider.complete(request, options)
        self.note(call, response)
        return sealing.response(response)

    async def events(
        self, call: Call, request: CompletionRequest, provider: Provider, options: CallOptions
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of an answer.

        Raises:
            SpineError: There is none, or it broke off.
        """
        request, sealing = await self._prepared(call, LIBRARY, request, provider, options)
        async with aclosing(self._events(call, request, provider, options)) as events:
            async for event in events:
                for told in sealing.add(event):
                    yield told

    async def _events(
        self, call: Call, request: CompletionRequest, provider: Provider, options: CallOptions
    ) -> AsyncGenerator[Event, None]:
        announce(provider, options)
        stream = provider.stream_complete(request, options)
        characters = kept = 0
        whole = False
        try:
            async for event in stream:
                # Whoever tells the answer whole at its end must keep all of it.
                kept += _weight(event)
                if kept > MAX_STREAMED:
                    raise MalformedResponseError(_TOO_LONG)
                if isinstance(event, _CONTENT):
                    characters += len(event.text)
                    if call.first_token_at is None:
                        call.first_token_at = self._clock.monotonic()
                elif isinstance(event, UsageTold):
                    call.usage = event.usage
                elif isinstance(event, Finish):
                    whole = True
                elif isinstance(event, Start):
                    call.warn(event.warnings)
                elif isinstance(event, Failed):
                    raise event.error
                yield event
        finally:
            call.usage = settled(call.usage, characters, whole=whole)
            # The provider's generator holds the connection: it must end now, not when it is collected.
            await aclose(stream)

    async def filled(self, call: Call, request: CompletionRequest, provider: Provider) -> CompletionRequest:
        """Return the request with the bytes of what the provider cannot fetch; raises as ``MediaFetching.filled``."""
        if self._media is None:
            return request
        return await self._media.filled(call, request, provider, call.left(self._clock.monotonic()))

    def note(self, call: Call, response: CompletionResponse | EmbeddingResponse) -> None:
        """Note what a whole answer tells."""
        call.first_token_at = self._clock.monotonic()
        call.usage = response.usage
        call.warn(response.warnings)


def announce(provider: Provider, options: CallOptions) -> None:
    """Tell that something is sent, where the provider is somebody's own and does not tell it itself."""
    if options.sends is not None and not isinstance(provider, Relays):
        options.sends.sending()


def passing_wire(call: Call, question: Question, provider: Relays) -> Wire | None:
    """Return how to speak to a provider to whom bodies may go on as they come; None where they must be translated."""
    door, envelope = question.door, question.envelope
    wire = provider.wire(door.passes_to, _model(call), tools=envelope.tools, effort=envelope.effort)
    if wire.dialect.name != door.passes_to or not wire.quirks.passthrough:
        return None
    if holds_tags(question.body) or door.must_translate(question.body, wire.quirks):
        return None
    return wire


def _model(call: Call) -> str:
    return call.candidate.model if call.candidate else ""


def _spoken(question: Question, wire: Wire) -> Dialect:
    """Return the dialect in which a body passes: the wire's, or the door's where that is another way into it."""
    return wire.dialect if wire.dialect.name == question.door.name else question.door


def _weight(event: Event) -> int:
    """How much there is to keep of an event, roughly."""
    match event:
        case ThinkingDelta() | ToolArguments() | TextDelta(logprobs=None, citations=None):
            return _EVENT + len(event.text)
        case Failed() | UsageTold():
            return _EVENT
        case _:
            return len(msgspec.json.encode(event))


def _goes_on(watch: Watch) -> bool:
    """Whether what a watch lets on goes to the caller.

    Before a model has written anything a failure is the whole answer, with a status of its own.
    """
    return watch.failure is None or watch.content


def settled(told: Usage | None, characters: int, *, whole: bool) -> Usage | None:
    """Return what an answer used; an answer cut short is never free.

    Args:
        told: What the provider has counted; of an answer that is not whole it may be what was known at its beginning.
        characters: How much of it was passed on.
        whole: The answer came to its end.
    """
    if not characters or (whole and told is not None):
        return told
    guess = estimated(characters)
    if told is None:
        return guess
    if told.output_tokens >= guess.output_tokens:
        return told
    return msgspec.structs.replace(told, output_tokens=guess.output_tokens, estimated=True)


def estimated(characters: int) -> Usage:
    """Return the usage of an answer that nobody counted: four characters are about one token."""
    return Usage(output_tokens=-(-characters // 4), estimated=True)


async def aclose(stream: AsyncIterator[object]) -> None:
    """Close an iterator, if it is one that can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
