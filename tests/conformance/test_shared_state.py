"""Every place that keeps state between requests does the same."""

from __future__ import annotations

import pytest

from genai_spine.testing.clock import ManualClock
from genai_spine.testing.shared_state import check_bytes_by_key, check_time_to_live
from tests.conformance.members import SHARED_STATES, SharedStateMember


@pytest.mark.parametrize("member", SHARED_STATES, ids=lambda member: member.name)
async def test_bytes_by_key(member: SharedStateMember) -> None:
    """What is put is got, exactly, until it is put anew or deleted."""
    state = member.make(ManualClock())
    try:
        await check_bytes_by_key(state)
    finally:
        await state.close()


@pytest.mark.parametrize("member", SHARED_STATES, ids=lambda member: member.name)
async def test_time_to_live(member: SharedStateMember) -> None:
    """What is put is there for its time and no longer."""
    clock = ManualClock()
    state = member.make(clock)
    try:
        await check_time_to_live(state, clock)
    finally:
        await state.close()
