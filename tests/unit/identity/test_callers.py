"""What is remembered of callers: no wait for what is known, one look for many, and no trace of what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from msgspec import Struct, structs
from sqlalchemy import event

from genai_spine.errors import AuthenticationError
from genai_spine.identity import callers as module
from genai_spine.identity.api_keys import KeyRing, new_key
from genai_spine.identity.callers import MOST_TOLD, UNKNOWN_SECONDS, Callers
from genai_spine.identity.office import Office
from genai_spine.redact import Secret
from genai_spine.shared_state.memory import MemoryState
from genai_spine.storage.records import KeyFacts, KeyRecord, Rates, UserFacts
from genai_spine.storage.sql.engine import Database
from genai_spine.storage.sql.identities import TOPIC
from genai_spine.storage.sql.versions import Watcher
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import AuditEvent, Caller
from genai_spine.types.limits import Limit
from genai_spine.types.principal import ANYBODY, Allowance, Principal
from tests.databases import KINDS, fresh_database

OWN: Final = Secret("key-of-the-environment")


class Door(Struct):
    """Callers before a database, and all that is around them.

    Attributes:
        looks: Statements that looked for a key, as they were sent.
    """

    callers: Callers
    office: Office
    database: Database
    clock: ManualClock
    events: list[AuditEvent]
    looks: list[str]

    async def key(self, **facts: object) -> tuple[KeyRecord, str]:
        """Make a key."""
        record, key = await self.office.create_key(ANYBODY, structs.replace(KeyFacts(name="x"), **facts))
        return record, key.reveal()

    async def refusal(self, key: str | None) -> str:
        """The code by which a key is refused."""
        with pytest.raises(AuthenticationError) as caught:
            await self.callers.admit(key)
        return caught.value.code


def door(
    database: Database,
    *,
    ring: KeyRing | None = None,
    limits: tuple[Limit, ...] = (),
    rates: Callable[[str], tuple[Limit, ...]] = lambda _: (),
) -> Door:
    """Return callers before a database."""
    clock, events, looks = ManualClock(), list[AuditEvent](), list[str]()
    office = Office(database, clock=clock, audit=events.append)
    callers = Callers(ring or KeyRing([OWN]), office, limits=lambda: limits, rates=rates)

    def look(_: object, __: object, statement: str, *more: object) -> None:  # noqa: ARG001  # as SQLAlchemy calls it
        if "api_keys.prefix IN" in statement:
            looks.append(statement)

    event.listen(database._engine.sync_engine, "before_cursor_execute", look)
    return Door(callers, office, database, clock, events, looks)


@pytest.fixture(params=KINDS)
async def before(request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    """Callers before a new database."""
    async with fresh_database(request.param) as database:
        yield door(database)


@pytest.fixture
async def lite() -> AsyncIterator[Door]:
    """The same, where the kind of database makes no difference."""
    async with fresh_database("sqlite") as database:
        yield door(database)


def at_once(callers: Callers, key: str) -> Principal:
    """Who is let in without any wait."""
    coroutine = callers.admit(key)
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    found: Principal = done.value.value
    return found


async def test_who_is_known_is_let_in_without_a_wait(before: Door) -> None:
    """A key of the environment always, one of the database from its second time on; nothing is looked up for them."""
    _, key = await before.key()
    assert OWN.fingerprint == at_once(before.callers, OWN.reveal()).key
    first = await before.callers.admit(key)
    assert first is at_once(before.callers, key)
    assert 1 == len(before.looks)


async def test_what_is_known_of_a_caller(before: Door) -> None:
    """His key, user, scopes and lists; his own limits, his user's, and everybody's; what the ledger is told of him."""
    office = before.office
    user = await office.add_user(ANYBODY, UserFacts(name="ada", rates=Rates(max_concurrent=4)))
    record, key = await before.key(
        user=user.id,
        scopes=("inference", "keys"),
        models=("gpt-*",),
        tags=("team-a",),
        rates=Rates(requests_per_minute=60, tokens_per_minute=1000),
    )
    await office.put_budget(ANYBODY, "key", record.id, "day", 5_000_000_000, "warn")
    await office.put_budget(ANYBODY, "user", user.id, "month", 7, "fallback")
    await office.put_budget(ANYBODY, "global", 0, "hour", 9, "block")
    await before.callers.refresh()
    found = await before.callers.admit(key)
    mine, his = str(record.id), str(user.id)
    everybodys = Limit(kind="usd", scope="global", window="hour", amount=9)
    assert {
        Limit(kind="requests", scope="key", subject=mine, window="minute", amount=60),
        Limit(kind="tokens", scope="key", subject=mine, window="minute", amount=1000),
        Limit(kind="concurrent", scope="user", subject=his, window="none", amount=4),
        Limit(kind="usd", scope="key", subject=mine, window="day", amount=5_000_000_000, action="warn"),
        Limit(kind="usd", scope="user", subject=his, window="month", amount=7, action="fallback"),
        everybodys,
    } == set(found.limits)
    assert (
        Caller(user=user.id, api_key=record.id, fingerprint=Secret(key).fingerprint, tags=("team-a",)) == found.caller
    )
    assert ("member", {"inference", "keys"}, f"user:{user.id}") == (found.role, set(found.scopes), found.owner)
    assert Allowance(None, ("gpt-*",)) == found.allowance
    own = await before.callers.admit(OWN.reveal())
    assert ((everybodys,), Caller(fingerprint=OWN.fingerprint), None) == (own.limits, own.caller, own.allowance)


async def test_where_nobody_is_asked_for_a_key() -> None:
    """Everybody is anybody, with the limits of everybody."""
    limit = Limit(kind="usd", scope="global", window="request", amount=1)
    async with fresh_database("sqlite") as database:
        callers = door(database, ring=KeyRing(open_to_all=True), limits=(limit,)).callers
        for key in (None, "anything"):
            assert structs.replace(ANYBODY, limits=(limit,)) == await callers.admit(key)


async def test_many_at_once_make_one_look(before: Door) -> None:
    """However many present a key that is not remembered, it is looked for once; who leaves takes nobody along."""
    _, key = await before.key()
    asked = [asyncio.create_task(before.callers.admit(key)) for _ in range(50)]
    await asyncio.sleep(0)
    asked[0].cancel()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Principal) for one in found[1:])
    assert 1 == len(before.looks)


async def test_a_key_that_nobody_knows(before: Door) -> None:
    """It is not looked for again for a while, however many try; then it is, or as soon as anything has changed."""
    key = new_key().reveal()
    refused = await asyncio.gather(*(before.refusal(key) for _ in range(10)))
    assert {"invalid_api_key"} == set(refused)
    assert 1 == len(before.looks)
    assert 1 == len(before.events)
    before.clock.advance(UNKNOWN_SECONDS)
    await before.refusal(key)
    assert 2 == len(before.looks)
    await before.callers.refresh()
    looked = len(before.looks)
    await before.refusal(key)
    assert looked + 1 == len(before.looks)


async def test_what_cannot_be_in_the_database_is_not_looked_for(lite: Door) -> None:
    """Keys of other forms, and none at all, cost no look; who sent none is told how."""
    for key in ("x", "sk-" + "a" * 40, "spine-short", "ключ", "\udcff"):
        assert "invalid_api_key" == await lite.refusal(key)
    assert "missing_api_key" == await lite.refusal(None)
    assert "missing_api_key" == await lite.refusal("")
    assert [] == lite.looks


async def test_who_has_no_key_does_not_fill_the_audit(lite: Door) -> None:
    """However many keys are tried, an audit is told of so many in a time, and then again."""
    for _ in range(2):
        lite.events.clear()
        for number in range(MOST_TOLD + 50):
            await lite.refusal(f"wrong key {number}")
        assert MOST_TOLD == len(lite.events)
        lite.clock.advance(UNKNOWN_SECONDS)


async def test_the_secret_counts_and_not_the_prefix(lite: Door) -> None:
    """A key with the prefix of a good one, and another secret, is a wrong key."""
    record, key = await lite.key()
    await lite.callers.admit(key)
    assert "invalid_api_key" == await lite.refusal(f"{record.prefix}-{'a' * 43}")


async def test_what_changes_while_it_is_looked_up_is_not_remembered(before: Door) -> None:
    """A key that is revoked between the look at it and its being remembered is refused, not let in for ever."""
    record, key = await before.key()
    find = before.office.identities.find
    revoked = False

    async def find_and_revoke(prefixes: list[str]) -> object:
        nonlocal revoked
        found = await find(prefixes)
        if not revoked:
            revoked = True
            await before.office.revoke_key(ANYBODY, record.id)
            await before.callers.refresh()
        return found

    before.office.identities.find = find_and_revoke  # type: ignore[method-assign,assignment]  # the moment cannot be hit else
    assert "api_key_revoked" == await before.refusal(key)


async def test_a_watcher_brings_what_others_changed(before: Door) -> None:
    """Each change of users, keys and budgets is told of, so that one look reads it; use of keys is none."""
    watcher = Watcher(before.database, MemoryState(1024, before.clock))
    watcher.on(TOPIC, before.callers.refresh)
    await watcher.look()
    user = await before.office.add_user(ANYBODY, UserFacts(name="ada"))
    record, key = await before.key(user=user.id)

    def renamed(facts: KeyFacts) -> KeyFacts:
        return structs.replace(facts, tags=(*facts.tags, "more"))

    def limited(facts: UserFacts) -> UserFacts:
        return structs.replace(facts, rates=Rates(max_concurrent=1))

    before_it = await before.callers.admit(key)
    changes: tuple[Callable[[], object], ...] = (
        lambda: before.office.change_key(ANYBODY, record.id, renamed),
        lambda: before.office.change_user(ANYBODY, user.id, limited),
        lambda: before.office.put_budget(ANYBODY, "user", user.id, "day", 1, "block"),
        lambda: before.office.remove_budget(ANYBODY, 1),
    )
    for change in changes:
        await change()  # type: ignore[misc]  # each gives something else to wait for
        await watcher.look()
        now = at_once(before.callers, key)
        assert before_it != now
        before_it = now
    await before.callers.note_use()
    await watcher.look()
    assert before_it is at_once(before.callers, key)


async def test_use_is_noted_now_and_then(before: Door) -> None:
    """Once for all requests since the last time; not for a key that was not used."""
    (used, key), (idle, _) = await before.key(), await before.key()
    for _ in range(3):
        await before.callers.admit(key)
    assert (await before.office.key(ANYBODY, used.id)).last_used_at is None
    await before.callers.note_use()
    noted = (await before.office.key(ANYBODY, used.id)).last_used_at
    assert datetime.fromtimestamp(before.clock.now(), UTC) == noted
    before.clock.advance(100)
    await before.callers.note_use()
    assert noted == (await before.office.key(ANYBODY, used.id)).last_used_at
    assert (await before.office.key(ANYBODY, idle.id)).last_used_at is None


async def test_what_is_remembered_has_an_end(lite: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest takes the place of the oldest, of keys that are known and of those that are not."""
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    keys = [(await lite.key())[1] for _ in range(5)]
    for key in keys:
        await lite.callers.admit(key)
        await lite.refusal(f"unknown {key}")
    assert 3 == len(lite.callers._known) == len(lite.callers._unknown)
    looked = len(lite.looks)
    for key in keys[2:]:
        at_once(lite.callers, key)
    assert looked == len(lite.looks)


