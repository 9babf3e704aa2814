"""How each provider does, and the operator's hand to take it for healthy again."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from genai_spine.errors import NotFoundError
from genai_spine.providers.base import Health, Provider
from genai_spine.server.rules import require
from genai_spine.server.state import allowed_provider, principal_of, state_of
from genai_spine.telemetry.logging import logger
from genai_spine.types.json import JsonObject

__all__ = ["router"]

router = APIRouter(tags=["health"])


def _known(request: Request, provider: Provider, probed: Health | None = None) -> Response:
    spine = state_of(request).spine
    health, status = spine.guards.health(provider), spine.registry.status(provider)
    body: JsonObject = {
        "name": provider.name,
        "status": status,
        "healthy": None if probed is None else probed.healthy,
        "usable": status == "ready" and health.trouble is None,
        "probe": None if probed is None else _told(probed, provider),
        **msgspec.to_builtins(health),
    }
    return Response(msgspec.json.encode(body), media_type="application/json")


def _told(probed: Health, provider: Provider) -> JsonObject:
    told: JsonObject = {"seconds": probed.seconds, "error": None}
    if probed.error is not None:
        provider.own(probed.error)
        told["error"] = {"code": probed.error.code, "message": probed.error.message}
    return told


@router.get("/providers/{name}/health", dependencies=[require("read")], summary="How a provider does")
async def provider_health(
    request: Request,
    name: str,
    *,
    probe: Annotated[bool, Query(description="ask the provider now; it costs no token")] = True,
) -> Response:
    """Tell a provider's circuit, keys by fingerprint, measured speed, calls under way, and whether it answers now."""
    provider = allowed_provider(request, name)
    return _known(request, provider, await provider.health() if probe else None)


@router.post(
    "/v1/admin/providers/{name}/reset", dependencies=[require("admin")], summary="Take a provider for healthy again"
)
async def reset_provider(
    request: Request,
    name: str,
    key: Annotated[str | None, Query(description="the fingerprint of the one key to reset")] = None,
) -> Response:
    """Forget what is held against a provider's keys and circuits, or against one key, and tell how it does since."""
    spine = state_of(request).spine
    provider = spine.registry.get(name)
    guard = spine.guards.of(provider)
    if key is None:
        guard.reset()
    elif guard.keys is None or not guard.keys.reset(key):
        message = f"{name} has no key with this fingerprint; GET /providers/{name}/health lists them"
        raise NotFoundError(message, param="key")
    logger.info("provider reset", provider=name, key=key, by=principal_of(request).key)
    return _known(request, provider)
