"""The pool of keys: which is next, what makes one rest, and what is told of each."""

from __future__ import annotations

import asyncio

import pytest

from genai_spine import errors
from genai_spine.errors import NoUsableKeyError
from genai_spine.redact import Secret
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import Fault, permanent_patterns
from genai_spine.resilience.keys import MAX_COOLDOWN_SECONDS, KeyChange, KeyHealth, KeyLease, KeyPolicy, KeyPool
from genai_spine.testing.clock import ManualClock

A, B, C, D = (Secret(f"sk-test-{letter}-0123456789") for letter in "abcd")


def made(*keys: Secret, policy: KeyPolicy | None = None) -> tuple[KeyPool, ManualClock]:
    """A pool and its clock."""
    clock = ManualClock()
    return KeyPool(keys, clock, policy), clock


def failed(pool: KeyPool, key: Secret, fault: Fault, retry_after: float | None = None) -> None:
    """A call with one key fails."""
    lease = pool.lease(preferred=key.fingerprint)
    assert key == lease.secret
    lease.failure(fault, retry_after)


def health(pool: KeyPool, key: Secret) -> KeyHealth:
    """How a key does."""
    return next(found for found in pool.health() if found.fingerprint == key.fingerprint)


def used(pool: KeyPool, times: int) -> list[Secret]:
    """The keys of so many calls that go well, one after another."""
    found: list[Secret] = []
    for _ in range(times):
        with pool.lease() as lease:
            found.append(lease.secret)
    return found


# Which is next.


def test_in_turn() -> None:
    """Keys that do equally well are used one after another; one given twice is one."""
    pool, _ = made(A, B, C, A)
    assert [A, B, C, A, B] == used(pool, 5)


def test_the_fewest_under_way() -> None:
    """Of keys with as many failures, the one with the fewest calls under way."""
    pool, _ = made(A, B)
    first, second, third = pool.lease(), pool.lease(), pool.lease()
    assert [A, B, A] == [first.secret, second.secret, third.secret]
    second.release()
    with pool.lease() as fourth:
        assert B == fourth.secret
    first.release()
    third.release()


def test_the_fewest_failures() -> None:
    """One failure in a row puts a key behind the others, however busy these are; a success clears it."""
    pool, _ = made(A, B)
    failed(pool, A, "provider")
    with pool.lease() as first, pool.lease() as second:
        assert [B, B] == [first.secret, second.secret]
    with pool.lease(preferred=A.fingerprint):
        pass
    assert health(pool, A).failures == 0
    assert {A, B} == set(used(pool, 2))


def test_a_preferred_key() -> None:
    """It wins while it is healthy, however busy; resting it does not, and a name that nobody bears is ignored."""
    pool, clock = made(A, B)
    with pool.lease(preferred=B.fingerprint) as first, pool.lease(preferred=B.fingerprint) as second:
        assert [B, B] == [first.secret, second.secret]
    failed(pool, B, "limited", 10)
    with pool.lease(preferred=B.fingerprint) as lease:
        assert A == lease.secret
    clock.advance(10)
    with pool.lease(preferred=B.fingerprint) as lease:
        assert B == lease.secret
    with pool.lease(preferred="nobody"):
        pass


def test_no_keys_at_all() -> None:
    """An empty pool lends nothing, and says that time will not help."""
    pool, _ = made()
    with pytest.raises(NoUsableKeyError, match="set a valid one") as caught:
        pool.lease()
    assert caught.value.retry_after is None
    assert pool.ready_in() is None


# What makes one rest.


def test_three_failures_in_a_row() -> None:
    """The third makes a key rest for a minute, each further one twice as long, an hour at most."""
    pool, clock = made(A, B)
    for _ in range(2):
        failed(pool, A, "provider")
        assert health(pool, A).status == "healthy"
    expected = [60, 120, 240, 480, 960, 1920, 3600, 3600]
    for seconds in expected:
        failed(pool, A, "provider")
        assert (seconds, "cooling") == (health(pool, A).usable_in, health(pool, A).status)
        with pool.lease(preferred=A.fingerprint) as lease:
            assert B == lease.secret
        clock.advance(seconds)
    assert KeyPolicy().cooldown(10**6) == MAX_COOLDOWN_SECONDS


