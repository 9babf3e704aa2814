"""Proxies, as the environment names them, and the tunnel through one."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from typing_extensions import override

from genai_spine.errors import ConnectionFailedError

__all__ = ["Proxies", "Proxy", "tunnel"]

MAX_REPLY_BYTES: Final = 64 * 1024


class Proxy(NamedTuple):
    """A proxy; ``authorization`` is the value of its header, empty where it wants none."""

    host: str
    port: int
    authorization: str


class Proxies:
    """The proxies of ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, read once."""

    def __init__(self) -> None:
        self._known = getproxies_environment()

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for an address; None where it is to be reached directly."""
        address = self._known.get(scheme) or self._known.get("all")
        if not address or proxy_bypass(f"{host}:{port}", self._known):
            return None
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme != "http" or not parts.hostname:
            message = f"the proxy for {scheme} is no http:// address; only such proxies are supported"
            raise ConnectionFailedError(message)
        authorization = ""
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return Proxy(parts.hostname, parts.port or 80, authorization)


class _TunnelReply(asyncio.Protocol):
    """Waits for the head of the proxy's answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.head: asyncio.Future[bytes] = loop.create_future()
        self._buffer = b""

    @override
    def data_received(self, data: bytes) -> None:
        """Collect the head."""
        self._buffer += data
        if not self.head.done() and (b"\r\n\r\n" in self._buffer or len(self._buffer) > MAX_REPLY_BYTES):
            self.head.set_result(self._buffer)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Give up."""
        if not self.head.done():
            self.head.set_exception(exc or ConnectionResetError())


async def tunnel(loop: asyncio.AbstractEventLoop, proxy: Proxy, host: str, port: int) -> asyncio.Transport:
    """Return a transport that reaches ``host`` through ``proxy``.

    Raises:
        ConnectionFailedError: The proxy refuses.
        OSError: The proxy cannot be reached.
    """
    transport, reply = await loop.create_connection(lambda: _TunnelReply(loop), proxy.host, proxy.port)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    try:
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        status = (await reply.head).split(b" ", 2)[1:2]
    except BaseException:  # a caller who leaves meanwhile must leave no connection behind
        transport.abort()
        raise
    if status != [b"200"]:
        transport.abort()
        told = status[0].decode("latin-1") if status else "no HTTP"
        message = f"the proxy {proxy.host}:{proxy.port} refuses a tunnel to {authority} ({told})"
        raise ConnectionFailedError(message)
    return transport
