"""Reading a request's body: of the right type, and no larger than allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from genai_spine.errors import PayloadTooLargeError, UnsupportedMediaTypeError
from genai_spine.server.hangup import HungUp

if TYPE_CHECKING:
    from starlette.types import Receive

__all__ = ["JSON_TYPES", "read_body"]

JSON_TYPES: Final = ("application/json", "")
"""Content types of JSON bodies; empty is a body that names none."""


async def read_body(
    receive: Receive, headers: Mapping[str, str], limit: int, content_types: tuple[str, ...] = JSON_TYPES
) -> bytes:
    """Return the body.

    Args:
        receive: The server's channel.
        headers: By lower-case name.
        limit: In bytes.
        content_types: Those that are read, beside any that ends in ``+json``.

    Raises:
        UnsupportedMediaTypeError: It is of another type, or compressed.
        PayloadTooLargeError: It is longer than ``limit``.
        HungUp: The caller has gone.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in content_types and not content_type.endswith("+json"):
        message = f"the body's content type is {content_type!r}; send application/json"
        raise UnsupportedMediaTypeError(message)
    if headers.get("content-encoding", "identity").lower() != "identity":
        message = "the body is compressed; send it as it is"
        raise UnsupportedMediaTypeError(message)
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise HungUp
        piece: bytes = event.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if not event.get("more_body"):
            return piece if not pieces else b"".join([*pieces, piece])
        pieces.append(piece)


def _too_large(limit: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(f"the body is larger than {limit} bytes; GENAI_MAX_BODY_BYTES sets the limit")
