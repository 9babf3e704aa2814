"""Every error that GenAI Spine raises.

::

    SpineError
    ├── ConfigurationError                     settings are wrong; told at start, never over HTTP
    ├── RequestError                           the request is at fault, here or upstream
    │   ├── InvalidRequestError           400
    │   │   ├── UnknownProviderError      400
    │   │   ├── ContextLengthError        400
    │   │   └── ContentFilterError        400
    │   ├── AuthenticationError           401  no gateway key, or a wrong one
    │   ├── BudgetExceededError           402  the caller's money is spent
    │   ├── PermissionDeniedError         403
    │   ├── NotFoundError                 404
    │   │   └── ModelNotFoundError        404
    │   ├── ConflictError                 409
    │   ├── PayloadTooLargeError          413
    │   ├── UnsupportedMediaTypeError     415
    │   ├── InvalidFieldError             422
    │   └── RateLimitExceededError        429  the caller asks too often; the gateway's own limit
    ├── JournalError                      503  what is begun could not be recorded
    ├── UnavailableError                  503  nothing can serve it now
    │   ├── CircuitOpenError              503
    │   ├── JournalFullError              503
    │   ├── NoUsableKeyError              503
    │   ├── ProviderNotConfiguredError    503
    │   ├── SwitchedOffError              503
    │   ├── DatabaseDownError             503
    │   ├── SharedStateUnavailableError   503  budgets and limits cannot be looked after now
    │   └── StoppingError                 503  the gateway stops, and had no time left for it
    └── ProviderError                          the upstream failed
        ├── ProviderFailedError           502  5xx, or anything not recognised
        │   ├── MalformedResponseError    502
        │   └── StreamInterruptedError    502
        ├── ConnectionFailedError         502
        ├── DialectNotSpokenError         502  it has no such API, but perhaps another
        ├── ProviderAuthenticationError   502  it refused the gateway's key
        ├── ProviderPermissionError       502
        ├── QuotaExhaustedError           502  the account has run dry
        ├── OverloadedError               503
        ├── RateLimitedError              429
        └── ProviderTimeoutError          504

Each class knows its kind (the taxonomy by which a failure is acted upon), the HTTP status a caller sees, and whether
the call may be tried again on the same key, on another key of the provider, or on another provider. How it is spoken
to a caller is each dialect's affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

__all__ = [
    "AuthenticationError",
    "BudgetExceededError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextLengthError",
    "DatabaseDownError",
    "DialectNotSpokenError",
    "InvalidFieldError",
    "InvalidRequestError",
    "JournalError",
    "JournalFullError",
    "MalformedResponseError",
    "ModelNotFoundError",
    "NoUsableKeyError",
    "NotFoundError",
    "OverloadedError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "ProviderAuthenticationError",
    "ProviderError",
    "ProviderFailedError",
    "ProviderNotConfiguredError",
    "ProviderPermissionError",
    "ProviderTimeoutError",
    "QuotaExhaustedError",
    "RateLimitExceededError",
    "RateLimitedError",
    "RequestError",
    "SharedStateUnavailableError",
    "SpineError",
    "StoppingError",
    "StreamInterruptedError",
    "SwitchedOffError",
    "UnavailableError",
    "UnknownProviderError",
    "UnsupportedMediaTypeError",
]


class Retry(NamedTuple):
    """Where a failed call may be tried again."""

    same_key: bool
    other_key: bool
    other_provider: bool


NOWHERE: Final = Retry(same_key=False, other_key=False, other_provider=False)
ELSEWHERE: Final = Retry(same_key=False, other_key=True, other_provider=True)
OTHER_PROVIDER: Final = Retry(same_key=False, other_key=False, other_provider=True)
ANYWHERE: Final = Retry(same_key=True, other_key=True, other_provider=True)


class SpineError(Exception):
    """The root of the tree.

    Args:
        message: What went wrong and what to do, safe to show to the caller: no secret, no prompt.
        code: A finer name than the class's own, e.g. an upstream's error code.
        param: The request field at fault, as a path such as ``messages[0].content``.
        provider: The provider that was being called, if any.
        retry_after: Seconds after which the upstream said to try again.
        upstream_status: The HTTP status that the upstream answered with, if it answered.
    """

    kind: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "internal_error"
    retry: ClassVar[Retry] = NOWHERE

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        provider: str | None = None,
        retry_after: float | None = None,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.provider = provider
        self.retry_after = retry_after
        self.upstream_status = upstream_status


class ConfigurationError(SpineError):
    """A setting is wrong or unknown; the message names it and says what to write instead."""

    default_code = "configuration_error"


class RequestError(SpineError):
    """The request cannot be served as it is; sending it again unchanged cannot help."""

    kind = "invalid_request"
    status = 400
    default_code = "invalid_request"


class InvalidRequestError(RequestError):
    """The request is malformed, or the upstream judged it so."""


class UnknownProviderError(InvalidRequestError):
    """The request names a provider that does not exist here."""

    default_code = "unknown_provider"


class ContextLengthError(InvalidRequestError):
    """The conversation is longer than the model's context; only a model with a longer one may serve it."""

    kind = "context_length_exceeded"
    default_code = "context_length_exceeded"


