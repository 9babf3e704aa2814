"""How many tokens a request has: asked of a provider who can tell, else guessed."""

from __future__ import annotations

from typing import Final

import msgspec

from genai_spine.catalog.estimate import estimate_input_tokens
from genai_spine.dialects.base import CountsTokens
from genai_spine.gateway.attempt import Attempt, Question, passing_wire
from genai_spine.gateway.context import Call
from genai_spine.gateway.seals import Seals, origin_of
from genai_spine.providers.base import CallOptions, Provider, Relays
from genai_spine.types.completion import CompletionRequest

__all__ = ["count_tokens"]

MAX_COUNT_BYTES: Final = 1024 * 1024
GUESSED: Final = "the number of tokens is a guess, the provider cannot count them"


async def count_tokens(
    call: Call, question: Question, provider: Provider, options: CallOptions, seals: Seals, attempt: Attempt
) -> int:
    """Return the number of input tokens; a guess is noted in the call's warnings.

    Raises:
        SpineError: The provider failed, or the request is wrong.
    """
    model = call.candidate.model if call.candidate else ""
    decoded = msgspec.structs.replace(question.door.decode_request(question.body), model=model)
    request = seals.opened(decoded, origin_of(provider, model, options))
    if not isinstance(provider, Relays):
        return _guess(call, request)
    passing = passing_wire(call, question, provider)
    wire = passing or provider.wire_for(request)
    if not isinstance(dialect := wire.dialect, CountsTokens):
        return _guess(call, request)
    target = provider.target(model, wire)
    if passing:
        encoded = dialect.relay_count_request(question.envelope, target)
    else:
        encoded = dialect.encode_count_request(await attempt.filled(call, request, provider), target)
    call.warn(encoded.warnings)
    incoming = await provider.open(wire, encoded, options, stream=False)
    try:
        return dialect.decode_token_count(await incoming.read(MAX_COUNT_BYTES))
    finally:
        incoming.close()


def _guess(call: Call, request: CompletionRequest) -> int:
    call.warn((GUESSED,))
    return estimate_input_tokens(request)
