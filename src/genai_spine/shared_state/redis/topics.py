"""Messages by topic, over a connection of their own that is made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from genai_spine.shared_state.base import Listener
from genai_spine.shared_state.redis.link import Link, Patience

__all__ = ["Topics"]

CHANNEL: Final = "spine:topic:"


class Topics:
    """Listens to all topics of a process."""

    def __init__(self, link: Link, patience: Patience) -> None:
        """Listen to nothing yet.

        Args:
            link: Makes the connection.
            patience: How long is waited for the server.
        """
        self._link = link
        self._patience = patience
        self._listeners: dict[str, list[Listener]] = {}
        # Topics that the server confirmed since the connection was made.
        self._heard: dict[str, asyncio.Event] = {}
        # Topics of which messages may have been missed.
        self._missed: set[str] = set()
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        """See ``SharedState.subscribe``; where the server cannot be reached, it listens as soon as it can be."""
        listeners = self._listeners.setdefault(topic, [])
        listeners.append(listener)
        heard = self._heard.setdefault(topic, asyncio.Event())
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        elif len(listeners) == 1 and self._connection is not None:
            await self._ask(self._connection, topic)
        try:
            async with asyncio.timeout(self._patience.connect + self._patience.command):
                await heard.wait()
        except TimeoutError:
            self._missed.add(topic)
        return lambda: listeners.remove(listener)

    async def close(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _listen(self) -> None:
        rest = self._patience.rest
        while True:
            connection = self._link.connection()
            try:
                async with asyncio.timeout(self._patience.connect + self._patience.command):
                    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py's own
                self._connection = connection
                rest = self._patience.rest
                for topic in list(self._listeners):
                    await self._ask(connection, topic)
                await self._read(connection)
            except (RedisError, OSError, TimeoutError):
                pass
            finally:
                self._connection = None
                self._missed.update(topic for topic, heard in self._heard.items() if heard.is_set())
                for heard in self._heard.values():
                    heard.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(rest)
            rest = min(2 * rest, self._patience.longest_rest)

    @staticmethod
    async def _ask(connection: AbstractConnection, topic: str) -> None:
        # What goes wrong here, the one who reads sees too.
        try:
            await connection.send_packed_command(
                connection.pack_command("SUBSCRIBE", CHANNEL + topic), check_health=False
            )
        except (RedisError, OSError):
            return

    async def _read(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            found = await connection.read_response(timeout=self._patience.quiet, disconnect_on_error=False)
            if found is None:
                if asked:
                    return
                asked = True
                await connection.send_packed_command(connection.pack_command("PING"), check_health=False)
                continue
            asked = False
            kind = found[0]
            if kind == b"message":
                self._tell(found[1], found[2])
            elif kind == b"subscribe":
                self._confirmed(found[1])

    def _confirmed(self, channel: bytes) -> None:
        topic = channel.decode().removeprefix(CHANNEL)
        self._heard[topic].set()
        if topic in self._missed:
            self._missed.discard(topic)
            self._tell(channel, None)

    def _tell(self, channel: bytes, message: bytes | None) -> None:
        for listener in tuple(self._listeners.get(channel.decode().removeprefix(CHANNEL), ())):
            listener(message)
