"""Every place that keeps state between requests does the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from genai_spine.shared_state.base import SharedState
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.meters import CHECKS
from genai_spine.testing.shared_state import check_bytes_by_key, check_notes, check_time_to_live, check_topics

Place = tuple[SharedState, ManualClock]


async def test_bytes_by_key(place: Place) -> None:
    """What is put is got, exactly, until it is put anew or deleted."""
    await check_bytes_by_key(place[0])


async def test_time_to_live(place: Place) -> None:
    """What is put is there for its time and no longer."""
    await check_time_to_live(*place)


async def test_notes(place: Place) -> None:
    """A note takes the place of the one that its writer knows."""
    await check_notes(*place)


async def test_topics(place: Place) -> None:
    """Whoever listens is told of each message."""
    await check_topics(place[0])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
async def test_meters(place: Place, check: Callable[[SharedState, ManualClock], Awaitable[None]]) -> None:
    """Meters let in what fits, and count what was used, once; each check says what that means."""
    await check(*place)
