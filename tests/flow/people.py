"""A gateway with users and keys of each kind, and a caller who presents any of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from msgspec import Struct, structs

from genai_spine.storage.records import KeyFacts, KeyRecord, UserFacts, UserRecord
from genai_spine.testing.gateway import RunningGateway
from genai_spine.types.principal import ANYBODY, Scope
from tests.flow.callers import Answer

__all__ = ["MEMBER_SCOPES", "Town", "founded"]

MEMBER_SCOPES: Final[tuple[Scope, ...]] = ("inference", "read", "keys")


class Town(Struct):
    """A gateway, and those who come to it.

    Attributes:
        ada: A member.
        bob: Another.
    """

    session: aiohttp.ClientSession
    gateway: RunningGateway
    ada: UserRecord
    bob: UserRecord

    @property
    def now(self) -> datetime:
        """The time on the gateway's clock."""
        return datetime.fromtimestamp(self.gateway.spine.clock.now(), UTC)

    async def add(self, name: str, **more: Any) -> UserRecord:  # Any: whatever is chosen of a user
        """Add a user."""
        return await self.gateway.spine.office.add_user(ANYBODY, UserFacts(name=name, **more))

    async def key(self, user: UserRecord | None = None, **more: Any) -> tuple[KeyRecord, str]:  # Any: as above
        """Make a key, with all the scopes of a member unless they are told; return it with what is presented."""
        facts = KeyFacts(name="a key", user=None if user is None else user.id, scopes=MEMBER_SCOPES)
        record, key = await self.gateway.spine.office.create_key(ANYBODY, structs.replace(facts, **more))
        return record, key.reveal()

    async def call(self, key: str, method: str, path: str, **more: Any) -> Answer:  # Any: whatever the client takes
        """Send a request that presents a key; none where it is empty."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with self.session.request(method, self.gateway.url + path, headers=headers, **more) as response:
            told = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, told, await response.read())

    async def expired(self) -> str:
        """A key that was good."""
        _, key = await self.key(self.ada, expires_at=self.now - timedelta(hours=1))
        return key

    async def revoked(self) -> str:
        """A key that was good."""
        record, key = await self.key(self.ada)
        await self.gateway.spine.office.revoke_key(ANYBODY, record.id)
        return key

    async def barred(self) -> str:
        """A key of a user who may not come in."""
        _, key = await self.key(await self.add("eve", is_active=False))
        return key


async def founded(session: aiohttp.ClientSession, gateway: RunningGateway) -> Town:
    """Return a gateway with two members."""
    office = gateway.spine.office
    ada = await office.add_user(ANYBODY, UserFacts(name="ada"))
    bob = await office.add_user(ANYBODY, UserFacts(name="bob"))
    return Town(session, gateway, ada, bob)
