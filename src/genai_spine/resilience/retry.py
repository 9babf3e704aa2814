"""Whether a failed call is worth another one to the same provider, and after how long. Nothing here waits itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.errors import OverloadedError, ProviderTimeoutError, SpineError
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import PERMANENT, Patterns, fault_of

__all__ = ["Decision", "RetryBudget", "RetryPolicy", "Stop", "Wait"]

_OF_THE_KEY: Final = frozenset({"refused", "denied", "exhausted", "limited"})
# What brings the same load back again. A key that is put aside is not: the pool bounds how often that happens.
_REPEATED: Final = frozenset({"provider", "limited"})


class Wait(Struct, frozen=True):
    """Call again after so many seconds."""

    seconds: float


class Stop(Struct, frozen=True):
    """Do not call this provider again for this request.

    Attributes:
        reason: Why not, for people to read.
    """

    reason: str


Decision: TypeAlias = Wait | Stop


class RetryBudget:
    """How many retries a provider may see: a share of its recent calls, and a trickle for a quiet one.

    A bucket that is full at first. It bounds the retries of any span of time to its size, the share of the span's
    calls and the trickle of its seconds, so that a provider in trouble is not buried under the same calls again.

    Attributes:
        share: What each call adds to it.
    """

    def __init__(self, clock: Clock, *, share: float = 0.2, per_second: float = 0.5, size: float = 10.0) -> None:
        """Make a budget.

        Args:
            clock: Whose time counts.
            share: What each call adds to it.
            per_second: What each second adds to it.
            size: The most that it holds.
        """
        self._clock = clock
        self.share = share
        self._per_second = per_second
        self._size = size
        self._left = size
        self._filled_at = clock.monotonic()

    @property
    def left(self) -> float:
        """How many retries it holds."""
        now = self._clock.monotonic()
        self._left = min(self._size, self._left + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return self._left

    def called(self) -> None:
        """Note a first call, no retry."""
        self._left = min(self._size, self.left + self.share)

    def take(self) -> bool:
        """Take one retry out, if there is one."""
        if self.left < 1.0:
            return False
        self._left -= 1.0
        return True


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """When to try again.

    Attributes:
        attempts: Calls to one provider in one request, at most, whichever of its models they ask.
        attempts_after_timeout: The same where the last call took too long: who was slow once is slow again.
        first_wait: Seconds before the second call; each further wait is twice as long.
        longest_wait: Seconds that no such wait exceeds. What the upstream asks for is obeyed beyond it.
        patience: Seconds, at most, that are waited while another provider could be asked instead.
        longest_silence: Seconds, at most, that are waited where nobody else can be asked: a caller is better told when
            to come back than kept.
        patterns: What a key refused for good looks like.
    """

    attempts: int = 3
    attempts_after_timeout: int = 2
    first_wait: float = 1.0
    longest_wait: float = 30.0
    patience: float = 2.0
    longest_silence: float = 60.0
    patterns: Patterns = PERMANENT

    def most(self, error: SpineError) -> int:
        """Return how many calls to a provider a request may make, the last of which failed so."""
        if isinstance(error, ProviderTimeoutError):
            return min(self.attempts, self.attempts_after_timeout)
        return self.attempts

    def decide(
        self,
        error: SpineError,
        attempt: int,
        *,
        deadline: Deadline,
        budget: RetryBudget,
        random: Callable[[], float],
        kept: int = 0,
        ready_in: float | None = 0.0,
        elsewhere: bool = False,
    ) -> Decision:
        """Decide after a failed call; a retry that is granted is taken from the budget.

        Args:
            error: How the call failed.
            attempt: The number of calls to this provider so far.
            deadline: The request's.
            budget: The provider's.
            random: Returns a number from 0 up to 1.
            kept: Calls that are left to other models of the provider.
            ready_in: Seconds until a key can be had, of those that the request may use; None if none will be.
            elsewhere: Another candidate is left.
        """
        if not (error.retry.same_key or error.retry.other_key):
            return Stop("another call would fail alike")
        fault = fault_of(error, self.patterns)
        if fault == "request":
            return Stop("another call would fail alike")
        most = self.most(error)
        if attempt + kept >= most:
            others = ", the others are left to its other models" if attempt < most else ""
            return Stop(f"{attempt} of {most} attempts made{others}")
        if elsewhere and isinstance(error, OverloadedError):
            return Stop("the provider is overloaded and another can be asked")
        if ready_in is None:
            return Stop("no usable key is left")
        # Another key need not wait for what this one did wrong; how long this one must, the pool knows.
        wait = (
            ready_in
            if fault in _OF_THE_KEY
            else max(ready_in, self.backoff(attempt, random()), error.retry_after or 0.0)
        )
        if elsewhere and wait > self.patience:
            return Stop(f"{wait:.1f} s to wait, and another provider can be asked")
        if wait > self.longest_silence:
            return Stop(f"{wait:.1f} s to wait, longer than a caller is kept")
        if not deadline.allows(wait):
            return Stop(f"{wait:.1f} s to wait, and {deadline.left():.1f} s left")
        if fault in _REPEATED and not budget.take():
            return Stop("the provider's retry budget is spent")
        return Wait(wait)

    def backoff(self, attempt: int, jitter: float) -> float:
        """Return the wait after so many calls: between half of a step and all of it, by ``jitter`` from 0 to 1."""
        # 2.0**1024 would overflow; long before that the longest wait is reached.
        step = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 60))
        return step * (0.5 + 0.5 * jitter)
