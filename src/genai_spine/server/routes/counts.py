"""How many tokens a request has, asked in the dialects that have a question for it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.dialects.gemini.dialect import GeminiDoor
from genai_spine.dialects.openai_responses.dialect import OpenAIResponses
from genai_spine.gateway.attempt import Question
from genai_spine.server.answers import served_headers
from genai_spine.server.bodies import read_body
from genai_spine.server.dataplane import MODELS
from genai_spine.server.errors import speak
from genai_spine.server.rules import require
from genai_spine.server.state import state_of, while_there

__all__ = ["router"]

router = APIRouter(tags=["token counts"], dependencies=[require("inference", any_query=True)])

_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.post("/v1/messages/count_tokens", openapi_extra=_BODY, summary="Anthropic: count the tokens of a request")
async def count_message_tokens(request: Request) -> Response:
    """Count; where the provider cannot, the answer is a guess and says so in ``x-spine-warnings``."""
    return await _count(request, AnthropicMessages())


@router.post(
    "/v1beta/models/{model:path}:countTokens", openapi_extra=_BODY, summary="Gemini: count the tokens of a request"
)
@router.post("/v1/models/{model:path}:countTokens", include_in_schema=False)
@router.post("/v1beta/{model:path}:countTokens", include_in_schema=False)
async def count_content_tokens(request: Request, model: str) -> Response:
    """Count; where the provider cannot, the answer is a guess and says so in ``x-spine-warnings``."""
    return await _count(request, GeminiDoor(model=model.removeprefix(MODELS)))


@router.post(
    "/v1/responses/input_tokens", openapi_extra=_BODY, summary="OpenAI Responses: count the tokens of a request"
)
async def count_response_tokens(request: Request) -> Response:
    """Count; where the provider cannot, the answer is a guess and says so in ``x-spine-warnings``."""
    return await _count(request, OpenAIResponses())


async def _count(request: Request, door: AnthropicMessages | GeminiDoor | OpenAIResponses) -> Response:
    speak(request, door)
    state = state_of(request)
    body = await read_body(request.receive, request.headers, state.spine.settings.values.max_body_bytes)
    question = Question(door, door.read_count_envelope(body, request.headers), body)
    call = state.new_call(request, door.name)
    count = await while_there(request, call, lambda: state.spine.gateway.count_tokens(call, question))
    headers = {name.decode(): value.decode("latin-1") for name, value in served_headers(call)}
    return Response(door.encode_token_count(count), media_type="application/json", headers=headers)
