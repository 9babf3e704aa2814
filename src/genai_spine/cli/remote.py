"""A running gateway, asked over HTTP by the commands that show or change what only it knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

import msgspec
import typer
from msgspec import Struct

from genai_spine.errors import ConnectionFailedError, MalformedResponseError, ProviderError, SpineError
from genai_spine.identity.first_key import stored_key
from genai_spine.redact import Secret, scrub
from genai_spine.settings import Settings
from genai_spine.transport.base import Outgoing, Timeouts
from genai_spine.transport.http import HttpTransport

__all__ = ["KeyOption", "Remote", "UrlOption", "remote_of"]

T = TypeVar("T")

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="A running gateway's address; by default GENAI_API_URL, else as host and port say."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", help="A key of it; by default the first of GENAI_API_KEYS, else the one kept in the data folder."
    ),
]

TIMEOUTS: Final = Timeouts(connect=5, first_byte=30, between_chunks=30, total=60)
MOST_BYTES: Final = 64 * 1024 * 1024
# A gateway that listens on all addresses is reached at that of the machine itself.
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # read, not listened on


class _Fault(Struct):
    message: str
    code: str | None = None
    param: str | None = None


class _Failure(Struct):
    error: _Fault


class Remote:
    """A running gateway.

    Attributes:
        url: Its address, without a path.
    """

    def __init__(self, url: str, key: Secret | None = None) -> None:
        """Know where it is, and present ``key`` to it; nobody is asked yet."""
        self.url = url.rstrip("/")
        self._key = key

    def ask(
        self,
        kind: type[T],
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> T:
        """Return what it answers, read as ``kind``; raises as ``fetch`` does.

        Raises:
            MalformedResponseError: It answers something else.
        """
        found = self.fetch(path, method=method, query=query, body=body)
        try:
            return msgspec.json.decode(found, type=kind)
        except msgspec.DecodeError as error:
            message = f"what answers {path} at {self.url} is no gateway, or one of another version: {error}"
            raise MalformedResponseError(message) from error

    def fetch(
        self, path: str, *, method: str = "GET", query: Mapping[str, str] | None = None, body: object = None
    ) -> bytes:
        """Return what it answers, as it comes.

        Args:
            path: The route.
            method: Its method.
            query: What stands behind the path's question mark.
            body: What is sent, as JSON; None sends nothing.

        Raises:
            ConnectionFailedError: No gateway answers there.
            SpineError: It refuses, or fails; the message is its own.
        """
        headers = {"accept-encoding": "identity"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key.reveal()}"
        sent = b""
        if body is not None:
            sent = msgspec.json.encode(body)
            headers["content-type"] = "application/json"
        url = f"{self.url}{path}{f'?{urlencode(query)}' if query else ''}"
        status, answer = asyncio.run(self._exchange(Outgoing(method=method, url=url, headers=headers, body=sent)))
        if not 200 <= status < 300:
            raise self._failure(status, answer)
        return answer

    async def _exchange(self, outgoing: Outgoing) -> tuple[int, bytes]:
        transport = HttpTransport()
        try:
            incoming = await transport.send(outgoing, TIMEOUTS)
            try:
                return incoming.status, await incoming.read(MOST_BYTES)
            finally:
                incoming.close()
        except ProviderError as error:
            message = f"no gateway answers at {self.url}; start one with `spine serve`, or name another with --url"
            raise ConnectionFailedError(message) from error
        finally:
            await transport.close()

    def _failure(self, status: int, answer: bytes) -> SpineError:
        try:
            fault = msgspec.json.decode(answer, type=_Failure).error
        except msgspec.DecodeError:
            return MalformedResponseError(f"what answers at {self.url} is no gateway; it says {status}")
        return SpineError(f"the gateway at {self.url}: {scrub(fault.message)}", code=fault.code, param=fault.param)


def remote_of(settings: Settings, url: str | None = None, key: str | None = None) -> Remote:
    """Return the gateway that a command means: the one that its options name, else the one that the settings do.

    Raises:
        ConfigurationError: The key that is kept in the data folder cannot be used.
    """
    values = settings.values
    if url is None:
        url = values.url
    if url is None:
        host = _EVERYWHERE.get(values.host, values.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{values.port}"
    if key is not None:
        return Remote(url, Secret(key))
    return Remote(url, settings.keys[0] if settings.keys else stored_key(settings.data_dir))
