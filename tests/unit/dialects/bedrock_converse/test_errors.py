"""Bedrock Converse: errors, as the service names them in a header, in the body, or only by its words."""

from __future__ import annotations

import json

import pytest

from genai_spine import errors
from genai_spine.dialects.base import Quirks
from tests.unit.dialects.bedrock_converse.wire import CONVERSE


def decoded(status: int, name: str, message: str, *, header: bool = True) -> errors.SpineError:
    """What an answer with a bad status tells."""
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/x"} if header else {}
    body = {"message": message} | ({} if header else {"__type": f"com.amazon.coral#{name}"})
    return CONVERSE.decode_error(status, headers, json.dumps(body).encode(), Quirks())


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (400, "ValidationException", "bad field", "invalid_request"),
        (400, "ValidationException", "Input is too long for requested model.", "context_length_exceeded"),
        (400, "ValidationException", "The provided model identifier is invalid.", "not_found"),
        (
            400,
            "ValidationException",
            "Model x with on-demand throughput isn't supported.",
            "not_found",
        ),
        (400, "ServiceQuotaExceededException", "no more", "quota_exhausted"),
        (403, "AccessDeniedException", "no access to the model", "permission"),
        (403, "UnrecognizedClientException", "The security token is invalid.", "authentication"),
        (403, "InvalidSignatureException", "no match", "authentication"),
        (403, "ExpiredTokenException", "expired", "authentication"),
        (404, "ResourceNotFoundException", "no such model", "not_found"),
        (408, "ModelTimeoutException", "too slow", "timeout"),
        (424, "ModelErrorException", "failed", "server_error"),
        (429, "ThrottlingException", "Too many tokens, please wait before trying again.", "rate_limit"),
        (429, "ModelNotReadyException", "loading", "overloaded"),
        (500, "InternalServerException", "oops", "server_error"),
        (503, "ServiceUnavailableException", "later", "overloaded"),
        (418, "UnheardOfException", "teapot", "invalid_request"),
    ],
)
def test_errors(status: int, name: str, message: str, kind: str, header: bool) -> None:  # noqa: FBT001  # a parameter
    """The name decides; of a fault of the request its words tell the rest."""
    error = decoded(status, name, message, header=header)
    assert (kind, status, name) == (error.kind, error.upstream_status, error.code)


def test_words_alone() -> None:
    """Recorded answers have no name at all."""
    error = CONVERSE.decode_error(400, {}, b'{"Message": "The provided model identifier is invalid."}', Quirks())
    assert isinstance(error, errors.ModelNotFoundError)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message": 5}'])
def test_no_words(body: bytes) -> None:
    """The status is all there is, then."""
    error = CONVERSE.decode_error(503, {}, body, Quirks())
    assert isinstance(error, errors.OverloadedError)
    assert "503" in error.message


def test_a_row_may_name_a_status_otherwise() -> None:
    """A service's own meaning of a status outweighs the dialect's."""
    quirks = Quirks(error_kinds={"400": "overloaded"})
    body = b'{"__type": "ValidationException", "message": "m"}'
    assert isinstance(CONVERSE.decode_error(400, {}, body, quirks), errors.OverloadedError)


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.InvalidFieldError("m"), 400, "ValidationException"),
        (errors.QuotaExhaustedError("m"), 400, "ServiceQuotaExceededException"),
        (errors.UnavailableError("m"), 503, "ServiceUnavailableException"),
        (errors.MalformedResponseError("m"), 500, "InternalServerException"),
        (errors.ConfigurationError("m"), 500, "InternalServerException"),
    ],
)
def test_errors_as_they_are_told(error: errors.SpineError, status: int, name: str) -> None:
    """An error is told with the status and name that the service has for its kind."""
    answer = CONVERSE.encode_error(error, "r-1")
    assert status == answer.status
    assert {"__type": name, "message": "m", "requestId": "r-1"} == json.loads(answer.body)