class ContentFilterError(InvalidRequestError):
    """The upstream's content policy refused the request."""

    kind = "content_filter"
    default_code = "content_filter"


class AuthenticationError(RequestError):
    """The caller presented no gateway key, or one that is not known."""

    kind = "authentication"
    status = 401
    default_code = "invalid_api_key"


class BudgetExceededError(RequestError):
    """A budget of the caller's does not cover what the call may cost.

    Args:
        message: Which budget, and when it begins anew.
        limit: The budget, in nanodollars.
        used: What of it is spent and set aside, in nanodollars.
        resets_at: When it begins anew, in seconds since the Unix epoch; None where it never does.
        may_be_free: The request may move to a candidate that costs nothing.
    """

    kind = "budget_exceeded"
    status = 402
    default_code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limit: int = 0,
        used: int = 0,
        resets_at: float | None = None,
        may_be_free: bool = False,
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.used = used
        self.resets_at = resets_at
        self.may_be_free = may_be_free


class PermissionDeniedError(RequestError):
    """The caller is known, but may not do this."""

    kind = "permission"
    status = 403
    default_code = "permission_denied"


class NotFoundError(RequestError):
    """No such route or object."""

    kind = "not_found"
    status = 404
    default_code = "not_found"
    retry = ELSEWHERE


class ModelNotFoundError(NotFoundError):
    """No configured provider serves the model, or the one asked for does not know it."""

    default_code = "model_not_found"


class ConflictError(RequestError):
    """What was to be changed is not what the caller saw of it: somebody else has changed it, made it or deleted it."""

    kind = "conflict"
    status = 409
    default_code = "conflict"


class PayloadTooLargeError(RequestError):
    """The body exceeds the size limit, here or upstream."""

    kind = "payload_too_large"
    status = 413
    default_code = "payload_too_large"


class UnsupportedMediaTypeError(RequestError):
    """The body is not of a content type that the route reads."""

    status = 415
    default_code = "unsupported_media_type"


class InvalidFieldError(RequestError):
    """One field is of the wrong type or value, here or upstream, or cannot be said there; ``param`` names it."""

    status = 422
    default_code = "invalid_field"


class JournalError(SpineError):
    """The record of calls cannot be read or written; no call is begun that could not be recorded."""

    kind = "unavailable"
    status = 503
    default_code = "ledger_failed"


