"""OpenAI's retired Completions: requests, read."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from genai_spine.dialects.base import Envelope, Headers
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, without_own
from genai_spine.dialects.fields import Fields, request_object
from genai_spine.errors import InvalidFieldError
from genai_spine.types.completion import CompletionRequest
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text

__all__ = ["NAME", "PATH", "decode_request", "read_envelope"]

NAME: Final = "openai_completions"
PATH: Final = "/completions"


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    prompt: str | list[str | int | list[int]]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None


_head: Final = msgspec.json.Decoder(_Head)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs; see ``Dialect.read_envelope``."""
    fields = read_fields(body)
    head = read_typed(_head, body)
    if not head.prompt:
        message = "prompt: is required and must not be empty"
        raise InvalidFieldError(message, param="prompt")
    options = head.stream_options
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        stream=head.stream or False,
        max_tokens=head.max_tokens,
        wants_usage=bool(options and options.include_usage),
    )


def decode_request(body: bytes) -> CompletionRequest:
    """Read a request: one turn of the user's."""
    fields = request_object(body)
    stream = fields.flag("stream") or False
    options = fields.child("stream_options")
    stream_usage = (options.flag("include_usage") or False) if options else False
    alternatives = fields.integer("logprobs")
    count = fields.integer("n")
    _forget_defaults(fields, count or 1)
    return CompletionRequest(
        messages=(Message(role="user", parts=(Text(text=_prompt(fields)),)),),
        model=fields.text("model"),
        max_tokens=fields.integer("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        stop=fields.texts("stop"),
        seed=fields.integer("seed"),
        presence_penalty=fields.number("presence_penalty"),
        frequency_penalty=fields.number("frequency_penalty"),
        n=count,
        logprobs=None if alternatives is None else True,
        top_logprobs=alternatives or None,
        user=fields.text("user"),
        stream=stream,
        stream_usage=stream and stream_usage,
        dialect=NAME,
        extras=without_own(fields.told()) | _left(options),
    )


def _left(options: Fields | None) -> JsonObject:
    left = options.told() if options else {}
    return {"stream_options": left} if left else {}


def _prompt(fields: Fields) -> str:
    """Take ``prompt``: one text, alone or in a list."""
    value = fields.take("prompt")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and value:
        return value
    advice = "is required and must be one text; send several prompts one by one, and token ids as words"
    fault = fields.wrong("prompt", advice)
    raise fault


def _forget_defaults(fields: Fields, count: int) -> None:
    """Take fields that ask for nothing: their loss on the way to another dialect is none."""
    for name in ("echo", "suffix"):
        if not fields.peek(name):
            fields.take(name)
    if fields.peek("best_of") == count:
        # As many as are wanted: there is nothing to choose from.
        fields.take("best_of")
