"""Errors of the control plane, in OpenAI's shape; the doors of the hot routes speak their own dialects."""

from __future__ import annotations

import difflib

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from genai_spine.dialects.base import Dialect
from genai_spine.dialects.embeddings import EmbeddingDoor
from genai_spine.dialects.openai_errors import encode_error
from genai_spine.errors import InvalidFieldError, InvalidRequestError, NotFoundError, SpineError
from genai_spine.gateway.context import CLIENT_GONE
from genai_spine.server.answers import error_headers
from genai_spine.server.dataplane import ROUTES, route_for
from genai_spine.server.hangup import HungUp
from genai_spine.server.state import request_id_of
from genai_spine.telemetry.logging import logger

__all__ = ["install", "speak"]


def speak(request: Request, dialect: Dialect | EmbeddingDoor) -> None:
    """Have the errors of ``request`` told in ``dialect``."""
    request.state.dialect = dialect


def install(app: FastAPI) -> None:
    """Install the handlers of errors."""

    @app.exception_handler(SpineError)
    async def spine_error(request: Request, error: Exception) -> Response:
        return _answer(request, error if isinstance(error, SpineError) else _fault())

    @app.exception_handler(HungUp)
    async def hung_up(request: Request, error: Exception) -> Response:  # noqa: ARG001  # the framework hands both in
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 404 and (route := route_for(request.url.path, b"")) is not None:
            # Only POST on a hot route gets past this plane.
            speak(request, route.door)
            status = 405
        if status == 404:
            return _answer(request, _no_route(request))
        if status == 405:
            wrong = InvalidRequestError(f"{request.url.path} does not take {request.method}", code="method_not_allowed")
            answer = _answer(request, wrong)
            answer.status_code = 405
            return answer
        return _answer(request, InvalidRequestError(f"the request was refused with status {status}"))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Exception) -> Response:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
        param = ".".join(str(step) for step in first["loc"][1:])
        return _answer(request, InvalidFieldError(f"{param}: {first['msg']}", param=param))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        logger.error("internal error", request_id=request_id_of(request), path=request.url.path, exc_info=error)
        return _answer(request, _fault())


def _fault() -> SpineError:
    return SpineError("the gateway failed; its log tells more under this request id")


def _no_route(request: Request) -> NotFoundError:
    path = request.url.path
    app: FastAPI = request.app
    known = [*ROUTES, *(getattr(route, "path", "") for route in app.routes)]
    near = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else "; /docs lists the routes"
    return NotFoundError(f"there is no route {path}{hint}")


def _answer(request: Request, error: SpineError) -> Response:
    request_id = request_id_of(request)
    dialect: Dialect | EmbeddingDoor | None = getattr(request.state, "dialect", None)
    answer = dialect.encode_error(error, request_id) if dialect else encode_error(error, request_id)
    response = Response(answer.body, answer.status, media_type="application/json")
    response.headers["x-request-id"] = request_id
    for name, value in error_headers(error):
        response.headers[name.decode()] = value.decode("latin-1")
    return response
