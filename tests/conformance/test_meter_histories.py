"""Whatever is done to meters, in whatever order and at whatever time, they stand as the history of it says.

The model keeps the history alone, and adds it up anew each time; the places keep sums.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec import Struct
from typing_extensions import override

from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import (
    NEVER,
    Claim,
    Gap,
    Hold,
    Meter,
    Refused,
    Stake,
    Taken,
    Unseeded,
    bounds,
)
from genai_spine.testing.clock import ManualClock
from tests.conformance.members import SHARED_STATES, SharedStateMember

AGE: Final = 600.0
KEPT: Final = 7 * 86400.0
METERS: Final = (
    Meter("requests", "minute"),
    Meter("tokens", "hour"),
    Meter("usd a day", "day", accounted=True),
    Meter("usd a month", "month", accounted=True),
    Meter("usd", "ever", accounted=True),
    Meter("in flight", "flight"),
)
AMOUNTS: Final = st.integers(0, 12)
LIMIT: Final = 20
CLAIMS: Final = st.lists(
    st.tuples(st.sampled_from(METERS), AMOUNTS, st.booleans()), min_size=1, max_size=4, unique_by=lambda one: one[0]
)


class Known(Struct):
    """A hold in the model's history."""

    hold: Hold
    until: float
    amounts: Sequence[int] | None = None


class History:
    """What happened, and what follows from it."""

    def __init__(self, now: float) -> None:
        self.began = now
        self.now = now
        self.holds: dict[str, Known] = {}
        self.seeds: dict[tuple[Meter, int], tuple[int, frozenset[str]]] = {}
        self._ends: dict[Meter, int] = {}

    def window(self, meter: Meter) -> tuple[int, int]:
        """The window that a meter is in: never an earlier one than it has been in."""
        end = self._ends.get(meter)
        moment = self.now if end is None or self.now >= end else end - 1
        start, self._ends[meter] = bounds(meter.window, moment)
        return start, self._ends[meter]

    def gap(self, meter: Meter) -> Gap | None:
        """What the meter must be told."""
        start, end = self.window(meter)
        unknown = meter.accounted and start <= self.began and (meter, end) not in self.seeds
        return Gap(meter, start, end) if unknown else None

    def stands(self, meter: Meter) -> tuple[int, int]:
        """What is used and held, added up."""
        if meter.window == "flight":
            flying = [one for one in self.holds.values() if one.amounts is None and self.now < one.until]
            return 0, sum(stake.amount for one in flying for stake in one.hold.stakes if stake.meter == meter)
        _, end = self.window(meter)
        used, counted = self.seeds.get((meter, end), (0, frozenset[str]()))
        held = 0
        for one in self.holds.values():
            for position, stake in enumerate(one.hold.stakes):
                if stake.meter != meter or stake.ends_at != end:
                    continue
                if one.amounts is None:
                    held += stake.amount
                elif one.hold.id not in counted and self.gap(meter) is None:
                    used += one.amounts[position]
        return used, held


