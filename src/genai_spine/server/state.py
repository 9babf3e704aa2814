"""What the routes of the control plane share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError

from genai_spine.assembly import Spine
from genai_spine.dialects.envelope import read_fields
from genai_spine.errors import InvalidFieldError
from genai_spine.gateway.context import Call
from genai_spine.identity.api_keys import KeyRing, presented_key
from genai_spine.server.answers import new_request_id, timeout_of
from genai_spine.server.bodies import JSON_TYPES, read_body
from genai_spine.server.hangup import WhileThere
from genai_spine.server.underway import UnderWay
from genai_spine.types.principal import ANYBODY, Principal

__all__ = [
    "State",
    "describe_body",
    "principal_of",
    "read_model",
    "request_id_of",
    "require_key",
    "state_of",
    "while_there",
]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class State:
    """The objects behind the routes.

    Attributes:
        spine: The engine.
        keys: The keys of callers.
        under_way: What is being answered.
    """

    def __init__(self, spine: Spine, keys: KeyRing, under_way: UnderWay) -> None:
        self.spine = spine
        self.keys = keys
        self.under_way = under_way

    def new_call(self, request: Request, door: str) -> Call:
        """Return the context of a request that came in at a route of the control plane."""
        return Call(
            request_id=request_id_of(request),
            door=door,
            started=self.spine.clock.monotonic(),
            principal=principal_of(request),
            seconds=timeout_of(request.headers),
        )


def state_of(request: Request) -> State:
    """Return the objects behind the routes of the application that serves ``request``."""
    app: FastAPI = request.app
    state: State = app.state.spine
    return state


def request_id_of(request: Request) -> str:
    """Return the request's id, the same each time."""
    found: str | None = getattr(request.state, "request_id", None)
    if found is None:
        found = request.state.request_id = new_request_id(request.headers)
    return found


def principal_of(request: Request) -> Principal:
    """Return who sent a request that was let in."""
    found: Principal = getattr(request.state, "principal", ANYBODY)
    return found


async def require_key(request: Request) -> None:
    """Let a request in that presents a good key.

    Raises:
        AuthenticationError: It presents none.
    """
    request.state.principal = state_of(request).keys.admit(presented_key(request.headers, request.url.query))


async def read_model(request: Request, model: type[M]) -> tuple[M, list[str]]:
    """Read a body into ``model``, and return also the names of fields that it does not know.

    Raises:
        InvalidRequestError: It is not a JSON object.
        InvalidFieldError: A field is missing or of the wrong type.
        PayloadTooLargeError: It is too long.
        UnsupportedMediaTypeError: It is of another content type.
    """
    limit = state_of(request).spine.settings.values.max_body_bytes
    fields = read_fields(await read_body(request.receive, request.headers, limit, JSON_TYPES))
    try:
        found = model.model_validate({name: msgspec.json.decode(value) for name, value in fields.items()})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(step) for step in first["loc"])
        message = f"{param}: {first['msg']}"
        raise InvalidFieldError(message, param=param) from error
    return found, sorted(set(fields) - set(model.model_fields))


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body that ``read_model`` reads."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def while_there(request: Request, call: Call, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do the ``work`` of a call while its caller stays.

    Raises:
        HungUp: He has gone.
    """
    with state_of(request).under_way.answering(call):
        async with WhileThere(request.receive):
            return await work()
