"""What came through the doors of OpenAI and Anthropic, held against the models that their packages are published with.

The packages themselves read leniently: what is missing is absent and what is unknown is kept. Here a required field
that is missing, a field that a model does not declare, and a value of another type than the declared one are each a
fault.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import httpx2
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from msgspec import Struct
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.shared import ErrorObject
from pydantic import BaseModel
from typing_extensions import override

__all__ = ["Heard", "faults", "faults_of", "overhear"]

_ANSWERS: Final[Mapping[str, tuple[Any, Any]]] = {  # Any: an annotation
    "/v1/chat/completions": (ChatCompletion, ChatCompletionChunk),
    "/v1/completions": (Completion, Completion),
    "/v1/responses": (Response, ResponseStreamEvent),
    "/v1/messages": (Message, RawMessageStreamEvent),
}
"""By door, what a whole answer and an event of a stream are."""

_BESIDE: Final[Mapping[str, frozenset[str]]] = {
    # Services without number tell it so, and clients read it: it has no other place.
    "chat_completion_message.ChatCompletionMessage": frozenset({"reasoning_content"}),
    "chat_completion_chunk.ChoiceDelta": frozenset({"reasoning_content"}),
    # The package raises on nothing else.
    "response_error_event.ResponseErrorEvent": frozenset({"error"}),
    # The service itself tells them here as in whole answers.
    "response_text_delta_event.Logprob": frozenset({"bytes"}),
    "response_text_delta_event.LogprobTopLogprob": frozenset({"bytes"}),
    "response_text_done_event.Logprob": frozenset({"bytes"}),
    "response_text_done_event.LogprobTopLogprob": frozenset({"bytes"}),
}
"""What may stand in an answer though the model does not declare it."""

_ERRORS: Final = frozenset({"code", "param", "provider", "request_id"})
"""The gateway's own fields of errors, told in docs/errors.md."""

_NULL: Final = frozenset({("CompletionChoice", "finish_reason")})
"""What is null before the last piece of a stream, though the one model for answers and pieces does not tell."""


class Heard(Struct):
    """An answer as it came: to which path, with which status and headers, and its body as far as it was read."""

    path: str
    status: int
    headers: Mapping[str, str]
    body: bytearray


class _Copied(httpx2.AsyncByteStream):
    """A body that is copied while it is read."""

    def __init__(self, inner: httpx2.AsyncByteStream, copy: bytearray) -> None:
        self._inner = inner
        self._copy = copy

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._inner:
            self._copy += data
            yield data

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


def overhear(heard: list[Heard]) -> dict[str, list[Callable[[httpx2.Response], Awaitable[None]]]]:
    """Return hooks for a package's HTTP client that copy all it is answered."""

    async def copy(response: httpx2.Response) -> None:
        one = Heard(response.request.url.path, response.status_code, response.headers, bytearray())
        heard.append(one)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Copied(response.stream, one.body)

    return {"response": [copy]}


def faults_of(heard: Heard) -> list[str]:
    """Return what is wrong with an answer."""
    whole, event = _ANSWERS[heard.path]
    if "text/event-stream" not in heard.headers["content-type"]:
        value = json.loads(bytes(heard.body))
        kind = whole if heard.status < 400 else None
        return list(_told(kind, value, heard.path))
    found: list[str] = []
    for frame in bytes(heard.body).decode().split("\n\n"):
        lines = [line for line in frame.splitlines() if not line.startswith(":")]
        data = "\n".join(line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        if not data or data == "[DONE]":
            continue
        value = json.loads(data)
        name = next((line.removeprefix("event: ") for line in lines if line.startswith("event: ")), None)
        if name != value.get("type"):
            found.append(f"an event named {name} is told to be {value.get('type')}")
        if value.get("type") != "ping":
            failed = value.get("type") == "error" or "error" in value
            found += _told(None if failed else event, value, heard.path)
    return found


def _told(kind: Any, value: dict[str, Any], path: str) -> Iterator[str]:  # Any: an annotation
    """The faults of an answer, an event, or an error (whose kind is None)."""
    if kind is not None:
        yield from faults(kind, value)
    elif path == "/v1/messages":
        yield from faults(ErrorResponse, value)
    elif path == "/v1/responses" and "sequence_number" in value:
        yield from faults(ResponseStreamEvent, value)
    else:
        told = {name: inner for name, inner in value["error"].items() if name not in _ERRORS - {"code", "param"}}
        yield from faults(ErrorObject, told, "error")
        yield from (f"{name}: unknown beside an error" for name in value.keys() - {"error"})


def faults(kind: Any, value: Any, where: str = "") -> Iterator[str]:  # Any: an annotation, and JSON
    """Yield what is wrong with a value, held against the type that a model declares for it."""
    origin = get_origin(kind)
    if kind is Any or kind is object:
        return
    if origin is Annotated:
        yield from faults(get_args(kind)[0], value, where)
    elif origin in {Union, UnionType}:
        yield from _of_union(get_args(kind), value, where)
    elif origin is Literal:
        if value not in get_args(kind):
            yield f"{where}: {value!r} is none of {get_args(kind)}"
    elif origin is list:
        yield from _of_list(get_args(kind)[0], value, where)
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{where}: no object"
        else:
            for name, inner in value.items():
                yield from faults(get_args(kind)[1], inner, f"{where}.{name}")
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _of_model(kind, value, where)
    elif not _is_plain(kind, value):
        yield f"{where}: {value!r} is no {kind}"


def _of_list(kind: Any, value: Any, where: str) -> Iterator[str]:  # Any: as above
    if not isinstance(value, list):
        yield f"{where}: no list"
        return
    for number, inner in enumerate(value):
        yield from faults(kind, inner, f"{where}[{number}]")


def _is_plain(kind: Any, value: Any) -> bool:  # Any: as above
    if kind is NoneType or kind is None:
        return value is None
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _of_union(kinds: tuple[Any, ...], value: Any, where: str) -> Iterator[str]:  # Any: as above
    """The faults by the kind that fits best: the one whose ``type`` is the value's own, else that with the fewest."""
    named = [kind for kind in kinds if _names(kind, value)]
    tried = [list(faults(kind, value, where)) for kind in named or kinds]
    yield from min(tried, key=len)


def _names(kind: Any, value: Any) -> bool:  # Any: as above
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict)):
        return False
    field = kind.model_fields.get("type")
    return field is not None and "type" in value and value["type"] in get_args(field.annotation)


def _of_model(kind: type[BaseModel], value: Any, where: str) -> Iterator[str]:  # Any: as above
    if not isinstance(value, dict):
        yield f"{where}: no object"
        return
    left = set(value)
    for name, field in kind.model_fields.items():
        told = field.alias or name
        left.discard(told)
        if told in value and (value[told] is not None or (kind.__name__, name) not in _NULL):
            yield from faults(field.annotation, value[told], f"{where}.{told}")
        elif told not in value and field.is_required():
            yield f"{where}.{told}: required, and missing"
    named = f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"
    beside = _ERRORS if kind.__module__.startswith("anthropic.types.shared") else frozenset()
    for name in sorted(left - _BESIDE.get(named, beside)):
        yield f"{where}.{name}: {kind.__name__} declares no such field"
