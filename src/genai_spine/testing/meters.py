"""What the meters of every place that keeps state must do: a member is checked by calling these on an empty one."""

from __future__ import annotations

import asyncio
from calendar import timegm
from collections.abc import Awaitable
from itertools import pairwise
from typing import Final

from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import (
    NEVER,
    Claim,
    Gap,
    Hold,
    Meter,
    Reading,
    Refused,
    Stake,
    Taken,
    Unseeded,
    Window,
    bounds,
)
from genai_spine.testing.clock import ManualClock
from genai_spine.types.limits import MOST

__all__ = ["CHECKS"]

SECONDS: Final = 600.0
MINUTE: Final = Meter("requests", "minute")
DAY: Final = Meter("tokens", "day")
FLIGHT: Final = Meter("in flight", "flight")
MONEY: Final = Meter("usd", "day", accounted=True)


async def _taken(state: SharedState, hold_id: str, *claims: Claim) -> Hold:
    found = await state.take(hold_id, claims, SECONDS)
    assert isinstance(found, Taken), found
    return found.hold


async def _figures(state: SharedState, meter: Meter) -> tuple[int, int]:
    [reading] = await state.read([meter])
    return reading.used, reading.held


async def _gap(state: SharedState, meter: Meter) -> Gap:
    """What a meter must be told."""
    found = await state.take("asking", [Claim(meter, 0)], SECONDS)
    assert isinstance(found, Unseeded), found
    assert [meter] == [gap.meter for gap in found.gaps]
    return found.gaps[0]


async def check_all_or_none(state: SharedState, clock: ManualClock) -> None:
    """A take that fits is held on each meter; one that does not fit on all changes none, and tells how each stands."""
    clock.set_now(timegm((2026, 11, 21, 10, 0, 15)))
    found = await state.take("a", [Claim(MINUTE, 1, 2), Claim(DAY, 60, 100), Claim(FLIGHT, 1, 9)], SECONDS)
    assert isinstance(found, Taken)
    assert ([1, 60, 1], clock.now()) == (found.stands, found.at)
    refused = await state.take("b", [Claim(MINUTE, 1, 2), Claim(DAY, 41, 100), Claim(FLIGHT, 1, 9)], SECONDS)
    assert Refused((Reading(0, 1, 45.0), Reading(0, 60, 50385.0), Reading(0, 1, None))) == refused
    assert refused.readings == await state.read([MINUTE, DAY, FLIGHT])
    await _taken(state, "c", Claim(MINUTE, 1, 2), Claim(DAY, 40, 100), Claim(FLIGHT, 1, 9))
    assert [await _figures(state, meter) for meter in (MINUTE, DAY, FLIGHT)] == [(0, 2), (0, 100), (0, 2)]


async def check_nothing_at_the_limit(state: SharedState, _: ManualClock) -> None:
    """An amount of 0 fits a meter that is just full, and no meter that is beyond; without a limit all fits."""
    hold = await _taken(state, "a", Claim(DAY, 10, 10))
    await _taken(state, "b", Claim(DAY, 0, 10))
    assert isinstance(await state.take("c", [Claim(DAY, 1, 10)], SECONDS), Refused)
    await state.settle(hold, [11])
    assert isinstance(await state.take("d", [Claim(DAY, 0, 10)], SECONDS), Refused)
    await _taken(state, "e", Claim(DAY, 1000))
    assert await _figures(state, DAY) == (11, 1000)


async def check_settled_once(state: SharedState, _: ManualClock) -> None:
    """What was used takes the place of what was held, more or less of it, and once; nothing stays of what flew."""
    first = await _taken(state, "a", Claim(DAY, 50, 100), Claim(FLIGHT, 1, 1))
    assert await state.settle(first, [30, 1])
    assert [await _figures(state, meter) for meter in (DAY, FLIGHT)] == [(30, 0), (0, 0)]
    assert not await state.settle(first, [30, 1])
    assert not await state.release(first)
    assert await _figures(state, DAY) == (30, 0)
    second = await _taken(state, "b", Claim(DAY, 50, 100), Claim(FLIGHT, 1, 1))
    assert await state.settle(second, [500, 0])
    assert await _figures(state, DAY) == (530, 0)


