"""What was used: added up by any dimension, and request by request."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response

from genai_spine.ledger.visibility import visible_to
from genai_spine.server.rules import require
from genai_spine.server.state import principal_of, state_of
from genai_spine.storage.sql.usage import DIMENSIONS, UsageFilter

__all__ = ["Since", "Until", "router"]

router = APIRouter(tags=["usage"], dependencies=[require("read", "admin")])

_CSV: Final = "text/csv"

Since = Annotated[
    str | None, Query(description="a date, a moment, or how long ago, such as 7d; by default 30 days before the end")
]
Until = Annotated[str | None, Query(description="the same; what begins then is outside; by default now")]


def _filter(
    *,
    user: Annotated[int | None, Query(ge=0, description="the id of a user; 0 for callers who are none")] = None,
    key: Annotated[str | None, Query(description="the fingerprint of a caller's key")] = None,
    api_key_id: Annotated[int | None, Query(ge=0, description="the id of a caller's key; 0 where it has none")] = None,
    provider: Annotated[str | None, Query(description="who was asked")] = None,
    model: Annotated[str | None, Query(description="the provider's name for the model")] = None,
    tag: Annotated[str | None, Query(description="a tag of the key or the request")] = None,
    status: Annotated[str | None, Query(description="success, error, timeout, cancelled or interrupted")] = None,
) -> UsageFilter:
    return UsageFilter(
        user=user, api_key=api_key_id, fingerprint=key, provider=provider, model=model, tag=tag, status=status
    )


_Filter = Annotated[UsageFilter, Depends(_filter)]
_Format = Annotated[Literal["json", "csv"] | None, Query(alias="format", description="by default as `Accept` says")]


@router.get("/v1/usage", summary="What was used")
async def usage(
    request: Request,
    which: _Filter,
    *,
    by: Annotated[str, Query(description=f"with commas between them: {', '.join(DIMENSIONS)}")] = "",
    since: Since = None,
    until: Until = None,
    form: _Format = None,
) -> Response:
    """Add up calls to providers: tokens, cost, errors, and how long they took; as JSON, or as CSV."""
    report = await state_of(request).spine.books.usage.report(
        [name for each in by.split(",") if (name := each.strip())],
        since=since,
        until=until,
        which=which,
        visible=visible_to(principal_of(request)),
    )
    if form == "csv" or (form is None and _CSV in request.headers.get("accept", "")):
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        return Response(report.csv(), media_type=f"{_CSV}; charset=utf-8", headers=headers)
    return _json(report.json())


@router.get("/v1/usage/requests", summary="What was asked")
async def usage_requests(
    request: Request,
    which: _Filter,
    *,
    since: Since = None,
    until: Until = None,
    request_id: Annotated[str | None, Query(description="what the caller knows it by")] = None,
    after: Annotated[str | None, Query(description="the last page's `next`")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="so many at most")] = 100,
) -> Response:
    """List requests, the newest first, those that were refused included."""
    page = await state_of(request).spine.books.stories.page(
        since=since,
        until=until,
        which=which,
        visible=visible_to(principal_of(request)),
        request_id=request_id,
        after=after,
        limit=limit,
    )
    return _json(page)


@router.get("/v1/usage/requests/{id}", summary="The story of a request")
async def usage_request(request: Request, id: str) -> Response:  # noqa: A002  # the name in the route
    """Tell a request, by its id or by what its caller knows it by, and each call that was made for it."""
    return _json(await state_of(request).spine.books.stories.story(id, visible_to(principal_of(request))))


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
