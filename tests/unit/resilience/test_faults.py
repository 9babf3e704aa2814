"""Whose fault an error is, and what a key that is gone for good looks like."""

from __future__ import annotations

import pytest

from genai_spine import errors
from genai_spine.errors import ConfigurationError, SpineError
from genai_spine.resilience.faults import Fault, fault_of, is_permanent_error, permanent_patterns

FAULTS: list[tuple[SpineError, Fault]] = [
    (errors.ProviderAuthenticationError("no"), "refused"),
    (errors.ProviderPermissionError("not this model"), "denied"),
    (errors.QuotaExhaustedError("no credit"), "exhausted"),
    (errors.RateLimitedError("slow down"), "limited"),
    (errors.OverloadedError("busy"), "provider"),
    (errors.ProviderFailedError("500"), "provider"),
    (errors.MalformedResponseError("not json"), "provider"),
    (errors.StreamInterruptedError("cut"), "provider"),
    (errors.ConnectionFailedError("refused"), "provider"),
    (errors.ProviderTimeoutError("late"), "provider"),
    (errors.InvalidRequestError("wrong"), "request"),
    (errors.ContextLengthError("long"), "request"),
    (errors.ContentFilterError("no"), "request"),
    (errors.ModelNotFoundError("what"), "request"),
    (errors.AuthenticationError("the caller's key"), "request"),
    (errors.CircuitOpenError("open", retry_after=3), "request"),
]


@pytest.mark.parametrize(("error", "expected"), FAULTS, ids=lambda value: getattr(type(value), "__name__", value))
def test_whose_fault(error: SpineError, expected: Fault) -> None:
    """Each class of error is laid at one door: a request's own fault touches nobody's health."""
    assert expected == fault_of(error)


def test_a_caller_in_a_hurry() -> None:
    """A timeout by the request's own deadline is the request's; another failure is not excused by it."""
    assert fault_of(errors.ProviderTimeoutError("late"), out_of_time=True) == "request"
    assert fault_of(errors.ProviderFailedError("500"), out_of_time=True) == "provider"


def test_no_key_left() -> None:
    """Keys that are gone for good are the provider's failure; keys that come back by themselves are not."""
    assert fault_of(errors.NoUsableKeyError("all refused")) == "provider"
    assert fault_of(errors.NoUsableKeyError("cooling", retry_after=3)) == "request"


@pytest.mark.parametrize(
    "error",
    [
        errors.ProviderAuthenticationError("anything"),
        errors.ProviderPermissionError("This API key has been revoked."),
        errors.ProviderFailedError("your organization was suspended"),
        errors.ProviderFailedError("no", code="invalid_api_key"),
        OSError("Incorrect API key provided"),
    ],
    ids=str,
)
def test_permanent(error: Exception) -> None:
    """A refused key, or words that say that it is revoked, in the code or the text."""
    assert is_permanent_error(error)
    if isinstance(error, SpineError):
        assert fault_of(error) == "refused"


@pytest.mark.parametrize(
    "error",
    [
        errors.ProviderFailedError("something odd"),
        errors.RateLimitedError("too many requests for this api key"),
        errors.QuotaExhaustedError("no credit"),
        errors.ContentFilterError("the prompt says: my api key was revoked"),
        errors.ConnectionFailedError("reset"),
        ValueError("what is this"),
    ],
    ids=str,
)
def test_not_permanent(error: Exception) -> None:
    """What is not recognised is transient, and a request's fault is not searched, for it may quote the prompt."""
    assert not is_permanent_error(error)


def test_patterns_of_the_users_own() -> None:
    """They stand beside the shipped ones, in any case of letters."""
    patterns = permanent_patterns(r"tenant \d+ is closed")
    closed = errors.ProviderFailedError("Tenant 7 is CLOSED")
    assert (False, True) == (is_permanent_error(closed), is_permanent_error(closed, patterns))
    assert fault_of(closed, patterns) == "refused"
    assert is_permanent_error(errors.ProviderFailedError("invalid api key"), patterns)


def test_a_pattern_that_is_none() -> None:
    """It is refused at start, and named."""
    with pytest.raises(ConfigurationError, match=r"'\(' is not a regular expression"):
        permanent_patterns("(")
