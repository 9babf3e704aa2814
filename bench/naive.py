"""The proxy that one writes by hand in an afternoon with FastAPI and httpx: check a key, forward, relay."""

from __future__ import annotations

import os

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

__all__ = ["app"]

app = FastAPI()
_KEY = f"Bearer {os.environ['NAIVE_KEY']}"
_URL = f"{os.environ['NAIVE_UPSTREAM']}/chat/completions"
_HEADERS = {"Authorization": f"Bearer {os.environ['NAIVE_UPSTREAM_KEY']}"}
# Without these, httpx keeps the 101st stream waiting and gives up on a pause of five seconds.
_CLIENT = httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=None), timeout=None)  # noqa: S113 the benchmark's own deadline ends it


@app.get("/health")
async def health() -> dict[str, str]:
    """Says that it serves."""
    return {"status": "ok"}


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    """Forwards one chat request under the upstream's own model name and key."""
    if request.headers.get("authorization") != _KEY:
        return JSONResponse({"error": {"message": "wrong key"}}, status_code=401)
    body = await request.json()
    body["model"] = body["model"].partition("/")[2]
    if not body.get("stream"):
        answer = await _CLIENT.post(_URL, json=body, headers=_HEADERS)
        return JSONResponse(answer.json(), status_code=answer.status_code)
    upstream = await _CLIENT.send(_CLIENT.build_request("POST", _URL, json=body, headers=_HEADERS), stream=True)
    return StreamingResponse(
        upstream.aiter_raw(),
        status_code=upstream.status_code,
        media_type="text/event-stream",
        background=BackgroundTask(upstream.aclose),
    )
