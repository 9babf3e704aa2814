"""``POST /v1/messages/count_tokens``: how many tokens an Anthropic request has."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from genai_spine.dialects.anthropic_messages.dialect import AnthropicMessages
from genai_spine.gateway.attempt import Question
from genai_spine.server.answers import served_headers
from genai_spine.server.bodies import read_body
from genai_spine.server.errors import speak
from genai_spine.server.state import state_of, while_there

__all__ = ["router"]

router = APIRouter(tags=["Anthropic"])

_DOOR: Final = AnthropicMessages()
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.post("/v1/messages/count_tokens", openapi_extra=_BODY, summary="Anthropic: count the tokens of a request")
async def count_tokens(request: Request) -> Response:
    """Count; where the provider cannot, the answer is a guess and says so in ``x-spine-warnings``."""
    speak(request, _DOOR)
    state = state_of(request)
    body = await read_body(request.receive, request.headers, state.spine.settings.values.max_body_bytes)
    question = Question(_DOOR, _DOOR.read_count_envelope(body, request.headers), body)
    call = state.new_call(request, _DOOR.name)
    count = await while_there(request, lambda: state.spine.gateway.count_tokens(call, question))
    headers = {name.decode(): value.decode("latin-1") for name, value in served_headers(call)}
    return Response(_DOOR.encode_token_count(count), media_type="application/json", headers=headers)
