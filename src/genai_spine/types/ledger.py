"""What the ledger is told: that a call begins, that it has ended, that a request is over, and what an audit keeps.

These are written to the journal as the things happen, and become rows of the database later. Money is in picodollars,
moments are microseconds since the Unix epoch, durations are seconds. Thousands may be waiting to be shipped; the
collector need not look at them (``gc=False``), for they hold nothing that could hold them.
"""

from __future__ import annotations

from msgspec import Struct

from genai_spine.types.usage import CostByKind, Usage

__all__ = ["NOBODY", "AuditEvent", "CallBegun", "CallEnded", "Caller", "RequestDone"]


class Caller(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Who asked.

    Attributes:
        user: The user's id; None where the key belongs to nobody.
        api_key: The id of the API key in the database; None where it is one of the environment.
        fingerprint: Of that key; empty where none is needed.
        tags: Of the key, and of the request.
    """

    user: int | None = None
    api_key: int | None = None
    fingerprint: str = ""
    tags: tuple[str, ...] = ()


NOBODY = Caller()


class CallBegun(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A call is about to be sent to a provider; written before its first byte leaves.

    Attributes:
        id: Of this call, unlike that of any other.
        request: The id of the request, unlike that of any other.
        request_id: What the caller knows the request by; callers may choose the same twice.
        number: Of the request's calls, from 1.
        key: The fingerprint of the provider's key; empty where it needs none.
        reason: Why this provider and model, for people to read.
        retry: The request has called this provider before.
        fallback: Not the first candidate is asked, or another model than was named.
        strategy: What put the candidates in order; empty where there was one.
        chat: The stored conversation that it is for.
        message: The message there.
        input_tokens: A guess of what it reads, for the day that nobody tells.
        output_tokens: A guess of what it writes, likewise.
        hold: What was set aside for it on budgets, encoded, to be settled by whoever finds the call after a crash;
            empty where nothing was.
    """

    id: str
    request: str
    request_id: str
    number: int
    at: int
    door: str
    provider: str
    model: str
    key: str
    reason: str
    caller: Caller = NOBODY
    stream: bool = False
    retry: bool = False
    fallback: bool = False
    strategy: str = ""
    chat: int | None = None
    message: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    hold: bytes = b""


class CallEnded(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A call is over, whatever its end.

    Attributes:
        id: That of its beginning.
        outcome: ``success``, ``error``, ``timeout``, ``cancelled`` or ``interrupted``.
        error: The code of what went wrong; empty on success.
        usage: What the provider told, or was counted of what it delivered; None where nothing was used.
        cost: What that is charged at.
        price_known: It has a price; else the stand-in's was taken.
        cost_estimated: The tokens are a guess, for the provider did not tell them.
        over_held: It cost more than was set aside for it.
        seconds: From the call to its end.
        first_token_seconds: From the call to the first piece of the answer; None where none came.
        by_kind: What the cost is made of; None where nothing was used, or nobody tells.
    """

    id: str
    at: int
    outcome: str
    error: str
    usage: Usage | None
    cost: int
    price_known: bool
    cost_estimated: bool
    over_held: bool
    seconds: float
    first_token_seconds: float | None
    by_kind: CostByKind | None = None


class RequestDone(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A request is over, whatever its end, refused ones included.

    Attributes:
        id: Of this request, unlike that of any other.
        request_id: What the caller knows it by.
        at: When it came in.
        asked_model: What its caller named; empty where nothing was.
        provider: Who served it, or was asked last; empty where nobody was.
        outcome: As of a call.
        status: The HTTP status that the caller was told; 499 where he was gone before.
        attempts: Calls made for it.
        affinity: It went where the beginning of its conversation may be cached.
        usage: Of all of its calls; None where nothing was used.
        cost: Of all of its calls.
        ended: The ends of calls that are told with it, in the place of records of their own.
    """

    id: str
    request_id: str
    at: int
    door: str
    caller: Caller
    asked_model: str
    provider: str
    model: str
    outcome: str
    status: int
    error: str
    attempts: int
    fallback: bool
    strategy: str
    affinity: bool
    stream: bool
    passthrough: bool
    usage: Usage | None
    cost: int
    price_known: bool
    cost_estimated: bool
    seconds: float
    first_token_seconds: float | None
    ended: tuple[CallEnded, ...] = ()


class AuditEvent(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Something that an audit wants to know; without prompts, answers or secrets.

    Attributes:
        event: ``config_change``, ``auth_failure``, ``llm_retry``, ``circuit_open`` ...: an open set.
        caller: Who did it, or for whom it was done.
        request_id: Of the request, where there is one.
        model: As ``provider/model``; empty where there is none.
        cost: Where something was charged.
        input_tokens: As of its usage.
        output_tokens: As of its usage.
        reason: Why, for people to read.
        details: What else there is, by name.
    """

    at: int
    event: str
    caller: Caller = NOBODY
    request_id: str = ""
    model: str = ""
    cost: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reason: str = ""
    details: dict[str, str] = {}
