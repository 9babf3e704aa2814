"""What an upstream's failure means: status first, then the provider's code, its text last.

Only text that the provider wrote as its error message is searched, never a whole body, for bodies echo prompts.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from math import isfinite, nan
from typing import TYPE_CHECKING, Final

from genai_spine import errors
from genai_spine.redact import scrub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genai_spine.dialects.base import Headers

__all__ = ["KINDS", "classify", "retry_after"]

MAX_MESSAGE: Final = 2000

KINDS: Final[Mapping[str, type[errors.SpineError]]] = {
    "authentication": errors.ProviderAuthenticationError,
    "connection": errors.ConnectionFailedError,
    "content_filter": errors.ContentFilterError,
    "context_length_exceeded": errors.ContextLengthError,
    "invalid_request": errors.InvalidRequestError,
    "not_found": errors.ModelNotFoundError,
    "overloaded": errors.OverloadedError,
    "payload_too_large": errors.PayloadTooLargeError,
    "permission": errors.ProviderPermissionError,
    "quota_exhausted": errors.QuotaExhaustedError,
    "rate_limit": errors.RateLimitedError,
    "server_error": errors.ProviderFailedError,
    "timeout": errors.ProviderTimeoutError,
}
"""The kinds of error by name, as rows of providers name them."""

_STATUSES: Final[Mapping[int, str]] = {
    401: "authentication",
    402: "quota_exhausted",
    403: "permission",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    424: "server_error",
    429: "rate_limit",
    499: "server_error",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}

_CODES: Final[Mapping[str, str]] = {
    # OpenAI and those that speak like it.
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "context_length_exceeded": "context_length_exceeded",
    "credit_balance_exhausted": "quota_exhausted",
    "insufficient_quota": "quota_exhausted",
    "invalid_api_key": "authentication",
    "invalid_prompt": "content_filter",
    "model_not_found": "not_found",
    "rate_limit_exceeded": "rate_limit",
    "server_error": "server_error",
    "server_is_overloaded": "overloaded",
    "slow_down": "overloaded",
    "tool_use_failed": "server_error",
    # OpenAI's, of an answer that failed.
    "bio_policy": "content_filter",
    "empty_image_file": "invalid_request",
    "failed_to_download_image": "invalid_request",
    "image_content_policy_violation": "content_filter",
    "image_file_not_found": "invalid_request",
    "image_file_too_large": "invalid_request",
    "image_parse_error": "invalid_request",
    "image_too_large": "invalid_request",
    "image_too_small": "invalid_request",
    "invalid_base64_image": "invalid_request",
    "invalid_image": "invalid_request",
    "invalid_image_format": "invalid_request",
    "invalid_image_mode": "invalid_request",
    "invalid_image_url": "invalid_request",
    "misalignment_policy_violation": "content_filter",
    "unsupported_image_media_type": "invalid_request",
    "vector_store_timeout": "timeout",
    # OpenRouter's `metadata.error_type`.
    "authentication": "authentication",
    "max_tokens_exceeded": "invalid_request",
    "not_found": "not_found",
    "payload_too_large": "payload_too_large",
    "payment_required": "quota_exhausted",
    "permission_denied": "permission",
    "provider_overloaded": "overloaded",
    "provider_unavailable": "overloaded",
    "timeout": "timeout",
    "token_limit_exceeded": "context_length_exceeded",
    # Anthropic's `error.type` and `details.error_code`.
    "authentication_error": "authentication",
    "billing_error": "quota_exhausted",
    "contract_spend_limit_reached": "quota_exhausted",
    "enforced_spend_limit_reached": "quota_exhausted",
    "linked_organization_spend_limit_reached": "quota_exhausted",
    "not_found_error": "not_found",
    "overloaded_error": "overloaded",
    "permission_error": "permission",
    "rate_limit_error": "rate_limit",
    "request_too_large": "payload_too_large",
    "timeout_error": "timeout",
}

# Families of errors, too broad to outweigh a status; they count where none was told, inside a stream.
_FAMILIES: Final[Mapping[str, str]] = {
    "api_error": "server_error",
    "invalid-argument": "invalid_request",
    "invalid_request": "invalid_request",
    "invalid_request_error": "invalid_request",
}

_CONTEXT_PHRASES: Final = (
    "maximum context length",
    "prompt is too long",
    "input is too long",
    "exceeds the model's maximum context",
    "exceed context limit",
    "model's maximum context limit",
    "is longer than the model's context length",
    "input tokens exceed the configured limit",
    "exceeds the available context size",
    "exceeds the maximum number of tokens allowed",
    "the input length exceeds the context length",
    "too many input tokens",
    "`inputs` tokens + `max_new_tokens` must be",
)
_CONTEXT_PATTERN: Final = re.compile(r"current length is \d+ while limit is \d+")
# 0: told inside an answer that began well, where the text is all there is to go by.
_REFINED: Final = frozenset({0, 400, 413, 422})
_WAIT: Final = re.compile(r"try again in (?:(\d+)m(?!s))?(\d+(?:\.\d+)?)(ms|s)")


def classify(
    status: int,
    headers: Headers,
    message: str,
    *,
    codes: tuple[str | None, ...] = (),
    param: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> errors.SpineError:
    """Return the error that an upstream's failure is.

    Args:
        status: The HTTP status, or 200 for an error told inside an answer that began well.
        headers: The answer's headers.
        message: The provider's own words, shown to the caller after scrubbing.
        codes: The provider's codes for it, the finest first.
        param: The request field that the provider blames.
        overrides: The provider's own meanings of statuses (``Quirks.error_kinds``).
    """
    known = [code for code in codes if code]
    kind = (overrides or {}).get(str(status))
    if kind is None:
        # A coded 4xx may say more than its status; a 5xx stays the provider's fault whatever its code.
        coded = next((_CODES[code] for code in known if code in _CODES), None)
        by_status = _STATUSES.get(status)
        if status in _REFINED and _is_context_overflow(message, known):
            kind = "context_length_exceeded"
        elif coded is not None and (status < 500 or by_status is None):
            kind = coded
        elif by_status is not None:
            kind = by_status
        elif 400 <= status < 500:
            kind = "content_filter" if "content filtering policy" in message else "invalid_request"
        else:
            kind = next((_FAMILIES[code] for code in known if code in _FAMILIES and not status), "server_error")
    wait = retry_after(headers, message) if kind in {"rate_limit", "overloaded", "server_error"} else None
    shown = scrub(message)[:MAX_MESSAGE].strip()
    if not shown:
        told = f"answered with status {status}" if status >= 400 else "reported a failure"
        shown = f"the provider {told} and no message"
    if kind == "authentication":
        # Providers quote the key here, more or less masked.
        shown = "the provider refused the gateway's key; set a valid one"
    made = KINDS[kind]
    if status == 422 and made is errors.InvalidRequestError:
        # The same fault, told with the status that it came with.
        made = errors.InvalidFieldError
    return made(shown, code=known[0] if known else None, param=param, retry_after=wait, upstream_status=status or None)


def _is_context_overflow(message: str, codes: list[str]) -> bool:
    if "string_above_max_length" in codes:
        return False
    text = message.lower()
    return any(phrase in text for phrase in _CONTEXT_PHRASES) or _CONTEXT_PATTERN.search(text) is not None


def retry_after(headers: Headers, message: str = "") -> float | None:
    """Return for how many seconds the upstream asks to wait; None if it does not say.

    A date is taken against the answer's own ``date`` header, so that no clock of ours is needed.
    """
    milliseconds, text = headers.get("retry-after-ms"), headers.get("retry-after")
    for told, scale in ((milliseconds, 1000), (text, 1)):
        try:
            wait = float(told) / scale if told else nan
        except ValueError:
            continue  # an HTTP date, read below
        if isfinite(wait):
            return max(0.0, wait)
    if text and (date := headers.get("date")):
        try:
            return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(date)).total_seconds())
        except (ValueError, TypeError):
            return None
    if found := _WAIT.search(message):
        minutes, amount, unit = found.groups()
        return 60 * int(minutes or 0) + float(amount) / (1000 if unit == "ms" else 1)
    return None