def test_the_last_key_does_not_rest_for_the_provider() -> None:
    """Where no other could go on, the provider's failures are its circuit's affair."""
    pool, _ = made(A)
    for _ in range(9):
        failed(pool, A, "provider")
    assert (9, 0) == (health(pool, A).failures, pool.ready_in())


def test_a_rate_limit() -> None:
    """A key rests at once, for as long as it was told; without a word on that for a minute, then longer."""
    pool, clock = made(A)
    failed(pool, A, "limited", 7)
    assert (7, 0) == (pool.ready_in(), health(pool, A).failures)
    with pytest.raises(NoUsableKeyError, match="for 7 s") as caught:
        pool.lease()
    assert caught.value.retry_after == 7
    clock.advance(7)
    for seconds in (60, 60, 60, 120):
        failed(pool, A, "limited")
        assert seconds == pool.ready_in()
        clock.advance(seconds)
    failed(pool, A, "limited", 2 * MAX_COOLDOWN_SECONDS)
    assert pool.ready_in() == 2 * MAX_COOLDOWN_SECONDS


def test_a_rest_only_ever_gets_longer() -> None:
    """A shorter one that is told later changes nothing, a longer one does."""
    pool, clock = made(A)
    first, second, third = pool.lease(), pool.lease(), pool.lease()
    first.failure("limited", 30)
    second.failure("limited", 5)
    assert pool.ready_in() == 30
    clock.advance(10)
    third.failure("limited", 60)
    assert pool.ready_in() == 60


def test_many_calls_that_fail_together() -> None:
    """What was sent before the key was put to rest makes that no longer, and what then goes well does not end it."""
    pool, _ = made(A, B)
    leases = [pool.lease(preferred=A.fingerprint) for _ in range(40)]
    well = pool.lease(preferred=A.fingerprint)
    for lease in leases:
        lease.failure("provider")
    assert (60, 3) == (health(pool, A).usable_in, health(pool, A).failures)
    well.success()
    assert (60, 0) == (health(pool, A).usable_in, health(pool, A).failures)
    limited = [pool.lease() for _ in range(40)]
    for lease in limited:
        lease.failure("limited")
    assert (60, 1) == (health(pool, B).usable_in, health(pool, B).failures)


def test_a_refused_key() -> None:
    """It is out, whatever the time, until it is reset; a success that was under way does not bring it back."""
    pool, clock = made(A, B)
    late = pool.lease(preferred=A.fingerprint)
    failed(pool, A, "refused")
    late.success()
    clock.advance(1e9)
    assert [B, B] == used(pool, 2)
    assert ("refused", None) == (health(pool, A).status, health(pool, A).usable_in)
    assert pool.reset(A.fingerprint)
    assert {A, B} == set(used(pool, 2))
    assert not pool.reset("nobody")


def test_an_account_without_credit() -> None:
    """It rests for an hour at once."""
    pool, _ = made(A)
    failed(pool, A, "exhausted")
    assert pool.ready_in() == 3600


def test_a_request_at_fault() -> None:
    """A wrong request, or a caller who left, leaves a key as it was."""
    pool, _ = made(A)
    failed(pool, A, "request")
    pool.lease().release()
    assert (0, 0, None) == (health(pool, A).failures, health(pool, A).in_flight, health(pool, A).last_fault)


def test_reset_of_all() -> None:
    """Without a name every key is taken for healthy again."""
    pool, _ = made(A, B)
    failed(pool, A, "refused")
    failed(pool, B, "limited", 9)
    assert pool.reset()
    assert ["healthy"] * 2 == [found.status for found in pool.health()]


# Limits foretold.


def test_a_key_that_runs_dry() -> None:
    """A key is passed over from where its calls meet what was told to be left, until that is filled again."""
    pool, clock = made(A, B)
    with pool.lease(preferred=A.fingerprint) as lease:
        lease.told("requests", 2, 30)
    assert not health(pool, A).running_dry
    first, second = (pool.lease(preferred=A.fingerprint) for _ in range(2))
    assert [A, A] == [first.secret, second.secret]
    assert health(pool, A).running_dry
    with pool.lease(preferred=A.fingerprint) as lease:
        assert B == lease.secret
    clock.advance(30)
    with pool.lease(preferred=A.fingerprint) as lease:
        assert A == lease.secret
    first.success()
    second.success()


