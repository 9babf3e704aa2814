"""The pooled HTTP/1.1 client: as many connections as there are calls, kept alive between them."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

from typing_extensions import override

from genai_spine.errors import ConnectionFailedError, ProviderError
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.transport.connection import Connection, StaleConnectionError
from genai_spine.transport.failures import translate
from genai_spine.transport.proxies import Proxies, Proxy, tunnel

__all__ = ["HttpTransport"]

KEEP_ALIVE_SECONDS: Final = 55.0
MOST_REMEMBERED: Final = 1000


_Place: TypeAlias = tuple[bool, str, int, str]
"""What connections may stand in for each other: secured or not, host, port, and the address that was demanded."""


class _Address(NamedTuple):
    """Where a URL leads: ``target`` is what the request line names.

    ``proxy`` is who brings us there: it forwards the request itself (``forwards``), or opens a tunnel. Where there is a
    ``peer``, that address is connected to, and no other.
    """

    secure: bool
    host: str
    port: int
    peer: str
    authority: str
    target: str
    proxy: Proxy | None
    forwards: bool

    @property
    def place(self) -> _Place:
        """Among which connections to look for one."""
        return self.secure, self.host, self.port, self.peer


class HttpTransport(Transport):
    """Sends over HTTP/1.1.

    The variables ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` and ``SSL_CERT_FILE`` are obeyed.
    """

    def __init__(self) -> None:
        self._proxies = Proxies()
        self._addresses: dict[str, _Address] = {}
        self._idle: dict[_Place, list[Connection]] = {}
        self._places: dict[Connection, _Place] = {}
        self._context: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        # An address that a request brought along is not remembered: it may hold a secret, and hardly comes again.
        address = self._find(outgoing.url, outgoing.peer) if outgoing.peer else self._address(outgoing.url)
        data = _request(outgoing, address)
        connection = self._take(address.place)
        if connection is not None:
            try:
                return await self._exchange(connection, data, timeouts)
            except StaleConnectionError:
                # A server may close a kept-alive connection in the instant in which it is taken. Nothing of the answer
                # had come, so the call is made once more, on a new one.
                pass
        try:
            async with asyncio.timeout(min(timeouts.connect, timeouts.total)):
                connection = await self._connect(address)
        except (OSError, ValueError) as error:
            raise translate(error) from error
        return await self._exchange(connection, data, timeouts)

    async def _exchange(self, connection: Connection, data: bytes, timeouts: Timeouts) -> Incoming:
        answer = connection.send(data, timeouts)
        try:
            await answer.head()
        except BaseException:  # failed, or the caller is gone: nobody will read what may still come
            answer.close()
            raise
        return answer

    def _address(self, url: str) -> _Address:
        found = self._addresses.get(url)
        if found is None:
            if len(self._addresses) > MOST_REMEMBERED:
                self._addresses.clear()
            found = self._addresses[url] = self._find(url)
        return found

    def _find(self, url: str, peer: str = "") -> _Address:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            message = f"the provider's address {url!r} is no valid one"
            raise ConnectionFailedError(message) from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = f"the provider's address {url!r} is not an http(s) address"
            raise ConnectionFailedError(message)
        secure = parts.scheme == "https"
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        proxy = self._proxies.find(parts.scheme, parts.hostname, port)
        # A proxy that forwards looks the host up itself: where one address alone will do, it must open a tunnel.
        forwards = proxy is not None and not secure and not peer
        if forwards:
            target = f"http://{parts.netloc}{target}"
        return _Address(secure, parts.hostname, port, peer, parts.netloc, target, proxy, forwards)

    # Connections.

    def _take(self, place: _Place) -> Connection | None:
        """An idle connection: the one used last, for it is the least likely to have been closed."""
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self, address: _Address) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(loop, self._released, self._lost)
        self._places[connection] = address.place
        try:
            await self._open(loop, connection, address)
        except BaseException:  # a caller who leaves meanwhile is no reason to keep the place
            self._places.pop(connection, None)
            raise
        return connection

    async def _open(self, loop: asyncio.AbstractEventLoop, connection: Connection, address: _Address) -> None:
        context = self._secure() if address.secure else None
        host = address.peer or address.host
        if address.proxy is None:
            await loop.create_connection(
                lambda: connection,
                host,
                address.port,
                ssl=context,
                server_hostname=address.host if context else None,
            )
        elif address.forwards:
            await loop.create_connection(lambda: connection, address.proxy.host, address.proxy.port)
        else:
            through = await tunnel(loop, address.proxy, host, address.port)
            through.set_protocol(connection)
            if context is None:
                connection.connection_made(through)
                return
            secured = await loop.start_tls(through, connection, context, server_hostname=address.host)
            connection.connection_made(cast("asyncio.Transport", secured))

    def _secure(self) -> ssl.SSLContext:
        if self._context is None:
            # Takes some 20 ms, and reads SSL_CERT_FILE: once, and only where it is needed.
            self._context = ssl.create_default_context()
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def _released(self, connection: Connection) -> None:
        self._idle.setdefault(self._places[connection], []).append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, self._sweep)

    def _lost(self, connection: Connection) -> None:
        place = self._places.pop(connection, None)
        idle = self._idle.get(place, []) if place else []
        if connection in idle:
            idle.remove(connection)

    def _sweep(self) -> None:
        """Close what nobody has used for a while, before the server does."""
        loop = asyncio.get_running_loop()
        self._sweeper = None
        oldest = loop.time() - KEEP_ALIVE_SECONDS
        for idle in list(self._idle.values()):
            for connection in [connection for connection in idle if connection.idle_since <= oldest]:
                idle.remove(connection)
                connection.close()
        if any(self._idle.values()):
            self._sweeper = loop.call_later(KEEP_ALIVE_SECONDS / 2, self._sweep)

    @override
    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._places):
            connection.close()
        # A turn of the loop, in which the sockets are really closed.
        await asyncio.sleep(0)


def _request(outgoing: Outgoing, address: _Address) -> bytes:
    """The request's bytes.

    Raises:
        ProviderError: A header holds a line break or a character that HTTP does not know.
    """
    headers = dict(outgoing.headers)
    if address.proxy is not None and address.forwards and address.proxy.authorization:
        headers["Proxy-Authorization"] = address.proxy.authorization
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    length = f"Content-Length: {len(outgoing.body)}\r\n" if outgoing.body or outgoing.method != "GET" else ""
    head = f"{outgoing.method} {address.target} HTTP/1.1\r\nHost: {address.authority}\r\n{lines}{length}\r\n"
    if head.count("\n") != len(headers) + 3 + bool(length) or head.count("\r") != head.count("\n"):
        message = "a header to the provider holds a line break; look at the key and the headers that are set for it"
        raise ConnectionFailedError(message)
    try:
        return head.encode("latin-1") + outgoing.body
    except UnicodeEncodeError as error:
        ours: ProviderError = ConnectionFailedError(
            "a header to the provider holds a character that HTTP does not know; look at the key set for it"
        )
        raise ours from error
