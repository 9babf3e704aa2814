"""Whose a run is: its worker's while that lives, then exactly one other's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pytest

from genai_spine.errors import JournalError
from genai_spine.journal.runs import adopt, begin_run, runs, sweep
from genai_spine.testing.clock import ManualClock
from tests.journals import begun, left_behind, payloads


async def test_a_living_run_is_nobody_elses(tmp_path: Path) -> None:
    """It is listed, but cannot be adopted, also not by its own process, before it is closed."""
    journal = begun(tmp_path)
    journal.append(1, b"x")
    assert [journal.folder] == runs(tmp_path)
    assert adopt(journal.folder) is None
    await journal.close()
    assert [b"x"] == payloads(left_behind(journal.folder))


async def test_an_abandoned_run(tmp_path: Path) -> None:
    """Who adopts it has it alone until he lets go; when he removes it nothing is left."""
    journal = begun(tmp_path)
    positions = [journal.append(1, b"%d" % number) for number in range(10)]
    await journal.close()
    first = adopt(journal.folder)
    assert first is not None
    assert journal.folder == first.folder
    assert adopt(journal.folder) is None
    first.close()
    second = adopt(journal.folder)
    assert second is not None
    assert [b"8", b"9"] == payloads(second.records(positions[7]))
    second.remove()
    assert adopt(journal.folder) is None
    assert [] == runs(tmp_path)


async def test_many_adopters(tmp_path: Path) -> None:
    """Of many at once exactly one gets each run, though those who have one remove it meanwhile."""
    for _ in range(20):
        journal = begun(tmp_path)
        journal.append(1, b"x")
        await journal.close()
    barrier = Barrier(4)

    def take() -> list[Path]:
        barrier.wait()
        taken = []
        for folder in runs(tmp_path):
            if (run := adopt(folder)) is not None:
                assert [b"x"] == payloads(run.records())
                run.remove()
                taken.append(folder)
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [folder for future in [pool.submit(take) for _ in range(4)] for folder in future.result()]
    assert len(taken) == 20
    assert 20 == len(set(taken))
    assert [] == runs(tmp_path)


def test_a_lock_of_what_is_gone(tmp_path: Path) -> None:
    """Once a run is removed nobody gets it, though its worker's right was given up only after that."""
    lock = begin_run(tmp_path, ManualClock())
    lock.remove()
    assert adopt(lock.folder) is None
    lock.free()
    assert adopt(lock.folder) is None
    assert [] == runs(tmp_path)


def test_what_is_left_of_a_removal(tmp_path: Path) -> None:
    """An empty folder, of who ended in between, is swept away; one with something in it and no lock is not touched."""
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    (other / "file").touch()
    assert [None, None] == [adopt(folder) for folder in runs(tmp_path)]
    assert [other] == runs(tmp_path)


def test_what_is_not_the_journals_is_not_swept(tmp_path: Path) -> None:
    """Folders of others stay, hidden or not, and one of ours with something in it; no folder is nothing to sweep."""
    others = {tmp_path / ".git", tmp_path / f".20260101T000000Z-{'0' * 16}", tmp_path / "20260101T000000Z-0"}
    for folder in others:
        folder.mkdir()
        (folder / "file").touch()
    sweep(tmp_path)
    sweep(tmp_path / "journal")
    assert others == set(tmp_path.iterdir())
    assert all((folder / "file").exists() for folder in others)


def test_no_runs(tmp_path: Path) -> None:
    """Where there never was a journal there are no runs."""
    assert [] == runs(tmp_path / "journal")


async def test_what_cannot_be_removed(tmp_path: Path) -> None:
    """It is told, and the run can be adopted again."""
    journal = begun(tmp_path)
    journal.append(1, b"x")
    await journal.close()
    (journal.folder / "folder").mkdir()
    run = adopt(journal.folder)
    assert run is not None
    with pytest.raises(JournalError, match="was shipped but cannot be removed"):
        run.remove()
    (journal.folder / "folder").rmdir()
    again = adopt(journal.folder)
    assert again is not None
    again.remove()
    assert [] == runs(tmp_path)


def test_names_tell_the_time(tmp_path: Path) -> None:
    """Runs are listed in the order in which they were begun."""
    clock = ManualClock()
    folders = []
    for _ in range(5):
        lock = begin_run(tmp_path, clock)
        lock.free()
        folders.append(lock.folder)
        clock.advance(1)
    assert folders == runs(tmp_path)


def test_a_run_that_begins_among_adopters(tmp_path: Path) -> None:
    """Others who take, sweep up and remove whatever is not locked never get a run that has begun, nor its folder."""
    over = Event()

    def take() -> int:
        taken = 0
        while not over.is_set():
            sweep(tmp_path)
            for folder in runs(tmp_path):
                if (run := adopt(folder)) is not None:
                    assert [] == list(run.records())
                    run.remove()
                    taken += 1
        return taken

    with ThreadPoolExecutor(2) as pool:
        takers = [pool.submit(take) for _ in range(2)]
        try:
            locks = [begin_run(tmp_path, ManualClock()) for _ in range(100)]
        finally:
            over.set()
        assert all(taker.result() >= 0 for taker in takers)
    assert sorted(lock.folder for lock in locks) == runs(tmp_path)
    assert [None] * 100 == [adopt(lock.folder) for lock in locks]
    for lock in locks:
        lock.free()
