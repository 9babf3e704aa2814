"""Answers of OpenAI Responses that are kept: shown and forgotten."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from genai_spine.dialects.openai_responses.kept import (
    answer_of,
    encode_deleted,
    encode_input_items,
    unknown_answer,
)
from genai_spine.server.rules import require
from genai_spine.server.state import principal_of, state_of

__all__ = ["router"]

router = APIRouter(
    prefix="/v1/responses/{response_id}", tags=["kept answers"], dependencies=[require("inference", any_query=True)]
)


async def _record(request: Request, response_id: str) -> bytes:
    """What is kept of an answer that the caller was given.

    Raises:
        NotFoundError: Nothing.
    """
    record = await state_of(request).spine.gateway.answers.find(principal_of(request), response_id)
    if record is None:
        raise unknown_answer(response_id)
    return record


@router.get("", summary="OpenAI Responses: an answer that is kept")
async def get_response(request: Request, response_id: str) -> Response:
    """Show an answer as it was given."""
    return Response(answer_of(await _record(request, response_id)), media_type="application/json")


@router.delete("", summary="OpenAI Responses: forget an answer")
async def delete_response(request: Request, response_id: str) -> Response:
    """Keep an answer no longer; those that went on from it are kept with all that came before them."""
    if not await state_of(request).spine.gateway.answers.forget(principal_of(request), response_id):
        raise unknown_answer(response_id)
    return Response(encode_deleted(response_id), media_type="application/json")


@router.get("/input_items", summary="OpenAI Responses: what a kept answer answers")
async def list_input_items(
    request: Request,
    response_id: str,
    order: Annotated[str, Query(description="asc for the oldest first, or desc")] = "desc",
    after: Annotated[str | None, Query(description="the id behind which to begin")] = None,
    limit: Annotated[int, Query(description="at most so many, up to 100")] = 20,
) -> Response:
    """List the items that the model had read, those of earlier answers included."""
    record = await _record(request, response_id)
    return Response(encode_input_items(record, order=order, after=after, limit=limit), media_type="application/json")
