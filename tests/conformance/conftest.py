"""The places that keep state, for all suites that want one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from genai_spine.shared_state.base import SharedState
from genai_spine.testing.clock import ManualClock
from tests.conformance.members import SHARED_STATES, SharedStateMember


@pytest.fixture(params=SHARED_STATES, ids=lambda member: member.name)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SharedState, ManualClock]]:
    """Each place in turn, empty, and its clock."""
    member: SharedStateMember = request.param
    state, clock = member.make(request)
    yield state, clock
    await state.close()