class Histories(RuleBasedStateMachine):
    """Does things to a place and to the model; both must tell the same."""

    make: Callable[[], tuple[SharedState, ManualClock]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.state, self.clock = self.make()
        self.count = 0
        # Where no epoch has begun, this begins one.
        self.run(self.state.read([]))
        self.history = History(self.clock.now())

    def run(self, work: Any) -> Any:
        """Await in the machine's own loop."""
        return self.runner.run(work)

    def mine(self) -> list[str]:
        """The holds of this epoch."""
        return [hold_id for hold_id, known in self.history.holds.items() if known.hold.epoch != "another"]

    @rule(claims=CLAIMS)
    def take(self, claims: list[tuple[Meter, int, bool]]) -> None:
        """A take is granted, refused, or asks for what it must be told."""
        self.count += 1
        wanted = [
            Claim(meter, min(amount, 1) if meter.window == "flight" else amount, LIMIT if limited else None)
            for meter, amount, limited in claims
        ]
        stood = [self.history.stands(claim.meter) for claim in wanted]
        gaps = tuple(gap for claim in wanted if (gap := self.history.gap(claim.meter)) is not None)
        fits = all(
            claim.limit is None or used + held + claim.amount <= claim.limit
            for claim, (used, held) in zip(wanted, stood, strict=True)
        )
        found = self.run(self.state.take(f"hold {self.count}", wanted, AGE))
        if gaps:
            assert Unseeded(gaps) == found
        elif not fits:
            assert isinstance(found, Refused)
            assert stood == [(one.used, one.held) for one in found.readings]
        else:
            assert isinstance(found, Taken)
            ends = [self.history.window(claim.meter)[1] for claim in wanted]
            stakes = tuple(Stake(one.meter, one.amount, end) for one, end in zip(wanted, ends, strict=True))
            assert stakes == found.hold.stakes
            self.history.holds[found.hold.id] = Known(found.hold, self.history.now + AGE)

    @precondition(lambda self: self.mine())
    @rule(data=st.data(), amounts=st.lists(AMOUNTS, min_size=4, max_size=4))
    def settle(self, data: st.DataObject, amounts: list[int]) -> None:
        """The first settlement counts, any further one does not."""
        known = self.history.holds[data.draw(st.sampled_from(self.mine()))]
        amounts = amounts[: len(known.hold.stakes)]
        found = self.run(self.state.settle(known.hold, amounts))
        if known.amounts is None and self.history.now < known.until + KEPT:
            assert found
            known.amounts = amounts
        else:
            assert not found

    @rule(meter=st.sampled_from([one for one in METERS if one.window != "flight"]), amount=AMOUNTS, over=st.booleans())
    def settle_elder(self, meter: Meter, amount: int, *, over: bool) -> None:
        """A hold of another epoch counts in its window, unless that is over."""
        self.count += 1
        _, end = self.history.window(meter)
        hold = Hold(f"elder {self.count}", "another", (Stake(meter, 5, end - 60 if over else end),))
        assert self.run(self.state.settle(hold, [amount]))
        self.history.holds[hold.id] = Known(hold, self.history.now, [amount])
        assert not self.run(self.state.settle(hold, [amount]))

    @rule(meter=st.sampled_from([one for one in METERS if one.accounted]), used=AMOUNTS, data=st.data())
    def seed(self, meter: Meter, used: int, data: st.DataObject) -> None:
        """A meter believes the first who tells it, while it needs to be told."""
        start, end = self.history.window(meter)
        needed = self.history.gap(meter) is not None
        counted = frozenset(data.draw(st.sets(st.sampled_from(["nobody's", *self.history.holds]), max_size=5)))
        assert needed == self.run(self.state.seed(Gap(meter, start, end), used, counted))
        if needed:
            self.history.seeds[meter, end] = used, counted

    # A server forgets what is not used for 90 days.
    @precondition(lambda self: self.clock.now() - self.history.began < 86_400 * 45)
    @rule(seconds=st.sampled_from([0.5, 29.5, 60, 599.5, 3601, 90_000, 86_400 * 8.5, 86_400 * 40]))
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.history.now = self.clock.now()

    @invariant()
    def all_stands(self) -> None:
        """Each meter tells what the history adds up to."""
        readings = self.run(self.state.read(METERS))
        assert [self.history.stands(meter) for meter in METERS] == [(one.used, one.held) for one in readings]
        for meter, reading in zip(METERS, readings, strict=True):
            _, end = self.history.window(meter)
            assert (None if end == NEVER else pytest.approx(end - self.history.now)) == reading.resets_in

    @override
    def teardown(self) -> None:
        """Let go of the place."""
        self.run(self.state.close())
        self.runner.close()


@pytest.mark.parametrize("member", SHARED_STATES, ids=lambda member: member.name)
def test_meters_stand_as_their_history_says(member: SharedStateMember, request: pytest.FixtureRequest) -> None:
    """Takes, settlements, seeds and time in any order leave each meter with the sum of what happened to it."""

    class Machine(Histories):
        make = staticmethod(lambda: member.make(request))

    examples = 100 if member.name == "memory" else 30
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
