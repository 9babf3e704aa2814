"""Budgets: how much everybody, a user or an API key may spend."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from genai_spine.errors import InvalidFieldError
from genai_spine.money import nanodollars_up, picodollars_from, usd_json
from genai_spine.server.fields import MOST_ID, After, Body, IdPath, Most
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, principal_of, read_model, state_of
from genai_spine.storage.records import BudgetRecord
from genai_spine.types.limits import MOST, LimitAction, LimitScope, LimitWindow

__all__ = ["router"]

router = APIRouter(prefix="/v1/budgets", tags=["budgets"])

_PICODOLLARS: Final = 1000
"""In a nanodollar."""


class BudgetBody(Body):
    """A budget to be set."""

    scope: Annotated[LimitScope, Field(description="whose spending counts together")]
    subject_id: Annotated[int, Field(ge=0, le=MOST_ID, description="the user or key; 0 for everybody")] = 0
    window: Annotated[LimitWindow, Field(description="for how long it counts, by the calendar in UTC")]
    limit_usd: Annotated[Decimal, Field(description="how much at most, to the nanodollar")]
    action: Annotated[
        LimitAction, Field(description="where it does not suffice: refuse, warn, or leave only what is free")
    ] = "block"


class BudgetView(BaseModel):
    """A budget."""

    id: int
    scope: LimitScope
    subject_id: int
    window: LimitWindow
    limit_usd: Annotated[float, Field(description="an exact decimal number")]
    action: LimitAction
    created_at: datetime
    updated_at: datetime


class BudgetList(BaseModel):
    """Budgets, in the order in which they were set first."""

    data: list[BudgetView]


def _told(record: BudgetRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "scope": record.scope,
        "subject_id": record.subject,
        "window": record.window,
        "limit_usd": usd_json(record.nanodollars * _PICODOLLARS),
        "action": record.action,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _nanodollars(amount: Decimal) -> int:
    """An amount as budgets count it.

    Raises:
        InvalidFieldError: It is negative, finer than a nanodollar, or too large.
    """
    try:
        picodollars = picodollars_from(amount)
    except ValueError as error:
        message = f"limit_usd: {error}"
        raise InvalidFieldError(message, param="limit_usd") from error
    if picodollars % _PICODOLLARS or not 0 <= picodollars <= MOST * _PICODOLLARS:
        message = "limit_usd: give an amount from 0 to nine million, with at most 9 decimal places"
        raise InvalidFieldError(message, param="limit_usd")
    return nanodollars_up(picodollars)


@router.get("", dependencies=[require("read", "admin")], response_model=BudgetList, summary="Budgets")
async def list_budgets(request: Request, *, after: After = 0, limit: Most = 100) -> Response:
    """List budgets; of whoever does not administer, those that bind him."""
    found = await state_of(request).spine.office.budgets(principal_of(request), after=after, limit=limit)
    return _json({"data": [_told(record) for record in found]})


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
        principal_of(request), body.scope, body.subject_id, body.window, _nanodollars(body.limit_usd), body.action
    )
    return _json(_told(record))


@router.delete("/{budget_id}", dependencies=[require("admin")], response_model=BudgetView, summary="Remove a budget")
async def remove_budget(request: Request, budget_id: IdPath) -> Response:
    """Remove a budget; what it bound is free of it within a second."""
    return _json(_told(await state_of(request).spine.office.remove_budget(principal_of(request), budget_id)))
