"""Whether the gateway lives, whether it can serve, and what it has counted. Only the metrics may need a key."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from genai_spine import __version__
from genai_spine.providers.registry import SIMULATOR
from genai_spine.server.rules import METRICS, OPEN
from genai_spine.server.state import state_of

__all__ = ["router"]

router = APIRouter(tags=["probes"])


@router.get("/health", dependencies=[OPEN], summary="Alive")
async def health() -> dict[str, str]:
    """Tell that the process lives. It asks nobody else."""
    return {"status": "ok", "version": __version__}


@router.get("/ready", dependencies=[OPEN], summary="Able to serve")
async def ready(request: Request) -> Response:
    """Tell whether requests can be served, by whom, and what is amiss; 503 where none can, or while it is stopping."""
    state = state_of(request)
    spine = state.spine
    stopping = state.under_way.stopping or not spine.open
    simulator = spine.registry.get(SIMULATOR)
    resort = [SIMULATOR] if spine.registry.status(simulator) == "ready" else []
    names = [provider.name for provider in spine.registry.configured()] or resort
    troubles = spine.guards.troubles
    usable = [name for name in names if name not in troubles]
    status = "stopping" if stopping else "ready" if usable and spine.ledger.has_room else "unavailable"
    body = {
        "status": status,
        "providers": usable,
        "troubles": {name: troubles[name] for name in names if name in troubles},
    }
    if degraded := spine.books.degraded:
        body["degraded"] = degraded
    return Response(
        msgspec.json.encode(body), status_code=200 if status == "ready" else 503, media_type="application/json"
    )


@router.get("/metrics", dependencies=[METRICS], summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Show the metrics in Prometheus' text format."""
    page = state_of(request).spine.metrics.page()
    return Response(page, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.head("/", dependencies=[OPEN], include_in_schema=False)
@router.get("/", dependencies=[OPEN], summary="Who is here")
async def root() -> dict[str, str]:
    """Greet, and say where to read on."""
    return {"name": "GenAI Spine", "version": __version__, "docs": "/docs"}
