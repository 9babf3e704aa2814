"""The writer: what fits, what is kept for what was promised, what is deleted, and what a bad disk means."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from genai_spine.errors import JournalError, JournalFullError
from genai_spine.journal.records import HEADER_BYTES, MOST_PAYLOAD, Damage, segment_name
from genai_spine.journal.runs import runs
from genai_spine.journal.writer import Journal
from genai_spine.testing.clock import ManualClock
from tests.journals import begun, left_behind, payloads, replaced, segments


async def test_what_is_appended_is_read_at_once(tmp_path: Path) -> None:
    """Each record is there as soon as ``append`` has returned its position, for who follows the run too."""
    journal = begun(tmp_path)
    followed, seen = 0, []
    for number in range(200):
        position = journal.append(number, b"%d" % number * number)
        assert position == journal.position
        for record in journal.records(followed):
            followed = record.position
            seen.append(record)
        assert (position, number, b"%d" % number * number) == seen[-1]
    assert len(seen) == 200
    assert len(segments(journal.folder)) > 5
    await journal.close()


async def test_only_the_owner_may_look(tmp_path: Path) -> None:
    """Folders and files are closed to everybody else."""
    journal = begun(tmp_path / "data" / "journal")
    made = [tmp_path / "data", tmp_path / "data" / "journal", journal.folder]
    assert {0o700} == {path.stat().st_mode & 0o777 for path in made}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in journal.folder.iterdir()}
    await journal.close()


async def test_sync(tmp_path: Path) -> None:
    """Nothing is called durable before it was synced; then everything up to it is, also what lies in older segments."""
    journal = begun(tmp_path)
    positions = [journal.append(1, bytes(1000)) for _ in range(10)]
    assert not journal.durable(positions[0])
    await asyncio.gather(*(journal.sync(position) for position in reversed(positions)))
    assert all(map(journal.durable, positions))
    later = journal.append(1, b"later")
    assert not journal.durable(later)
    await journal.sync(later)
    assert journal.durable(later)
    await journal.close()


async def on_disk(journal: Journal, position: int) -> None:
    """Look again and again whether it is."""
    while not journal.durable(position):  # noqa: ASYNC110  # nobody asks, so nothing would tell
        await asyncio.sleep(0)


async def test_sync_without_waiting(tmp_path: Path) -> None:
    """What is appended with ``sync`` gets to disk though nobody waits; what comes meanwhile, with the next group."""
    journal = begun(tmp_path)
    first = journal.append(1, b"first", sync=True)
    await on_disk(journal, first)
    waiting = asyncio.create_task(journal.sync(journal.append(1, b"second")))
    await asyncio.sleep(0)
    third = journal.append(1, b"third", sync=True)
    await waiting
    await on_disk(journal, third)
    await journal.close()


async def test_who_waits_may_leave(tmp_path: Path) -> None:
    """One who is cancelled takes nobody along."""
    journal = begun(tmp_path)
    position = journal.append(1, b"x")
    leaves, stays = (asyncio.create_task(journal.sync(position)) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    await stays
    assert leaves.cancelled()
    await journal.close()


def test_another_loop_goes_on(tmp_path: Path) -> None:
    """A loop that ends in the middle of a sync leaves the journal to the next one."""
    journal = begun(tmp_path)

    async def leave() -> None:
        journal.append(1, b"x", sync=True)
        task = asyncio.create_task(journal.sync(journal.position))
        await asyncio.sleep(0)
        task.cancel()

    async def stay() -> None:
        await journal.sync(journal.append(1, b"y", sync=True))
        assert journal.durable(journal.position)

    for _ in range(20):
        asyncio.run(leave())
        asyncio.run(stay())
    asyncio.run(journal.close())
    assert [b"x", b"y"] * 20 == payloads(left_behind(journal.folder))


# Room.


async def test_promised_room_is_kept(tmp_path: Path) -> None:
    """A journal that is full refuses what would begin; the outcome of everything begun still fits, within the bound."""
    journal = begun(tmp_path, segment_bytes=4096, max_bytes=3 * 4096)
    begun_calls = 0

    def begin_calls() -> None:
        nonlocal begun_calls
        for begun_calls in range(1000):  # noqa: B007  # told of where it is refused
            journal.append(1, bytes(100), reserve=500)

    with pytest.raises(JournalFullError, match="reached its bound of 12288 bytes") as caught:
        begin_calls()
    assert (503, "ledger_full") == (caught.value.status, caught.value.code)
    assert begun_calls >= 6
    had_room = [journal.has_room]
    with pytest.raises(JournalFullError):
        journal.append(3, bytes(4096))
    for _ in range(begun_calls):
        journal.append(2, bytes(500 - HEADER_BYTES), reserved=500)
    assert journal.size <= 3 * 4096
    assert 2 * begun_calls == len(payloads(journal.records()))
    journal.release(journal.position)
    had_room.append(journal.has_room)
    assert [False, True] == had_room
    journal.append(1, bytes(100), reserve=500)
    await journal.close()


async def test_more_than_was_promised(tmp_path: Path) -> None:
    """An outcome longer than its room is recorded all the same where the disk has room, not in that of the others."""
    journal = begun(tmp_path, segment_bytes=1024, max_bytes=1024)
    for _ in range(3):
        journal.append(1, bytes(100), reserve=200)
    journal.append(2, bytes(900), reserved=200)
    journal.append(2, bytes(200 - HEADER_BYTES), reserved=200)
    journal.append(2, bytes(200 - HEADER_BYTES), reserved=200)
    assert 6 == len(payloads(journal.records()))
    await journal.close()


async def test_room_that_is_not_needed(tmp_path: Path) -> None:
    """What was promised and is given back can be promised again."""
    journal = begun(tmp_path, segment_bytes=1024, max_bytes=1024)
    for _ in range(8):
        journal.append(1, b"", reserve=900)
        with pytest.raises(JournalFullError):
            journal.append(1, b"", reserve=900)
        journal.forgo(900)
    await journal.close()


async def test_long_records(tmp_path: Path) -> None:
    """A record longer than a segment gets one of its own size; one longer than the format allows is a mistake."""
    journal = begun(tmp_path, max_bytes=1 << 22)
    journal.append(1, bytes(MOST_PAYLOAD))
    with pytest.raises(ValueError, match="too long for the journal"):
        journal.append(1, bytes(MOST_PAYLOAD + 1))
    assert [bytes(MOST_PAYLOAD)] == payloads(journal.records())
    await journal.close()


async def test_what_was_shipped_is_deleted(tmp_path: Path) -> None:
    """A segment goes when all of it is released, and counts as durable; the others stay to be read."""
    journal = begun(tmp_path)
    positions = [journal.append(1, bytes([number]) * 1000) for number in range(20)]
    before = len(segments(journal.folder))
    journal.release(positions[9])
    journal.release(positions[3])
    assert positions[9] == journal.released
    assert before - 2 == len(segments(journal.folder))
    assert [bytes([number]) * 1000 for number in range(10, 20)] == payloads(journal.records(positions[9]))
    assert journal.durable(positions[9])
    assert not journal.durable(positions[10])
    await journal.sync(positions[19])
    journal.release(positions[19])
    assert 1 == len(segments(journal.folder))
    await journal.close()
    assert [] == runs(tmp_path)


async def test_closing(tmp_path: Path) -> None:
    """What was not shipped stays for who adopts it, without unused space; nothing is written any more."""
    journal = begun(tmp_path)
    journal.append(1, b"kept")
    await journal.close()
    await journal.close()
    assert [HEADER_BYTES + 4] == [path.stat().st_size for path in segments(journal.folder)]
    for reserve in (0, 100):
        with pytest.raises(JournalError):
            journal.append(1, b"late", reserve=reserve)
    assert [b"kept"] == payloads(left_behind(journal.folder))


# Bad disks.


async def test_a_full_disk(tmp_path: Path) -> None:
    """A record that does not fit is refused and leaves nothing; when there is room again the journal goes on."""
    journal = begun(tmp_path)
    journal.append(1, b"before")
    with replaced(segments(journal.folder)[0], "/dev/full"):
        with pytest.raises(JournalFullError, match=r"the disk has no room for the journal .*No space left") as caught:
            journal.append(1, b"lost", reserve=100)
        assert (503, "ledger_full") == (caught.value.status, caught.value.code)
    assert journal.broken is None
    journal.append(1, b"after", reserve=100)
    assert [b"before", b"after"] == payloads(journal.records())
    await journal.close()


async def test_a_disk_that_does_not_sync(tmp_path: Path) -> None:
    """All who wait are told; nothing may begin any more, what had begun is recorded in a segment not yet suspect."""
    journal = begun(tmp_path)
    synced = journal.append(1, b"synced", reserve=100)
    await journal.sync(synced)
    with replaced(segments(journal.folder)[0], "/dev/null"):
        lost = journal.append(1, b"begun", reserve=100)
        found = await asyncio.gather(*(journal.sync(lost) for _ in range(3)), return_exceptions=True)
    assert ["the journal cannot be put on disk: Invalid argument"] * 3 == [str(error) for error in found]
    assert {JournalError} == {type(error) for error in found}
    assert (True, False) == (journal.durable(synced), journal.durable(lost))
    assert not journal.has_room
    assert journal.broken == "the journal cannot be put on disk: Invalid argument"
    with pytest.raises(JournalError) as caught:
        journal.append(1, b"next", reserve=100)
    assert (503, "ledger_failed") == (caught.value.status, caught.value.code)
    outcome = journal.append(2, b"outcome", reserved=100, sync=True)
    assert 2 == len(segments(journal.folder))
    with pytest.raises(JournalError):
        await journal.sync(outcome)
    await journal.sync(synced)
    with pytest.raises(JournalError):
        await journal.close()
    # What went to the device in the segment's place is what the disk lost.
    assert [(b"synced",), (Damage(lost, lost - synced, torn=False),), (b"outcome",)] == [
        (record if isinstance(record, Damage) else record.payload,) for record in left_behind(journal.folder)
    ]


async def test_a_disk_that_is_not_written_to(tmp_path: Path) -> None:
    """Whoever could not write is told, what had begun goes on in another segment, and nothing else begins."""
    journal = begun(tmp_path)
    journal.append(1, b"begun", reserve=100)
    cannot = pytest.raises(JournalError, match=r"the journal .* cannot be written: Bad file descriptor")
    with replaced(segments(journal.folder)[0], str(tmp_path)), cannot:
        journal.append(1, b"lost", reserve=100)
    assert journal.broken is not None
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append(1, b"next", reserve=100)
    journal.append(2, b"outcome", reserved=100)
    assert [b"begun", b"outcome"] == payloads(journal.records())
    with pytest.raises(JournalError, match="cannot be written"):
        await journal.close()
    assert [b"begun", b"outcome"] == payloads(left_behind(journal.folder))


async def test_promised_room_on_a_broken_disk(tmp_path: Path) -> None:
    """Where no other segment can be made either, an outcome is still written into the room that it was promised."""
    journal = begun(tmp_path)
    journal.append(1, b"begun", reserve=100)
    with replaced(segments(journal.folder)[0], "/dev/null"), pytest.raises(JournalError):
        await journal.sync(journal.position)
    blocked = [journal.folder / segment_name(journal.position)]
    blocked[0].touch()
    journal.append(2, b"outcome", reserved=100)
    blocked.append(journal.folder / segment_name(journal.position))
    blocked[1].touch()
    with pytest.raises(JournalError, match="cannot go on: File exists"):
        journal.append(3, b"other")
    for path in blocked:
        path.unlink()
    assert [b"begun", b"outcome"] == payloads(journal.records())
    with pytest.raises(JournalError):
        await journal.close()


def test_no_folder(tmp_path: Path) -> None:
    """Where no folder can be made, it is told at once, and nothing is left."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="see that the folder may be written to"):
        begun(tmp_path / "file" / "journal")
    with pytest.raises(JournalFullError):
        Journal(tmp_path, ManualClock(), segment_bytes=1 << 60)
    assert ["file"] == [path.name for path in tmp_path.iterdir()]


async def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    """There is no room in it; that it cannot be closed is told."""
    journal = begun(tmp_path)
    journal.append(1, b"x")
    journal.release(journal.position)
    shutil.rmtree(journal.folder)
    assert not journal.has_room
    with pytest.raises(JournalError, match="cannot be closed: No such file"):
        await journal.close()


async def test_closing_before_the_disk_was_asked(tmp_path: Path) -> None:
    """What was to be put on disk soon is when the journal is closed, and nothing is done afterwards."""
    journal = begun(tmp_path)
    position = journal.append(1, b"x", sync=True)
    waiting = asyncio.create_task(journal.sync(position))
    await journal.close()
    await waiting
    assert journal.durable(position)
    with pytest.raises(JournalError, match="the journal is closed"):
        await journal.sync(position + 1)
