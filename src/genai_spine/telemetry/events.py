"""What observers are told: frozen records, without prompts, answers or secrets."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Outcome", "RequestEnded"]

Outcome = Literal["success", "error", "timeout", "cancelled", "interrupted"]
"""How a request ended: answered; refused or failed; too late; the caller hung up; cut after it had begun."""


class RequestEnded(Struct, frozen=True, kw_only=True):
    """A request is over, whatever its end.

    Attributes:
        door: The dialect in which the caller spoke.
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
    provider: str
    model: str
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