def test_a_request_too_large_for_a_key() -> None:
    """Tokens are counted likewise: a large request goes to another key, a small one still fits."""
    pool, _ = made(A, B)
    with pool.lease(preferred=A.fingerprint) as lease:
        lease.told("tokens", 1000, 30)
    with pool.lease(preferred=A.fingerprint, tokens=1001) as lease:
        assert B == lease.secret
    with pool.lease(preferred=A.fingerprint, tokens=600) as lease:
        assert A == lease.secret
    with pool.lease(preferred=A.fingerprint, tokens=600) as lease:
        assert B == lease.secret


def test_a_forecast_makes_no_pool_unusable() -> None:
    """Where every key runs dry, the best of them is tried."""
    pool, _ = made(A)
    with pool.lease() as lease:
        lease.told("requests", 0, 30)
    assert [A] == used(pool, 1)
    assert pool.ready_in() == 0


# A request's turn.


def test_another_key_each_time() -> None:
    """After a failure the next key is another, the preferred one or not, and no more than three are tried."""
    pool, _ = made(A, B, C, D)
    turn = pool.turn(preferred=C.fingerprint)
    tried: list[Secret] = []
    for _ in range(3):
        lease = turn.lease()
        tried.append(lease.secret)
        lease.failure("refused")
    assert [C, A, B] == tried
    assert [key.fingerprint for key in tried] == turn.tried
    assert turn.ready_in() is None
    with pytest.raises(NoUsableKeyError):
        turn.lease()
    assert [D] == used(pool, 1)


def test_the_preferred_key_only_at_first() -> None:
    """A request whose preferred key has failed goes on with another; the next request begins with it again."""
    pool, _ = made(A, B)
    turn = pool.turn(preferred=A.fingerprint)
    turn.lease().failure("provider")
    with turn.lease() as lease:
        assert B == lease.secret
    with pool.lease(preferred=A.fingerprint) as lease:
        assert A == lease.secret


def test_a_key_counts_once() -> None:
    """A key that is tried again is no further key."""
    pool, _ = made(A, policy=KeyPolicy(max_key_attempts=2))
    turn = pool.turn()
    for _ in range(2):
        turn.lease().failure("provider")
    pool.configure([A, B])
    with turn.lease() as lease:
        assert B == lease.secret
    assert [A.fingerprint, B.fingerprint] == turn.tried


def test_a_key_of_the_three_again() -> None:
    """Once three are tried only they are left: one that failed with the provider may be used again."""
    pool, clock = made(A, B, C, D)
    turn = pool.turn()
    for fault in ("provider", "limited", "refused"):
        turn.lease().failure(fault, 9)
    with turn.lease() as lease:
        assert A == lease.secret
    lease = turn.lease()
    lease.failure("refused")
    assert turn.ready_in() == 9
    clock.advance(9)
    with turn.lease() as lease:
        assert B == lease.secret


def test_a_key_that_may_not() -> None:
    """Who is denied one thing stays healthy for others, and is not tried again in this request."""
    pool, _ = made(A, B)
    turn = pool.turn()
    turn.lease().failure("denied")
    turn.lease().failure("denied")
    assert turn.ready_in() is None
    with pytest.raises(NoUsableKeyError, match="may not do this"):
        turn.lease()
    assert (0, "healthy", "denied") == (health(pool, A).failures, health(pool, A).status, health(pool, A).last_fault)
    assert {A, B} == set(used(pool, 2))


# Given back exactly once.


def test_a_block_settles_itself() -> None:
    """Success where it ends well, the error's fault where it fails, and neither where the caller left."""
    pool, _ = made(A, policy=KeyPolicy(patterns=permanent_patterns("tenant closed")))

    def ends_with(error: BaseException) -> None:
        with pool.lease():
            raise error

    with pytest.raises(errors.ProviderFailedError):
        ends_with(errors.ProviderFailedError("500"))
    assert (1, 0) == (health(pool, A).failures, health(pool, A).in_flight)
    with pytest.raises(asyncio.CancelledError):
        ends_with(asyncio.CancelledError())
    assert (1, 0) == (health(pool, A).failures, health(pool, A).in_flight)
    with pool.lease():
        assert health(pool, A).in_flight == 1
    assert (0, 0) == (health(pool, A).failures, health(pool, A).in_flight)
    with pytest.raises(errors.RateLimitedError):
        ends_with(errors.RateLimitedError("x", retry_after=8))
    assert pool.ready_in() == 8
    pool.reset()
    with pytest.raises(errors.ProviderFailedError):
        ends_with(errors.ProviderFailedError("tenant closed"))
    assert health(pool, A).status == "refused"


