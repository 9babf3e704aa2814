"""One HTTP/1.1 connection to an upstream, and the answer that is coming over it.

Bytes go from the socket to the parser to the reader with one wake of the reader's task, and nothing in between; the
parser is that of Node.js (llhttp, through httptools).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final, cast

import httptools
from typing_extensions import override

from genai_spine.errors import MalformedResponseError, ProviderError, ProviderTimeoutError
from genai_spine.transport.base import Incoming, Timeouts
from genai_spine.transport.failures import broken, translate

if TYPE_CHECKING:
    from httptools.parser.parser import HttpResponseParser

__all__ = ["Answer", "Connection", "StaleConnectionError"]

MAX_HEAD_BYTES: Final = 256 * 1024
DRAIN_SECONDS: Final = 1.0
"""How long a connection may take to end an answer of which nobody wants more."""
HIGH_WATER_BYTES: Final = 128 * 1024
"""What may wait for a slow reader before the upstream is made to wait."""


class StaleConnectionError(Exception):
    """A kept-alive connection turned out to be closed before anything of the answer had come."""


class Connection(asyncio.Protocol):
    """A connection, used for one exchange after another.

    Attributes:
        used: It has carried an exchange before.
        closed: It can carry no further one.
        idle_since: When it was last let go of, on the loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        released: Callable[[Connection], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self._loop = loop
        self._released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._status = 0
        self.used = False
        self.closed = False
        self.idle_since = 0.0

    # What the loop calls.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Bytes that nobody asked for: whatever they are, the next answer must not begin with them.
            self.close()
            return
        if not self._status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail(MalformedResponseError("the head of the provider's answer has no end"))
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(translate(error))

    @override
    def eof_received(self) -> bool:
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._lost(self)
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.lost(exc, ended=self._ends_with_connection(), silent=not self._head_bytes)

    def _ends_with_connection(self) -> bool:
        """Whether the answer's end is the connection's: it told neither a length nor chunks."""
        names = {name.lower() for name, _ in self._headers}
        return bool(self._status) and not names & {b"content-length", b"transfer-encoding"}

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Forget the last head. An answer that nobody asked for must never become the next one's."""
        self._headers = []
        if self._answer is None:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Tell the head; that of an interim answer (1xx) is passed over."""
        status = self._parser.get_status_code()
        if status >= 200 and self._answer is not None:
            self._status = status
            self._answer.head_came(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Hand on a piece of the body."""
        if self._answer is not None:
            self._answer.body_came(data)

    def on_message_complete(self) -> None:
        """The answer is whole: the connection is free for the next, if both sides keep it."""
        if not self._status:
            return
        answer, self._answer = self._answer, None
        self._status = 0
        if not self._parser.should_keep_alive():
            self.close()
        elif not self.closed:
            self.idle_since = self._loop.time()
            self._released(self)
        if answer is not None:
            answer.whole()

    # What the transport calls.

    def send(self, data: bytes, timeouts: Timeouts) -> Answer:
        """Send a request, and return its answer, of which nothing has come yet."""
        answer = Answer(self, self._loop, timeouts, stale=self.used)
        self._answer = answer
        self._status = self._head_bytes = 0
        self.used = True
        transport = self._transport
        if transport is None or self.closed:
            answer.lost(None, ended=False, silent=True)
        else:
            transport.write(data)
        return answer

    def close(self) -> None:
        """Close at once: what was still to be sent or to come is dropped."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Have the upstream wait."""
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Have the upstream go on."""
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    def _fail(self, error: ProviderError) -> None:
        answer, self._answer = self._answer, None
        self.close()
        if answer is not None:
            answer.failed(error)


class Answer(Incoming):
    """An answer that is coming, with one timer that guards its beginning, its pace and its end."""

    __slots__ = (
        "_between",
        "_connection",
        "_done",
        "_draining",
        "_ends_at",
        "_error",
        "_last",
        "_loop",
        "_paused",
        "_pieces",
        "_raw_headers",
        "_size",
        "_stale",
        "_timer",
        "_waiter",
        "_waiting",
        "status",
    )

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, timeouts: Timeouts, *, stale: bool
    ) -> None:
        self.status = 0
        self._connection = connection
        self._loop = loop
        self._stale = stale
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._size = 0
        self._done = False
        self._paused = False
        self._draining = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waiting = True
        now = self._last = loop.time()
        self._ends_at = now + timeouts.total
        self._between = timeouts.between_chunks
        self._timer: asyncio.TimerHandle | None = loop.call_at(
            min(now + timeouts.first_byte, self._ends_at), self._too_late
        )

    @property
    @override
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]  # read-only here, and made only if asked for
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._raw_headers}

    # What the connection tells.

    def head_came(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head has come."""
        self.status = status
        self._raw_headers = headers
        if self._timer is not None:
            self._timer.cancel()
            self._last = self._loop.time()
            self._timer = self._loop.call_at(min(self._last + self._between, self._ends_at), self._check_pace)
        self._wake()

    def body_came(self, data: bytes) -> None:
        """A piece of the body has come."""
        if self._draining:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._connection.pause()
        self._wake()

    def whole(self) -> None:
        """All has come."""
        self._done = True
        if self._paused:
            # Else whoever uses the connection next would wait for ever, if this answer is never read.
            self._paused = False
            self._connection.resume()
        self._stop_timer()
        self._wake()

    def lost(self, reason: Exception | None, *, ended: bool, silent: bool) -> None:
        """The connection is gone; ``ended`` tells that this is the answer's proper end, ``silent`` that none began."""
        if ended and reason is None:
            self.whole()
        elif silent and self._stale:
            self._end(StaleConnectionError())
        else:
            self._end(broken(reason, begun=bool(self.status)))

    def failed(self, error: ProviderError) -> None:
        """What came was no answer."""
        self._end(error)

    def _end(self, error: BaseException) -> None:
        if not self._done and self._error is None:
            self._error = error
        self._stop_timer()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Time.

    def _too_late(self) -> None:
        self._timer = None
        self._connection.close()
        self._end(ProviderTimeoutError("the provider did not answer in time"))

    def _check_pace(self) -> None:
        """The timer is not moved with each piece: it looks when it fires, and is set anew if there was progress."""
        now = self._loop.time()
        # A reader who takes his time is no fault of the upstream's.
        due = min(self._last + self._between if self._waiting else now + self._between, self._ends_at)
        if now < due:
            self._timer = self._loop.call_at(due, self._check_pace)
            return
        self._timer = None
        self._connection.close()
        self._end(ProviderTimeoutError("the provider fell silent in the middle of its answer, or took too long in all"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the reader calls.

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            StaleConnectionError: The connection had been kept alive, and was closed before anything came.
            ProviderError: There will be none.
        """
        while not self.status:
            if self._error is not None:
                raise self._error
            self._waiter = self._loop.create_future()
            await self._waiter

    @override
    async def read(self, limit: int) -> bytes:
        # An answer that is wanted whole is nearly always there whole: no generator is needed for that.
        if self._done and self._error is None and self._size <= limit and not self._paused:
            pieces, self._pieces = self._pieces, []
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return await super().read(limit)

    @override
    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            while True:
                if self._pieces:
                    pieces, self._pieces, self._size = self._pieces, [], 0
                    if self._paused:
                        self._paused = False
                        self._connection.resume()
                    self._waiting = False
                    yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
                elif self._error is not None:
                    raise self._error
                elif self._done:
                    return
                else:
                    self._waiting, self._last = True, self._loop.time()
                    self._waiter = self._loop.create_future()
                    await self._waiter
        finally:
            self._waiter = None
            self.close()

    @override
    def finish(self) -> None:
        if self._done or self._error is not None:
            return
        # The answer's last bytes are often still under way: it is given a moment, so that the connection can be kept.
        self._draining = self._done = True
        self._pieces = []
        if self._paused:
            self._paused = False
            self._connection.resume()
        self._stop_timer()
        self._timer = self._loop.call_later(DRAIN_SECONDS, self._connection.close)

    @override
    def close(self) -> None:
        if self._draining:
            return
        self._stop_timer()
        if not self._done and self._error is None:
            self._done = True
            self._connection.close()
