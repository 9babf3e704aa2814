"""Whether another call is made, and after how long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_spine import errors
from genai_spine.errors import SpineError
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import permanent_patterns
from genai_spine.resilience.retry import Decision, RetryBudget, RetryPolicy, Stop, Wait
from genai_spine.testing.clock import ManualClock

FAILED = errors.ProviderFailedError("500")


def decided(
    error: SpineError, attempt: int = 1, *, seconds: float | None = None, jitter: float = 1.0, **known: Any
) -> Decision:
    """What a policy says on a fresh budget."""
    clock = ManualClock()
    policy = known.pop("policy", RetryPolicy())
    decision: Decision = policy.decide(
        error,
        attempt,
        deadline=Deadline(clock, seconds),
        budget=known.pop("budget", None) or RetryBudget(clock),
        random=lambda: jitter,
        **known,
    )
    return decision


def stopped(decision: Decision) -> str:
    """Why there is to be no other call."""
    assert isinstance(decision, Stop), decision
    return decision.reason


def test_the_waits_double() -> None:
    """One second, two, and so on to thirty, each between half of itself and all."""
    policy = RetryPolicy(attempts=99)
    assert [1, 2, 4, 8, 16, 30, 30] == [policy.backoff(attempt, 1.0) for attempt in range(1, 8)]
    assert [0.5, 1, 2] == [policy.backoff(attempt, 0.0) for attempt in range(1, 4)]
    assert policy.backoff(10_000, 1.0) == 30


def test_three_attempts() -> None:
    """After the third there is no other."""
    assert [Wait(1), Wait(2)] == [decided(FAILED, attempt) for attempt in (1, 2)]
    assert stopped(decided(FAILED, 3)) == "3 of 3 attempts made"


def test_calls_are_left_to_other_models() -> None:
    """What is kept for the provider's other models counts as made, but makes no wait longer."""
    assert Wait(1) == decided(FAILED, 1, kept=1)
    assert stopped(decided(FAILED, 2, kept=1)) == "2 of 3 attempts made, the others are left to its other models"
    assert stopped(decided(FAILED, 1, kept=9)).startswith("1 of 3 attempts made")


