"""``POST /v1/generate``: one prompt in, text out."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from genai_spine.assembly import DEFAULT_TEMPERATURE
from genai_spine.server.answers import served_headers
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, read_model, state_of, while_there
from genai_spine.types.completion import CompletionRequest, OutputSchema
from genai_spine.types.json import JsonObject
from genai_spine.types.messages import Message, Text
from genai_spine.types.routing import Wishes

__all__ = ["router"]

router = APIRouter(tags=["tasks"], dependencies=[require("inference")])


class GenerateBody(BaseModel):
    """One prompt."""

    prompt: Annotated[str, Field(min_length=1, description="what to answer")]
    provider: Annotated[str | None, Field(description="the provider; no other is ever asked")] = None
    model: Annotated[str | None, Field(description="by default the provider's default model")] = None
    system: Annotated[str | None, Field(description="instructions before the prompt")] = None
    max_tokens: Annotated[int | None, Field(gt=0, description="limit of the answer")] = None
    temperature: Annotated[float | None, Field(ge=0, le=2, description="by default 0.7, where the model takes one")] = (
        None
    )
    output_schema: Annotated[dict[str, Any] | None, Field(description="JSON Schema that the answer must obey")] = None


@router.post("/v1/generate", openapi_extra=describe_body(GenerateBody), summary="One prompt in, text out")
async def generate(request: Request) -> Response:
    """Answer one prompt. It never goes to another provider than the one named, or the default of this route."""
    body, unknown = await read_model(request, GenerateBody)
    state = state_of(request)
    call = state.new_call(request, "generate")
    call.temperature = DEFAULT_TEMPERATURE
    call.warn(tuple(f"{name}: left out, no such field" for name in unknown))
    asked = CompletionRequest(
        messages=(Message(role="user", parts=(Text(text=body.prompt),)),),
        model=body.model,
        system=(Text(text=body.system),) if body.system else (),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        output_schema=None if body.output_schema is None else OutputSchema(schema=body.output_schema),
    )
    provider = body.provider or state.spine.settings.values.generate_default_provider
    wishes = Wishes(provider=provider, fallback=False)
    response = await while_there(request, call, lambda: state.spine.gateway.complete(call, asked, wishes))
    usage: JsonObject = {
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "total_tokens": response.input_tokens + response.output_tokens,
    }
    answer = {
        "content": response.content,
        "provider": response.provider,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "usage": usage,
        "cost_usd": None if response.cost_usd is None else msgspec.Raw(f"{response.cost_usd:f}".encode()),
        "price_known": response.price_known,
        "attempts": response.attempts,
        "fallback": False,
        "warnings": list(response.warnings),
        "request_id": call.request_id,
    }
    headers = {name.decode(): value.decode("latin-1") for name, value in served_headers(call)}
    return Response(msgspec.json.encode(answer), media_type="application/json", headers=headers)
