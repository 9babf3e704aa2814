"""Where a request would go, and why."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from genai_spine.dialects.openai_chat.dialect import OpenAIChat
from genai_spine.gateway.attempt import Question
from genai_spine.gateway.explaining import explained
from genai_spine.server.bodies import read_body
from genai_spine.server.rules import require
from genai_spine.server.state import state_of

__all__ = ["router"]

router = APIRouter(tags=["operation"], dependencies=[require("admin")])

_DOOR: Final = OpenAIChat()
_BODY: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.post("/v1/admin/route", openapi_extra=_BODY, summary="Where a request would go, and why")
async def show_route(request: Request) -> Response:
    """Take a request as to ``/v1/chat/completions``, and tell its candidates in order, and who was left out."""
    spine = state_of(request).spine
    body = await read_body(request.receive, request.headers, spine.settings.values.max_body_bytes)
    question = Question(_DOOR, _DOOR.read_envelope(body, request.headers), body)
    told = explained(spine.gateway.planner, question)
    return Response(msgspec.json.encode(told), media_type="application/json")
