"""What observers are told: frozen records, without prompts, answers or secrets."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from genai_spine.types.usage import Usage

__all__ = ["AttemptEnded", "CircuitChanged", "KeyFailed", "LedgerFault", "Outcome", "RequestEnded"]

Outcome = Literal["success", "error", "timeout", "cancelled", "interrupted"]
"""How a request or a call ended: answered; refused or failed; too late; the caller hung up; cut after it had begun."""


class RequestEnded(Struct, frozen=True, kw_only=True):
    """A request is over, whatever its end.

    Attributes:
        door: The dialect in which the caller spoke.
        asked_model: What the caller named; empty where nothing was.
        strategy: What put its candidates in order; empty where it came to none.
        affinity: It went where the beginning of its conversation may be cached.
        fallback: Not the first candidate served it, or another model than was named.
        key: The fingerprint of the caller's gateway key.
        status: The HTTP status that the caller was told; 499 where he was gone before.
        error: The code of what went wrong; empty on success.
        seconds: From the request's arrival to its end.
        first_token_seconds: From its arrival to the first piece of the answer; None where none came.
        input_tokens: Tokens read, as the provider told; 0 where it did not.
        passthrough: The answer was handed on as it came.
    """

    request_id: str
    door: str
    asked_model: str
    provider: str
    model: str
    strategy: str
    affinity: bool
    fallback: bool
    key: str
    outcome: Outcome
    status: int
    error: str
    stream: bool
    passthrough: bool
    attempts: int
    seconds: float
    first_token_seconds: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: str


class AttemptEnded(Struct, frozen=True, kw_only=True):
    """A call to a provider is over, whatever its end.

    Attributes:
        number: Of the request's calls, from 1.
        key: The fingerprint of the provider's key; empty where it needs none.
        reason: Why this provider and model, for people to read.
        retry: The request has called this provider before.
        error: The code of what went wrong; empty on success.
        seconds: From the call to its end.
        first_token_seconds: From the call to the first piece of the answer; None where none came.
        usage: What the provider told, or was counted of what it delivered; None where nothing was used.
    """

    request_id: str
    number: int
    provider: str
    model: str
    key: str
    reason: str
    retry: bool
    outcome: Outcome
    error: str
    seconds: float
    first_token_seconds: float | None
    usage: Usage | None


class CircuitChanged(Struct, frozen=True, kw_only=True):
    """A circuit opened, closed, or lets one call ask.

    Attributes:
        model: Whose circuit it is; empty for the provider's own.
        before: ``closed``, ``open`` or ``half_open``.
        after: The same, since.
        elsewhere: Another worker found it out, and this one was told.
    """

    provider: str
    model: str
    before: str
    after: str
    reason: str
    elsewhere: bool = False


class KeyFailed(Struct, frozen=True, kw_only=True):
    """A call failed by the fault of a provider's key, or with it.

    Attributes:
        key: Its fingerprint.
        fault: What the failure says: see ``genai_spine.resilience.faults``.
        status: How the key does since: ``healthy``, ``cooling`` or ``refused``.
        usable_in: Seconds until it may be used; 0 where it may be now, None where time will not help.
    """

    provider: str
    key: str
    fault: str
    status: str
    usable_in: float | None


class LedgerFault(Struct, frozen=True, kw_only=True):
    """Something of the ledger is lost, or waits for a person to look at it; the log tells more.

    Attributes:
        kind: ``torn``: the end of a journal whose worker was stopped in the middle of a record. ``damaged``: a part of
            one that was whole once. ``refused``: records that the database refuses, kept in a file. ``dropped``:
            records that nobody takes.
        count: Records, or parts of a journal.
    """

    kind: str
    count: int
