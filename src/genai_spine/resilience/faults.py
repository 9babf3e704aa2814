"""Whose fault a failed call is: the request's, the key's, or the provider's. Keys, circuits and retries act by it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from genai_spine.errors import (
    ConfigurationError,
    NoUsableKeyError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderPermissionError,
    ProviderTimeoutError,
    QuotaExhaustedError,
    RateLimitedError,
    SpineError,
)

__all__ = ["PERMANENT", "Fault", "Patterns", "fault_of", "is_permanent_error", "permanent_patterns"]

Fault: TypeAlias = Literal["request", "refused", "denied", "exhausted", "limited", "provider"]
"""What a failed call says: the request is wrong (nobody's health suffers); the key is refused for good; the key may not
do this, but other things; its account has run dry; it is used too much just now; the provider itself failed."""

Patterns: TypeAlias = tuple[re.Pattern[str], ...]


def permanent_patterns(*further: str) -> Patterns:
    """Return the shipped patterns and further ones: regular expressions, found anywhere, case does not count.

    Raises:
        ConfigurationError: One is no regular expression.
    """
    return (*PERMANENT, *_compiled(further))


def _compiled(texts: Iterable[str]) -> Patterns:
    found: list[re.Pattern[str]] = []
    for text in texts:
        try:
            found.append(re.compile(text, re.IGNORECASE))
        except re.error as error:
            message = f"{text!r} is not a regular expression: {error}"
            raise ConfigurationError(message) from error
    return tuple(found)


PERMANENT: Final[Patterns] = _compiled(
    (
        r"\b(?:invalid|incorrect|unknown|malformed)[ _]api[ _]?key\b",
        r"\bapi[ _]?key\b[^.]{0,60}\b(?:not valid|invalid|revoked|expired|deleted|disabled|deactivated)\b",
        r"\b(?:account|organi[sz]ation|project|workspace)\b[^.]{0,60}\b(?:deactivated|disabled|suspended|deleted)\b",
    )
)
"""What providers say of a key that is gone for good."""


def is_permanent_error(error: BaseException, patterns: Patterns = PERMANENT) -> bool:
    """Return whether a failure is the key's for good: refused or revoked, so that waiting cannot help.

    What is classified is judged by its class. Of an upstream's failure, code and text are searched too: not every
    provider tells a revoked key by its status. A fault of the request is never searched, for its text may quote the
    prompt. What is not recognised is transient.
    """
    if isinstance(error, ProviderAuthenticationError):
        return True
    if isinstance(error, ProviderError):
        return any(pattern.search(text) for text in (error.code, error.message) for pattern in patterns)
    if isinstance(error, SpineError):
        return False
    return any(pattern.search(str(error)) for pattern in patterns)


def fault_of(error: SpineError, patterns: Patterns = PERMANENT, *, out_of_time: bool = False) -> Fault:
    """Return whose fault an error is.

    Args:
        error: How the call failed.
        patterns: What permanent errors look like.
        out_of_time: The request's own deadline had passed: a caller in a hurry says nothing of the provider.
    """
    if isinstance(error, NoUsableKeyError):
        # Keys that cool down come back by themselves, sooner than a circuit would let them.
        return "provider" if error.retry_after is None else "request"
    if not isinstance(error, ProviderError):
        return "request"
    if is_permanent_error(error, patterns):
        return "refused"
    match error:
        case ProviderPermissionError():
            return "denied"
        case QuotaExhaustedError():
            return "exhausted"
        case RateLimitedError():
            return "limited"
        case ProviderTimeoutError() if out_of_time:
            return "request"
        case _:
            return "provider"
