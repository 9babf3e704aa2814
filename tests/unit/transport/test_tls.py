"""TLS: certificates are verified, SSL_CERT_FILE is obeyed, and a tunnel through a proxy is as safe as none."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
import trustme

from genai_spine import errors
from genai_spine.transport.base import Outgoing, Timeouts
from genai_spine.transport.http import HttpTransport
from tests.raw import serving

PATIENT: Final = Timeouts(connect=5, first_byte=5, between_chunks=5, total=5)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy but a test's own, and no certificates but the machine's."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates of these tests, and is trusted by nobody else."""
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority's own certificate, as a file to trust."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def port(authority: trustme.CA) -> AsyncIterator[int]:
    """A service over TLS that answers every request with its own first line."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "provider.example").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            line = head.split(b"\r\n")[0]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(line), line))

    async with serving(serve, context) as found:
        yield found


class Tunnels:
    """A proxy that lets everybody through, to one port, and notes whom they wanted."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.asked: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one caller."""
        self.asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        there, thither = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, thither), _pump(there, writer))
        finally:
            thither.transport.abort()
            with contextlib.suppress(OSError):
                await thither.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
    sink.close()


async def asked(client: HttpTransport, url: str) -> bytes:
    """The body of an answer."""
    incoming = await client.send(Outgoing(method="GET", url=url, headers={}), PATIENT)
    return await incoming.read(1000)


@pytest.fixture
async def client() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    made = HttpTransport()
    yield made
    await made.close()


async def test_a_certificate_that_nobody_vouches_for(client: HttpTransport, port: int) -> None:
    """It is refused, and the reason is told."""
    with pytest.raises(errors.ConnectionFailedError, match="certificate cannot be verified"):
        await asked(client, f"https://localhost:{port}/")


async def test_certificates_of_the_operators_own(
    certificate: Path, client: HttpTransport, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SSL_CERT_FILE vouches for is trusted, and the connection is kept."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for path in (b"/a", b"/b"):
        assert b"GET %b HTTP/1.1" % path == await asked(client, f"https://localhost:{port}{path.decode()}")


async def test_a_certificate_for_another_host(
    certificate: Path, client: HttpTransport, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is trusted, but is another host's, is refused."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(errors.ConnectionFailedError, match="certificate cannot be verified"):
        await asked(client, f"https://127.0.0.1:{port}/")


async def test_one_address_and_no_other(
    certificate: Path, client: HttpTransport, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the address is demanded, the certificate must still be the host's; hosts there share no connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def ask(host: str) -> bytes:
        outgoing = Outgoing(method="GET", url=f"https://{host}:{port}/a", headers={}, peer="127.0.0.1")
        return await (await client.send(outgoing, PATIENT)).read(1000)

    assert b"GET /a HTTP/1.1" == await ask("provider.example")
    with pytest.raises(errors.ConnectionFailedError, match="certificate cannot be verified"):
        await ask("another.example")


async def test_through_a_tunnel(port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy hears the host's name alone; what is said to the host goes through it sealed; the tunnel is kept."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tunnels = Tunnels(port)
    async with serving(tunnels) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        client = HttpTransport()
        for path in (b"/a", b"/b"):
            assert b"GET %b HTTP/1.1" % path == await asked(client, f"https://provider.example{path.decode()}")
        await client.close()
    assert [b"CONNECT provider.example:443 HTTP/1.1"] == tunnels.asked


@pytest.mark.parametrize(
    ("reply", "told"), [(b"", "connection"), (b"nonsense\r\n\r\n", "no HTTP"), (b"x" * 70_000, "no HTTP")]
)
async def test_a_proxy_that_is_none(monkeypatch: pytest.MonkeyPatch, reply: bytes, told: str) -> None:
    """Whatever answers instead of a proxy, the call has failed with an error of ours."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()

    async with serving(serve) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy}")
        client = HttpTransport()
        with pytest.raises(errors.ConnectionFailedError, match=told):
            await asked(client, "https://provider.example/")
        await client.close()
