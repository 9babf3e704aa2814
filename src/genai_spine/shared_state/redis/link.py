"""The way to a Redis server: connected when it is needed, and left alone for a while when it is down."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from genai_spine.clock import Clock
from genai_spine.errors import ConfigurationError, SharedStateUnavailableError
from genai_spine.shared_state.base import Told
from genai_spine.shared_state.redis.scripts import Script
from genai_spine.shared_state.redis.wire import AnswerLost, Wire

__all__ = ["Link", "Patience", "unavailable"]

EPOCH: Final = "spine:epoch"

_NUMBERED: Final = ("redis://", "rediss://")
_DATABASE: Final = re.compile(r"(/\d*)?")

Greeting = Callable[[Wire], Awaitable[None]]


class Patience(Struct, frozen=True, kw_only=True):
    """How long is waited, in seconds.

    Attributes:
        connect: For a connection.
        command: For an answer.
        rest: After a failure nobody tries for so long; doubled with each further one.
        longest_rest: But no longer than this.
        quiet: For a word while messages are listened for; then one is asked for, and must come within as long again.
    """

    connect: float = 1.0
    command: float = 0.5
    rest: float = 0.1
    longest_rest: float = 2.0
    quiet: float = 5.0


class Link:
    """One connection, made anew when it breaks.

    While the server is down, one caller tries it now and then, and all others fail at once.

    Attributes:
        trouble: Why it cannot be reached; empty while it can be, as far as anybody tried.
        shut_out: It is there, but does not let us in: waiting does not help.
    """

    def __init__(self, url: str, clock: Clock, patience: Patience, greeting: Greeting, told: Told) -> None:
        """Make a link; nothing is connected yet.

        Args:
            url: Such as ``redis://:password@host:6379/0``, ``rediss://...`` or ``unix:///path``.
            clock: Whose ``monotonic`` counts the rests.
            patience: How long is waited.
            greeting: Called with each new connection, before anybody else may use it.
            told: Called with the trouble when it begins, and with nothing when it is over.

        Raises:
            ConfigurationError: The address is none.
        """
        try:
            self._pool = ConnectionPool.from_url(
                url,
                protocol=2,
                socket_timeout=None,
                socket_connect_timeout=patience.connect,
                retry=Retry(NoBackoff(), 0),
            )
            # Connects to nobody, and shows whether all that the address says is known.
            self.connection()
        except (ValueError, TypeError):
            # The address may hold a password, so neither it nor what was made of it is shown.
            message = (
                "GENAI_REDIS_URL: the address of Redis is none; write redis://host:6379/0, rediss://... or "
                "unix:///path/to/socket, and : / ? # @ of a password as %3A %2F %3F %23 %40"
            )
            raise ConfigurationError(message) from None
        if url.startswith(_NUMBERED) and not _DATABASE.fullmatch(urlsplit(url).path):
            # redis-py would take the first database; and what stands there may be the rest of a password.
            message = (
                "GENAI_REDIS_URL: behind the host stands the number of a database, as in redis://host:6379/0; write "
                ": / ? # @ of a password as %3A %2F %3F %23 %40"
            )
            raise ConfigurationError(message)
        self.trouble = ""
        self.shut_out = False
        self._told = told
        self._clock = clock
        self._patience = patience
        self._greeting = greeting
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[Wire] | None = None
        self._failures = 0
        self._rests_until = 0.0
        self._closed = False

    async def call(self, *words: str | bytes | float) -> Any:
        """Return the answer to a command that may be done twice.

        Raises:
            SharedStateUnavailableError: It was not sent, or the server refused it.
            AnswerLost: It may have been done.
        """
        return await self._ask(words)

    async def run(self, script: Script, *words: str | bytes | float) -> Any:
        """Return what a script returns; otherwise like ``call``."""
        try:
            return await self._ask(("EVALSHA", script.sha, 1, EPOCH, *words))
        except NoScriptError:
            return await self._ask(("EVAL", script.text, 1, EPOCH, *words))

    def connection(self) -> AbstractConnection:
        """Return a connection of one's own, not connected yet."""
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
        return made

    async def close(self) -> None:
        """Close the connection, if there is one; none is made any more."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._wire is not None:
            await self._wire.close()
            self._wire = None

    async def _ask(self, words: Sequence[str | bytes | float]) -> Any:
        """Send a command; once more, where the connection turns out to have broken since the last."""
        lost: AnswerLost | None = None
        while True:
            try:
                wire = await self._connected()
            except SharedStateUnavailableError:
                if lost is not None:
                    raise lost from None
                raise
            try:
                return await wire.call(*words, seconds=self._patience.command)
            except NoScriptError:
                raise
            except ResponseError as error:
                # Of a script servers before Redis 7 tell it in the midst of other words.
                if isinstance(error, ReadOnlyError) or "READONLY" in str(error):
                    # It has become another's replica, and is not the one to ask.
                    wire.give_up()
                raise unavailable() from error
            except AnswerLost as error:
                if error.late:
                    self._stumbled(wire, error)
                if error.late or lost is not None:
                    raise
                lost = error

    async def _connected(self) -> Wire:
        if self._wire is not None and not self._wire.broken:
            return self._wire
        if self._closed:
            raise unavailable()
        if self._failures and (self._connecting is not None or self._clock.monotonic() < self._rests_until):
            raise unavailable(max(self._rests_until - self._clock.monotonic(), self._patience.rest))
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._tried)
        connecting = self._connecting
        try:
            # The caller may leave; the others who wait for the connection stay.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connecting.cancelled() and task is not None and not task.cancelling():
                raise unavailable() from None
            raise

    async def _connect(self) -> Wire:
        if self._wire is not None:
            await self._wire.close()
            self._wire = None
        connection = self.connection()
        wire: Wire | None = None
        try:
            async with asyncio.timeout(self._patience.connect + self._patience.command):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own
                wire = Wire(connection)
                await self._greeting(wire)
            self._wire = wire
        except (RedisError, OSError, TimeoutError, AnswerLost) as error:
            self._failed(error)
            raise unavailable(self._rests_until - self._clock.monotonic()) from error
        finally:
            if self._wire is None:
                await (connection.disconnect(nowait=True) if wire is None else wire.close())
        self._failures = 0
        if self.trouble:
            self.trouble = ""
            self._told("")
        return wire

    def _tried(self, task: asyncio.Task[Wire]) -> None:
        self._connecting = None
        # Looked at here, for whoever waited may have left.
        if not task.cancelled():
            task.exception()

    def _stumbled(self, wire: Wire, error: AnswerLost) -> None:
        """A call got no answer: the first to notice lets the server rest."""
        if self._wire is wire:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        began = not self.trouble
        cause = error.__cause__ or error
        self.shut_out = isinstance(cause, AuthenticationError)
        self.trouble = f"{type(cause).__name__}: {cause}".rstrip(": ")
        if began:
            self._told(self.trouble)
        rest = min(self._patience.rest * 2**self._failures, self._patience.longest_rest)
        self._failures = min(self._failures + 1, 30)
        self._rests_until = self._clock.monotonic() + rest


def unavailable(retry_after: float = 1.0) -> SharedStateUnavailableError:
    """Return the error that tells so; why stands in its cause."""
    message = "the store of budgets and limits cannot be reached now"
    return SharedStateUnavailableError(message, retry_after=retry_after)
