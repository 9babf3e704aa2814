"""The loop in which waiting takes no time keeps the order and the lengths of waits."""

from __future__ import annotations

import asyncio

import pytest

from tests import virtual_time


def test_waits_add_up_and_keep_their_order() -> None:
    """Sleepers wake in the order of their times, and the clock shows the longest."""
    woken: list[int] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def main() -> None:
        await asyncio.gather(sleeper(3000), sleeper(1000), sleeper(2000))

    _, seconds = virtual_time.run(main)
    assert woken == [1000, 2000, 3000]
    assert pytest.approx(3000) == seconds


def test_a_wait_for_nothing_is_told() -> None:
    """A deadlock raises instead of hanging."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer"):
        virtual_time.run(main)