async def check_released(state: SharedState, _: ManualClock) -> None:
    """What is released is gone, once, and its room is there for others."""
    hold = await _taken(state, "a", Claim(DAY, 100, 100), Claim(FLIGHT, 1, 1))
    assert await state.release(hold)
    assert not await state.release(hold)
    assert not await state.settle(hold, [100, 0])
    await _taken(state, "b", Claim(DAY, 100, 100), Claim(FLIGHT, 1, 1))
    assert await _figures(state, DAY) == (0, 100)


async def check_taken_twice(state: SharedState, _: ManualClock) -> None:
    """To take again under an id that is held changes nothing, even where it would not fit."""
    first = await _taken(state, "a", Claim(DAY, 60, 100))
    assert first.stakes == (await _taken(state, "a", Claim(DAY, 60, 100))).stakes
    assert await _figures(state, DAY) == (0, 60)


async def check_windows(state: SharedState, clock: ManualClock) -> None:
    """Windows end by the calendar in UTC, leap years included; one without an end goes on."""
    ends: dict[Window, int] = {
        "minute": timegm((2028, 2, 29, 23, 59, 0)),
        "hour": timegm((2028, 2, 29, 23, 0, 0)) + 3600,
        "day": timegm((2028, 3, 1, 0, 0, 0)),
        "month": timegm((2028, 3, 1, 0, 0, 0)),
    }
    clock.set_now(timegm((2028, 2, 29, 23, 58, 0)))
    for window, end in ends.items():
        meter = Meter(window, window)
        hold = await _taken(state, f"of {window}", Claim(meter, 5, 10))
        assert end == hold.stakes[0].ends_at
        await state.settle(hold, [5])
    await state.settle(await _taken(state, "for ever", Claim(Meter("ever", "ever"), 5, 10)), [5])
    for window, end in ends.items():
        clock.set_now(end - 0.5)
        assert await _figures(state, Meter(window, window)) == (5, 0)
        clock.set_now(end)
        assert await _figures(state, Meter(window, window)) == (0, 0)
    clock.advance(86400 * 60)
    assert Reading(5, 0, None) == (await state.read([Meter("ever", "ever")]))[0]


