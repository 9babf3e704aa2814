"""Errors as Google tells them, read and written.

Source: https://cloud.google.com/apis/design/errors and https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import re
from math import ceil
from typing import Final

from genai_spine.dialects.base import ErrorAnswer, Headers, Quirks
from genai_spine.dialects.failures import classify
from genai_spine.dialects.fields import dump, load
from genai_spine.errors import SpineError, StreamInterruptedError
from genai_spine.types.json import Json, JsonObject

__all__ = ["decode_error", "encode_error", "error_body", "failure_in", "interrupted", "told_inside"]

_TYPE: Final = "type.googleapis.com/google.rpc."
_BAD_KEYS: Final = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})
_BAD_KEY_WORDS: Final = ("api key not valid", "api key expired")
_SECONDS: Final = re.compile(r"(\d+(?:\.\d+)?)s")
# The status of an error told inside a stream, where its number is missing.
_STATUSES: Final = {
    "CANCELLED": 499,
    "DEADLINE_EXCEEDED": 504,
    "FAILED_PRECONDITION": 400,
    "INTERNAL": 500,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "OUT_OF_RANGE": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "UNAUTHENTICATED": 401,
    "UNAVAILABLE": 503,
}
_NAMES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Statuses that Google never answers with, as those that it does.
_NEAREST: Final = {415: 400, 422: 400}


# Reading.


def decode_error(status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
    """Read an error; see ``Dialect.decode_error``."""
    try:
        value: Json = load(body)
    except (ValueError, RecursionError):
        value = None
    inner = _error_object(value)
    if inner is None:
        message = value.get("message") if isinstance(value, dict) else None
        return classify(status, headers, _text(message) or "", overrides=quirks.error_kinds)
    return _from_object(inner, status, headers, quirks)


def told_inside(value: Json, quirks: Quirks) -> SpineError | None:
    """Return the failure that an answer of status 200, or a piece of a stream, tells of, if any."""
    inner = _error_object(value)
    if inner is None:
        return None
    code, name = inner.get("code"), _text(inner.get("status"))
    told = code if isinstance(code, int) and 400 <= code < 600 else _STATUSES.get(name or "", 0)
    return _from_object(inner, told, {}, quirks)


def failure_in(text: bytes, quirks: Quirks) -> SpineError | None:
    """Return the failure that bare JSON tells of where a stream was expected, if it does.

    The service tells a failure amid a stream so, and may go on with the punctuation of an array around it.
    """
    bare = text.strip().lstrip(b",").lstrip()
    if not bare.startswith(b"["):
        bare = bare.rstrip(b"] \t\r\n")
    if not bare.startswith((b"{", b"[")):
        return None
    try:
        return told_inside(load(bare), quirks)
    except (ValueError, RecursionError):
        return None


def _error_object(value: Json) -> JsonObject | None:
    """The error in a body, which may be an array of one."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict) or not (inner := value.get("error")):
        return None
    return inner if isinstance(inner, dict) else {"message": inner}


def _from_object(inner: JsonObject, status: int, headers: Headers, quirks: Quirks) -> SpineError:
    message, name = _text(inner.get("message")) or "", _text(inner.get("status"))
    details = inner.get("details")
    found = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    reason = next((told for detail in found if (told := _text(detail.get("reason")))), None)
    kind = _kind(status, name, reason, message, found)
    overrides = {str(status): kind, **quirks.error_kinds} if kind else quirks.error_kinds
    if "retry-after" not in headers and (wait := _delay(found)) is not None:
        headers = {**headers, "retry-after": wait}
    return classify(status, headers, message, codes=(reason, name), overrides=overrides)


def _kind(status: int, name: str | None, reason: str | None, message: str, details: list[JsonObject]) -> str | None:
    """Return what the error is, where the service's own codes say it; None leaves it to the common table."""
    words = message.lower()
    if status == 400:
        if reason in _BAD_KEYS or any(phrase in words for phrase in _BAD_KEY_WORDS):
            return "authentication"
        if name == "FAILED_PRECONDITION":
            # The place that the call comes from, or an account without billing.
            return "permission" if "location" in words else "quota_exhausted"
    if status == 429 and any("perday" in quota.lower() for quota in _quotas(details)):
        return "quota_exhausted"
    return None


def _quotas(details: list[JsonObject]) -> list[str]:
    """The names of the quotas that are used up."""
    names: list[str] = []
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                names += [told for told in map(_text, map(violation.get, ("quotaId", "quotaMetric"))) if told]
    return names


def _delay(details: list[JsonObject]) -> str | None:
    """The seconds to wait, of ``RetryInfo``."""
    for detail in details:
        if found := _SECONDS.fullmatch(_text(detail.get("retryDelay")) or ""):
            return found[1]
    return None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def interrupted() -> StreamInterruptedError:
    """The error of a stream that ended too early."""
    return StreamInterruptedError("the provider's stream ended before the answer was complete")


# Writing.


def error_body(error: SpineError, request_id: str) -> bytes:
    """Write the error; what Google has no field for stands in the metadata of its ``ErrorInfo``."""
    status = _NEAREST.get(error.status, error.status)
    told = {"request_id": request_id, "provider": error.provider, "param": error.param}
    metadata: JsonObject = {name: value for name, value in told.items() if value is not None}
    details: list[Json] = [
        {"@type": f"{_TYPE}ErrorInfo", "reason": error.code, "domain": "genai-spine", "metadata": metadata}
    ]
    if error.retry_after is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{ceil(error.retry_after)}s"})
    inner: JsonObject = {
        "code": status,
        "message": error.message,
        "status": _NAMES.get(status, "INTERNAL"),
        "details": details,
    }
    return dump({"error": inner})


def encode_error(error: SpineError, request_id: str) -> ErrorAnswer:
    """Write an error; see ``Dialect.encode_error``."""
    return ErrorAnswer(_NEAREST.get(error.status, error.status), error_body(error, request_id))
