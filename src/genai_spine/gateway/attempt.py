"""One call to one candidate, in one of two ways: passing the body through, or translating it.

Both yield bytes in the caller's dialect. What the call finds out is written into ``call`` as it goes, so that it is
there whatever the end; a ``finally`` here awaits no more than that its own generators end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import msgspec

from genai_spine.clock import Clock
from genai_spine.dialects.base import Dialect, Envelope, Reply, Watch
from genai_spine.errors import MalformedResponseError, SpineError
from genai_spine.gateway.context import Call
from genai_spine.providers.base import CallOptions, Provider, Relays
from genai_spine.types.completion import CompletionRequest, CompletionResponse
from genai_spine.types.stream import Event, Failed, Start, TextDelta, ThinkingDelta, ToolArguments, UsageTold
from genai_spine.types.usage import Usage

__all__ = ["Attempt", "Question"]

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


class Attempt:
    """Makes calls."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    # Bytes in, bytes out.

    async def answer(self, call: Call, question: Question, provider: Provider) -> bytes:
        """Return the whole answer in the caller's dialect.

        Raises:
            SpineError: There is none.
        """
        options = self._begin(call)
        if isinstance(provider, Relays) and passes_through(question, provider):
            return await self._relay(call, question, provider, options)
        response = await provider.complete(self._translated(call, question), options)
        self._note(call, response)
        return question.door.encode_response(response, self._reply(call, question))

    def stream(self, call: Call, question: Question, provider: Provider) -> AsyncGenerator[bytes, None]:
        """Yield the answer in the caller's dialect, as it comes.

        Raises:
            SpineError: There is none, or it broke off.
        """
        options = self._begin(call)
        if isinstance(provider, Relays) and passes_through(question, provider):
            return self._relay_stream(call, question, provider, options)
        return self._translate_stream(call, question, provider, options)

    async def _relay(self, call: Call, question: Question, provider: Relays, options: CallOptions) -> bytes:
        model = call.candidate.model if call.candidate else ""
        dialect = _spoken(question, provider)
        encoded = dialect.relay_request(question.envelope, provider.target(model))
        call.warn(encoded.warnings)
        call.passthrough = True
        incoming = await provider.open(encoded, options, stream=False)
        try:
            body = await incoming.read(MAX_ANSWER_BYTES)
        finally:
            incoming.close()
        call.usage, _ = dialect.check_response(body, provider.quirks)
        call.first_token_at = self._clock.monotonic()
        return body

    async def _relay_stream(
        self, call: Call, question: Question, provider: Relays, options: CallOptions
    ) -> AsyncGenerator[bytes, None]:
        model = call.candidate.model if call.candidate else ""
        dialect = _spoken(question, provider)
        encoded = dialect.relay_request(question.envelope, provider.target(model))
        call.warn(encoded.warnings)
        call.passthrough = True
        incoming = await provider.open(encoded, options, stream=True)
        watch = dialect.watch(question.envelope, provider.quirks)
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
            # What was passed on and never counted is estimated, so that a stream cut short is not free.
            call.usage = watch.usage or (estimated(watch.characters) if watch.characters else None)

    async def _translate_stream(
        self, call: Call, question: Question, provider: Provider, options: CallOptions
    ) -> AsyncGenerator[bytes, None]:
        encoder = question.door.stream_encoder(self._reply(call, question))
        events = self.events(call, self._translated(call, question), provider, options)
        try:
            async for event in events:
                if data := encoder.encode(event):
                    yield data
        finally:
            # What was used is known once this has ended, and the record is written right after.
            await aclose(events)
        if data := encoder.end():
            yield data

    def _translated(self, call: Call, question: Question) -> CompletionRequest:
        request = question.door.decode_request(question.body)
        return msgspec.structs.replace(request, model=call.candidate.model if call.candidate else request.model)

    def _reply(self, call: Call, question: Question) -> Reply:
        return Reply(
            model=call.candidate.model if call.candidate else "",
            request_id=call.request_id,
            now=int(self._clock.now()),
            wants_usage=question.envelope.wants_usage,
        )

    # The vocabulary in, the vocabulary out.

    async def complete(self, call: Call, request: CompletionRequest, provider: Provider) -> CompletionResponse:
        """Return the whole answer.

        Raises:
            SpineError: There is none.
        """
        response = await provider.complete(request, self._begin(call))
        self._note(call, response)
        return response

    async def events(
        self, call: Call, request: CompletionRequest, provider: Provider, options: CallOptions | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of an answer.

        Raises:
            SpineError: There is none, or it broke off.
        """
        stream = provider.stream_complete(request, options or self._begin(call))
        characters = kept = 0
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
                elif isinstance(event, Start):
                    call.warn(event.warnings)
                elif isinstance(event, Failed):
                    raise event.error
                yield event
        finally:
            if call.usage is None and characters:
                call.usage = estimated(characters)
            # The provider's generator holds the connection: it must end now, not when it is collected.
            await aclose(stream)

    def _begin(self, call: Call) -> CallOptions:
        call.attempts += 1
        left = None if call.seconds is None else max(0.001, call.started + call.seconds - self._clock.monotonic())
        return CallOptions(seconds=left)

    def _note(self, call: Call, response: CompletionResponse) -> None:
        call.first_token_at = self._clock.monotonic()
        call.usage = response.usage
        call.warn(response.warnings)


def passes_through(question: Question, provider: Relays) -> bool:
    """Return whether caller and provider speak one dialect closely enough for bodies to go on as they come."""
    quirks = provider.quirks
    return (
        provider.dialect.name == question.door.passes_to
        and quirks.passthrough
        and not question.door.must_translate(question.body, quirks)
    )


def _spoken(question: Question, provider: Relays) -> Dialect:
    """Return the dialect in which a body passes: the provider's, or the door's where that is another way into it."""
    return provider.dialect if provider.dialect.name == question.door.name else question.door


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


def estimated(characters: int) -> Usage:
    """Return the usage of an answer that nobody counted: four characters are about one token."""
    return Usage(output_tokens=-(-characters // 4), estimated=True)


async def aclose(stream: AsyncIterator[object]) -> None:
    """Close an iterator, if it is one that can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