async def check_months(state: SharedState, clock: ManualClock) -> None:
    """Each month of four years begins and ends where the calendar says."""
    months = [timegm((2027 + month // 12, month % 12 + 1, 1, 0, 0, 0)) for month in range(49)]
    for start, end in pairwise(months):
        for moment in (start, (start + end) // 2, end - 1):
            assert (start, end) == bounds("month", moment)
            clock.set_now(moment)
            hold = await _taken(state, f"at {moment}", Claim(Meter("month", "month"), 1))
            assert end == hold.stakes[0].ends_at


async def check_window_over(state: SharedState, clock: ManualClock) -> None:
    """What was taken in a window that is over burdens the next neither while it is held nor once it is settled."""
    clock.set_now(timegm((2026, 11, 21, 10, 0, 59)))
    hold = await _taken(state, "a", Claim(MINUTE, 1, 1), Claim(DAY, 10, 100))
    clock.advance(1)
    later = await _taken(state, "b", Claim(MINUTE, 1, 1), Claim(DAY, 10, 100))
    assert await state.settle(hold, [1, 7])
    assert [await _figures(state, meter) for meter in (MINUTE, DAY)] == [(0, 1), (7, 10)]
    await state.settle(later, [1, 8])
    assert [await _figures(state, meter) for meter in (MINUTE, DAY)] == [(1, 0), (15, 0)]


async def check_clock_set_back(state: SharedState, clock: ManualClock) -> None:
    """A clock that is set back opens no window anew: the meter stays in the later one until that is over."""
    clock.set_now(timegm((2026, 11, 21, 10, 0, 30)))
    await state.settle(await _taken(state, "a", Claim(MINUTE, 1, 1)), [1])
    clock.set_now(timegm((2026, 11, 21, 9, 0, 30)))
    assert isinstance(await state.take("b", [Claim(MINUTE, 1, 1)], SECONDS), Refused)
    clock.set_now(timegm((2026, 11, 21, 10, 0, 59)))
    assert isinstance(await state.take("c", [Claim(MINUTE, 1, 1)], SECONDS), Refused)
    clock.advance(1)
    await _taken(state, "d", Claim(MINUTE, 1, 1))


async def check_age(state: SharedState, clock: ManualClock) -> None:
    """What nobody settles flies until its age; in a counter it stands, and can still be settled after that."""
    clock.set_now(timegm((2026, 11, 21, 10, 0, 0)))
    lost = await _taken(state, "lost", Claim(FLIGHT, 1, 2), Claim(DAY, 10, 100))
    clock.advance(SECONDS / 2)
    await _taken(state, "later", Claim(FLIGHT, 1, 2), Claim(DAY, 10, 100))
    await _taken(state, "nothing", Claim(FLIGHT, 0, 2))
    clock.advance(SECONDS / 2 - 1)
    assert isinstance(await state.take("early", [Claim(FLIGHT, 1, 2)], SECONDS), Refused)
    clock.advance(1)
    assert await _figures(state, FLIGHT) == (0, 1)
    await _taken(state, "in time", Claim(FLIGHT, 1, 2))
    assert await _figures(state, DAY) == (0, 20)
    assert await state.settle(lost, [0, 3])
    assert [await _figures(state, meter) for meter in (FLIGHT, DAY)] == [(0, 2), (3, 10)]


async def check_seeded(state: SharedState, _: ManualClock) -> None:
    """An accounted meter lets nobody in before it is told what was used; the first who tells it is believed."""
    gap = await _gap(state, MONEY)
    assert gap.starts_at < gap.ends_at == gap.starts_at + 86400
    found = await state.take("a", [Claim(DAY, 1, 10), Claim(MONEY, 1, 1000)], SECONDS)
    assert Unseeded((gap,)) == found
    assert await _figures(state, DAY) == (0, 0)
    assert await state.seed(gap, 990, [])
    assert not await state.seed(gap, 0, [])
    assert isinstance(await state.take("b", [Claim(MONEY, 11, 1000)], SECONDS), Refused)
    hold = await _taken(state, "c", Claim(MONEY, 10, 1000))
    await state.settle(hold, [4])
    assert await _figures(state, MONEY) == (994, 0)


async def check_seen_whole(state: SharedState, clock: ManualClock) -> None:
    """A window that begins in this epoch needs no seed, and none is taken; one without an end always needs one."""
    gap = await _gap(state, MONEY)
    clock.advance(86400)
    assert not await state.seed(gap, 990, [])
    await _taken(state, "a", Claim(MONEY, 1000, 1000))
    clock.advance(86400)
    await _taken(state, "b", Claim(MONEY, 1000, 1000))
    total = await _gap(state, Meter("total", "ever", accounted=True))
    assert (total.starts_at, total.ends_at) == (0, NEVER)


async def check_elder_holds(state: SharedState, _: ManualClock) -> None:
    """A hold of another epoch counts once, unless the ledger's figure has it."""
    gap = await _gap(state, MONEY)

    def elder(hold_id: str, ends_at: int = gap.ends_at) -> Hold:
        return Hold(hold_id, "another", (Stake(MONEY, 50, ends_at), Stake(FLIGHT, 1, NEVER)))

    for hold_id in ("early and counted", "early"):
        assert await state.settle(elder(hold_id), [10, 0])
    assert not await state.settle(elder("early"), [10, 0])
    assert await state.settle(elder("of a window that is over", gap.ends_at - 86400), [10, 0])
    assert await state.seed(gap, 1000, ["early and counted", "late and counted"])
    assert await _figures(state, MONEY) == (1010, 0)
    assert await state.settle(elder("late and counted"), [10, 0])
    assert await state.settle(elder("late"), [10, 0])
    assert not await state.settle(elder("late"), [10, 0])
    assert await _figures(state, MONEY) == (1020, 0)
    assert await _figures(state, FLIGHT) == (0, 0)


async def check_numbers(state: SharedState, clock: ManualClock) -> None:
    """The largest amounts are exact to the last digit, and larger ones are not taken."""
    clock.set_now(timegm((2026, 11, 21, 10, 0, 0)))
    first = await _taken(state, "a", Claim(DAY, MOST - 3, MOST))
    await _taken(state, "b", Claim(DAY, 2, MOST))
    assert isinstance(await state.take("c", [Claim(DAY, 2, MOST)], SECONDS), Refused)
    await _taken(state, "d", Claim(DAY, 1, MOST))
    await state.settle(first, [MOST - 4])
    assert await _figures(state, DAY) == (MOST - 4, 3)
    for wrong in (-1, MOST + 1):
        await _not_taken(wrong, state.settle(Hold("e", "", (Stake(DAY, 1, 0),)), [wrong]))
        await _not_taken(wrong, state.take("f", [Claim(FLIGHT, 1), Claim(DAY, wrong)], SECONDS))
    await _not_taken(2, state.take("g", [Claim(DAY, 0), Claim(FLIGHT, 2)], SECONDS))
    assert [await _figures(state, meter) for meter in (DAY, FLIGHT)] == [(MOST - 4, 3), (0, 0)]


async def _not_taken(wrong: int, work: Awaitable[object]) -> None:
    """What cannot be counted is refused as a mistake."""
    try:
        await work
    except ValueError:
        return
    message = f"{wrong} was taken for an amount"
    raise AssertionError(message)


async def check_exact_at_once(state: SharedState, _: ManualClock) -> None:
    """However many ask at once, just as many are let in as fit, and all is settled in the end."""
    await state.seed(await _gap(state, MONEY), 0, [])
    claims = [Claim(MONEY, 10, 1000), Claim(FLIGHT, 1, 1000)]
    found = await asyncio.gather(*[state.take(f"{number}", claims, SECONDS) for number in range(500)])
    holds = [one.hold for one in found if isinstance(one, Taken)]
    assert (len(holds), sum(isinstance(one, Refused) for one in found)) == (100, 400)
    assert all(await asyncio.gather(*[state.settle(hold, [9, 0]) for hold in holds]))
    assert [await _figures(state, meter) for meter in (MONEY, FLIGHT)] == [(900, 0), (0, 0)]


async def check_abandoned(state: SharedState, clock: ManualClock) -> None:
    """What is held for somebody who is gone is held no more; what he settled, and what others hold, stands."""
    settled = await _taken(state, "dead-1", Claim(DAY, 5, 100), Claim(FLIGHT, 1, 9))
    await state.settle(settled, [5, 0])
    for hold_id in ("dead-2", "dead-3", "deadly-1", "alive-1"):
        await _taken(state, hold_id, Claim(MINUTE, 1, 9), Claim(DAY, 10, 100), Claim(FLIGHT, 1, 9))
    assert await state.abandon("dead") == 2
    assert await state.abandon("dead") == 0
    assert await state.abandon("nobody") == 0
    assert [await _figures(state, meter) for meter in (MINUTE, DAY, FLIGHT)] == [(0, 2), (5, 20), (0, 2)]
    clock.advance(86400)
    assert await state.abandon("deadly") == 1
    assert await _figures(state, DAY) == (0, 0)


CHECKS: Final = (
    check_all_or_none,
    check_nothing_at_the_limit,
    check_settled_once,
    check_released,
    check_abandoned,
    check_taken_twice,
    check_windows,
    check_months,
    check_window_over,
    check_clock_set_back,
    check_age,
    check_seeded,
    check_seen_whole,
    check_elder_holds,
    check_numbers,
    check_exact_at_once,
)
"""All of them; each wants an empty place and the clock that it goes by."""
