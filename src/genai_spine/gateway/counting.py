"""How many tokens a request has: asked of a provider who can tell, else guessed."""

from __future__ import annotations

from typing import Final

import msgspec

from genai_spine.catalog.estimate import estimate_input_tokens
from genai_spine.dialects.base import CountsTokens
from genai_spine.gateway.attempt import Attempt, Question, passes_through
from genai_spine.gateway.context import Call
from genai_spine.providers.base import CallOptions, Provider, Relays

__all__ = ["count_tokens"]

MAX_COUNT_BYTES: Final = 1024 * 1024
GUESSED: Final = "the number of tokens is a guess, the provider cannot count them"


async def count_tokens(call: Call, question: Question, provider: Provider, attempt: Attempt) -> int:
    """Return the number of input tokens; a guess is noted in the call's warnings.

    Raises:
        SpineError: The provider failed, or the request is wrong.
    """
    model = call.candidate.model if call.candidate else ""
    request = msgspec.structs.replace(question.door.decode_request(question.body), model=model)
    if not isinstance(provider, Relays) or not isinstance(dialect := provider.dialect, CountsTokens):
        call.warn((GUESSED,))
        return estimate_input_tokens(request)
    target = provider.target(model)
    if passes_through(question, provider):
        encoded = dialect.relay_count_request(question.envelope, target)
    else:
        encoded = dialect.encode_count_request(await attempt.filled(call, request, provider), target)
    call.warn(encoded.warnings)
    call.attempts += 1
    incoming = await provider.open(encoded, CallOptions(seconds=call.seconds), stream=False)
    try:
        return dialect.decode_token_count(await incoming.read(MAX_COUNT_BYTES))
    finally:
        incoming.close()
