"""Ollama passing through: the body with few fields changed, the answer read from the side.

What is decoded here is only what must be known; msgspec skips the rest, which is what makes passing through cheap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from typing_extensions import override

from genai_spine.dialects.base import Encoded, Envelope, Headers, Quirks, Target, Watch
from genai_spine.dialects.envelope import read_fields, read_typed, read_wishes, splice, told_in
from genai_spine.dialects.fields import glimpse, response_object
from genai_spine.dialects.losses import Losses
from genai_spine.dialects.ndjson import Lines
from genai_spine.dialects.ollama.errors import interrupted, told_inside
from genai_spine.dialects.ollama.response import decode_finish_reason, decode_response
from genai_spine.dialects.ollama.stream import last_line
from genai_spine.errors import InvalidFieldError, MalformedResponseError
from genai_spine.types.completion import FinishReason
from genai_spine.types.usage import Usage

__all__ = ["OllamaWatch", "check_response", "read_envelope", "read_generate_envelope", "relay_request"]


class _Turn(Struct):
    role: str


class _Options(Struct):
    num_predict: float | None = None  # an integer, which may be written as 3.0
    temperature: float | None = None
    top_p: float | None = None


class _Head(Struct):
    """The fields of a request whose types are checked before anything is sent."""

    model: str | None = None
    stream: bool | None = None
    options: _Options | None = None
    tools: list[dict[str, Raw]] | None = None
    images: list[str] | None = None


class _ChatHead(_Head):
    messages: list[_Turn] | None = None


class _GenerateHead(_Head):
    prompt: str | None = None
    system: str | None = None


_chat_head: Final = msgspec.json.Decoder(_ChatHead)
_generate_head: Final = msgspec.json.Decoder(_GenerateHead)


def read_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs of a request to ``/api/chat``; see ``Dialect.read_envelope``."""
    fields = read_fields(body)
    head = read_typed(_chat_head, body)
    if not head.messages:
        message = "messages: must hold at least one message"
        raise InvalidFieldError(message, param="messages")
    return _envelope(fields, head, headers)


def read_generate_envelope(body: bytes, headers: Headers) -> Envelope:
    """Read what routing needs of a request to ``/api/generate``."""
    fields = read_fields(body)
    head = read_typed(_generate_head, body)
    if not head.prompt:
        message = "prompt: is required and must not be empty"
        raise InvalidFieldError(message, param="prompt")
    return _envelope(fields, head, headers)


def _envelope(fields: dict[str, Raw], head: _Head, headers: Headers) -> Envelope:
    return Envelope(
        fields=fields,
        model=head.model,
        wishes=read_wishes(fields, headers),
        # Who does not say wants a stream.
        stream=head.stream is not False,
        tools=bool(head.tools),
        images=bool(head.images) or told_in(fields, "messages", b'"images"'),
        schema=told_in(fields, "format", b"{"),
        max_tokens=_limit(head.options),
        # Usage is part of every last line.
        wants_usage=True,
    )


def _limit(options: _Options | None) -> int | None:
    """The limit of an answer; below nothing it is Ollama's word for none."""
    limit = options.num_predict if options else None
    return int(limit) if limit is not None and limit > 0 else None


def relay_request(envelope: Envelope, target: Target, path: str) -> Encoded:
    """Write the request as it came; see ``Dialect.relay_request``."""
    losses = Losses(target.provider)
    fields = losses.suited(envelope.fields, target.quirks)
    return Encoded(path, splice(fields, target.model), {}, losses.warnings)


class _WatchedMessage(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Raw] | None = None


class _WatchedLine(Struct):
    """A line or a whole answer; ``/api/chat`` says in ``message`` what ``/api/generate`` says without one."""

    message: _WatchedMessage | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Raw | UnsetType = UNSET


_line: Final = msgspec.json.Decoder(_WatchedLine)


def _usage(line: _WatchedLine) -> Usage | None:
    if line.prompt_eval_count is None and line.eval_count is None:
        return None
    return Usage(input_tokens=line.prompt_eval_count or 0, output_tokens=line.eval_count or 0)


class OllamaWatch(Watch):
    """Reads a stream of lines that passes through."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__()
        self._quirks = quirks
        self._lines = Lines()
        self._calls = False

    @override
    def _read(self, data: bytes, out: list[bytes]) -> None:
        for raw in self._lines.feed(data):
            if self.over:
                break
            self._look(raw)
            out.append(raw + b"\n")

    @override
    def _end(self, out: list[bytes]) -> None:
        if last_line(self._lines.tail) is not None:
            self._read(b"\n", out)
        if not self.over:
            raise interrupted()

    def _look(self, raw: bytes) -> None:
        try:
            line = _line.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"the provider's stream holds a line that is malformed: {error}"
            raise MalformedResponseError(message) from error
        if line.error is not UNSET and (failure := told_inside(response_object(raw), self._quirks)) is not None:
            raise failure
        said = line.message or _WatchedMessage(content=line.response, thinking=line.thinking)
        if text := said.content:
            self.content = True
            self.characters += len(text)
        if said.thinking:
            self.content = True
            self.characters += len(said.thinking)
        if said.tool_calls:
            self.content = self._calls = True
            self.characters += sum(map(len, map(bytes, said.tool_calls))) // 2
        if line.done:
            self.finish_reason = decode_finish_reason(line.done_reason, self._quirks, with_calls=self._calls)
            self.usage = _usage(line)
            self.over = True


def check_response(body: bytes, quirks: Quirks) -> tuple[Usage | None, FinishReason]:
    """Read an answer from the side; see ``Dialect.check_response``."""
    found = glimpse(_line, body)
    unlike = found is None or not found.done or found.error is not UNSET
    if found is None or unlike or (found.message is None and found.response is None):
        # Not what a good answer looks like: the full reader finds out what is wrong with it.
        whole = decode_response(body, quirks)
        return whole.usage, whole.finish_reason
    with_calls = found.message is not None and bool(found.message.tool_calls)
    return _usage(found), decode_finish_reason(found.done_reason, quirks, with_calls=with_calls)
