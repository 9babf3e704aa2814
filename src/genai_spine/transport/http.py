"""The pooled HTTP client, on aiohttp: its defaults made fit for long streams, and its errors made ours in one table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from typing_extensions import override
from yarl import URL

from genai_spine.errors import (
    ConnectionFailedError,
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
    StreamInterruptedError,
)
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["ERRORS", "HttpTransport", "translate"]

# The most specific class that fits decides.
ERRORS: Final[Mapping[type[BaseException], tuple[type[ProviderError], str]]] = {
    TimeoutError: (ProviderTimeoutError, "the provider did not answer in time"),
    aiohttp.ServerTimeoutError: (ProviderTimeoutError, "the provider did not answer in time"),
    aiohttp.ClientConnectorError: (ConnectionFailedError, "no connection to the provider"),
    aiohttp.ClientConnectionError: (ConnectionFailedError, "the connection to the provider broke"),
    aiohttp.ClientPayloadError: (StreamInterruptedError, "the provider's answer broke off"),
    aiohttp.ClientResponseError: (MalformedResponseError, "the provider's answer is not valid HTTP"),
    aiohttp.InvalidURL: (ConnectionFailedError, "the provider's address is not valid"),
    aiohttp.ClientError: (ConnectionFailedError, "the call to the provider failed"),
    OSError: (ConnectionFailedError, "the connection to the provider broke"),
}
"""What each of the client's errors means; a subclass not listed means what its nearest listed ancestor does."""

# Whether the connection just taken had carried a request before; set and read within one task.
_reused: ContextVar[bool] = ContextVar("reused", default=False)

_SKIPPED: Final = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})


def translate(error: BaseException, *, begun: bool = False) -> ProviderError:
    """Return our error for one of the client's; ``begun`` tells that the answer's head had come."""
    kind, message = next(ERRORS[ancestor] for ancestor in type(error).__mro__ if ancestor in ERRORS)
    if begun and kind is ConnectionFailedError:
        kind, message = StreamInterruptedError, "the provider's answer broke off"
    reason = getattr(error, "os_error", error)
    if isinstance(reason, OSError) and reason.strerror and kind is ConnectionFailedError:
        message = f"{message}: {reason.strerror}"
    ours = kind(message)
    ours.__cause__ = error
    return ours


class _Connector(aiohttp.TCPConnector):
    """Notes whether a connection is new, for only one that has been kept alive can have gone stale."""

    @override
    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        used = getattr(connection.protocol, "spine_used", False)
        _reused.set(used)
        if not used:
            connection.protocol.spine_used = True  # type: ignore[union-attr]  # a mark of ours on its object
        return connection


class HttpTransport(Transport):
    """Sends over HTTP/1.1, connections kept alive, as many as there are calls.

    The variables ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` and ``SSL_CERT_FILE`` are obeyed.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, tuple[URL, str | None]] = {}
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._proxies = getproxies_environment()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=0, keepalive_timeout=55, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_SKIPPED,
                read_bufsize=256 * 1024,
            )
        return self._session

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        for attempt in (1, 2):
            try:
                return await self._send(outgoing, timeouts)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # A server may close a kept-alive connection in the instant in which it is taken; nothing of the answer
                # had come, so the call is made once more on a new one.
                if attempt == 1 and _reused.get() and not isinstance(error, aiohttp.ClientConnectorError):
                    continue
                raise translate(error) from error
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if isinstance(error, ValueError) and not isinstance(error, aiohttp.InvalidURL):
                    message = f"the request cannot be sent: {error}"
                    raise ConnectionFailedError(message) from error
                raise translate(error) from error
        message = "the connection to the provider broke twice"
        raise ConnectionFailedError(message)

    async def _send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        session = self._open_session()
        url, proxy = self._address(outgoing.url)
        limit = self._timeouts.get(timeouts.connect)
        if limit is None:
            limit = self._timeouts[timeouts.connect] = aiohttp.ClientTimeout(
                total=None, connect=timeouts.connect, sock_connect=timeouts.connect
            )
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(min(timeouts.first_byte, timeouts.total)):
            response = await session.request(
                outgoing.method,
                url,
                data=outgoing.body or None,
                headers=outgoing.headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=limit,
            )
        return _HttpIncoming(response, loop, began + timeouts.total, timeouts.between_chunks)

    def _address(self, text: str) -> tuple[URL, str | None]:
        found = self._urls.get(text)
        if found is None:
            if len(self._urls) > 1000:
                self._urls.clear()
            url = URL(text, encoded="%" in text)
            proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
            if proxy and proxy_bypass(url.authority, self._proxies):
                proxy = None
            found = self._urls[text] = (url, proxy)
        return found

    @override
    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class _HttpIncoming(Incoming):
    """An answer, with one timer that guards both its pace and its end."""

    def __init__(
        self, response: aiohttp.ClientResponse, loop: asyncio.AbstractEventLoop, ends_at: float, between: float
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._loop = loop
        self._ends_at = ends_at
        self._between = between
        self._last = loop.time()
        self._waiting = True
        self._expired = False
        self._timer: asyncio.TimerHandle | None = loop.call_at(min(self._last + between, ends_at), self._check)

    def _check(self) -> None:
        """The timer is not moved with each chunk: it looks when it fires, and is set anew if there was progress."""
        now = self._loop.time()
        # A reader who takes his time is no fault of the upstream's.
        due = min(self._last + self._between if self._waiting else now + self._between, self._ends_at)
        if now >= due:
            self._expired = True
            self.close()
        else:
            self._timer = self._loop.call_at(due, self._check)

    @override
    async def chunks(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while True:
                self._waiting, self._last = True, self._loop.time()
                data = await content.readany()
                self._waiting = False
                if self._expired:
                    raise _late()
                if not data:
                    break
                yield data
        except (aiohttp.ClientError, OSError) as error:
            if self._expired:
                raise _late() from error
            raise translate(error, begun=True) from error
        finally:
            self.close()

    @override
    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # After the whole body this leaves the connection in the pool; before, it closes it.
        self._response.close()


def _late() -> ProviderTimeoutError:
    return ProviderTimeoutError("the provider fell silent in the middle of its answer, or took too long in all")