async def test_an_expiry_is_the_earlier_of_key_and_secret(before: Door) -> None:
    """The older secret of a rotated key lasts no longer than the key."""
    ends = datetime.fromtimestamp(before.clock.now(), UTC) + timedelta(seconds=10)
    record, older = await before.key(expires_at=ends)
    _, newer = await before.office.rotate_key(ANYBODY, record.id, timedelta(seconds=60))
    for key in (older, newer.reveal()):
        await before.callers.admit(key)
    before.clock.advance(10)
    for key in (older, newer.reveal()):
        assert "api_key_expired" == await before.refusal(key)


async def test_the_usual_rates_of_a_key() -> None:
    """A key has those of the settings, by its own id, but where something else is said of it."""

    def usual(key: str) -> tuple[Limit, ...]:
        return (Limit(kind="requests", scope="key", subject=key, window="minute", amount=9),)

    async with fresh_database("sqlite") as database:
        lite = door(database, rates=usual)
        (plain, key), (_, own) = await lite.key(), await lite.key(rates=Rates(requests_per_minute=5))
        assert usual(str(plain.id)) == (await lite.callers.admit(key)).limits
        assert [5] == [limit.amount for limit in (await lite.callers.admit(own)).limits]
        assert usual(OWN.fingerprint) == (await lite.callers.admit(OWN.reveal())).limits
