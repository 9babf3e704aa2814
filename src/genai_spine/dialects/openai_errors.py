"""Errors as OpenAI and all that speak like it tell them, read and written."""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import ErrorAnswer, Headers, Quirks
from genai_spine.dialects.failures import classify
from genai_spine.dialects.fields import Fields, dump, load, response_fault
from genai_spine.errors import ProviderFailedError, SpineError
from genai_spine.redact import scrub
from genai_spine.types.json import Json, JsonObject

__all__ = ["decode_error", "encode_error", "error_object", "failure_in", "told_inside"]

# `error.type` for each kind of error; SDKs and their users branch on it.
_TYPES: Final = {
    "authentication": "authentication_error",
    "budget_exceeded": "insufficient_quota",
    "content_filter": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "invalid_request": "invalid_request_error",
    "not_found": "not_found_error",
    "overloaded": "service_unavailable_error",
    "payload_too_large": "invalid_request_error",
    "permission": "permission_error",
    "quota_exhausted": "insufficient_quota",
    "rate_limit": "rate_limit_error",
    "timeout": "timeout_error",
    "unavailable": "service_unavailable_error",
}

# All that the known shapes of an error consist of.
_ERROR_FIELDS: Final = ("error", "message", "type", "code", "param", "detail", "metadata")

# MiniMax tells failures inside an answer of status 200 (`base_resp.status_code`).
_BASE_RESP_STATUSES: Final[dict[int, tuple[int, str | None]]] = {
    1002: (429, None),
    1004: (401, None),
    1008: (402, None),
    1026: (400, "content_filter"),
    1027: (400, "content_filter"),
    2013: (400, None),
}


def decode_error(status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
    """Read an error; see ``Dialect.decode_error``.

    Three shapes are known: ``{"error": {...}}``, flat (``{"object": "error", "message": ...}``, or xAI's two strings
    ``{"code", "error"}``), and the validation errors of FastAPI servers (``{"detail": ...}``).
    """
    try:
        value: Json = load(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        value = {}
    return _from_object(value, status, headers, quirks)


def _from_object(value: JsonObject, status: int, headers: Headers, quirks: Quirks) -> SpineError:
    inner = value.get("error")
    if isinstance(inner, dict):
        value = inner
        inner = None
    metadata = value.get("metadata")
    finest = None
    message = value.get("message")
    if not isinstance(message, str):
        message = inner if isinstance(inner, str) else ""
    if isinstance(metadata, dict):
        finest = metadata.get("error_type")
        if isinstance(raw := metadata.get("raw"), str) and raw not in message:
            # OpenRouter's own message says no more than that its provider failed; here is what that one said.
            message = f"{message}: {raw}"
    if not message:
        message = _validation_message(value.get("detail"))
    code = value.get("code")
    if status < 400:
        status = _status_told(code) or _status_told(value.get("status_code")) or 0
    return classify(
        status,
        headers,
        message,
        codes=(_text(finest), _text(code), _text(value.get("type"))),
        param=_text(value.get("param")),
        overrides=quirks.error_kinds,
    )


def _validation_message(detail: Json) -> str:
    """The words of a validation error; its ``input``, a piece of the prompt, is left out."""
    if isinstance(detail, str):
        return detail
    told: list[str] = []
    for fault in detail if isinstance(detail, list) else ():
        if isinstance(fault, dict) and isinstance(words := fault.get("msg"), str):
            place = fault.get("loc")
            path = ".".join(str(step) for step in place) if isinstance(place, list) else ""
            told.append(f"{path}: {words}" if path else words)
    return "; ".join(told)


def _status_told(value: Json) -> int | None:
    """The status in an error told inside an answer that began well: its code is often one."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:4])
    return value if isinstance(value, int) and 400 <= value < 600 else None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def told_inside(fields: Fields, quirks: Quirks) -> SpineError | None:
    """Return the failure that an answer or chunk of status 200 tells of, if any."""
    if fields.peek("error") or fields.peek("object") == "error":
        return _from_object({name: fields.peek(name) for name in _ERROR_FIELDS}, 200, {}, quirks)
    own = fields.peek("x_groq")
    if isinstance(own, dict) and own.get("error"):
        why = own["error"]
        told = f": {scrub(why)}" if isinstance(why, str) else ""
        return ProviderFailedError(f"the provider stopped the answer early{told}", code="stopped_early")
    if isinstance(base := fields.peek("base_resp"), dict) and base.get("status_code"):
        inner = Fields(base, fault=response_fault)
        status, code = _BASE_RESP_STATUSES.get(inner.integer("status_code") or 0, (500, None))
        message = inner.text("status_msg") or ""
        return classify(status, {}, message, codes=(code,), overrides=quirks.error_kinds)
    return None


def failure_in(body: bytes, quirks: Quirks, *, certain: bool = False) -> SpineError | None:
    """Return the failure that bare JSON tells of where a stream was expected, if it does.

    ``certain``: it has been announced as one, whatever it looks like.
    """
    if not certain and not body.lstrip().startswith(b"{"):
        return None
    try:
        value: Json = load(body)
    except (ValueError, RecursionError):
        value = None
    if not certain:
        return told_inside(Fields(value, fault=response_fault), quirks) if isinstance(value, dict) else None
    return _from_object(value if isinstance(value, dict) else {}, 200, {}, quirks)


def error_object(error: SpineError, request_id: str) -> JsonObject:
    """Write the error as an object; its fields beyond OpenAI's own are ``request_id`` and ``provider``."""
    return {
        "error": {
            "message": error.message,
            "type": _TYPES.get(error.kind, "api_error"),
            "param": error.param,
            "code": error.code,
            "request_id": request_id,
            "provider": error.provider,
        }
    }


def encode_error(error: SpineError, request_id: str) -> ErrorAnswer:
    """Write an error; see ``Dialect.encode_error``."""
    return ErrorAnswer(error.status, dump(error_object(error, request_id)))
