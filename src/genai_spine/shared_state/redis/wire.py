"""One connection to a Redis server, on which calls follow each other without waiting for answers.

Answers come in the order of the calls. One that does not come in time breaks the connection, for all behind it wait as
long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

__all__ = ["AnswerLost", "Wire"]

_FOREIGN: Final = (RedisError, OSError)


class AnswerLost(Exception):  # noqa: N818  # no error of the project's: whoever sees it tells what it means for his call
    """The connection broke after a call was sent: it may have been done.

    Attributes:
        late: It broke for no answer came in time; else it was found broken.
    """

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class Wire:
    """An open connection."""

    def __init__(self, connection: AbstractConnection) -> None:
        """Begin to read; the connection is connected, and has no time limit of its own."""
        self._connection = connection
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._reader = asyncio.create_task(self._read())
        self.broken = False

    async def call(self, *words: str | bytes | float, seconds: float) -> Any:
        """Return the answer to a command.

        Raises:
            AnswerLost: None came in time, or the connection broke.
            ResponseError: The server refused the command.
        """
        if self.broken:
            message = "the connection is broken"
            raise AnswerLost(message)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        try:
            async with asyncio.timeout(seconds):
                # Written at once, in the order of the calls; only a full buffer makes it wait.
                packed = self._connection.pack_command(*words)
                await self._connection.send_packed_command(packed, check_health=False)
                return await answer
        except ResponseError:
            raise
        except TimeoutError as error:
            self.give_up()
            message = f"no answer within {seconds} s"
            raise AnswerLost(message, late=True) from error
        except _FOREIGN as error:
            # Nobody waits for it here any more.
            answer.cancel()
            self.give_up()
            message = "the connection broke"
            raise AnswerLost(message) from error

    def give_up(self) -> None:
        """Use it no more; who still waits is told that his answer is lost."""
        self._break()
        self._reader.cancel()

    async def close(self) -> None:
        """Give it up and close it."""
        self.give_up()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def _read(self) -> None:
        try:
            while True:
                try:
                    found = await self._connection.read_response(timeout=inf)
                except ResponseError as refusal:
                    found = refusal
                answer = self._waiting.popleft()
                if answer.done():
                    # Who asked has left.
                    continue
                if isinstance(found, ResponseError):
                    answer.set_exception(found)
                else:
                    answer.set_result(found)
        except _FOREIGN:
            pass
        finally:
            self._break()
            await self._connection.disconnect(nowait=True)

    def _break(self) -> None:
        self.broken = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(AnswerLost("the connection broke"))
        self._waiting.clear()
