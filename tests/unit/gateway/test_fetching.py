"""What of fetching the front door cannot show: names that change their address, hosts and ports, and who is tried."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

import pytest
from typing_extensions import override

from genai_spine.errors import ConfigurationError, ConnectionFailedError, InvalidFieldError, MalformedResponseError
from genai_spine.gateway.fetching import Allowance, Fetcher, Hosts, Wanted
from genai_spine.testing.upstream import Scripted, ScriptedUpstream
from genai_spine.transport.base import Incoming, Outgoing, Timeouts, Transport
from genai_spine.transport.http import HttpTransport
from genai_spine.transport.names import Resolver

PUBLIC: Final = "93.184.216.34"
SECOND: Final = "8.8.8.8"
THIRD: Final = "2606:4700:4700::1111"


class Names(Resolver):
    """Knows what each name is at first, and what it is from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    @override
    async def addresses(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not found:
            raise OSError(-2, "Name or service not known")
        return found


class Unreachable(Transport):
    """Reaches nobody, and notes who was to be reached."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.sent: list[Outgoing] = []

    @override
    async def send(self, outgoing: Outgoing, timeouts: Timeouts) -> Incoming:
        self.sent.append(outgoing)
        raise self.error

    @override
    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    """A client, closed at the end."""
    client = HttpTransport()
    yield client
    await client.close()


async def fetched(transport: Transport, names: Names, url: str, *hosts: str) -> bytes:
    """What lies at an address."""
    fetcher = Fetcher(transport, names, Hosts(hosts or ("*",)))
    return (await fetcher.fetch(Wanted(url, "image"), Allowance(1000), 5)).data


async def why(transport: Transport, names: Names, url: str, *hosts: str) -> str:
    """Why it could not be fetched."""
    with pytest.raises(InvalidFieldError) as caught:
        await fetched(transport, names, url, *hosts)
    return caught.value.message


async def test_the_connection_goes_to_the_address_that_was_judged(
    upstream: ScriptedUpstream, transport: HttpTransport
) -> None:
    """A name is looked up once: what it becomes a moment later makes no difference, and the host hears its own name."""
    upstream.enqueue(Scripted(chunks=(b"here",)))
    port = upstream.url.rpartition(":")[2]
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert b"here" == await fetched(transport, names, f"http://files.example:{port}/a", "files.example")
    assert [("files.example", int(port))] == names.asked
    assert f"files.example:{port}" == upstream.received[0].headers["host"]


async def test_a_name_that_has_moved_inside(upstream: ScriptedUpstream, transport: HttpTransport) -> None:
    """A redirect to the same host is judged anew: it may lie elsewhere by now."""
    upstream.enqueue(Scripted(status=307, headers={"location": "/b"}))
    port = upstream.url.rpartition(":")[2]
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    assert "not a public one" in await why(transport, names, f"http://files.example:{port}/a", "files.example")
    assert 1 == len(upstream.received)


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["169.254.169.254"],
        ["0.0.0.0"],  # noqa: S104  # nothing listens there
        [PUBLIC, "10.0.0.1"],
        ["10.0.0.1", PUBLIC],
    ],
)
async def test_names_of_what_is_not_public(addresses: list[str]) -> None:
    """One address that is not public is enough; a name that is not known is told no other way."""
    nobody = Unreachable(ConnectionFailedError("no"))
    message = await why(nobody, Names(addresses), "https://files.example/a?secret", "*", "*.example")
    assert message == (
        "image address: could not be fetched from files.example: that host is not known, or its address is not a "
        "public one; mend the address, or send the bytes in base64"
    )
    assert [] == nobody.sent


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "224.0.0.1", "0.0.0.0"])  # noqa: S104  # nothing listens there
async def test_no_name_opens_the_way_to_credentials(address: str) -> None:
    """A host that is named may be private; where machines get their credentials, it may not be."""
    nobody = Unreachable(ConnectionFailedError("no"))
    assert "not a public one" in await why(nobody, Names([address]), "http://files.example/a", "files.example")
    assert [] == nobody.sent


async def test_the_addresses_of_a_host_are_tried_in_turn() -> None:
    """Three of them; then it cannot be reached. Nothing but the peer differs."""
    nobody = Unreachable(ConnectionFailedError("https://files.example/a?secret: refused"))
    names = Names([PUBLIC, SECOND, THIRD, "1.1.1.1"])
    message = await why(nobody, names, "https://files.example/a?secret")
    assert "from files.example: it cannot be reached;" in message
    assert [PUBLIC, SECOND, THIRD] == [outgoing.peer for outgoing in nobody.sent]
    assert {"https://files.example/a?secret"} == {outgoing.url for outgoing in nobody.sent}


async def test_an_answer_that_is_none() -> None:
    """It is told as what it is, and no other address is tried."""
    nobody = Unreachable(MalformedResponseError("?"))
    assert "its answer is not valid HTTP" in await why(nobody, Names([PUBLIC, SECOND]), "https://files.example/a")
    assert 1 == len(nobody.sent)


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("HTTPS://Files.Example./a", "https://files.example/a"),
        ("https://files.example", "https://files.example/"),
        ("https://files.example:443/a", "https://files.example/a"),
        ("http://files.example:443/a", "http://files.example:443/a"),
        ("https://b\u00fccher.example/\u00fc b?q=\u00e4|1#f", "https://xn--bcher-kva.example/%C3%BC%20b?q=%C3%A4%7C1"),
        ("https://[2606:4700:4700::1111]:8443/a", "https://[2606:4700:4700::1111]:8443/a"),
        ("https://files.example/a%2Fb?c=%20&d", "https://files.example/a%2Fb?c=%20&d"),
        ("https://files.example/a\r\nX: y", "https://files.example/aX:%20y"),
        ("https://files.example\\@127.0.0.1/", None),
        ("https://files.example:99999/", None),
        ("https://files.example:x/", None),
        (f"https://{'a' * 64}.example/", None),
        ("https://fi les.example/", None),
        (f"https://files.example/{'a' * 20_000}", None),
        ("https://fe80::1%25eth0/", None),
    ],
)
async def test_addresses_are_put_together_anew(told: str, sent: str | None) -> None:
    """What is sent holds nothing but what may stand there; what cannot be taken apart is refused."""
    nobody = Unreachable(ConnectionFailedError("no"))
    await why(nobody, Names([PUBLIC]), told)
    assert ([] if sent is None else [sent]) == [outgoing.url for outgoing in nobody.sent]


# Hosts.


@pytest.mark.parametrize(
    ("entries", "host", "port", "expected"),
    [
        ("*", "files.example", 443, "any"),
        ("*", "files.example", 8443, "any"),
        ("*", "files.example", 25, None),
        ("*", "files.example", 0, None),
        ("files.example", "files.example", 80, "named"),
        ("files.example", "files.example", 22, None),
        ("files.example", "other.example", 80, None),
        ("files.example:81", "files.example", 81, "named"),
        ("files.example:81", "files.example", 80, None),
        ("*.example", "files.example", 443, "any"),
        ("*.example", "example", 443, None),
        ("*.example", "filesexample", 443, None),
        ("*,Files.Example.", "files.example", 443, "named"),
        ("files.example,*", "files.example", 443, "named"),
        ("*:8080", "files.example", 8080, "any"),
        ("[::1]:8080", "::1", 8080, "named"),
        ("[::1]", "::1", 8080, "named"),
        ("10.0.0.1", "10.0.0.1", 80, "named"),
        ("", "files.example", 443, None),
    ],
)
def test_hosts(entries: str, host: str, port: int, expected: Literal["any", "named"] | None) -> None:
    """A name counts more than a pattern; ports below 1024 are the web's alone, unless one is named with its host."""
    assert expected == Hosts(tuple(filter(None, entries.split(",")))).admit(host, port)


@pytest.mark.parametrize(
    "entry", ["https://files.example", "files.example/a", "a b", "*example", "::1", "a:b", "a:123456"]
)
def test_what_is_no_host(entry: str) -> None:
    """It stops the start, and what to write instead is told."""
    with pytest.raises(ConfigurationError, match=r"GENAI_FETCH_HOSTS: .* is no host; write"):
        Hosts((entry,))
