"""State at a Redis or Valkey server, shared by all who name it; ``shared_state/meters.py`` says what its meters owe.

Each step is one script, so it is whole, and goes by the server's clock. Amounts are whole numbers that Lua holds
exactly. The server is Redis 6.2 or newer, or Valkey, without modules. It must not evict (``maxmemory-policy
noeviction``), for a meter that is evicted counts from 0 again. Redis Cluster is not supported.

An epoch ends where the server is started anew, even with what it had saved, for that may be old; where another server
takes its place; and where it is flushed. Each process looks every beat, while it has something set aside.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from redis.exceptions import ResponseError
from typing_extensions import override

from genai_spine.clock import Clock
from genai_spine.errors import ConfigurationError, SharedStateUnavailableError
from genai_spine.shared_state.base import Listener, Note, SharedState, Told
from genai_spine.shared_state.meters import (
    NEVER,
    Claim,
    Gap,
    Hold,
    Meter,
    Reading,
    Refused,
    Stake,
    Taken,
    Unseeded,
    check_amounts,
    check_claims,
)
from genai_spine.shared_state.redis.holds import Debt, Holds, Live
from genai_spine.shared_state.redis.link import EPOCH, Link, Patience, unavailable
from genai_spine.shared_state.redis.scripts import SERVER_TIME, read_scripts
from genai_spine.shared_state.redis.topics import CHANNEL, Topics
from genai_spine.shared_state.redis.wire import AnswerLost, Wire

__all__ = ["RedisState"]

BYTES: Final = "spine:bytes:"

_KEEPS: Final = "noeviction"
# How many names the server looks at before it serves others.
_AT_ONCE: Final = 1000

_Word = str | bytes | float


class RedisState(SharedState):
    """State at a server; every step is one round trip."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        patience: Patience | None = None,
        told: Told = lambda _: None,
        concerned: Told = lambda _: None,
        grace_seconds: float = 2.0,
        beat_seconds: float = 0.5,
        remembered_seconds: float = 60.0,
        time: str = SERVER_TIME,
    ) -> None:
        """Make a place; nothing is connected until it is used.

        Args:
            url: Of the server, such as ``redis://host:6379/0``.
            clock: Whose ``monotonic`` counts how long the server is left alone, and how long is remembered.
            patience: How long is waited for the server.
            told: Told when it cannot be reached any more, and when it is back.
            concerned: Told what must be looked at there, when that is found.
            grace_seconds: So long an accounted meter admits nothing in a new epoch.
            beat_seconds: So often a process with holds looks whether the epoch is another, and tells what it owes;
                several times in the grace.
            remembered_seconds: For so long what was settled is told again to a new epoch.
            time: Has the scripts go by another clock.

        Raises:
            ConfigurationError: The address is none.
        """
        self._scripts = read_scripts(time)
        self._patience = patience or Patience()
        self._link = Link(url, clock, self._patience, self._greet, told)
        self._topics = Topics(self._link, self._patience)
        self._holds = Holds(clock, remembered_seconds)
        self._grace = grace_seconds
        self._beat_seconds = beat_seconds
        self._concern = ""
        self._concerned = concerned
        self._epoch = ""
        # The epoch that has been told all that is ours.
        self._told = ""
        self._beating: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    @property
    @override
    def trouble(self) -> str:
        return self._link.trouble

    @property
    @override
    def concern(self) -> str:
        return self._concern

    @override
    async def look(self) -> None:
        try:
            await self._open()
        except SharedStateUnavailableError:
            if self._link.shut_out:
                message = (
                    f"Redis is there, but does not let the gateway in ({self.trouble}); see the name and the password "
                    "in GENAI_REDIS_URL"
                )
                raise ConfigurationError(message) from None

    # Bytes and messages.

    @override
    async def get(self, key: str) -> bytes | None:
        found: bytes | None = await _heard(self._link.call("GET", BYTES + key))
        return found

    @override
    async def put(self, key: str, value: bytes, seconds: float) -> None:
        await _heard(self._link.call("SET", BYTES + key, value, "PX", max(1, round(seconds * 1000))))

    @override
    async def delete(self, key: str) -> bool:
        return bool(await _heard(self._link.call("DEL", BYTES + key)))

    @override
    async def publish(self, topic: str, message: bytes) -> None:
        await _heard(self._link.call("PUBLISH", CHANNEL + topic, message))

    @override
    async def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        return await self._topics.subscribe(topic, listener)

    # Notes.

    @override
    async def notes(self, board: str) -> dict[str, Note]:
        found = await _heard(self._run("notes", board))
        return {name.decode(): Note(text, age / 1000, version.decode()) for name, text, age, version in found[2]}

    @override
    async def write(self, board: str, name: str, text: bytes, seconds: float, over: str) -> str | None:
        found = await _heard(self._run("write", board, name, text, seconds, over))
        return found[2].decode() if found[0] == b"written" else None

    # Meters.

    @override
    async def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        check_claims(claims)
        words: list[_Word] = [hold_id, seconds, round(self._grace * 1000)]
        for claim in claims:
            words += _named(claim.meter)
            words += (claim.amount, "" if claim.limit is None else claim.limit)
        try:
            found = await self._run("take", *words)
        except (AnswerLost, asyncio.CancelledError) as error:
            # Whether it was taken or not, it shall not be.
            doubt = Hold(hold_id, self._epoch, tuple([Stake(claim.meter, claim.amount, 0) for claim in claims]))
            self._holds.owe(doubt, (0,) * len(claims), doubtful=True)
            self._begin_beating()
            if isinstance(error, AnswerLost):
                raise unavailable() from error
            raise
        kind = found[0]
        if kind == b"unseeded":
            return Unseeded(tuple([Gap(claims[index].meter, start, end) for index, start, end in found[2]]))
        if kind == b"wait":
            raise unavailable(found[2] / 1000)
        if kind == b"settled":
            message = f"hold {hold_id} was settled before it was taken"
            raise ValueError(message)
        if kind == b"refused":
            return Refused(_readings(found))
        stakes: list[Stake] = []
        stands: list[int] = []
        for claim, (used, held, end) in zip(claims, found[3], strict=True):
            stakes.append(Stake(claim.meter, claim.amount, end))
            stands.append(used + held)
        hold = Hold(hold_id, found[1].decode(), tuple(stakes))
        self._holds.take(hold, seconds)
        self._begin_beating()
        return Taken(hold, stands, found[2] / 1000)

    @override
    async def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        check_amounts(hold, amounts)
        debt = self._holds.owe(hold, amounts)
        self._begin_beating()
        try:
            return await self._pay(debt)
        except SharedStateUnavailableError:
            return True

    @override
    async def abandon(self, owner: str) -> int:
        count, cursor = 0, b"0"
        while True:
            pattern = f"spine:*:hold:{owner}-*"
            cursor, names = await _heard(self._link.call("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE))
            if names:
                holds = [name.partition(b":hold:")[2] for name in names]
                count += (await _heard(self._run("abandon", *holds)))[2]
            if cursor == b"0":
                return count

    @override
    async def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        words: list[_Word] = [gap.meter.key, gap.meter.window, gap.ends_at, used, *counted]
        found = await _heard(self._run("seed", *words))
        return bool(found[2])

    @override
    async def read(self, meters: Sequence[Meter]) -> tuple[Reading, ...]:
        words = [word for meter in meters for word in _named(meter)]
        return _readings(await _heard(self._run("read", *words)))

    async def beat(self) -> None:
        """Look whether the epoch is another, and tell the server what it does not know; done now and then by itself.

        Raises:
            SharedStateUnavailableError: The server cannot be reached.
        """
        self._notice(await self._open())
        if self._telling is not None:
            await asyncio.shield(self._telling)
        await asyncio.gather(*[self._pay(debt) for debt in self._holds.owed()])

    @override
    async def close(self) -> None:
        for task in (self._beating, self._telling):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._topics.close()
        await self._link.close()

    # Epochs.

    async def _greet(self, wire: Wire) -> None:
        """Learn of each new connection whether the server is the one that it was; before anybody uses it."""
        text, seconds = self._scripts["open"].text, self._patience.command
        try:
            found = await wire.call("EVAL", text, 1, EPOCH, secrets.token_hex(8), seconds=seconds)
        except ResponseError as error:
            message = "the server runs no scripts, or not now"
            raise AnswerLost(message) from error
        self._notice(found[1])
        before, self._concern = self._concern, await _concern_of(wire, seconds)
        if self._concern and self._concern != before:
            self._concerned(self._concern)

    async def _open(self) -> bytes:
        found = await _heard(self._link.run(self._scripts["open"], secrets.token_hex(8)))
        epoch: bytes = found[1]
        return epoch

    def _notice(self, epoch: bytes) -> None:
        self._epoch = epoch.decode()
        if self._told != self._epoch and self._telling is None:
            self._telling = asyncio.create_task(self._tell_again())
            self._telling.add_done_callback(self._has_told)

    def _has_told(self, task: asyncio.Task[None]) -> None:
        self._telling = None
        # Where it failed, the next beat does it again.
        if not task.cancelled():
            task.exception()

    async def _tell_again(self) -> None:
        """Hold and settle again in this epoch what was taken in an older one, and may not be known here."""
        epoch = self._epoch
        await asyncio.gather(*[self._restore(live) for live in self._holds.live(epoch)])
        await asyncio.gather(*[self._pay(debt) for debt in self._holds.settled(epoch)])
        self._told = epoch

    async def _restore(self, live: Live) -> None:
        words: list[_Word] = [live.hold.id, live.seconds]
        for stake in live.hold.stakes:
            words += (*_named(stake.meter), stake.amount, stake.ends_at)
        await _heard(self._run("restore", *words))

    async def _pay(self, debt: Debt) -> bool:
        hold = debt.hold
        words: list[_Word] = [hold.id, hold.epoch, int(debt.doubtful)]
        for stake, amount in zip(hold.stakes, debt.amounts, strict=True):
            words += (*_named(stake.meter), stake.amount, stake.ends_at, amount)
        found = await _heard(self._run("settle", *words))
        self._holds.paid(debt)
        return bool(found[2])

    def _begin_beating(self) -> None:
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat_on())

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            self._holds.forget()
            if not self._holds.idle:
                try:
                    await self.beat()
                except SharedStateUnavailableError:
                    continue

    async def _run(self, name: str, *words: _Word) -> Any:
        """Run a script in an epoch; where the server has none, one is begun."""
        for _ in range(3):
            found = await self._link.run(self._scripts[name], *words)
            if found[0] != b"lost":
                self._notice(found[1])
                return found
            self._notice(await self._open())
        raise unavailable()


async def _concern_of(wire: Wire, seconds: float) -> str:
    """What of a server's settings takes meters away; nothing, where the server tells nobody."""
    try:
        told = bytes(await wire.call("INFO", "memory", seconds=seconds)).decode()
    except ResponseError:
        return ""
    facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    policy = facts.get("maxmemory_policy", _KEEPS)
    if policy == _KEEPS or facts.get("maxmemory") == "0":
        return ""
    return f"it evicts what it keeps ({policy}) when its memory is full, and forgets what was spent; set {_KEEPS}"


async def _heard(work: Awaitable[Any]) -> Any:
    """Await what may be done again; where the answer is lost, the place cannot be reached."""
    try:
        return await work
    except AnswerLost as error:
        raise unavailable() from error


def _named(meter: Meter) -> tuple[str, str, str]:
    return meter.key, meter.window, "1" if meter.accounted else "0"


def _readings(found: Any) -> tuple[Reading, ...]:
    now = found[2] / 1000
    return tuple([Reading(used, held, None if end == NEVER else end - now) for used, held, end in found[3]])
