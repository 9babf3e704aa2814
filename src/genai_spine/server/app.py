"""The application: both planes side by side, in reading order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware

from genai_spine import __version__
from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing
from genai_spine.identity.callers import Callers
from genai_spine.server import docs, errors
from genai_spine.server.answers import id_headers
from genai_spine.server.dataplane import DataPlane, route_for
from genai_spine.server.routes import (
    budgets,
    catalogue,
    counts,
    generate,
    health,
    keys,
    pricing,
    probes,
    responses,
    routing,
    users,
)
from genai_spine.server.rules import Rules, include
from genai_spine.server.state import State, request_id_of
from genai_spine.storage.sql.identities import TOPIC

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["create_app"]


def create_app(spine: Spine, ring: KeyRing) -> ASGIApp:
    """Return the gateway as an ASGI application. Its lifespan starts and closes ``spine``."""
    callers = Callers(ring, spine.identities, spine.budgets, clock=spine.clock, audit=spine.audit)
    spine.watcher.on(TOPIC, callers.refresh)
    control = _control_plane(spine, callers)
    data = DataPlane(spine.gateway, callers, max_body_bytes=spine.settings.values.max_body_bytes)

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


def _control_plane(spine: Spine, callers: Callers) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with spine:
            noting = asyncio.create_task(callers.run())
            try:
                yield
            finally:
                noting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await noting

    app = FastAPI(title="GenAI Spine", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.spine = State(spine, callers)
    rules: Rules = {}
    for routes in (probes, catalogue, health, pricing, generate, counts, responses, routing, keys, users, budgets):
        rules |= include(app, routes.router)
    errors.install(app)
    docs.install(app, rules, spine.settings)
    return app
