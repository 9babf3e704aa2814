"""What carries bytes to a provider and back: one verb, so narrow that another client can take its place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from genai_spine.errors import MalformedResponseError

__all__ = ["Incoming", "Outgoing", "Timeouts", "Transport"]


class Timeouts(Struct, frozen=True, kw_only=True):
    """How long to wait, in seconds.

    Attributes:
        connect: For a connection.
        first_byte: From sending to the head of the answer.
        between_chunks: For the next bytes of the answer, once it has begun.
        total: For all of it.
    """

    connect: float = 10.0
    first_byte: float = 120.0
    between_chunks: float = 60.0
    total: float = 600.0

    def within(self, seconds: float | None) -> Timeouts:
        """Return the same, none of them longer than ``seconds``."""
        if seconds is None or seconds >= self.total:
            return self
        return Timeouts(
            connect=min(self.connect, seconds),
            first_byte=min(self.first_byte, seconds),
            between_chunks=min(self.between_chunks, seconds),
            total=seconds,
        )


class Outgoing(Struct, frozen=True, kw_only=True):
    """A request to send.

    Attributes:
        peer: The IP address to connect to, and no other; empty to have the URL's host looked up.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""


class Incoming(ABC):
    """An answer whose head has come.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
    """

    status: int
    headers: Mapping[str, str]

    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive.

        Raises:
            StreamInterruptedError: The connection broke before the body's end.
            ProviderTimeoutError: Nothing came for too long, or the whole took too long.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the answer at once; if more of it was to come, the upstream sees the connection closed."""

    def finish(self) -> None:
        """Have no more of the answer, for all that counts has come; the connection may be kept for the next."""
        self.close()

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises as ``chunks`` does.

        Raises:
            MalformedResponseError: It is longer than ``limit`` bytes.
        """
        pieces: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                self.close()
                message = f"the provider's answer is longer than {limit} bytes"
                raise MalformedResponseError(message)
            pieces.append(piece)
        return b"".join(pieces)


class Transport(ABC):
    """Sends requests."""

    @abstractmethod
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        """Send a request, and return once the head of the answer has come. Redirects are not followed.

        Raises:
            ConnectionFailedError: No connection, or it broke before the answer began.
            ProviderTimeoutError: The connection, or the head of the answer, took too long.
            MalformedResponseError: What came is not HTTP.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""
