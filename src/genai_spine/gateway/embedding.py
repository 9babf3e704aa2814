"""Vectors for texts, in one of two ways: passing the body through, or translating it."""

from __future__ import annotations

from typing import Final

import msgspec

from genai_spine.catalog.estimate import TOKENS_PER_IMAGE, estimate_embedding_tokens
from genai_spine.dialects.base import Envelope
from genai_spine.dialects.embeddings import EmbeddingDoor, Embeds, matched
from genai_spine.errors import InvalidFieldError, InvalidRequestError
from genai_spine.gateway.attempt import Attempt, announce
from genai_spine.gateway.context import Call
from genai_spine.providers.base import CallOptions, Provider, Relays, Wire
from genai_spine.routing.candidates import AUTO
from genai_spine.types.embedding import EmbeddingRequest, EmbeddingResponse
from genai_spine.types.usage import Usage

__all__ = ["EmbeddingQuestion", "answer_embedding", "embed"]

GUESSED: Final = "the number of tokens is a guess, the provider does not tell it"


class EmbeddingQuestion(msgspec.Struct, frozen=True):
    """A request as it came in at a door."""

    door: EmbeddingDoor
    envelope: Envelope
    body: bytes


async def answer_embedding(
    call: Call, question: EmbeddingQuestion, provider: Provider, options: CallOptions, attempt: Attempt
) -> bytes:
    """Return the answer in the caller's dialect.

    Raises:
        SpineError: There is none.
    """
    door = question.door
    _choose_model(call, question.envelope.model, provider)
    if isinstance(provider, Relays) and (wire := _passing_wire(call, door, provider)) is not None:
        target = provider.target(call.candidate.model if call.candidate else "", wire)
        body = await attempt.relay(call, door.relay_request(question.envelope, target), provider, wire, options)
        # Only where nobody counted the tokens must the body be looked into.
        call.usage = door.check_response(body, target) or _guess(call, _tokens(question))
        return body
    request = _addressed(call, door.decode_request(question.body))
    return door.encode_response(await _embed(call, request, provider, options, attempt), request)


async def embed(
    call: Call, request: EmbeddingRequest, provider: Provider, options: CallOptions, attempt: Attempt
) -> EmbeddingResponse:
    """Return a vector for each input.

    Raises:
        SpineError: There are none.
    """
    _choose_model(call, request.model, provider)
    return await _embed(call, _addressed(call, request), provider, options, attempt)


async def _embed(
    call: Call, request: EmbeddingRequest, provider: Provider, options: CallOptions, attempt: Attempt
) -> EmbeddingResponse:
    # A provider of the user's own is code that nobody here has seen.
    announce(provider, options)
    response = matched(await provider.embed(request, options), request)
    if response.usage is None:
        response = msgspec.structs.replace(response, usage=_guess(call, estimate_embedding_tokens(request)))
    attempt.note(call, response)
    return response


def _choose_model(call: Call, asked: str | None, provider: Provider) -> None:
    """Where the caller names no model, take the provider's own for embeddings: the candidate's is its one for chats.

    Raises:
        InvalidRequestError: It has none.
    """
    if asked not in {None, AUTO} or call.candidate is None:
        return
    if not provider.embedding_model:
        message = f"{provider.name} has no default model for embeddings; name one as the model"
        raise InvalidRequestError(message, param="model", provider=provider.name)
    call.candidate = msgspec.structs.replace(call.candidate, model=provider.embedding_model)


def _addressed(call: Call, request: EmbeddingRequest) -> EmbeddingRequest:
    return msgspec.structs.replace(request, model=call.candidate.model if call.candidate else request.model)


def _passing_wire(call: Call, door: EmbeddingDoor, provider: Relays) -> Wire | None:
    wire = provider.wire(None, call.candidate.model if call.candidate else "", tools=False, effort=None)
    dialect = wire.dialect
    speaks_it = isinstance(dialect, Embeds) and dialect.embeddings.name == door.name
    return wire if speaks_it and wire.quirks.passthrough else None


def _tokens(question: EmbeddingQuestion) -> int:
    try:
        return estimate_embedding_tokens(question.door.decode_request(question.body))
    except InvalidFieldError:
        # Where bodies pass, so does what the vocabulary has no words for: pictures and sounds.
        return TOKENS_PER_IMAGE


def _guess(call: Call, tokens: int) -> Usage:
    call.warn((GUESSED,))
    return Usage(input_tokens=tokens, estimated=True)
