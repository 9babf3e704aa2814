"""Fields that several bodies and paths of the control plane have, with bounds that the database keeps."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias, TypeVar

from fastapi import Path, Query
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from genai_spine.storage.records import Rates

__all__ = ["After", "Body", "IdPath", "Most", "Name", "RateFields", "changed_rates", "rates_of"]

MOST_ID: Final = 2**53 - 1
_MOST_INTEGER: Final = 2**31 - 1

IdPath: TypeAlias = Annotated[int, Path(ge=1, le=MOST_ID, description="its id")]
After: TypeAlias = Annotated[int, Query(ge=0, le=MOST_ID, description="the id behind which to begin")]
Most: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="at most so many")]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]

R = TypeVar("R", bound=BaseModel)


class Body(BaseModel):
    """A body without any fields but its own."""

    model_config = ConfigDict(extra="forbid")


class RateFields(BaseModel):
    """How much may be asked; null is without a limit."""

    requests_per_minute: Annotated[int | None, Field(ge=0, le=_MOST_INTEGER, description="requests in a minute")] = None
    tokens_per_minute: Annotated[int | None, Field(ge=0, le=MOST_ID, description="tokens in a minute")] = None
    max_concurrent: Annotated[int | None, Field(ge=0, le=_MOST_INTEGER, description="requests at one time")] = None


def rates_of(body: RateFields) -> Rates:
    """Return the rates that a body tells."""
    return Rates(
        requests_per_minute=body.requests_per_minute,
        tokens_per_minute=body.tokens_per_minute,
        max_concurrent=body.max_concurrent,
    )


def changed_rates(rates: Rates, body: RateFields) -> Rates:
    """Return rates with those changed that a body tells."""
    told = body.model_fields_set & set(RateFields.model_fields)
    changes: dict[str, Any] = {name: getattr(body, name) for name in told}
    return structs.replace(rates, **changes)
