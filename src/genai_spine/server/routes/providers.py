"""The providers, and what each of them has."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from genai_spine.providers.base import Provider
from genai_spine.server.routes.catalogue import listed, switched_on
from genai_spine.server.routes.pricing import price_fields
from genai_spine.server.rules import require
from genai_spine.server.state import State, allowance_of, allowed_provider, state_of
from genai_spine.types.json import JsonObject

__all__ = ["router"]

router = APIRouter(tags=["catalogue"], dependencies=[require("inference", "read")])


def _described(state: State, provider: Provider, trouble: str | None) -> JsonObject:
    registry = state.spine.registry
    known = dict.fromkeys((*provider.models, *provider.stated, provider.default_model))
    status = registry.status(provider)
    return {
        "name": provider.name,
        "models": [model for model in known if model and not registry.is_off(provider.name, model)],
        "is_enabled": status == "ready",
        "default_model": provider.default_model,
        "status": status,
        "hint": "switched off" if status == "disabled" else provider.hint,
        "local": provider.local,
        "circuit": state.spine.guards.of(provider).circuit.state,
        "trouble": trouble,
    }


@router.get("/providers", summary="The providers")
async def list_providers(request: Request) -> Response:
    """List the providers that the caller may use, those too that are not configured, with what would configure them."""
    state, allowance = state_of(request), allowance_of(request)
    troubles = state.spine.guards.troubles
    told = [
        _described(state, provider, troubles.get(provider.name))
        for provider in state.spine.registry
        if allowance.allows_provider(provider.name)
    ]
    return Response(msgspec.json.encode(told), media_type="application/json")


@router.get("/providers/{name}/models", summary="A provider's models")
async def provider_models(
    request: Request, name: str, *, live: Annotated[bool, Query(description="ask the provider now")] = True
) -> Response:
    """List a provider's models that the caller may use, by default as the provider tells them now."""
    state = state_of(request)
    provider = allowed_provider(request, name)
    models = switched_on(state, provider, await provider.list_models()) if live else await listed(state, provider)
    told = [
        {
            "id": model.id,
            "provider": name,
            "display_name": model.display_name or model.id,
            "is_default": model.id == provider.default_model,
            "lifecycle": model.lifecycle,
            "replaced_by": model.replaced_by,
            "max_input_tokens": model.max_input_tokens,
            "max_output_tokens": model.max_output_tokens,
            "abilities": None if model.abilities is None else sorted(model.abilities),
            "quality_rank": model.quality_rank,
            "same_as": model.same_as or None,
            **price_fields(state.spine.prices.rate(name, model.id, local=provider.local)),
        }
        for model in models
        if allowance_of(request).allows(name, model.id)
    ]
    return Response(msgspec.json.encode(told), media_type="application/json")
