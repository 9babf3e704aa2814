"""Sockets to be served at, and how long a stop may take: what is known of the server without loading it."""

from __future__ import annotations

import socket
from typing import Final

from genai_spine.errors import ConfigurationError

__all__ = ["CUT_SECONDS", "listen", "listen_too"]

BACKLOG: Final = 2048
CUT_SECONDS: Final = 5.0
"""How long the answers that were cut have for telling it, and then the engine for closing."""


def listen(host: str, port: int) -> socket.socket:
    """Take an address for oneself and let callers come, so that one that is taken is told before anything is opened.

    Args:
        host: A name or an address.
        port: 0 takes a free one.

    Raises:
        ConfigurationError: It cannot be had.
    """
    return _at(host, port, shared=False, begin=True)


def listen_too(host: str, port: int, *, begin: bool = True) -> socket.socket:
    """Take an address together with others of the same machine; callers are spread over those who let them come.

    Args:
        host: An address.
        port: A port.
        begin: Let callers come at once; else a server does that when it is ready for them.

    Raises:
        ConfigurationError: It cannot be had.
    """
    return _at(host, port, shared=True, begin=begin)


def _at(host: str, port: int, *, shared: bool, begin: bool) -> socket.socket:
    taken = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # asyncio sets it only on sockets that name their protocol; without it each answer waits for an acknowledgement.
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken.bind((host, port))
        if begin:
            taken.listen(BACKLOG)
        taken.setblocking(False)
    except OSError as error:
        taken.close()
        message = f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        raise ConfigurationError(message) from error
    return taken
