"""Journals of workers that are killed, in processes of their own: what ``append`` told is read back, once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genai_spine.journal.records import Damage, Record
from genai_spine.journal.runs import adopt, runs, sweep

WORKER = Path(__file__).with_name("journal_worker.py")


@contextmanager
def worker(life: str, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker with that life; it is killed in the end."""
    command = [sys.executable, str(WORKER), life, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own program
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it tells."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def killed(life: str, root: Path, after: int) -> list[int]:
    """What a worker told that was killed some time after it had told so much."""
    with worker(life, root) as process:
        told = [said(process) for _ in range(after)]
        process.kill()
        assert process.stdout is not None
        # The last line may have been cut.
        told += [line.strip() for line in process.stdout if line.endswith("\n")]
    return [int(line) for line in told]


def left(root: Path) -> tuple[list[Record], list[Damage]]:
    """What the one run holds that was left behind; it is removed."""
    (folder,) = runs(root)
    run = adopt(folder)
    assert run is not None
    found = list(run.records())
    run.remove()
    assert [] == runs(root)
    return [item for item in found if isinstance(item, Record)], [item for item in found if isinstance(item, Damage)]


@pytest.mark.parametrize("seed", range(20))
def test_a_worker_is_killed_while_it_appends(tmp_path: Path, seed: int) -> None:
    """All that it told is there in order, each once, and at most the one that it was about to tell beside it."""
    told = killed("append", tmp_path, random.Random(seed).randrange(1, 3000))  # noqa: S311  # any number will do
    records, damages = left(tmp_path)
    assert told == list(range(len(told)))
    assert len(records) - len(told) in {0, 1}
    expected = [(number % 256, b"%d" % number + bytes(number % 97)) for number in range(len(records))]
    assert expected == [(record.kind, record.payload) for record in records]
    assert all(damage.torn for damage in damages)


@pytest.mark.parametrize("seed", range(10))
def test_a_worker_is_killed_while_it_syncs(tmp_path: Path, seed: int) -> None:
    """Each call that it told of has its intent there once; an outcome only what has an intent before it."""
    told = killed("work", tmp_path, random.Random(seed).randrange(1, 300))  # noqa: S311  # any number will do
    records, damages = left(tmp_path)
    intents = [int(record.payload) for record in records if record.kind == 1]
    outcomes = [int(record.payload) for record in records if record.kind == 2]
    assert told == intents[: len(told)]
    assert len(intents) - len(told) in {0, 1}
    assert len(set(intents)) == len(intents)
    assert len(set(outcomes)) == len(outcomes)
    assert set(outcomes) <= set(intents)
    # No more than the four tasks have something begun.
    assert len(intents) - len(outcomes) <= 4
    assert all(damage.torn for damage in damages)


@pytest.mark.parametrize("step", ["os.mkdir", "open", "fcntl.flock", "os.rename"])
def test_a_worker_is_killed_while_it_begins(tmp_path: Path, step: str) -> None:
    """Whoever looks next for what dead workers left behind leaves nothing of it, and no run was begun."""
    root = tmp_path / "journal"
    root.mkdir()
    with worker("begin", root) as process:
        assert process.stdin is not None
        process.stdin.write(f"{step}\n")
        process.stdin.flush()
        assert (-signal.SIGKILL, "") == (process.wait(), said(process))
    assert (step != "os.mkdir") == bool(list(root.iterdir()))
    assert [] == runs(root)
    sweep(root)
    assert [] == list(root.iterdir())


def test_two_adopters(tmp_path: Path) -> None:
    """Of two processes that want them at once exactly one gets each run, and a living one nobody."""
    with worker("append", tmp_path) as living:
        said(living)
        (alive,) = runs(tmp_path)
        for _ in range(5):
            with worker("append", tmp_path) as process:
                said(process)
        abandoned = {folder.name for folder in runs(tmp_path) if folder != alive}
        assert len(abandoned) == 5
        with worker("take", tmp_path) as one, worker("take", tmp_path) as other:
            assert ["ready", "ready"] == [said(one), said(other)]
            for process in (one, other):
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            taken = [*said(one).split(), *said(other).split()]
            assert sorted(abandoned) == sorted(taken)
            assert [None] * 6 == [adopt(folder) for folder in runs(tmp_path)]


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """What begins is refused, what was promised room has it, and a record that is cut short leaves no trace."""
    with worker("fill", tmp_path) as process:
        assert ["File too large); make some"] * 2 == [said(process), said(process)]
        held, expected = int(said(process)), int(said(process))
        assert process.wait() == 0
    records, damages = left(tmp_path)
    assert [] == damages
    assert expected == held + 1 == len(records)
    assert b"room" == records[-1].payload
    assert not any(b"x" in record.payload for record in records)
