"""Gemini: requests, read and written.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import Encoded, Target
from genai_spine.dialects.envelope import without_own
from genai_spine.dialects.fields import Fields, dump
from genai_spine.dialects.foreign import without_foreign
from genai_spine.dialects.gemini.config import decode_config, encode_config
from genai_spine.dialects.gemini.parts import children, decode_part
from genai_spine.dialects.gemini.tools import decode_tool_choice, decode_tools, encode_tool_choice, encode_tools
from genai_spine.dialects.gemini.turns import Turns, decode_contents
from genai_spine.dialects.gemini.wire import COUNT, GENERATE, NAME, STREAM, merge, method_path, read_request
from genai_spine.dialects.losses import Losses
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Part

__all__ = ["count_body", "decode_request", "encode_count_request", "encode_request"]

_ROLES: Final = frozenset({"user", "assistant"})
# Of a request, what a count of its tokens has no use for.
_UNCOUNTED: Final = ("generationConfig", "safetySettings", "serviceTier", "store")


# Reading.


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request; see ``Dialect.decode_request``. The path, not the body, tells whether it is to be streamed."""
    fields = read_request(body)
    messages = decode_contents(fields)
    if not messages:
        message = "is required and must hold at least one content"
        fault = fields.wrong("contents", message)
        raise fault
    config = decode_config(fields)
    return CompletionRequest(
        messages=messages,
        model=fields.text("model"),
        system=_decode_system(fields),
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        stop=config.stop,
        seed=config.seed,
        presence_penalty=config.presence_penalty,
        frequency_penalty=config.frequency_penalty,
        n=config.n,
        logprobs=config.logprobs,
        top_logprobs=config.top_logprobs,
        tools=decode_tools(fields),
        tool_choice=decode_tool_choice(fields),
        output_schema=config.output_schema,
        reasoning=config.reasoning,
        dialect=NAME,
        extras=without_own(fields.told()),
    )


def _decode_system(fields: Fields) -> tuple[Part, ...]:
    """Take ``systemInstruction``; its role says nothing."""
    system = fields.child("systemInstruction")
    return () if system is None else tuple(decode_part(part) for part in children(system, "parts"))


# Writing.


def encode_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write a request; see ``Dialect.encode_request``."""
    losses = Losses(target.provider)
    body = _encode_body(request, target, losses)
    method = STREAM if request.stream else GENERATE
    return Encoded(method_path(target.model, method), dump(body), {}, losses.warnings)


def encode_count_request(request: CompletionRequest, target: Target) -> Encoded:
    """Write the question how many tokens a request has."""
    losses = Losses(target.provider)
    body = _encode_body(request, target, losses)
    for name in _UNCOUNTED:
        body.pop(name, None)
    return Encoded(method_path(target.model, COUNT), dump(count_body(body, target.model)), {}, losses.warnings)


def count_body(body: JsonObject, model: str) -> JsonObject:
    """Return the question for a body: the service counts instructions and tools only of a request that it is handed."""
    if set(body) == {"contents"}:
        return body
    name = model if "/" in model else f"models/{model}"
    return {"generateContentRequest": {"model": name, **body}}


def _encode_body(request: CompletionRequest, target: Target, losses: Losses) -> JsonObject:
    request = without_foreign(request, NAME, losses)
    # A gateway may have put turns of other kinds into a request that came in this dialect.
    native = request.dialect == NAME and all(message.role in _ROLES for message in request.messages)
    own = request.dialect in {None, NAME}
    turns = Turns(request, target, losses, own=own, native=native)
    system = turns.instruction()
    body: JsonObject = {"contents": turns.contents()}
    if system is not None:
        body["systemInstruction"] = system
    if tools := encode_tools(request, losses, own=own):
        body["tools"] = tools
    if (choice := encode_tool_choice(request, losses, native=native)) is not None:
        body["toolConfig"] = choice
    if config := encode_config(request, target, losses, native=native):
        body["generationConfig"] = config
    merge(body, losses.extras(request, NAME))
    return losses.suited(body, target.quirks)
