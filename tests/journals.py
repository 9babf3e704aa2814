"""Journals for tests, and what can happen to their files."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genai_spine.journal.records import Damage, Record
from genai_spine.journal.runs import adopt
from genai_spine.journal.writer import Journal
from genai_spine.testing.clock import ManualClock


def begun(root: Path, *, segment_bytes: int = 4096, max_bytes: int = 1 << 20) -> Journal:
    """A journal of small segments."""
    return Journal(root, ManualClock(), segment_bytes=segment_bytes, max_bytes=max_bytes)


def payloads(found: Iterable[Record | Damage]) -> list[bytes]:
    """What was read, all of it readable."""
    records = []
    for record in found:
        assert isinstance(record, Record)
        records.append(record.payload)
    return records


def left_behind(folder: Path) -> list[Record | Damage]:
    """What is read of a run by whoever adopts it."""
    run = adopt(folder)
    assert run is not None
    with run:
        return list(run.records())


def segments(folder: Path) -> list[Path]:
    """The files of a run, the oldest first."""
    return sorted(folder.glob("*.segment"))


@contextmanager
def replaced(path: Path, by: str) -> Iterator[None]:
    """Behind the back of who has a file open, put something else in its place.

    ``/dev/full`` has room for nothing, ``/dev/null`` can be written to but not put on disk, a folder neither.
    """
    links = Path("/proc/self/fd").iterdir()
    descriptor = next(int(link.name) for link in links if link.is_symlink() and link.readlink() == path.resolve())
    kept, other = os.dup(descriptor), os.open(by, os.O_RDONLY if Path(by).is_dir() else os.O_RDWR)
    os.dup2(other, descriptor, inheritable=False)
    os.close(other)
    try:
        yield
    finally:
        os.dup2(kept, descriptor, inheritable=False)
        os.close(kept)


@contextmanager
def no_room(journal: Journal) -> Iterator[None]:
    """Let no file of this process grow beyond where the journal is now, itself among them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.position, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