class RateLimitExceededError(RequestError):
    """The caller asks more often, or for more, than he may; ``retry_after`` tells when he may again.

    Args:
        message: Which limit.
        retry_after: Seconds until he may; None where waiting does not help.
        headers: What tells the caller how he stands, such as ``x-ratelimit-remaining-requests``.
    """

    kind = "rate_limit"
    status = 429
    default_code = "rate_limit_exceeded"

    def __init__(
        self, message: str, *, retry_after: float | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.headers = headers or {}


class UnavailableError(SpineError):
    """Nothing can serve the request now."""

    kind = "unavailable"
    status = 503
    default_code = "unavailable"


class CircuitOpenError(UnavailableError):
    """The provider failed too often of late and is left alone for a while; ``retry_after`` tells for how long."""

    default_code = "circuit_open"
    retry = OTHER_PROVIDER


class JournalFullError(UnavailableError):
    """The disk, or the part of it that calls may be recorded in, has no room for one more; the message says why."""

    default_code = "ledger_full"


class NoUsableKeyError(UnavailableError):
    """Each of the provider's keys is refused or cooling down; ``retry_after`` tells when one is back, if at all."""

    default_code = "no_usable_key"
    retry = OTHER_PROVIDER


class ProviderNotConfiguredError(UnavailableError):
    """The provider exists but has no key or address; the message names the variable to set."""

    default_code = "provider_not_configured"


class SwitchedOffError(UnavailableError):
    """The operator has switched the provider off, or the model there."""

    default_code = "switched_off"
    retry = OTHER_PROVIDER


class DatabaseDownError(UnavailableError):
    """The gateway's database cannot be reached now, or cannot write; what needs it must wait."""

    default_code = "database_down"

    def __init__(self, message: str = "the gateway's database cannot be reached now; try again shortly") -> None:
        super().__init__(message, retry_after=1)


class SharedStateUnavailableError(UnavailableError):
    """What several processes share cannot be reached, or lost its memory and is being settled again."""

    default_code = "shared_state_unavailable"


class StoppingError(UnavailableError):
    """The gateway is stopping and could not wait for the answer; another, or the next, may give it."""

    default_code = "stopping"


class ProviderError(SpineError):
    """The upstream failed the call, not the request."""

    status = 502
    default_code = "provider_error"
    retry = ANYWHERE


class ProviderFailedError(ProviderError):
    """The upstream failed inside, or in a way that nothing recognises; taken as transient."""


class MalformedResponseError(ProviderFailedError):
    """The upstream answered with something that is not its dialect."""

    default_code = "malformed_response"


class StreamInterruptedError(ProviderFailedError):
    """The stream ended before its dialect's end mark."""

    default_code = "stream_interrupted"


class ConnectionFailedError(ProviderError):
    """No connection to the upstream, or it broke before the answer began."""

    kind = "connection"
    default_code = "connection_failed"


class DialectNotSpokenError(ProviderError):
    """The upstream does not have the API that its row says it has beside its first."""

    kind = "not_found"
    default_code = "dialect_not_spoken"
    retry = ELSEWHERE


class ProviderAuthenticationError(ProviderError):
    """The upstream refused the gateway's key."""

    kind = "authentication"
    default_code = "provider_authentication_failed"
    retry = ELSEWHERE


class ProviderPermissionError(ProviderError):
    """The gateway's key may not use this model or region."""

    kind = "permission"
    default_code = "provider_permission_denied"
    retry = ELSEWHERE


class QuotaExhaustedError(ProviderError):
    """The account behind the key has no credit left; waiting does not help."""

    kind = "quota_exhausted"
    default_code = "provider_quota_exhausted"
    retry = ELSEWHERE


class OverloadedError(ProviderError):
    """The upstream has no capacity now; another provider is the better choice."""

    kind = "overloaded"
    status = 503
    default_code = "overloaded"


class RateLimitedError(ProviderError):
    """The upstream limits the key; ``retry_after`` tells for how long, where it said so."""

    kind = "rate_limit"
    status = 429
    default_code = "rate_limit_exceeded"


class ProviderTimeoutError(ProviderError):
    """The upstream did not answer, or fell silent, for longer than allowed."""

    kind = "timeout"
    status = 504
    default_code = "timeout"
