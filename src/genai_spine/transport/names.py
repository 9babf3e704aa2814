"""Names of hosts: looked up where nobody else has to wait for it, and their addresses judged."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeAlias

from typing_extensions import override

__all__ = ["Resolver", "Standing", "SystemResolver", "standing"]

Standing: TypeAlias = Literal["public", "private", "forbidden"]
"""Where an address leads: into the internet, into a network of one's own, or to where nobody should be sent."""

_THREADS: Final = 8


class Resolver(ABC):
    """Looks up names."""

    @abstractmethod
    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of a host, the one to try first at the head.

        Raises:
            OSError: It has none, or nobody could be asked.
        """

    async def close(self) -> None:  # noqa: B027  # not every one holds something
        """Let go of what it holds."""


class SystemResolver(Resolver):
    """Asks the operating system.

    It does so in threads of its own: the names come from callers, and one that is slow to be found must not keep the
    gateway from its providers.
    """

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    @override
    async def addresses(self, host: str, port: int) -> list[str]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
        return await asyncio.get_running_loop().run_in_executor(self._threads, _look_up, host, port)

    @override
    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Machines' own services, which hand out credentials, stand at these.
_METADATA: Final = _networks("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32")
# What lies within another network's addresses, or is reserved for tests and ways between the two protocols. Versions of
# Python differ in what they take for global.
_ODD: Final = _networks("0.0.0.0/8", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "2002::/16", "3fff::/20")
_PRIVATE: Final = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)
_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def standing(address: str) -> Standing:
    """Judge an IP address; one that holds another within it is judged by that."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "forbidden"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return standing(str(found.ipv4_mapped))
        if found in _NAT64:
            return standing(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    if any(found in network for network in _METADATA):
        return "forbidden"
    if any(found in network for network in _PRIVATE):
        return "private"
    odd = found.is_multicast or found.is_link_local or any(found in network for network in _ODD)
    if odd or not found.is_global or (isinstance(found, ipaddress.IPv6Address) and found not in _UNICAST):
        return "forbidden"
    return "public"
