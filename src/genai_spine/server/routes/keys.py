"""API keys: made, shown without their secrets, changed, rotated and revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from msgspec import structs
from pydantic import AwareDatetime, BaseModel, Field

from genai_spine.redact import Secret
from genai_spine.server.fields import MOST_ID, After, Body, IdPath, Most, Name, RateFields, changed_rates, rates_of
from genai_spine.server.rules import require
from genai_spine.server.state import describe_body, principal_of, read_model, state_of
from genai_spine.storage.records import KeyFacts, KeyRecord
from genai_spine.types.principal import Principal, Scope

__all__ = ["router"]

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[require("keys", "admin")])

_GRACE: Final = 3600
_LONGEST_GRACE: Final = 30 * 24 * 3600


class _Fields(Body, RateFields):
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, description="what it is good for")] = ("inference", "read")
    providers: Annotated[
        tuple[Name, ...] | None, Field(max_length=100, description="the providers that it may use; null is all")
    ] = None
    models: Annotated[
        tuple[Name, ...] | None,
        Field(
            max_length=1000,
            description="the models that it may use, as an id or provider/model, * for anything; null is all",
        ),
    ] = None
    tags: Annotated[tuple[Name, ...], Field(max_length=20, description="for the usage of its requests")] = ()
    expires_at: Annotated[
        AwareDatetime | None,
        Field(
            gt=datetime(2000, 1, 1, tzinfo=UTC),
            lt=datetime(3000, 1, 1, tzinfo=UTC),
            description="when it ends; null is never",
        ),
    ] = None


class KeyBody(_Fields):
    """A key to be made."""

    name: Annotated[Name, Field(description="for people to know it by")]
    user_id: Annotated[
        int | None, Field(ge=1, le=MOST_ID, description="whose it is; by default the caller's own, null is nobody's")
    ] = None


class KeyChanges(_Fields):
    """What is to be changed of a key; what is left out stays."""

    name: Annotated[Name, Field(description="for people to know it by")] = ""


class KeyView(BaseModel):
    """A key, without its secret."""

    id: int
    name: str
    prefix: Annotated[str, Field(description="how it begins")]
    status: Literal["active", "expired", "revoked"]
    user_id: Annotated[int | None, Field(description="whose it is; null where it is nobody's")]
    scopes: tuple[Scope, ...]
    providers: tuple[str, ...] | None
    models: tuple[str, ...] | None
    tags: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    max_concurrent: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: Annotated[datetime | None, Field(description="to the minute")]
    created_at: datetime


class NewKeyView(KeyView):
    """A key, this once with its secret."""

    key: Annotated[str, Field(description="what callers present; it is not kept, and shown this once")]


class KeyList(BaseModel):
    """Keys, in the order in which they were made."""

    data: list[KeyView]


def _told(request: Request, record: KeyRecord) -> dict[str, Any]:
    facts = record.facts
    now = state_of(request).spine.clock.now()
    ended = facts.expires_at is not None and facts.expires_at.timestamp() <= now
    return {
        "id": record.id,
        "name": facts.name,
        "prefix": record.prefix,
        "status": "revoked" if record.revoked_at is not None else "expired" if ended else "active",
        "user_id": facts.user,
        "scopes": facts.scopes,
        "providers": facts.providers,
        "models": facts.models,
        "tags": facts.tags,
        **structs.asdict(facts.rates),
        "expires_at": facts.expires_at,
        "revoked_at": record.revoked_at,
        "last_used_at": record.last_used_at,
        "created_at": record.created_at,
    }


def _new(request: Request, response: Response, record: KeyRecord, key: Secret) -> NewKeyView:
    response.headers["cache-control"] = "no-store"
    return NewKeyView(**_told(request, record), key=key.reveal())


def _asked(request: Request, by: Principal, body: KeyBody) -> KeyFacts:
    _check_providers(request, body)
    return KeyFacts(
        name=body.name,
        user=body.user_id if "user_id" in body.model_fields_set else by.user,
        scopes=body.scopes,
        providers=body.providers,
        models=body.models,
        tags=body.tags,
        rates=rates_of(body),
        expires_at=body.expires_at,
    )


def _changed(facts: KeyFacts, body: KeyChanges) -> KeyFacts:
    told = body.model_fields_set - set(RateFields.model_fields)
    changes: dict[str, Any] = {name: getattr(body, name) for name in told}
    return structs.replace(facts, **changes, rates=changed_rates(facts.rates, body))


def _check_providers(request: Request, body: _Fields) -> None:
    """Find the misspelt provider, which would allow nothing."""
    for name in body.providers or ():
        state_of(request).spine.registry.get(name)


@router.post("", openapi_extra=describe_body(KeyBody), status_code=201, summary="Make an API key")
async def create_key(request: Request, response: Response) -> NewKeyView:
    """Make a key. Whoever does not administer makes keys of his own, for no more than the one that he comes with."""
    body, _ = await read_model(request, KeyBody)
    by = principal_of(request)
    record, key = await state_of(request).spine.office.create_key(by, _asked(request, by, body))
    return _new(request, response, record, key)


@router.get("", summary="API keys")
async def list_keys(
    request: Request,
    *,
    user_id: Annotated[int | None, Query(ge=1, le=MOST_ID, description="only this user's")] = None,
    after: After = 0,
    limit: Most = 100,
) -> KeyList:
    """List keys; of whoever does not administer, his own."""
    office = state_of(request).spine.office
    found = await office.keys(principal_of(request), user_id, after=after, limit=limit)
    return KeyList(data=[KeyView(**_told(request, record)) for record in found])


@router.get("/{key_id}", summary="An API key")
async def get_key(request: Request, key_id: IdPath) -> KeyView:
    """Show a key."""
    return KeyView(**_told(request, await state_of(request).spine.office.key(principal_of(request), key_id)))


@router.patch("/{key_id}", openapi_extra=describe_body(KeyChanges), summary="Change an API key")
async def change_key(request: Request, key_id: IdPath) -> KeyView:
    """Change what is told of a key; workers and replicas know it within a second."""
    body, _ = await read_model(request, KeyChanges)
    _check_providers(request, body)
    office = state_of(request).spine.office
    record = await office.change_key(principal_of(request), key_id, lambda facts: _changed(facts, body))
    return KeyView(**_told(request, record))


@router.post("/{key_id}/rotate", summary="Give an API key another secret")
async def rotate_key(
    request: Request,
    response: Response,
    key_id: IdPath,
    grace_seconds: Annotated[
        int, Query(ge=0, le=_LONGEST_GRACE, description="for how long the older one is still let in")
    ] = _GRACE,
) -> NewKeyView:
    """Give a key another secret. Its id, limits, budgets and usage stay."""
    office = state_of(request).spine.office
    record, key = await office.rotate_key(principal_of(request), key_id, timedelta(seconds=grace_seconds))
    return _new(request, response, record, key)


@router.delete("/{key_id}", summary="Revoke an API key")
async def revoke_key(request: Request, key_id: IdPath) -> KeyView:
    """Let a key in no more, on any worker or replica, within a second. It stays in the lists."""
    return KeyView(**_told(request, await state_of(request).spine.office.revoke_key(principal_of(request), key_id)))
