"""Circuit, keys, deadline and retries as one request uses them together."""

from __future__ import annotations

from itertools import count

from hypothesis import example, given
from hypothesis import strategies as st

from genai_spine import errors
from genai_spine.errors import SpineError
from genai_spine.redact import Secret
from genai_spine.resilience.breaker import Circuit
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.keys import KeyPool
from genai_spine.resilience.retry import RetryBudget, RetryPolicy, Stop
from genai_spine.testing.clock import ManualClock

FAILURES: list[SpineError | None] = [
    None,
    errors.ProviderFailedError("500"),
    errors.ProviderTimeoutError("late"),
    errors.OverloadedError("busy", retry_after=4),
    errors.RateLimitedError("slow down", retry_after=3),
    errors.RateLimitedError("slow down"),
    errors.ProviderAuthenticationError("no"),
    errors.ProviderPermissionError("not this"),
    errors.QuotaExhaustedError("no credit"),
    errors.InvalidRequestError("wrong"),
]


class Caller:
    """Makes requests as the gateway does, to a provider that does as it is told."""

    def __init__(self, keys: int) -> None:
        self.clock = ManualClock()
        self.circuit = Circuit("p", self.clock)
        self.pool = KeyPool([Secret(f"sk-test-{number}-0123456789") for number in range(keys)], self.clock)
        self.budget = RetryBudget(self.clock)
        self.policy = RetryPolicy()

    def request(self, outcomes: list[SpineError | None], seconds: float, each: float) -> tuple[list[float], list[str]]:
        """One request: the moments of its calls, from its begin, and the keys that were tried."""
        deadline, begun = Deadline(self.clock, seconds), self.clock.monotonic()
        turn = self.pool.turn(deadline=deadline)
        self.budget.called()
        calls: list[float] = []
        for attempt in count(1):
            try:
                with self.circuit.enter(deadline), turn.lease():
                    calls.append(self.clock.monotonic() - begun)
                    self.clock.advance(each)
                    failure = outcomes[(attempt - 1) % len(outcomes)]
                    if failure is not None:
                        raise failure
                    break
            except SpineError as error:
                decision = self.policy.decide(
                    error,
                    attempt,
                    deadline=deadline,
                    budget=self.budget,
                    random=lambda: 0.5,
                    ready_in=turn.ready_in(),
                )
                if isinstance(decision, Stop):
                    break
                assert deadline.allows(decision.seconds)
                self.clock.advance(decision.seconds)
                if deadline.expired:
                    break  # by the last bit of a sum: the gateway looks too before it calls
        return calls, turn.tried


@given(
    keys=st.integers(0, 5),
    requests=st.lists(
        st.tuples(
            st.lists(st.sampled_from(FAILURES), min_size=1, max_size=4),
            st.sampled_from([0.5, 5.0, 60.0, 600.0]),
            st.sampled_from([0.1, 1.0, 10.0]),
            st.sampled_from([0.0, 60.0, 400.0]),
        ),
        max_size=12,
    ),
)
@example(
    1,
    [([None], 0.5, 1.0, 60.0), ([FAILURES[1], FAILURES[3]], 5.0, 0.1, 60.0), ([FAILURES[3]], 5.0, 1.0, 0.0)],
)
def test_a_request_is_bounded(keys: int, requests: list[tuple[list[SpineError | None], float, float, float]]) -> None:
    """Whatever a provider does: at most three calls, on at most three keys, none begun too late, none leaked."""
    caller = Caller(keys)
    for outcomes, seconds, each, pause in requests:
        calls, tried = caller.request(outcomes, seconds, each)
        assert len(calls) <= 3
        assert len(tried) <= min(3, keys)
        assert all(moment < seconds for moment in calls)
        assert [0] * keys == [key.in_flight for key in caller.pool.health()]
        caller.clock.advance(pause)


def test_a_dead_provider_is_left_alone() -> None:
    """With one key and every call failing, five calls open the circuit; after its rest there is one, and no retry."""
    caller = Caller(1)
    dead: list[SpineError | None] = [errors.ConnectionFailedError("refused")]
    made = [len(caller.request(dead, 600, 0.1)[0]) for _ in range(4)]
    assert [3, 2, 0, 0] == made
    caller.clock.advance(300)
    assert [1, 0] == [len(caller.request(dead, 600, 0.1)[0]) for _ in range(2)]
    caller.clock.advance(300)
    assert [1, 1] == [len(caller.request([None], 600, 0.1)[0]) for _ in range(2)]


def test_a_revoked_key_costs_one_call() -> None:
    """The request goes on with the next key at once, and later ones do not meet the revoked one."""
    caller = Caller(2)
    calls, tried = caller.request([errors.ProviderAuthenticationError("no"), None], 600, 0.0)
    assert [0.0, 0.0] == calls
    assert len(tried) == 2
    assert [tried[1]] * 3 == [caller.request([None], 600, 0.1)[1][0] for _ in range(3)]
    assert caller.circuit.quiet
