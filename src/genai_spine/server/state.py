"""What the routes of the control plane share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec
from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError

from genai_spine.assembly import Spine
from genai_spine.dialects.envelope import read_fields
from genai_spine.errors import InvalidFieldError, PermissionDeniedError
from genai_spine.gateway.context import Call
from genai_spine.identity.callers import Callers
from genai_spine.providers.base import Provider
from genai_spine.server.answers import new_request_id, timeout_of
from genai_spine.server.bodies import JSON_TYPES, read_body
from genai_spine.server.hangup import WhileThere
from genai_spine.server.underway import UnderWay
from genai_spine.types.principal import Allowance, Principal

__all__ = [
    "State",
    "allowance_of",
    "allowed_provider",
    "describe_body",
    "principal_of",
    "read_model",
    "request_id_of",
    "state_of",
    "while_there",
]

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

_EVERYTHING: Final = Allowance()
_USUAL: Final = msgspec.json.Decoder()
_EXACT: Final = msgspec.json.Decoder(float_hook=Decimal)


class State:
    """The objects behind the routes.

    Attributes:
        spine: The engine.
        callers: Who may come in.
        under_way: What is being answered.
    """

    def __init__(self, spine: Spine, callers: Callers, under_way: UnderWay) -> None:
        self.spine = spine
        self.callers = callers
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
    found: Principal = request.state.principal
    return found


def allowance_of(request: Request) -> Allowance:
    """Return which providers and models the sender of a request may use."""
    return principal_of(request).allowance or _EVERYTHING


def allowed_provider(request: Request, name: str) -> Provider:
    """Return a provider that the sender of a request may use.

    Raises:
        UnknownProviderError: There is none of this name.
        PermissionDeniedError: He may not use it.
    """
    provider = state_of(request).spine.registry.get(name)
    if not allowance_of(request).allows_provider(name):
        message = f"the API key may not use {name}"
        raise PermissionDeniedError(message, param="provider")
    return provider


async def read_model(request: Request, model: type[M], *, exact: bool = False) -> tuple[M, list[str]]:
    """Read a body into ``model``, and return also the names of fields that it does not know.

    Numbers with a point are decimals where it must be ``exact``, and floats elsewhere.

    Raises:
        InvalidRequestError: It is not a JSON object.
        InvalidFieldError: A field is missing or of the wrong type.
        PayloadTooLargeError: It is too long.
        UnsupportedMediaTypeError: It is of another content type.
    """
    limit = state_of(request).spine.settings.values.max_body_bytes
    fields = read_fields(await read_body(request.receive, request.headers, limit, JSON_TYPES))
    try:
        decoder = _EXACT if exact else _USUAL
        found = model.model_validate({name: decoder.decode(value) for name, value in fields.items()})
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
