"""Errors as Google tells them, read and written."""

from __future__ import annotations

import json

import pytest

from genai_spine import errors
from genai_spine.dialects.base import Quirks
from genai_spine.errors import SpineError
from genai_spine.testing.dialects import ErrorSample, check_error_sample, check_errors
from genai_spine.types.json import Json, JsonObject
from tests.unit.dialects.gemini.wire import GEMINI, PLAIN, fields_of

_RPC = "type.googleapis.com/google.rpc."


def _body(code: int, message: str, status: str, *details: JsonObject) -> bytes:
    inner: JsonObject = {"code": code, "message": message, "status": status}
    if details:
        inner["details"] = [*details]
    return json.dumps({"error": inner}).encode()


def _quota(name: str) -> JsonObject:
    violation: Json = {"quotaMetric": "generativelanguage.googleapis.com/requests", "quotaId": name}
    return {"@type": f"{_RPC}QuotaFailure", "violations": [violation, "junk"]}


_RETRY: JsonObject = {"@type": f"{_RPC}RetryInfo", "retryDelay": "34.5s"}
_BAD_KEY: JsonObject = {"@type": f"{_RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, _body(400, "Invalid value", "INVALID_ARGUMENT"), "invalid_request"),
        (400, _body(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT"), "authentication"),
        (400, _body(400, "Bad", "INVALID_ARGUMENT", _BAD_KEY), "authentication"),
        (400, _body(400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT"), "authentication"),
        (
            400,
            _body(
                400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", "INVALID_ARGUMENT"
            ),
            "context_length_exceeded",
        ),
        (400, _body(400, "Enable billing on your project", "FAILED_PRECONDITION"), "quota_exhausted"),
        (400, _body(400, "User location is not supported for the API use.", "FAILED_PRECONDITION"), "permission"),
        (401, _body(401, "Request had invalid credentials", "UNAUTHENTICATED"), "authentication"),
        (403, _body(403, "Denied", "PERMISSION_DENIED"), "permission"),
        (404, _body(404, "models/x is not found for API version v1beta", "NOT_FOUND"), "not_found"),
        (429, _body(429, "Slow down", "RESOURCE_EXHAUSTED"), "rate_limit"),
        (429, _body(429, "Slow down", "RESOURCE_EXHAUSTED", _quota("PerMinutePerProject"), _RETRY), "rate_limit"),
        (
            429,
            _body(429, "Quota", "RESOURCE_EXHAUSTED", _quota("GenerateRequestsPerDayPerProject"), _RETRY),
            "quota_exhausted",
        ),
        (499, _body(499, "Cancelled", "CANCELLED"), "server_error"),
        (500, _body(500, "Internal", "INTERNAL"), "server_error"),
        (503, _body(503, "The model is overloaded.", "UNAVAILABLE"), "overloaded"),
        (504, _body(504, "Deadline expired", "DEADLINE_EXCEEDED"), "timeout"),
        (429, b"[" + _body(429, "Slow down", "RESOURCE_EXHAUSTED") + b"]", "rate_limit"),
        (400, b'{"error": "plain words"}', "invalid_request"),
        (400, b'{"error": {"message": 5, "details": "odd"}}', "invalid_request"),
        (503, b"<html>busy</html>", "overloaded"),
        (502, b'{"message": "a proxy"}', "server_error"),
        (400, b"[]", "invalid_request"),
    ],
)
def test_kinds(status: int, body: bytes, kind: str) -> None:
    """Status and codes first, words only to refine a 400: each failure is taken for what it is."""
    check_error_sample(GEMINI, ErrorSample(status=status, body=body, kind=kind))


def test_written_and_read() -> None:
    """Each error keeps its kind and words, whole and in a stream."""
    check_errors(GEMINI)


def test_the_time_to_wait() -> None:
    """It stands in the body; a header that tells it counts for more."""
    body = _body(429, "Slow down", "RESOURCE_EXHAUSTED", {"@type": "odd", "retryDelay": 5}, _RETRY)
    assert 34.5 == GEMINI.decode_error(429, {}, body, PLAIN).retry_after
    assert 2.0 == GEMINI.decode_error(429, {"retry-after": "2"}, body, PLAIN).retry_after


def test_codes() -> None:
    """The finest code that was told is kept."""
    assert "API_KEY_INVALID" == GEMINI.decode_error(400, {}, _body(400, "x", "INVALID_ARGUMENT", _BAD_KEY), PLAIN).code
    assert "INVALID_ARGUMENT" == GEMINI.decode_error(400, {}, _body(400, "x", "INVALID_ARGUMENT"), PLAIN).code


def test_a_key_is_not_repeated() -> None:
    """T8: what the service says of the gateway's key stays here."""
    error = GEMINI.decode_error(400, {}, _body(400, "API key not valid: AIzaSyCanary", "INVALID_ARGUMENT"), PLAIN)
    assert "Canary" not in error.message


def test_meanings_of_a_row() -> None:
    """A row may give a status another meaning."""
    quirks = Quirks(error_kinds={"403": "rate_limit"})
    for body in (_body(403, "x", "PERMISSION_DENIED"), b"odd"):
        assert "rate_limit" == GEMINI.decode_error(403, {}, body, quirks).kind


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.InvalidFieldError("x"), 400, "INVALID_ARGUMENT"),
        (errors.UnsupportedMediaTypeError("x"), 400, "INVALID_ARGUMENT"),
        (errors.AuthenticationError("x"), 401, "UNAUTHENTICATED"),
        (errors.ModelNotFoundError("x"), 404, "NOT_FOUND"),
        (errors.PayloadTooLargeError("x"), 413, "INVALID_ARGUMENT"),
        (errors.RateLimitedError("x"), 429, "RESOURCE_EXHAUSTED"),
        (errors.ProviderFailedError("x"), 502, "INTERNAL"),
        (errors.UnavailableError("x"), 503, "UNAVAILABLE"),
        (errors.ProviderTimeoutError("x"), 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_statuses(error: SpineError, status: int, name: str) -> None:
    """Only statuses that Google's clients know are told, each with its name, in the answer and in the body."""
    answer = GEMINI.encode_error(error, "request-1")
    inner = fields_of(answer.body)["error"]
    assert isinstance(inner, dict)
    assert (status, status, name) == (answer.status, inner["code"], inner["status"])


def test_what_google_has_no_field_for() -> None:
    """It stands in the details, where the official client keeps it."""
    error = errors.RateLimitedError("slow", code="busy", param="contents", provider="openai", retry_after=1.2)
    inner = fields_of(GEMINI.encode_error(error, "request-1").body)["error"]
    assert isinstance(inner, dict)
    assert [
        {
            "@type": f"{_RPC}ErrorInfo",
            "reason": "busy",
            "domain": "genai-spine",
            "metadata": {"request_id": "request-1", "provider": "openai", "param": "contents"},
        },
        {"@type": f"{_RPC}RetryInfo", "retryDelay": "2s"},
    ] == inner["details"]
