"""One request on its way through the gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from genai_spine.catalog.prices import Cost
from genai_spine.errors import ProviderTimeoutError, SpineError, StreamInterruptedError
from genai_spine.money import usd_text
from genai_spine.providers.registry import Registry
from genai_spine.quota.rate_limits import Admission
from genai_spine.redact import scrub
from genai_spine.telemetry.events import Outcome, RequestEnded
from genai_spine.types.candidate import Candidate
from genai_spine.types.messages import Media
from genai_spine.types.principal import ANYBODY, Principal
from genai_spine.types.usage import Usage

__all__ = ["Call", "shown"]

LONGEST_SHOWN: Final = 255
CLIENT_GONE: Final = 499
"""The status in records for a caller who hung up before any was told (nginx's custom)."""


class Call:
    """What is known of a request, filled in step by step; each step writes only what it finds out.

    Attributes:
        answer_id: Of which the ids within the answer are made: the request's own, unless the caller chose that, who may
            choose the same twice.
        seconds: What the caller allows for all of it; None for the provider's own timeouts.
        temperature: What to say where neither the caller nor the request does and the model takes one.
        registry: The providers, as they were when it was planned; there is none before.
        asked_model: What its caller named.
        strategy: What put its candidates in order.
        input_tokens: A quick guess of what it reads.
        weigh: Makes a closer one, where the quick one may be far off.
        body_bytes: How long it is.
        max_tokens: The limit that it sets its answer.
        admission: What it is counted on; None where nothing counts.
        candidate: Where it goes.
        used: What all of its calls used; None where nothing was.
        cost: The same, priced.
        cost_usd: The same as a plain decimal number; empty where nothing was used.
        attempts: Calls sent upstream.
        written: Up to where the journal tells of them.
        warnings: What the caller should know of how the request was served.
        first_token_at: When the first piece of the answer was there, on the clock of ``started``.
        begun: The head of the answer has gone to the caller.
        fallback: Not the first candidate is asked, or another model than was named.
        conversation: By what the conversation is known, where it matters who serves it.
        home: Where its beginning may be cached, ``provider/model``; empty where it is nowhere.
        preferred_key: The fingerprint of the key that holds the conversation's prompt cache.
        cut: What to tell of it where the gateway itself broke it off.
        fetched: What lay at addresses that a provider could not fetch by itself, by address.
    """

    __slots__ = (
        "_told_before",
        "_weighed",
        "admission",
        "answer_id",
        "asked_model",
        "attempts",
        "begun",
        "body_bytes",
        "candidate",
        "conversation",
        "cost",
        "cost_usd",
        "cut",
        "door",
        "error",
        "fallback",
        "fetched",
        "first_token_at",
        "gone",
        "home",
        "input_tokens",
        "max_tokens",
        "passthrough",
        "preferred_key",
        "principal",
        "registry",
        "request_id",
        "seconds",
        "started",
        "strategy",
        "stream",
        "temperature",
        "usage",
        "used",
        "warnings",
        "weigh",
        "written",
    )

    def __init__(
        self,
        *,
        request_id: str,
        answer_id: str | None = None,
        door: str,
        started: float,
        principal: Principal = ANYBODY,
        seconds: float | None = None,
        stream: bool = False,
        temperature: float | None = None,
    ) -> None:
        self.request_id = request_id
        self.answer_id = answer_id or request_id
        self.door = door
        self.started = started
        self.principal = principal
        self.seconds = seconds
        self.stream = stream
        self.temperature = temperature
        self.registry: Registry
        self.asked_model: str | None = None
        self.strategy = ""
        self.input_tokens = 0
        self.weigh: Callable[[], int] | None = None
        self.body_bytes = sys.maxsize
        self.max_tokens: int | None = None
        self.admission: Admission | None = None
        self.candidate: Candidate | None = None
        self.attempts = 0
        self.written = 0
        self.warnings: list[str] = []
        self.usage: Usage | None = None
        self.used: Usage | None = None
        self.cost: Cost | None = None
        self.cost_usd = ""
        self.first_token_at: float | None = None
        self.error: SpineError | None = None
        self.cut: SpineError | None = None
        self.begun = False
        self.gone = False
        self.passthrough = False
        self.fetched: dict[str, Media] = {}
        self.fallback = False
        self.home = ""
        self.preferred_key: str | None = None
        self.conversation: bytes | None = None
        self._told_before: int | None = None
        self._weighed: int | None = None

    @property
    def weighed(self) -> int:
        """A guess of what it reads, on which money may be set aside."""
        if self._weighed is None:
            self._weighed = self.input_tokens if self.weigh is None else self.weigh()
        return self._weighed

    def charge(self, usage: Usage, cost: Cost) -> None:
        """Note what one of its calls used, and what that cost."""
        self.used = usage if self.used is None else self.used + usage
        if self.cost is not None:
            cost = Cost(self.cost.picodollars + cost.picodollars, known=self.cost.known and cost.known)
        self.cost = cost
        self.cost_usd = usd_text(cost.picodollars)

    def begin_attempt(self, candidate: Candidate) -> None:
        """Note that another call may be made; what an earlier one found out does not count for it."""
        if self._told_before is None:
            self._told_before = len(self.warnings)
        del self.warnings[self._told_before :]
        self.candidate = candidate
        self.usage = self.first_token_at = None
        self.passthrough = False

    def warn(self, warnings: tuple[str, ...]) -> None:
        """Add to the warnings what is not among them yet."""
        self.warnings += [warning for warning in warnings if warning and warning not in self.warnings]

    def left(self, now: float) -> float | None:
        """Return the seconds that are left of the caller's, never quite none; None where there is no limit."""
        return None if self.seconds is None else max(0.001, self.started + self.seconds - now)

    @property
    def at_home(self) -> bool:
        """Whether it goes where the beginning of its conversation may be cached."""
        return self.home != "" and self.candidate is not None and self.home == self.candidate.name

    @property
    def outcome(self) -> Outcome:
        """How it ended, as far as it has."""
        if self.error is None:
            return "cancelled" if self.gone else "success"
        if isinstance(self.error, ProviderTimeoutError):
            return "timeout"
        if self.begun or isinstance(self.error, StreamInterruptedError):
            return "interrupted"
        return "error"

    def record(self, now: float) -> RequestEnded:
        """Return the record of the request, over at ``now``."""
        candidate, usage = self.candidate, self.usage
        if self.begun:
            status = 200
        elif self.gone:
            status = CLIENT_GONE
        else:
            status = self.error.status if self.error else 200
        return RequestEnded(
            request_id=self.request_id,
            door=self.door,
            asked_model=shown(self.asked_model or ""),
            provider=candidate.provider if candidate else "",
            model=shown(candidate.model) if candidate else "",
            strategy=self.strategy,
            affinity=self.at_home,
            fallback=self.fallback,
            key=self.principal.key,
            outcome=self.outcome,
            status=status,
            error=self.error.code if self.error else "",
            stream=self.stream,
            passthrough=self.passthrough,
            attempts=self.attempts,
            seconds=now - self.started,
            first_token_seconds=None if self.first_token_at is None else self.first_token_at - self.started,
            input_tokens=usage.input_tokens if usage else 0,
            output_tokens=usage.output_tokens if usage else 0,
            cost_usd=self.cost_usd,
        )


def shown(model: str) -> str:
    """A model's name as logs may show it: callers write it, and may have put a key there, or a book."""
    return _scrubbed(model[:LONGEST_SHOWN])


_scrubbed: Final = lru_cache(maxsize=1024)(scrub)
