"""What models cost: the prices in use, and what so many tokens would come to."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from msgspec import Raw
from pydantic import BaseModel, Field

from genai_spine.catalog.estimate import estimate_text_tokens
from genai_spine.catalog.prices import Rate
from genai_spine.money import usd_json
from genai_spine.providers.base import Provider
from genai_spine.server.rules import require
from genai_spine.server.state import State, describe_body, read_model, state_of
from genai_spine.types.usage import Usage

__all__ = ["price_fields", "router"]

router = APIRouter(tags=["prices"], dependencies=[require("read")])

_ProviderQuery = Annotated[str | None, Query(description="only this provider's; by default those in use")]
_LengthQuery = Annotated[int, Query(ge=0, description="the length of the prompt, where the price depends on it")]
_FIELDS: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")


def price_fields(rate: Rate | None) -> dict[str, object]:
    """A rate as the gateway's own routes tell it, in US dollars per million tokens; null where it is not known."""
    prices = {} if rate is None else rate.usd_per_million
    told = {name: Raw(f"{prices[name]:f}".encode()) if name in prices else None for name in _FIELDS}
    return {"price_known": rate is not None, "usd_per_million": None if rate is None else told}


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _placed(state: State, model: str, provider: str | None) -> tuple[Provider, str]:
    """The provider and model that a request would reach; raises as the planner does."""
    candidate = state.spine.place(model, provider)
    return state.spine.registry.get(candidate.provider), candidate.model


@router.get("/v1/pricing", summary="The prices in use")
async def list_prices(request: Request, *, provider: _ProviderQuery = None) -> Response:
    """List what is known of the prices of the providers in use, or of one, with where they come from."""
    spine = state_of(request).spine
    chosen = [spine.registry.get(provider)] if provider else spine.registry.configured()
    rows = [
        {"provider": each.name, "model": model, **price_fields(spine.prices.rate(each.name, model, local=each.local))}
        for each in chosen
        for model in dict.fromkeys((*each.models, *spine.prices.models(each.name)))
    ]
    return _json({"currency": "USD", "source": spine.prices.source, "prices": rows})


@router.get("/v1/pricing/{model:path}", summary="The price of a model")
async def show_price(
    request: Request, model: str, *, provider: _ProviderQuery = None, input_tokens: _LengthQuery = 0
) -> Response:
    """Show the price of a model at the provider that a request for it would reach."""
    state = state_of(request)
    place, name = _placed(state, model, provider)
    rate = state.spine.prices.rate(place.name, name, input_tokens=input_tokens, local=place.local)
    return _json({"provider": place.name, "model": name, **price_fields(rate)})


class EstimateBody(BaseModel):
    """So many tokens of a model; or a prompt, whose tokens are guessed."""

    model: Annotated[str, Field(min_length=1, description="the model, as a request would name it")]
    provider: Annotated[str | None, Field(description="the provider, as a request would name it")] = None
    input_tokens: Annotated[int, Field(ge=0, description="what is read")] = 0
    output_tokens: Annotated[int, Field(ge=0, description="what is written")] = 0
    prompt: Annotated[str | None, Field(description="a text that is read too; its tokens are guessed")] = None


@router.post("/v1/estimate-cost", openapi_extra=describe_body(EstimateBody), summary="What tokens would cost")
async def estimate_cost(request: Request) -> Response:
    """Tell what so many tokens would cost at the provider that a request would reach."""
    state = state_of(request)
    body, _ = await read_model(request, EstimateBody)
    place, name = _placed(state, body.model, body.provider)
    tokens = body.input_tokens + (estimate_text_tokens(body.prompt) if body.prompt else 0)
    cost = place.cost_of(name, Usage(input_tokens=tokens, output_tokens=body.output_tokens))
    return _json(
        {
            "provider": place.name,
            "model": name,
            "input_tokens": tokens,
            "output_tokens": body.output_tokens,
            "cost_usd": usd_json(cost.picodollars),
            "price_known": cost.known,
        }
    )
