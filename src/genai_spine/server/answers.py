"""What every answer of the gateway carries: the headers that tell how a request was served."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from typing import Final

from genai_spine.errors import InvalidRequestError, RateLimitExceededError, SpineError
from genai_spine.gateway.context import Call, shown

__all__ = ["cost_comment", "error_headers", "id_headers", "new_id", "new_request_id", "served_headers", "timeout_of"]

_MAX_ID: Final = 128

# Ids must differ, not surprise: a random beginning for this process, then a count.
_PROCESS: Final = secrets.token_hex(8)
_count: Final = itertools.count(1)


def new_id() -> str:
    """Return an id that no other request has, as this gateway makes them."""
    return f"req_{_PROCESS}{next(_count):08x}"


def new_request_id(headers: Mapping[str, str]) -> str:
    """Return the caller's own ``x-request-id`` if it is fit to be logged, else a new one."""
    given = headers.get("x-request-id", "")
    if given and len(given) <= _MAX_ID and given.isascii() and given.isprintable():
        return given
    return new_id()


def timeout_of(headers: Mapping[str, str]) -> float | None:
    """Return the caller's own limit in seconds, if he set one.

    Raises:
        InvalidRequestError: It is no positive number.
    """
    text = headers.get("x-spine-timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        message = "x-spine-timeout must be a positive number of seconds"
        raise InvalidRequestError(message, param="x-spine-timeout")
    return seconds


def id_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell a request's id: the usual one, and the one that Anthropic's clients read."""
    value = request_id.encode()
    return [(b"x-request-id", value), (b"request-id", value)]


def served_headers(call: Call) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell how ``call`` was, or is being, served."""
    headers = id_headers(call.request_id)
    if call.candidate is not None:
        headers += [
            (b"x-spine-provider", _value(call.candidate.provider)),
            (b"x-spine-model", _value(shown(call.candidate.model))),
            (b"x-spine-attempts", str(call.attempts).encode()),
            (b"x-spine-fallback", b"true" if call.fallback else b"false"),
        ]
    if call.cost is not None:
        headers.append((b"x-spine-cost-usd", call.cost_usd.encode()))
    if call.admission is not None:
        headers += call.admission.headers()
    if call.warnings:
        headers.append((b"x-spine-warnings", _value("; ".join(call.warnings))))
    return headers


def _value(text: str) -> bytes:
    """Text as a header may hold it: one line, printable, Latin-1. Callers choose the names of models."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return text.encode("latin-1", errors="replace")


def error_headers(error: SpineError) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell a client what to do about an error.

    The gateway has made its own attempts: only where time helps, and the upstream said how long, is another of use.
    """
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        # Whole seconds by the standard, never fewer than asked for.
        headers.append((b"retry-after", str(-int(-error.retry_after // 1)).encode()))
    headers.append((b"x-should-retry", b"true" if error.retry_after is not None else b"false"))
    if isinstance(error, RateLimitExceededError):
        headers += [(name.encode(), value.encode()) for name, value in error.headers.items()]
    if error.provider:
        headers.append((b"x-spine-provider", _value(error.provider)))
    return headers


def cost_comment(call: Call) -> bytes:
    """Return the comment line of an event stream that tells what it cost; clients' parsers skip it."""
    return f": x-spine-cost-usd {call.cost_usd}\n\n".encode() if call.cost else b""
