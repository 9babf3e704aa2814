"""The OpenAPI description of both planes, and a page that shows it without fetching anything from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse

from genai_spine import __version__
from genai_spine.server.dataplane import GEMINI_ROUTES, ROUTES
from genai_spine.server.rules import Rule, Rules
from genai_spine.settings import Settings

__all__ = ["install"]

_HOT: Final = Rule("inference")

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{background:#f4f4f4;padding:.1rem .3rem;border-radius:3px}section{border-top:1px solid #ddd}"
    "b.m{display:inline-block;min-width:4rem}small{color:#666}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}code,pre{background:#222}}"
)


def describe(app: FastAPI, rules: Rules, settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI description: the control plane's as FastAPI tells it, and the hot routes beside it."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title="GenAI Spine",
            version=__version__,
            description="Every large language model behind one contract.",
            routes=app.routes,
        )
        body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        hot = [(path, route.door.name, route.text) for path, route in ROUTES.items()]
        hot += [(f"/v1beta/models/{{model}}:{method}", "gemini", text) for method, text in GEMINI_ROUTES.items()]
        for path, door, text in hot:
            schema["paths"][path] = {
                "post": {
                    "tags": [door],
                    "summary": text,
                    "description": "The body and the answer are the dialect's own; streams come in its own framing.",
                    "operationId": f"door{path.replace('/', '_')}",
                    "requestBody": body,
                    "responses": {
                        "200": {"description": "The answer.", "content": {"application/json": {}}},
                        "default": {"description": "An error in the dialect's own shape."},
                    },
                }
            }
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                rule = rules.get((method.upper(), path), _HOT)
                operation["security"] = [{"key": [scope]} for scope in rule.scopes(settings)]
        app.openapi_schema = schema
    return app.openapi_schema


def page(schema: dict[str, Any]) -> str:
    """Return the description as a page for people."""
    sections: list[str] = []
    for path, operations in sorted(schema["paths"].items()):
        for method, operation in operations.items():
            scopes = " or ".join(one["key"][0] for one in operation["security"])
            key = f" <small>{scopes or 'no key needed'}</small>"
            sections.append(
                f"<section><h3><b class=m>{method.upper()}</b> <code>{escape(path)}</code>{key}</h3>"
                f"<p>{escape(operation.get('summary', ''))}</p><p><small>{escape(operation.get('description', ''))}"
                "</small></p></section>"
            )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>GenAI Spine {__version__}</title>"
        f"<style>{_STYLE}</style><h1>GenAI Spine {__version__}</h1><p>Send the gateway's key as "
        "<code>Authorization: Bearer KEY</code>, <code>x-api-key</code> or <code>x-goog-api-key</code>. "
        f"For tools: <a href=openapi.json>openapi.json</a>.</p>{''.join(sections)}</html>"
    )


def install(app: FastAPI, rules: Rules, settings: Settings) -> None:
    """Serve the description at ``/openapi.json`` and the page at ``/docs``."""
    app.openapi = lambda: describe(app, rules, settings)  # type: ignore[method-assign]  # FastAPI's documented way to extend it

    async def docs(_: Request) -> HTMLResponse:
        return HTMLResponse(page(describe(app, rules, settings)))

    # FastAPI would remember the function for good, and with it the application.
    app.add_route("/docs", docs, include_in_schema=False)
