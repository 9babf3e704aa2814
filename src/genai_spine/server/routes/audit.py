"""What an audit wants to know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from genai_spine.ledger.spans import Span
from genai_spine.ledger.visibility import audit_visible_to
from genai_spine.server.routes.usage import Since, Until
from genai_spine.server.rules import require
from genai_spine.server.state import principal_of, state_of
from genai_spine.storage.sql.audit import AuditFilter

__all__ = ["router"]

router = APIRouter(tags=["audit"], dependencies=[require("admin")])


@router.get("/v1/audit", summary="What an audit wants to know")
async def audit(
    request: Request,
    *,
    event: Annotated[str | None, Query(description="such as config_change, auth_failure or circuit_open")] = None,
    user: Annotated[int | None, Query(description="the id of who did it, or for whom it was done")] = None,
    key: Annotated[str | None, Query(description="the fingerprint of his key")] = None,
    api_key_id: Annotated[int | None, Query(description="the id of his key")] = None,
    request_id: Annotated[str | None, Query(description="what the caller knows the request by")] = None,
    model: Annotated[str | None, Query(description="as provider/model")] = None,
    since: Since = None,
    until: Until = None,
    after: Annotated[str | None, Query(description="the last page's `next`")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="so many at most")] = 100,
    form: Annotated[Literal["json", "jsonl"], Query(alias="format", description="jsonl: all, oldest first")] = "json",
) -> Response:
    """List events, the newest first; or write them all, a line of JSON each."""
    spine = state_of(request).spine
    span = Span.read(since, until, spine.clock.now())
    which = AuditFilter(
        event=event,
        user=user,
        api_key=api_key_id,
        fingerprint=key,
        request_id=request_id,
        model=model,
        start=span.start if since else None,
        end=span.end if until else None,
    )
    filters = (which, audit_visible_to(principal_of(request)))
    if form == "jsonl":
        lines = spine.books.audit.lines(filters)
        # Read before the answer begins, so that a database that is down is told as such.
        first = await anext(lines, b"")
        return StreamingResponse(_after(first, lines), media_type="application/x-ndjson")
    page = await spine.books.audit.page(filters, after=after, limit=limit)
    return Response(msgspec.json.encode(page), media_type="application/json")


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line
