"""What goes wrong below HTTP and in it, made ours in one table."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Final

import httptools

from genai_spine.errors import (
    ConnectionFailedError,
    MalformedResponseError,
    ProviderError,
    ProviderTimeoutError,
    StreamInterruptedError,
)

__all__ = ["ERRORS", "broken", "translate"]

# The most specific class that fits decides: a subclass not listed means what its nearest listed ancestor does.
ERRORS: Final[Mapping[type[BaseException], tuple[type[ProviderError], str]]] = {
    TimeoutError: (ProviderTimeoutError, "no connection to the provider in time"),
    socket.gaierror: (ConnectionFailedError, "the provider's host is not known"),
    ssl.SSLCertVerificationError: (ConnectionFailedError, "the provider's certificate cannot be verified"),
    ssl.SSLError: (ConnectionFailedError, "no secure connection to the provider"),
    ConnectionRefusedError: (ConnectionFailedError, "the provider refuses connections"),
    ConnectionError: (ConnectionFailedError, "the connection to the provider broke"),
    OSError: (ConnectionFailedError, "no connection to the provider"),
    httptools.HttpParserError: (MalformedResponseError, "the provider's answer is not valid HTTP"),
    ValueError: (ConnectionFailedError, "the request cannot be sent"),
}


def translate(error: BaseException) -> ProviderError:
    """Return our error for a foreign one, which becomes its cause."""
    kind, message = next(ERRORS[ancestor] for ancestor in type(error).__mro__ if ancestor in ERRORS)
    if isinstance(error, OSError) and error.strerror:
        message = f"{message}: {error.strerror}"
    ours = kind(message)
    ours.__cause__ = error
    return ours


def broken(reason: Exception | None, *, begun: bool) -> ProviderError:
    """Return the error of a connection that is gone; ``begun`` tells that the answer's head had come."""
    if begun:
        ours: ProviderError = StreamInterruptedError("the provider's answer broke off")
    else:
        ours = ConnectionFailedError("the provider closed the connection without an answer")
    ours.__cause__ = reason
    return ours
