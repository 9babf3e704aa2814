"""Budgets: how much everybody, a user or an API key may spend."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from genai_spine.errors import InvalidFieldError
from genai_spine.identity.limits import limit_of, nanodollars_of
from genai_spine.identity.standings import Standing
from genai_spine.money import PICODOLLARS_PER_NANODOLLAR, usd_json
from genai_spine.server.fields import MOST_ID, After, Body, IdPath, Most
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, principal_of, read_model, state_of
from genai_spine.storage.records import BudgetRecord
from genai_spine.types.limits import Limit, LimitAction, LimitScope, LimitWindow

__all__ = ["router"]

router = APIRouter(prefix="/v1/budgets", tags=["budgets"])


class BudgetBody(Body):
    """A budget to be set."""

    scope: Annotated[LimitScope, Field(description="whose spending counts together")]
    subject_id: Annotated[int, Field(ge=0, le=MOST_ID, description="the user or key; 0 for everybody")] = 0
    window: Annotated[LimitWindow, Field(description="for how long it counts, by the calendar in UTC")]
    limit_usd: Annotated[Decimal, Field(description="how much at most, to the nanodollar")]
    action: Annotated[
        LimitAction, Field(description="where it does not suffice: refuse, warn, or leave only what is free")
    ] = "block"


class _Said(BaseModel):
    scope: LimitScope
    subject_id: int
    window: LimitWindow
    limit_usd: Annotated[float, Field(description="an exact decimal number")]
    action: LimitAction


class BudgetView(_Said):
    """A budget."""

    id: int
    created_at: datetime
    updated_at: datetime


class StandingView(_Said):
    """A budget, and how it stands."""

    id: Annotated[int | None, Field(description="null where the settings say it; so are the moments of its making")]
    created_at: datetime | None
    updated_at: datetime | None
    spent_usd: Annotated[float | None, Field(description="in its window")]
    set_aside_usd: Annotated[float | None, Field(description="for calls that are under way")]
    remaining_usd: Annotated[float | None, Field(description="what neither is spent nor set aside")]
    resets_at: Annotated[datetime | None, Field(description="when it begins anew; null is never")]
    reason: Annotated[str | None, Field(description="why these cannot be told; null where they can")]


class BudgetList(BaseModel):
    """Budgets: those of the settings, then the others in the order in which they were set first."""

    data: list[StandingView]


def _told(limit: Limit, record: BudgetRecord | None) -> dict[str, Any]:
    return {
        "id": None if record is None else record.id,
        "scope": limit.scope,
        "subject_id": int(limit.subject or 0),
        "window": limit.window,
        "limit_usd": _usd(limit.amount),
        "action": limit.action,
        "created_at": None if record is None else record.created_at,
        "updated_at": None if record is None else record.updated_at,
    }


def _standing(one: Standing, now: float) -> dict[str, Any]:
    reading = one.reading
    ends = None if reading is None or reading.resets_in is None else round(now + reading.resets_in)
    return {
        **_told(one.limit, one.record),
        "spent_usd": None if reading is None else _usd(reading.used),
        "set_aside_usd": None if reading is None else _usd(reading.held),
        "remaining_usd": None if one.left is None else _usd(one.left),
        "resets_at": None if ends is None else datetime.fromtimestamp(ends, UTC),
        "reason": one.reason or None,
    }


def _usd(nanodollars: int) -> msgspec.Raw:
    return usd_json(nanodollars * PICODOLLARS_PER_NANODOLLAR)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


@router.get("", dependencies=[require("read", "admin")], response_model=BudgetList, summary="Budgets")
async def list_budgets(request: Request, *, after: After = 0, limit: Most = 100) -> Response:
    """List budgets and how they stand; of whoever does not administer, those that bind him."""
    spine = state_of(request).spine
    found = await spine.standings.seen_by(principal_of(request), after=after, limit=limit)
    return _json({"data": [_standing(one, spine.clock.now()) for one in found]})


@router.put(
    "",
    openapi_extra=describe_body(BudgetBody),
    dependencies=[require("admin")],
    response_model=BudgetView,
    summary="Set a budget",
)
async def put_budget(request: Request) -> Response:
    """Set the budget of a scope, a subject and a window, in the place of the one that there may be."""
    body, _ = await read_model(request, BudgetBody, exact=True)
    if body.window == "minute":
        message = "window: a budget is for a request, an hour, a day, a month, or for ever (none)"
        raise InvalidFieldError(message, param="window")
    record = await state_of(request).spine.office.put_budget(
        principal_of(request), body.scope, body.subject_id, body.window, nanodollars_of(body.limit_usd), body.action
    )
    return _json(_told(limit_of(record), record))


@router.delete("/{budget_id}", dependencies=[require("admin")], response_model=BudgetView, summary="Remove a budget")
async def remove_budget(request: Request, budget_id: IdPath) -> Response:
    """Remove a budget; what it bound is free of it within a second."""
    record = await state_of(request).spine.office.remove_budget(principal_of(request), budget_id)
    return _json(_told(limit_of(record), record))
