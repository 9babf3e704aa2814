"""Users: those who ask, and whose API keys share limits and budgets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from msgspec import structs
from pydantic import BaseModel, Field

from genai_spine.server.fields import After, Body, IdPath, Most, Name, RateFields, changed_rates, rates_of
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, principal_of, read_model, state_of
from genai_spine.storage.records import UserFacts, UserRecord
from genai_spine.types.principal import Role

__all__ = ["router"]

router = APIRouter(prefix="/v1/users", tags=["users"])

_Email = Annotated[
    str | None, Field(max_length=255, pattern=r"^[^\x00-\x20\x7f@]+@[^\x00-\x20\x7f@]+$", description="an address")
]


class _Fields(Body, RateFields):
    email: _Email = None
    role: Annotated[Role, Field(description="what his keys may be good for")] = "member"
    is_active: Annotated[bool, Field(description="his keys are let in")] = True


class UserBody(_Fields):
    """A user to be added."""

    name: Annotated[Name, Field(description="no other has it")]


class UserChanges(_Fields):
    """What is to be changed of a user; what is left out stays."""

    name: Annotated[Name, Field(description="no other has it")] = ""


class UserView(BaseModel):
    """A user."""

    id: int
    name: str
    email: str | None
    role: Role
    is_active: bool
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    created_at: datetime | None
    updated_at: datetime | None


class UserList(BaseModel):
    """Users, in the order in which they were added."""

    data: list[UserView]


def _view(record: UserRecord) -> UserView:
    facts = record.facts
    return UserView(
        id=record.id,
        name=facts.name,
        email=facts.email,
        role=facts.role,
        is_active=facts.is_active,
        **structs.asdict(facts.rates),
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def _changed(facts: UserFacts, body: UserChanges) -> UserFacts:
    told = body.model_fields_set - set(RateFields.model_fields)
    changes: dict[str, Any] = {name: getattr(body, name) for name in told}
    return structs.replace(facts, **changes, rates=changed_rates(facts.rates, body))


@router.post(
    "",
    openapi_extra=describe_body(UserBody),
    status_code=201,
    dependencies=[require("admin")],
    summary="Add a user",
)
async def add_user(request: Request) -> UserView:
    """Add a user; he comes in by the keys that are made for him."""
    body, _ = await read_model(request, UserBody)
    facts = UserFacts(name=body.name, email=body.email, role=body.role, is_active=body.is_active, rates=rates_of(body))
    return _view(await state_of(request).spine.office.add_user(principal_of(request), facts))


@router.get("", dependencies=[require("admin")], summary="The users")
async def list_users(request: Request, *, after: After = 0, limit: Most = 100) -> UserList:
    """List the users."""
    found = await state_of(request).spine.office.users(after=after, limit=limit)
    return UserList(data=[_view(record) for record in found])


@router.get("/{user_id}", dependencies=[require("read", "admin")], summary="A user")
async def get_user(request: Request, user_id: IdPath) -> UserView:
    """Show a user; to whoever does not administer, himself."""
    return _view(await state_of(request).spine.office.user(principal_of(request), user_id))


@router.patch(
    "/{user_id}", openapi_extra=describe_body(UserChanges), dependencies=[require("admin")], summary="Change a user"
)
async def change_user(request: Request, user_id: IdPath) -> UserView:
    """Change what is told of a user; one that is not active is let in no more, within a second."""
    body, _ = await read_model(request, UserChanges)
    office = state_of(request).spine.office
    return _view(await office.change_user(principal_of(request), user_id, lambda facts: _changed(facts, body)))


@router.delete("/{user_id}", dependencies=[require("admin")], summary="Remove a user")
async def remove_user(request: Request, user_id: IdPath) -> UserView:
    """Remove a user with his keys and their budgets. His usage stays."""
    return _view(await state_of(request).spine.office.remove_user(principal_of(request), user_id))
