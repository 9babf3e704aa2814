"""Upstream failures by status, code and words: the table of kinds."""

from __future__ import annotations

import json

import pytest

from genai_spine.dialects.base import Quirks
from genai_spine.dialects.failures import KINDS, classify, retry_after
from genai_spine.dialects.openai_errors import decode_error
from genai_spine.errors import InvalidFieldError
from genai_spine.types.json import JsonObject


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request_error", "invalid_request"),
        (400, "context_length_exceeded", "context_length_exceeded"),
        (400, "content_policy_violation", "content_filter"),
        (400, "content_filter", "content_filter"),
        (400, "invalid_prompt", "content_filter"),
        (400, "unsupported_parameter", "invalid_request"),
        (400, "tool_use_failed", "server_error"),
        (401, "invalid_api_key", "authentication"),
        (402, None, "quota_exhausted"),
        (403, None, "permission"),
        (404, "model_not_found", "not_found"),
        (408, None, "timeout"),
        (413, None, "payload_too_large"),
        (422, None, "invalid_request"),
        (424, None, "server_error"),
        (429, "rate_limit_exceeded", "rate_limit"),
        (429, "insufficient_quota", "quota_exhausted"),
        (429, "credit_balance_exhausted", "quota_exhausted"),
        (429, "slow_down", "overloaded"),
        (429, None, "rate_limit"),
        (500, "server_error", "server_error"),
        (502, None, "server_error"),
        (503, "server_is_overloaded", "overloaded"),
        (503, None, "overloaded"),
        (504, None, "timeout"),
        (524, None, "timeout"),
        (529, None, "overloaded"),
        (599, None, "server_error"),
    ],
)
def test_openai_and_compatible(status: int, code: str | None, kind: str) -> None:
    """Statuses and codes mean what the table of failures says."""
    body = json.dumps({"error": {"message": "words", "type": "some_error", "param": None, "code": code}}).encode()
    error = decode_error(status, {}, body, Quirks())
    assert kind == error.kind
    assert status == error.upstream_status
    assert isinstance(error, InvalidFieldError if status == 422 else KINDS[kind])


@pytest.mark.parametrize(("kind", "status"), [(None, 422), ("not_found", 404), ("content_filter", 400)])
def test_a_422_stays_one(kind: str | None, status: int) -> None:
    """Where it means that the request is wrong; a service by which it means something else is believed."""
    kinds = {} if kind is None else {"422": kind}
    assert status == decode_error(422, {}, b"{}", Quirks(error_kinds=kinds)).status


@pytest.mark.parametrize(
    ("status", "kinds", "expected"),
    [
        (403, {"403": "authentication"}, "authentication"),
        (422, {"422": "not_found"}, "not_found"),
        (498, {"498": "overloaded"}, "overloaded"),
    ],
)
def test_a_row_knows_better(status: int, kinds: dict[str, str], expected: str) -> None:
    """A service's own meaning of a status counts first (Scaleway's 403 and 422, Groq's 498)."""
    assert expected == decode_error(status, {}, b"{}", Quirks(error_kinds=kinds)).kind


_OPENROUTER_KINDS = {
    "context_length_exceeded": "context_length_exceeded",
    "authentication": "authentication",
    "permission_denied": "permission",
    "payment_required": "quota_exhausted",
    "rate_limit_exceeded": "rate_limit",
    "provider_overloaded": "overloaded",
    "provider_unavailable": "overloaded",
    "not_found": "not_found",
    "payload_too_large": "payload_too_large",
    "content_policy_violation": "content_filter",
    "timeout": "timeout",
}


