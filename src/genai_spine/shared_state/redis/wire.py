"""One connection to a Redis server, on which calls follow each other without waiting for answers.

Those who call at the same time share reads and writes, which costs less than a connection for each. Answers come in the
order of the calls; one that does not come in time breaks the connection, for all behind it wait as long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

__all__ = ["AnswerLost", "Wire"]

_FOREIGN: Final = (RedisError, OSError)

_SECOND_LOOK: Final = 0.01


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
        self._given_up = False

    @property
    def broken(self) -> bool:
        """Whether nobody should call any more: what is sent over a lost connection would make it anew, ungreeted."""
        return self._given_up or not self._connection.is_connected

    async def call(self, *words: str | bytes | float, seconds: float) -> Any:
        """Return the answer to a command.

        Raises:
            AnswerLost: None came in time, or the connection broke.
            ResponseError: The server refused the command.
        """
        if self.broken:
            message = "the connection is broken"
            raise AnswerLost(message)
        packed = pack_command(words)  # type: ignore[arg-type]  # it takes any number of words; its stub, one
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(answer)
        timer = loop.call_later(seconds, self._late, answer)
        try:
            # Written at once, in the order of the calls; only a full buffer makes it wait.
            await self._connection.send_packed_command(packed, check_health=False)
            return await answer
        except ResponseError:
            raise
        except _FOREIGN as error:
            self.give_up()
            message = "the connection broke"
            raise AnswerLost(message) from error
        finally:
            timer.cancel()
            if answer.done() and not answer.cancelled():
                # Seen, whether it was waited for or not.
                answer.exception()

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
        except _FOREIGN as error:
            self._break(error)
        finally:
            self._break()
            await self._connection.disconnect(nowait=True)

    def _late(self, answer: asyncio.Future[Any]) -> None:
        """No answer in time. It is looked for once more: after a stall of this process it may be here, unread."""
        asyncio.get_running_loop().call_later(_SECOND_LOOK, self._too_late, answer)

    def _too_late(self, answer: asyncio.Future[Any]) -> None:
        if not answer.done():
            answer.set_exception(AnswerLost("no answer came in time", late=True))
            self.give_up()

    def _break(self, why: Exception | None = None) -> None:
        self._given_up = True
        for answer in self._waiting:
            if not answer.done():
                lost = AnswerLost("the connection broke")
                lost.__cause__ = why
                answer.set_exception(lost)
        self._waiting.clear()
