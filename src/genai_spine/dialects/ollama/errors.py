"""Ollama: errors, read and written.

Source: https://docs.ollama.com/api/errors
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import ErrorAnswer, Headers, Quirks
from genai_spine.dialects.fields import Fields, dump
from genai_spine.dialects.openai_errors import decode_error as decode_any_error
from genai_spine.dialects.openai_errors import told_inside as any_told_inside
from genai_spine.errors import SpineError, StreamInterruptedError
from genai_spine.types.json import JsonObject

__all__ = ["decode_error", "encode_error", "encode_stream_error", "interrupted", "told_inside"]

_STATUSES: Final = frozenset({400, 401, 403, 404, 429, 500, 502, 503})
# Statuses that Ollama never answers with, as the nearest in meaning that it does; its clients know no others.
_NEAREST: Final = {402: 403, 504: 502}


def decode_error(status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
    """Read an error; see ``Dialect.decode_error``.

    Ollama's own shape is ``{"error": "text"}``; the shapes of the proxies that stand before it are read as well.
    """
    return decode_any_error(status, headers, body, quirks)


def told_inside(fields: Fields, quirks: Quirks) -> SpineError | None:
    """Return the failure that an answer or a stream's line tells of, if any."""
    return any_told_inside(fields, quirks) if "error" in fields else None


def _error_object(error: SpineError, request_id: str) -> JsonObject:
    """Write the error: clients read ``error`` and take no notice of the rest, which is ours."""
    return {
        "error": error.message,
        "code": error.code,
        "param": error.param,
        "request_id": request_id,
        "provider": error.provider,
    }


def encode_error(error: SpineError, request_id: str) -> ErrorAnswer:
    """Write an error; see ``Dialect.encode_error``."""
    status = error.status
    if status not in _STATUSES:
        status = _NEAREST.get(status, 400 if status < 500 else 500)
    return ErrorAnswer(status, dump(_error_object(error, request_id)))


def encode_stream_error(error: SpineError, request_id: str) -> bytes:
    """Write an error inside a stream: the official client raises on it, and no ``done`` follows."""
    return dump(_error_object(error, request_id)) + b"\n"


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")
