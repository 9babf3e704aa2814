"""The application: both planes side by side, in reading order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

from genai_spine import __version__
from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing
from genai_spine.identity.callers import Callers
from genai_spine.quota.operator import budgets_in, rates_in
from genai_spine.server import docs, errors
from genai_spine.server.answers import id_headers
from genai_spine.server.dataplane import DataPlane, route_for
from genai_spine.server.routes import (
    audit,
    budgets,
    catalogue,
    configuration,
    counts,
    generate,
    health,
    keys,
    pricing,
    probes,
    providers,
    responses,
    routing,
    usage,
    users,
)
from genai_spine.server.rules import Rules, include
from genai_spine.server.state import State, request_id_of
from genai_spine.server.underway import UnderWay
from genai_spine.storage.sql.identities import TOPIC

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["create_app"]


_ROUTES: Final = (
    probes,
    catalogue,
    providers,
    health,
    configuration,
    pricing,
    generate,
    counts,
    responses,
    routing,
    usage,
    audit,
    keys,
    users,
    budgets,
)


def create_app(spine: Spine, ring: KeyRing, under_way: UnderWay | None = None) -> ASGIApp:
    """Return the gateway as an ASGI application. Its lifespan starts and closes ``spine``.

    Args:
        spine: The engine.
        ring: The keys of the environment.
        under_way: Is told of the requests that are being answered, for who wants to stop in good order.
    """
    if under_way is None:
        under_way = UnderWay()
    values = spine.settings.values
    callers = Callers(
        ring,
        spine.office,
        limits=lambda: budgets_in(spine.settings.values),
        rates=lambda key: rates_in(spine.settings.values, key),
    )
    spine.watcher.on(TOPIC, callers.refresh)
    control = _control_plane(State(spine, callers, under_way))
    data = DataPlane(spine.gateway, callers, under_way, max_body_bytes=values.max_body_bytes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        hot = scope["type"] == "http" and scope["method"] == "POST"
        if hot and (route := route_for(scope["path"], scope["query_string"])) is not None:
            await data(route, scope, receive, send)
        elif scope["type"] == "http":
            await control(scope, receive, _identified(scope, send))
        else:
            await control(scope, receive, send)

    origins = spine.settings.values.cors_origins
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["x-request-id", "x-spine-provider", "x-spine-model", "x-spine-cost-usd", "x-spine-warnings"],
    )


def _identified(scope: Scope, send: Send) -> Send:
    """Return ``send``, adding the request's id to the headers of an answer where they do not bear it yet."""
    own = id_headers(request_id_of(Request(scope)))

    async def send_identified(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            told = {name for name, _ in headers}
            message = {**message, "headers": [*headers, *(header for header in own if header[0] not in told)]}
        await send(message)

    return send_identified


def _control_plane(state: State) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with state.spine:
            noting = asyncio.create_task(state.callers.run())
            try:
                yield
            finally:
                noting.cancel()
                await asyncio.gather(noting, return_exceptions=True)

    app = FastAPI(title="GenAI Spine", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.spine = state
    rules: Rules = {}
    for routes in _ROUTES:
        rules |= include(app, routes.router)
    errors.install(app)
    docs.install(app, rules, state.spine.settings)
    return app