def test_a_timeout_is_tried_once_more() -> None:
    """Who was slow twice is not asked a third time."""
    late = errors.ProviderTimeoutError("late")
    assert Wait(1) == decided(late, 1)
    assert "2 of 2" in stopped(decided(late, 2))


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequestError("wrong"),
        errors.ContextLengthError("long"),
        errors.ModelNotFoundError("what"),
        errors.CircuitOpenError("open", retry_after=1),
        errors.NoUsableKeyError("none", retry_after=1),
        errors.ProviderNotConfiguredError("no key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_would_fail_alike(error: SpineError) -> None:
    """A request's own fault, or a provider that cannot be asked at all, is not tried again there."""
    assert stopped(decided(error)) == "another call would fail alike"


def test_retry_after_is_obeyed() -> None:
    """The upstream's wish counts where it is longer than the wait would be, and beyond the longest wait."""
    assert Wait(45) == decided(errors.ProviderFailedError("busy", retry_after=45))
    assert Wait(1) == decided(errors.ProviderFailedError("busy", retry_after=0.2))


def test_nobody_is_kept_for_minutes() -> None:
    """Where the upstream asks for longer than a minute, the caller is told so instead, even without a deadline."""
    busy = errors.ProviderFailedError("busy", retry_after=60.5)
    assert stopped(decided(busy, 1, seconds=None)) == "60.5 s to wait, longer than a caller is kept"


def test_the_deadline_wins() -> None:
    """A wait that leaves no time is not waited."""
    assert Wait(5) == decided(errors.ProviderFailedError("busy", retry_after=5), seconds=5.1)
    assert "5.0 s to wait, and 5.0 s left" == stopped(
        decided(errors.ProviderFailedError("busy", retry_after=5), seconds=5)
    )
    assert "left" in stopped(decided(FAILED, seconds=0))


def test_another_key_need_not_wait() -> None:
    """A key's own fault is mended by another key, at once; without one it is waited for, or given up."""
    limited = errors.RateLimitedError("slow down", retry_after=20)
    assert Wait(0) == decided(limited, ready_in=0)
    assert Wait(20) == decided(limited, ready_in=20)
    assert Wait(0) == decided(errors.ProviderAuthenticationError("no"), ready_in=0)
    assert stopped(decided(errors.ProviderAuthenticationError("no"), ready_in=None)) == "no usable key is left"


def test_another_provider_instead() -> None:
    """While another can be asked, little is waited, and an overloaded one not asked again."""
    assert Wait(1) == decided(FAILED, elsewhere=True)
    assert "20.0 s to wait" in stopped(decided(errors.RateLimitedError("x"), ready_in=20, elsewhere=True))
    assert "overloaded" in stopped(decided(errors.OverloadedError("busy"), elsewhere=True))
    assert Wait(1) == decided(errors.OverloadedError("busy"))


def test_a_key_that_is_revoked_in_so_many_words() -> None:
    """By the user's own patterns a failure may be a key's, so that another is tried at once."""
    policy = RetryPolicy(patterns=permanent_patterns("tenant closed"))
    closed = errors.ProviderFailedError("tenant closed")
    assert Wait(0) == decided(closed, policy=policy)
    assert Wait(1) == decided(closed)


def test_the_budget_runs_out() -> None:
    """With every call failing, retries end; changing a refused key is free."""
    clock = ManualClock()
    budget = RetryBudget(clock, share=0.2, per_second=0, size=3)
    decisions = [decided(FAILED, budget=budget) for _ in range(5)]
    assert [Wait(1)] * 3 == decisions[:3]
    assert ["the provider's retry budget is spent"] * 2 == [stopped(decision) for decision in decisions[3:]]
    assert "budget" in stopped(decided(errors.RateLimitedError("x"), budget=budget))
    assert Wait(0) == decided(errors.ProviderAuthenticationError("no"), budget=budget)
    for _ in range(5):
        budget.called()
    assert Wait(1) == decided(FAILED, budget=budget)
    assert "budget" in stopped(decided(FAILED, budget=budget))


def test_a_quiet_provider_may_be_tried_again() -> None:
    """Time alone fills the budget, up to its size."""
    clock = ManualClock()
    budget = RetryBudget(clock, per_second=0.5, size=2)
    assert [True, True, False] == [budget.take() for _ in range(3)]
    clock.advance(2)
    assert [True, False] == [budget.take() for _ in range(2)]
    clock.advance(1e6)
    assert budget.left == 2


@given(steps=st.lists(st.sampled_from(["call", "retry", "second"]), max_size=200))
def test_retries_are_a_share_of_the_calls(steps: list[str]) -> None:
    """Over any span there are no more retries than the size, a share of the calls and the trickle allow."""
    clock = ManualClock()
    budget = RetryBudget(clock, share=0.2, per_second=0.5, size=4)
    retries = 0
    for step in steps:
        if step == "call":
            budget.called()
        elif step == "second":
            clock.advance(1)
        else:
            retries += budget.take()
    assert retries <= 4 + 0.2 * steps.count("call") + 0.5 * steps.count("second") + 1e-9


@given(
    error=st.sampled_from([FAILED, errors.RateLimitedError("x", retry_after=7), errors.ConnectionFailedError("x")]),
    attempt=st.integers(1, 5),
    seconds=st.none() | st.floats(0, 100),
    jitter=st.floats(0, 1),
    ready_in=st.none() | st.floats(0, 100),
    elsewhere=st.booleans(),
)
def test_a_wait_never_outlives_anything(
    error: SpineError, attempt: int, seconds: float | None, jitter: float, ready_in: float | None, *, elsewhere: bool
) -> None:
    """Whatever else, a wait is granted only below the cap of attempts, within the deadline and where a key will be."""
    decision = decided(error, attempt, seconds=seconds, jitter=jitter, ready_in=ready_in, elsewhere=elsewhere)
    if isinstance(decision, Wait):
        assert attempt < 3
        assert ready_in is not None
        assert decision.seconds >= ready_in
        assert seconds is None or decision.seconds < seconds
        assert not elsewhere or decision.seconds <= 2