@pytest.mark.parametrize("told", _OPENROUTER_KINDS)
def test_openrouter_error_types(told: str) -> None:
    """OpenRouter's `metadata.error_type` is the finest code of all."""
    body = json.dumps({"error": {"code": 400, "message": "words", "metadata": {"error_type": told}}}).encode()
    assert _OPENROUTER_KINDS[told] == decode_error(400, {}, body, Quirks()).kind


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "nested"}}, "nested"),
        ({"object": "error", "message": "flat", "type": "x", "code": 3}, "flat"),
        ({"code": "invalid-argument", "error": "two strings"}, "two strings"),
        ({"detail": "plain detail"}, "plain detail"),
        ({"detail": [{"loc": ["body", "n"], "msg": "too small", "input": "the prompt"}]}, "body.n: too small"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "why"}}}, "Provider returned error: why"),
        ({}, "the provider answered with status 400 and no message"),
    ],
)
def test_shapes(body: JsonObject, message: str) -> None:
    """Every known shape yields the provider's words; a validation error does not quote the prompt."""
    assert message == decode_error(400, {}, json.dumps(body).encode(), Quirks()).message
    assert message == decode_error(400, {}, json.dumps([body]).encode(), Quirks()).message


@pytest.mark.parametrize("body", [b"", b"<html>429</html>", b"[" * 100_000, b"\xff", b"[]", b"null"])
def test_a_body_that_is_no_json(body: bytes) -> None:
    """A proxy's page is judged by its status alone."""
    assert decode_error(502, {}, body, Quirks()).kind == "server_error"


@pytest.mark.parametrize(
    "phrase",
    [
        "This model's maximum context length is 8192 tokens",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Input is too long for requested model",
        "the request exceeds the available context size",
        "exceeds the maximum number of tokens allowed (1048576)",
        "Current length is 9000 while limit is 8192",
        "`inputs` tokens + `max_new_tokens` must be <= 4096",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_context_overflow_by_words(phrase: str, status: int) -> None:
    """A 400, 413 or 422 whose message speaks of the context is an overflow."""
    assert classify(status, {}, phrase).kind == "context_length_exceeded"


def test_33_words_do_not_mislead() -> None:
    """Numbers and phrases echoed from a prompt, or of another parameter's length, change nothing (WIRE 9, 33)."""
    assert classify(400, {}, "token 429 at position 503 is invalid").kind == "invalid_request"
    long_user = "Invalid 'user': string too long. Expected a string with maximum length 64"
    assert classify(400, {}, long_user, codes=("string_above_max_length",)).kind == "invalid_request"
    assert classify(500, {}, "maximum context length").kind == "server_error"
    echoed = {"detail": [{"loc": ["body"], "msg": "bad", "input": "maximum context length"}]}
    assert decode_error(422, {}, json.dumps(echoed).encode(), Quirks()).kind == "invalid_request"
    prompt = {"error": {"message": "bad"}, "request": "prompt is too long"}
    assert decode_error(400, {}, json.dumps(prompt).encode(), Quirks()).kind == "invalid_request"


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"retry-after-ms": "1500"}, "", 1.5),
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "0.5", "retry-after-ms": ""}, "", 0.5),
        ({"retry-after": "-3"}, "", 0.0),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after-ms": "soon", "retry-after": "2"}, "", 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", 10.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT", "date": "nonsense"}, "", None),
        ({}, "Please try again in 5.289s. Visit", 5.289),
        ({}, "Please try again in 1m30s.", 90.0),
        ({}, "Please try again in 250ms.", 0.25),
        ({}, "no idea", None),
    ],
)
def test_retry_after(headers: dict[str, str], message: str, expected: float | None) -> None:
    """The wait comes from the headers, else from the words; what is no finite number says nothing."""
    assert expected == retry_after(headers, message)


def test_messages_are_safe_to_show() -> None:
    """A key quoted by the provider is not repeated, and a long message is cut."""
    assert "sk-abc" not in classify(401, {}, "Incorrect API key provided: sk-abcdefghijkl").message
    assert "sk-abc" not in classify(400, {}, "bad key sk-abcdefghijklmnop in header").message
    assert len(classify(400, {}, "x" * 100_000).message) <= 2000
