"""State in memory: what goes when there is too much of it."""

from __future__ import annotations

from genai_spine.shared_state.memory import OVERHEAD, MemoryState
from genai_spine.testing.clock import ManualClock

ROOM = OVERHEAD + 1 + 10  # for one entry: a key of one letter, a value of ten


async def test_what_was_not_used_for_longest_goes_first() -> None:
    """Where there is no room left, what was neither put nor got for the longest time goes; the rest stays."""
    state = MemoryState(3 * ROOM, ManualClock())
    for key in "abc":
        await state.put(key, b"0123456789", 60)
    await state.get("a")
    await state.put("d", b"0123456789", 60)
    assert [True, False, True, True] == [await state.get(key) is not None for key in "abcd"]


async def test_a_large_value_takes_the_room_of_several() -> None:
    """As many go as must, and no more."""
    state = MemoryState(3 * ROOM, ManualClock())
    for key in "abc":
        await state.put(key, b"0123456789", 60)
    await state.put("d", b"x" * (ROOM + 10), 60)
    assert [False, False, True, True] == [await state.get(key) is not None for key in "abcd"]


async def test_a_value_larger_than_the_room_is_not_kept() -> None:
    """It pushes nothing out, and what stood under its key is gone, for it is no longer true."""
    state = MemoryState(3 * ROOM, ManualClock())
    await state.put("a", b"old", 60)
    await state.put("b", b"other", 60)
    await state.put("a", b"x" * 3 * ROOM, 60)
    assert await state.get("a") is None
    assert b"other" == await state.get("b")


async def test_the_room_of_what_is_gone_is_free() -> None:
    """What was deleted, replaced or has had its time takes no room."""
    clock = ManualClock()
    state = MemoryState(2 * ROOM, clock)
    for _ in range(5):
        await state.put("a", b"0123456789", 60)
    await state.put("b", b"0123456789", 5)
    await state.delete("a")
    clock.advance(5)
    assert await state.get("b") is None
    await state.put("c", b"0123456789", 60)
    await state.put("d", b"0123456789", 60)
    assert [b"0123456789"] * 2 == [await state.get(key) for key in "cd"]