def test_a_caller_in_a_hurry() -> None:
    """A timeout by the request's own deadline is not held against the key."""
    pool, clock = made(A)

    def times_out(seconds: float) -> None:
        with pool.turn(deadline=Deadline(clock, seconds)).lease():
            clock.advance(1)
            message = "late"
            raise errors.ProviderTimeoutError(message)

    for seconds, failures in ((1, 0), (2, 1)):
        with pytest.raises(errors.ProviderTimeoutError):
            times_out(seconds)
        assert failures == health(pool, A).failures


def test_settled_twice() -> None:
    """That is a fault of ours, told at once; within a block an earlier word stands."""
    pool, _ = made(A)
    lease = pool.lease()
    lease.success()
    assert lease.settled
    for again in (lease.success, lease.release, lambda: lease.failure("provider")):
        with pytest.raises(RuntimeError, match=r"KeyLease.*settled twice"):
            again()
    with pool.lease() as lease:
        lease.failure("provider")
    assert (1, 0) == (health(pool, A).failures, health(pool, A).in_flight)


def test_never_settled() -> None:
    """A lease that is lost warns, and its key's count of calls is put right."""
    pool, _ = made(A)
    holder: list[KeyLease] = [pool.lease()]
    assert health(pool, A).in_flight == 1
    with pytest.warns(ResourceWarning, match=r"KeyLease\(\w{8}\) was never settled"):
        holder.clear()
    assert health(pool, A).in_flight == 0


# Keys that come and go.


def test_keys_come_and_go() -> None:
    """Those that stay keep their state, one that went and came again begins anew, calls under way are not disturbed."""
    pool, _ = made(A, B)
    failed(pool, A, "refused")
    failed(pool, B, "provider")
    under_way = pool.lease()
    assert B == under_way.secret
    pool.configure([C, A])
    assert [C.fingerprint, A.fingerprint] == [found.fingerprint for found in pool.health()]
    assert [C, C] == used(pool, 2)
    pool.configure([A, B])
    assert ("refused", 0, 0) == (health(pool, A).status, health(pool, B).failures, health(pool, B).in_flight)
    under_way.failure("refused")
    assert ("healthy", 0) == (health(pool, B).status, health(pool, B).in_flight)


def test_listeners_hear_of_failures() -> None:
    """Each failure by or with a key is told with how the key does since, by fingerprint alone."""
    heard: list[KeyChange] = []
    pool = KeyPool([A, B], ManualClock(), listeners=[heard.append])
    failed(pool, A, "provider")
    failed(pool, A, "limited", 5)
    failed(pool, B, "request")
    failed(pool, B, "refused")
    mark_a, mark_b = A.fingerprint, B.fingerprint
    assert [
        KeyChange(mark_a, "healthy", "provider", 0),
        KeyChange(mark_a, "cooling", "limited", 5),
        KeyChange(mark_b, "refused", "refused", None),
    ] == heard


def test_no_key_is_shown() -> None:
    """Neither a lease nor a key's health shows the key."""
    pool, _ = made(A)
    with pool.lease() as lease:
        assert A.reveal() not in f"{lease!r} {pool.health()!r} {lease.secret!r}"


async def test_health_is_that_of_the_key_used() -> None:
    """Of a hundred calls at once, some of which fail, each is put down to the key that made it."""
    pool, _ = made(A, B, C)
    turned = asyncio.Event()
    outcome: dict[Secret, Fault] = {B: "limited", C: "refused"}

    async def call() -> Secret:
        lease = pool.lease()
        await turned.wait()
        fault = outcome.get(lease.secret)
        lease.failure(fault, 9) if fault else lease.success()
        return lease.secret

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(call()) for _ in range(99)]
        await asyncio.sleep(0)
        assert [33, 33, 33] == [found.in_flight for found in pool.health()]
        turned.set()
    assert [33, 33, 33] == [sum(task.result() == key for task in calls) for key in (A, B, C)]
    told = [(found.status, found.failures, found.in_flight) for found in pool.health()]
    assert [("healthy", 0, 0), ("cooling", 0, 0), ("refused", 0, 0)] == told
