"""Errors as Anthropic tells them, read and written.

Source: https://platform.claude.com/docs/en/api/errors
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import ErrorAnswer, Headers, Quirks
from genai_spine.dialects.failures import classify, retry_after
from genai_spine.dialects.fields import dump, load
from genai_spine.dialects.sse import frame
from genai_spine.errors import SpineError
from genai_spine.types.json import Json, JsonObject

__all__ = ["decode_error", "encode_error", "encode_stream_error", "error_of"]

# Codes in `error.details.error_code` that say more than the status does.
_ACCOUNT_CODES: Final = {
    "cmek_key_disabled": "permission",
    "linked_organization_billing_unavailable": "quota_exhausted",
    "organization_on_hold": "permission",
    "ramp_limit_exceeded": "rate_limit",
}
_SPEND_LIMIT: Final = "_spend_limit_reached"

# An account that has run dry, or met the limit that its owner set, is told with status 400 and no code.
_DRY: Final = ("credit balance is too low", "reached your specified api usage limit", "spend limit")

_STATUSES: Final = {
    400: (400, "invalid_request_error"),
    401: (401, "authentication_error"),
    402: (402, "billing_error"),
    403: (403, "permission_error"),
    404: (404, "not_found_error"),
    413: (413, "request_too_large"),
    415: (400, "invalid_request_error"),
    422: (400, "invalid_request_error"),
    429: (429, "rate_limit_error"),
    504: (504, "timeout_error"),
}


def decode_error(status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
    """Read an error; see ``Dialect.decode_error``."""
    try:
        value: Json = load(body)
    except (ValueError, RecursionError):
        value = None
    found = error_of(value, status, headers, quirks)
    if found is not None:
        return found
    message = value.get("message") or value.get("detail") if isinstance(value, dict) else None
    text = message if isinstance(message, str) else ""
    return classify(status, headers, text, overrides=quirks.error_kinds)


def error_of(value: Json, status: int, headers: Headers, quirks: Quirks) -> SpineError | None:
    """Return the error that an object tells of, if any; ``status`` is 0 for one that was told inside a good answer."""
    if not isinstance(value, dict) or not (inner := value.get("error")):
        return None
    if not isinstance(inner, dict):
        inner = {"message": inner}
    details = inner.get("details")
    code = _text(details.get("error_code")) if isinstance(details, dict) else None
    message = _text(inner.get("message")) or ""
    kind = _kind(status, headers, message, code)
    return classify(
        status,
        headers,
        message,
        codes=(code, _text(inner.get("type"))),
        overrides={str(status): kind, **quirks.error_kinds} if kind else quirks.error_kinds,
    )


def _kind(status: int, headers: Headers, message: str, code: str | None) -> str | None:
    """Return what the error is, where the dialect's own code or words say it; None leaves it to the common table."""
    if code is not None and code.endswith(_SPEND_LIMIT):
        # With a time to wait it is a limit like any other; without one it holds until the month ends.
        waits = status == 429 and retry_after(headers) is not None
        return "rate_limit" if waits else "quota_exhausted"
    if code in _ACCOUNT_CODES:
        return _ACCOUNT_CODES[code]
    if status == 400 and any(words in message.lower() for words in _DRY):
        return "quota_exhausted"
    return None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _spoken(error: SpineError) -> tuple[int, str]:
    """The status and type by which an error is told.

    The service's own statuses know no 422, 502 or 503. Lack of capacity is its 529. All else that is the gateway's or
    its providers' fault is 500 ``api_error``, that nothing can serve the request now included: the official client
    raises ``InternalServerError``, which its users handle, whereas 529 would blame a lack of capacity at a provider.
    It retries both alike.
    """
    if error.kind == "overloaded":
        return 529, "overloaded_error"
    return _STATUSES.get(error.status, (500, "api_error"))


def _error_object(error: SpineError, request_id: str) -> JsonObject:
    """Write the error as an object; its fields beyond Anthropic's own are ``code``, ``param`` and ``provider``."""
    inner: JsonObject = {"type": _spoken(error)[1], "message": error.message, "code": error.code}
    if error.param is not None:
        inner["param"] = error.param
    if error.provider is not None:
        inner["provider"] = error.provider
    return {"type": "error", "error": inner, "request_id": request_id}


def encode_error(error: SpineError, request_id: str) -> ErrorAnswer:
    """Write an error; see ``Dialect.encode_error``."""
    return ErrorAnswer(_spoken(error)[0], dump(_error_object(error, request_id)))


def encode_stream_error(error: SpineError, request_id: str) -> bytes:
    """Write an error inside a stream: the official client raises on it."""
    return frame(dump(_error_object(error, request_id)), "error")
