"""Errors as Bedrock tells them, read and written: as an answer, and as an exception within a stream.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
"""

from __future__ import annotations

from typing import Final

from genai_spine.dialects.base import ErrorAnswer, Headers, Quirks
from genai_spine.dialects.eventstream import EventMessage, encode_message
from genai_spine.dialects.failures import classify
from genai_spine.dialects.fields import dump, load
from genai_spine.errors import SpineError
from genai_spine.types.json import Json, JsonObject

__all__ = ["decode_error", "encode_error", "encode_stream_error", "error_in_stream", "error_inside"]

# By the name of the exception in lower case: streams begin it with a small letter, answers with a capital one.
_KINDS: Final = {
    "accessdeniedexception": "permission",
    "conflictexception": "server_error",
    "expiredtokenexception": "authentication",
    "incompletesignatureexception": "authentication",
    "internalserverexception": "server_error",
    "invalidsignatureexception": "authentication",
    "missingauthenticationtokenexception": "authentication",
    "modelerrorexception": "server_error",
    "modelnotreadyexception": "overloaded",
    "modelstreamerrorexception": "server_error",
    "modeltimeoutexception": "timeout",
    "requesttoolargeexception": "payload_too_large",
    "resourcenotfoundexception": "not_found",
    "servicequotaexceededexception": "quota_exhausted",
    "serviceunavailableexception": "overloaded",
    "throttlingexception": "rate_limit",
    "unrecognizedclientexception": "authentication",
    "validationexception": "invalid_request",
}
_INVALID: Final = "invalid_request"
# What a request for a model that cannot be had is told, with the same name as any other fault of a request.
_NO_MODEL: Final = ("model identifier is invalid", "with on-demand throughput isn", "inference profile is invalid")

# The status and the name by which an error is told, by its kind.
_SPOKEN: Final = {
    "authentication": (403, "UnrecognizedClientException"),
    "connection": (503, "ServiceUnavailableException"),
    "content_filter": (400, "ValidationException"),
    "context_length_exceeded": (400, "ValidationException"),
    "invalid_request": (400, "ValidationException"),
    "not_found": (404, "ResourceNotFoundException"),
    "overloaded": (503, "ServiceUnavailableException"),
    "payload_too_large": (413, "RequestTooLargeException"),
    "permission": (403, "AccessDeniedException"),
    "quota_exhausted": (400, "ServiceQuotaExceededException"),
    "rate_limit": (429, "ThrottlingException"),
    "timeout": (408, "ModelTimeoutException"),
    "unavailable": (503, "ServiceUnavailableException"),
}
_FAILED: Final = (500, "InternalServerException")
# Within a stream the service's clients know five names, and raise on any other all the same.
_SPOKEN_IN_STREAM: Final = {
    "connection": "serviceUnavailableException",
    "overloaded": "serviceUnavailableException",
    "quota_exhausted": "throttlingException",
    "rate_limit": "throttlingException",
    "server_error": "internalServerException",
    "timeout": "modelStreamErrorException",
    "unavailable": "serviceUnavailableException",
}
_AT_FAULT: Final = "validationException"


def decode_error(status: int, headers: Headers, body: bytes, quirks: Quirks) -> SpineError:
    """Read an error; see ``Dialect.decode_error``."""
    try:
        value: Json = load(body)
    except (ValueError, RecursionError):
        value = None
    told = value if isinstance(value, dict) else {}
    name = headers.get("x-amzn-errortype") or _text(told.get("__type")) or ""
    return _error(status, headers, name, told, quirks)


def error_inside(told: JsonObject, quirks: Quirks) -> SpineError | None:
    """Return the error that a body told despite its good status, if it is one."""
    if "output" in told or not ("__type" in told or "message" in told):
        return None
    return _error(0, {}, _text(told.get("__type")) or "", told, quirks)


def error_in_stream(message: EventMessage, quirks: Quirks) -> SpineError | None:
    """Return the error that a message of a stream is, if it is one."""
    match message.text(":message-type"):
        case "exception":
            try:
                value: Json = load(message.payload)
            except (ValueError, RecursionError):
                value = None
            told = value if isinstance(value, dict) else {}
            return _error(0, {}, message.text(":exception-type"), told, quirks)
        case "error":
            fault: JsonObject = {"message": message.text(":error-message")}
            return _error(0, {}, message.text(":error-code"), fault, quirks)
    return None


def _error(status: int, headers: Headers, name: str, told: JsonObject, quirks: Quirks) -> SpineError:
    # `ValidationException:http://internal.amazon.com/...`, `com.amazon.coral.service#ThrottlingException`.
    name = name.partition(":")[0].rpartition("#")[2].strip()
    message = _text(told.get("message")) or _text(told.get("Message")) or _text(told.get("originalMessage")) or ""
    kind = _KINDS.get(name.lower())
    if kind in {None, _INVALID} and any(words in message.lower() for words in _NO_MODEL):
        kind = "not_found"
    if kind == _INVALID:
        # What is wrong with it the common table finds out by what it says, such as that it is too long.
        found = classify(status or 400, headers, message, codes=(name,), overrides=quirks.error_kinds)
        found.upstream_status = status or None
        return found
    overrides = {str(status): kind, **quirks.error_kinds} if kind is not None else quirks.error_kinds
    return classify(status, headers, message, codes=(name,), overrides=overrides)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def encode_error(error: SpineError, request_id: str) -> ErrorAnswer:
    """Write an error; its name, which the service tells in a header, stands in ``__type``, where clients look too."""
    status, name = _SPOKEN.get(error.kind, _FAILED)
    return ErrorAnswer(status, dump({"__type": name, "message": error.message, "requestId": request_id}))


def encode_stream_error(error: SpineError) -> bytes:
    """Write an error inside a stream: the official clients raise on it."""
    headers = {
        ":exception-type": _SPOKEN_IN_STREAM.get(error.kind, _AT_FAULT),
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode_message(headers, dump({"message": error.message}))
