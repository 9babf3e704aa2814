"""Fetching what lies at an address that a caller named, without being sent where the caller himself could not go.

Only ``http`` and ``https`` are spoken. The host is looked up once, and the connection goes to the very address that was
found and judged; each redirect is judged anew. Nothing of the gateway's own is sent, and no error tells more of an
address than its host: the rest may be a secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

from msgspec import Struct

from genai_spine.errors import (
    ConfigurationError,
    ConnectionFailedError,
    InvalidFieldError,
    ProviderError,
    ProviderTimeoutError,
    StreamInterruptedError,
)
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.transport.names import Resolver, standing

__all__ = ["Allowance", "Fetched", "Fetcher", "Hosts", "Wanted", "refusal"]

MOST_REDIRECTS: Final = 3
MOST_CHARACTERS: Final = 16_384
"""Of an address; taking a longer one apart would cost more than it can be worth."""
MOST_PEERS: Final = 3
"""Of a host's addresses so many are tried."""
CONNECT_SECONDS: Final = 5.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "Accept": "image/png, image/jpeg, image/gif, image/webp, application/pdf, text/*;q=0.9, */*;q=0.5",
    # Nothing is unpacked, so that nothing can unfold into more than was read.
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "genai-spine",
}
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9._:-]{1,253}")
_ENTRY: Final = re.compile(r"(?P<name>\*|(?:\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
_PATH: Final = "/%:@!$&'()*+,;=~-._"
# What went wrong on the way, the most specific first.
_REASONS: Final[tuple[tuple[type[ProviderError], str], ...]] = (
    (ProviderTimeoutError, "it did not answer in time"),
    (StreamInterruptedError, "its answer broke off"),
    (ConnectionFailedError, "it cannot be reached"),
    (ProviderError, "its answer is not valid HTTP"),
)


class _Entry(NamedTuple):
    name: str
    port: int | None


class Hosts:
    """The hosts from which may be fetched: ``*`` for any, ``*.example.com`` for all below one, or one by its name.

    A host that is named, with its port or without, may have a private address; the others may not.
    """

    def __init__(self, entries: tuple[str, ...]) -> None:
        """Read the entries.

        Raises:
            ConfigurationError: One is no host.
        """
        self._entries = tuple(_entry(text) for text in entries)

    def admit(self, host: str, port: int) -> Literal["any", "named"] | None:
        """Return how a host is among them; None where it is not, or not at this port."""
        common = port in _PORTS.values() or port >= 1024
        found: Literal["any"] | None = None
        for entry in self._entries:
            if not (common if entry.port is None else port == entry.port):
                continue
            if entry.name == host:
                return "named"
            if entry.name == "*" or (entry.name.startswith("*.") and host.endswith(entry.name[1:])):
                found = "any"
        return found


def _entry(text: str) -> _Entry:
    match = _ENTRY.fullmatch(text.lower().removesuffix("."))
    if match is None:
        message = f"GENAI_FETCH_HOSTS: {text!r} is no host; write *, *.example.com, host or host:port"
        raise ConfigurationError(message)
    return _Entry(match["name"].strip("[]"), int(match["port"]) if match["port"] else None)


class Wanted(Struct, frozen=True):
    """What to fetch, and what is to lie there: an ``image``, a ``document``, ``audio``."""

    url: str
    noun: str

    @property
    def what(self) -> str:
        """What it is called in an error."""
        return f"{self.noun} address"


class Fetched(NamedTuple):
    """What lay at an address, and the host that had it.

    ``claimed`` is the type that the host tells, ``name`` the file's, if the address shows one.
    """

    data: bytes
    claimed: str
    name: str | None
    host: str


class Allowance:
    """How many bytes may still come, for all that one request wants."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit

    def take(self, count: int) -> bool:
        """Use some of it; False where there is not so much left."""
        self._left -= count
        return self._left >= 0

    def covers(self, count: int) -> bool:
        """Return whether there is still so much left."""
        return count <= self._left


class _Place(NamedTuple):
    """Where an address leads, taken apart and put together again."""

    url: str
    host: str
    port: int


class Fetcher:
    """Fetches."""

    def __init__(self, transport: Transport, resolver: Resolver, hosts: Hosts) -> None:
        self._transport = transport
        self._resolver = resolver
        self._hosts = hosts

    async def fetch(self, wanted: Wanted, allowance: Allowance, seconds: float) -> Fetched:
        """Return what lies at an address.

        Raises:
            InvalidFieldError: It could not be fetched, or may not be.
        """
        place = _place(wanted.url, wanted)
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(place, wanted, allowance, seconds)
        except TimeoutError:
            raise refusal(wanted, place.host, f"it did not come within {round(seconds, 1):g} seconds") from None
        except ProviderError as error:
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            # What the transport says may hold the whole address.
            raise refusal(wanted, place.host, reason) from None

    async def _follow(self, place: _Place, wanted: Wanted, allowance: Allowance, seconds: float) -> Fetched:
        name = unquote(urlsplit(place.url).path.rpartition("/")[2])
        for _ in range(MOST_REDIRECTS + 1):
            incoming = await self._open(place, wanted, seconds)
            try:
                if incoming.status not in _REDIRECTS:
                    data = await _read(incoming, wanted, place.host, allowance)
                    claimed = incoming.headers.get("content-type", "")
                    return Fetched(data, claimed, name if "." in name else None, place.host)
                place = _place(_joined(place.url, incoming.headers.get("location", "")), wanted)
            finally:
                incoming.close()
        raise refusal(wanted, place.host, f"it redirects more than {MOST_REDIRECTS} times")

    async def _open(self, place: _Place, wanted: Wanted, seconds: float) -> Incoming:
        peers = await self._peers(place, wanted)
        timeouts = Timeouts(
            connect=min(CONNECT_SECONDS, seconds), first_byte=seconds, between_chunks=seconds, total=seconds
        )

        def sent(peer: str) -> Awaitable[Incoming]:
            return self._transport.send(Outgoing(method="GET", url=place.url, headers=_HEADERS, peer=peer), timeouts)

        *others, last = peers[:MOST_PEERS]
        for peer in others:
            with contextlib.suppress(ConnectionFailedError):
                return await sent(peer)
        return await sent(last)

    async def _peers(self, place: _Place, wanted: Wanted) -> list[str]:
        """The addresses of a host, all of them such as may be asked."""
        admitted = self._hosts.admit(place.host, place.port)
        if admitted is None:
            reason = "this gateway fetches nothing from that host and port"
            raise refusal(wanted, place.host, reason)
        try:
            peers = await self._resolver.addresses(place.host, place.port)
        except (OSError, ValueError):
            peers = []
        good = {"public", "private"} if admitted == "named" else {"public"}
        if not peers or any(standing(peer) not in good for peer in peers):
            # Not told apart: what names are known in the gateway's own network is not the caller's to find out.
            raise refusal(wanted, place.host, "that host is not known, or its address is not a public one")
        return peers


def _place(url: str, wanted: Wanted) -> _Place:
    """Take an address apart, and put it together again of nothing but what may stand in a request.

    Raises:
        InvalidFieldError: It is none, or holds a password.
    """
    if len(url) > MOST_CHARACTERS:
        raise refusal(wanted, "", "it is too long for an address")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").encode("idna").decode("ascii").lower()
        port = _PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        raise refusal(wanted, "", "it is no valid address") from None
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
        raise refusal(wanted, "", "it is no valid http or https address")
    if "@" in parts.netloc:
        raise refusal(wanted, "", "it holds a user name or password, which is not sent on")
    authority = f"[{host}]" if ":" in host else host
    if port != _PORTS[parts.scheme]:
        authority += f":{port}"
    query = f"?{quote(parts.query, safe=_PATH + '?')}" if parts.query else ""
    return _Place(f"{parts.scheme}://{authority}{quote(parts.path or '/', safe=_PATH)}{query}", host, port)


def _joined(url: str, location: str) -> str:
    """The address to which an answer redirects; none where it says none."""
    try:
        return urljoin(url, location) if location else ""
    except ValueError:
        return ""


async def _read(incoming: Incoming, wanted: Wanted, host: str, allowance: Allowance) -> bytes:
    """Read a whole answer, as far as the allowance goes.

    Raises:
        InvalidFieldError: It is none with bytes to send on, or too large.
        ProviderError: It broke off.
    """
    if incoming.status != 200:
        raise refusal(wanted, host, f"it answered with the status {incoming.status}")
    headers = incoming.headers
    if headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
        raise refusal(wanted, host, "it answered with packed bytes, though asked for plain ones")
    large = f"it is larger than this gateway fetches for one request ({allowance.limit} bytes)"
    length = headers.get("content-length", "")
    if length.isdecimal() and not allowance.covers(int(length)):
        raise refusal(wanted, host, large)
    pieces: list[bytes] = []
    async for piece in incoming.chunks():
        if not allowance.take(len(piece)):
            raise refusal(wanted, host, large)
        pieces.append(piece)
    return b"".join(pieces)


def refusal(wanted: Wanted, host: str, reason: str) -> InvalidFieldError:
    """Return the error for what could not be fetched; of its address no more is told than the host."""
    where = f" from {host}" if host else ""
    message = f"{wanted.what}: could not be fetched{where}: {reason}; mend the address, or send the bytes in base64"
    return InvalidFieldError(message, code="media_not_fetched", param=wanted.what)
