"""Records of the ledger for tests: what is not said of a call is the same for all."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import replace

from genai_spine.storage.sql.engine import Database
from genai_spine.types.ledger import CallBegun, CallEnded, RequestDone
from genai_spine.types.usage import Usage

__all__ = ["NOON", "call", "request", "rows"]

NOON: Final = 1_800_014_400
"""A noon, in seconds since the Unix epoch."""

_BEGUN: Final = CallBegun(
    id="",
    request="",
    request_id="",
    number=1,
    at=0,
    door="openai_chat",
    provider="openai",
    model="gpt-4o-mini",
    key="0123abcd",
    reason="the only one",
)
_ENDED: Final = CallEnded(
    id="",
    at=0,
    outcome="success",
    error="",
    usage=Usage(input_tokens=100, output_tokens=20),
    cost=27_000_000,
    price_known=True,
    cost_estimated=False,
    over_held=False,
    seconds=1.5,
    first_token_seconds=0.25,
)
_DONE: Final = RequestDone(
    id="",
    request_id="",
    at=0,
    door="openai_chat",
    caller=_BEGUN.caller,
    asked_model="gpt-4o-mini",
    provider="openai",
    model="gpt-4o-mini",
    outcome="success",
    status=200,
    error="",
    attempts=1,
    fallback=False,
    strategy="",
    affinity=False,
    stream=False,
    passthrough=True,
    usage=_ENDED.usage,
    cost=_ENDED.cost,
    price_known=True,
    cost_estimated=False,
    seconds=1.75,
    first_token_seconds=0.5,
)


def call(id_: str, *, at: float = NOON, **fields: Any) -> tuple[CallBegun, CallEnded]:
    """A call that began at a moment, with fields of its beginning or its end."""
    names = set(CallBegun.__struct_fields__)
    of_begun = {name: value for name, value in fields.items() if name in names}
    of_ended = {name: value for name, value in fields.items() if name not in names}
    begun = replace(
        _BEGUN, id=id_, at=round(at * 1_000_000), **{"request": f"r-{id_}", "request_id": f"q-{id_}", **of_begun}
    )
    ended = replace(_ENDED, id=id_, **of_ended)
    return begun, replace(ended, at=begun.at + round(ended.seconds * 1_000_000))


def request(id_: str, *, at: float = NOON, **fields: Any) -> RequestDone:
    """A request that came in at a moment."""
    return replace(_DONE, id=id_, at=round(at * 1_000_000), **{"request_id": f"q-{id_}", **fields})


async def rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    """All rows of a table, by its key."""
    async with database.reading() as connection:
        found = await connection.execute(sa.select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]
