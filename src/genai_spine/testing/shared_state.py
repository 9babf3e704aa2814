"""What every place that keeps state between requests must do: a member is checked by calling these."""

from __future__ import annotations

import asyncio

from genai_spine.shared_state.base import Note, SharedState
from genai_spine.testing.clock import ManualClock

__all__ = ["check_bytes_by_key", "check_notes", "check_time_to_live", "check_topics"]


async def check_bytes_by_key(state: SharedState) -> None:
    """What is put is got, exactly, until it is put anew or deleted; other keys do not notice."""
    value = bytes(range(256))
    assert await state.get("a") is None
    await state.put("a", value, 60)
    await state.put("b", b"", 60)
    assert value == await state.get("a")
    assert await state.get("b") == b""
    await state.put("a", b"new", 60)
    assert await state.get("a") == b"new"
    assert await state.delete("a")
    assert await state.get("a") is None
    assert not await state.delete("a")
    assert await state.get("b") == b""


async def check_time_to_live(state: SharedState, clock: ManualClock) -> None:
    """What is put is there for its time and no longer; to put it anew begins its time anew."""
    await state.put("short", b"1", 10)
    await state.put("long", b"2", 100)
    clock.advance(9.5)
    assert await state.get("short") == b"1"
    await state.put("short", b"3", 10)
    clock.advance(9.5)
    assert await state.get("short") == b"3"
    clock.advance(0.5)
    assert await state.get("short") is None
    assert not await state.delete("short")
    assert await state.get("long") == b"2"


async def check_notes(state: SharedState, clock: ManualClock) -> None:
    """A note takes the place of the one that its writer knows, or of none; it tells its age, and goes with its time."""
    text = bytes(range(256))
    assert await state.notes("a") == {}
    assert await state.write("a", "one", b"?", 10, "unknown") is None
    first = await state.write("a", "one", text, 10, "")
    assert first
    assert await state.write("a", "one", b"?", 10, "") is None
    clock.advance(4)
    other = await state.write("a", "two", b"2", 100, "")
    assert other
    assert first != other
    assert {"one": Note(text, 4, first), "two": Note(b"2", 0, other)} == await state.notes("a")
    assert await state.notes("b") == {}
    writers = [state.write("a", "one", b"%d" % number, 10, first) for number in range(10)]
    versions = await asyncio.gather(*writers)
    (latest,) = [version for version in versions if version]
    assert latest != first
    clock.advance(9)
    note = (await state.notes("a"))["one"]
    assert Note(b"%d" % versions.index(latest), 9, latest) == note
    clock.advance(1)
    assert {"two"} == set(await state.notes("a"))
    assert await state.write("a", "one", b"?", 10, latest) is None
    assert await state.write("a", "one", b"new", 10, "")


async def check_topics(state: SharedState) -> None:
    """Whoever listens to a topic is told of each message on it, in order, until he stops; of no others."""
    told: asyncio.Queue[tuple[str, bytes | None]] = asyncio.Queue()
    stop = await state.subscribe("a", lambda message: told.put_nowait(("first", message)))
    await state.subscribe("a", lambda message: told.put_nowait(("second", message)))
    await state.subscribe("b", lambda message: told.put_nowait(("other", message)))
    await state.publish("nobody's", b"?")
    await state.publish("a", b"1")
    assert [await told.get(), await told.get()] == [("first", b"1"), ("second", b"1")]
    await state.publish("b", bytes(range(256)))
    assert ("other", bytes(range(256))) == await told.get()
    stop()
    await state.publish("a", b"2")
    await state.publish("b", b"3")
    assert [await told.get(), await told.get()] == [("second", b"2"), ("other", b"3")]
    assert told.empty()
