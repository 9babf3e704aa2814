"""The folders of runs, one per life of a worker, and who may have which.

A run belongs to whoever holds the ``flock`` on its file ``lock``. The system gives it up when the process ends, however
it does: what is left behind is adopted by exactly one other. This holds among the processes of one machine; on a
network file system locks may be granted twice, so a journal belongs on a local disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from struct import Struct as Layout
from types import TracebackType
from typing import Final, Self
from zlib import crc32

from genai_spine.clock import Clock
from genai_spine.journal.failures import translated
from genai_spine.journal.records import Damage, Record, read
from genai_spine.journal.segments import flush_folder, make_folder

__all__ = ["AbandonedRun", "RunLock", "adopt", "runs", "sweep"]

_LOCK: Final = "lock"
_HIDDEN: Final = re.compile(r"\.\d{8}T\d{6}Z-[0-9a-f]{16}")
# Of the lock's own bytes: up to where everything was shipped, and a checksum of that.
_NOTE: Final = Layout("<QI")


class RunLock:
    """The right to a run's folder."""

    __slots__ = ("_descriptor", "folder")

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def note(self, position: int) -> None:
        """Write down up to where everything was shipped, for whoever adopts the run.

        Raises:
            OSError: It could not be written; more is then shipped again than need be.
        """
        os.pwrite(self._descriptor, _NOTE.pack(position, crc32(position.to_bytes(8, "little"))), 0)

    def noted(self) -> int:
        """Return the position that was written down last; 0 where none was, or none can be read."""
        note = os.pread(self._descriptor, _NOTE.size, 0)
        if len(note) < _NOTE.size:
            return 0
        position, checksum = _NOTE.unpack(note)
        assert isinstance(position, int)  # noqa: S101  # what the layout says
        return position if crc32(position.to_bytes(8, "little")) == checksum else 0

    def remove(self) -> None:
        """Delete the folder with all that is in it; nobody else can have had it meanwhile.

        Raises:
            OSError: Something of it is still there.
        """
        for path in self.folder.iterdir():
            if path.name != _LOCK:
                path.unlink()
        (self.folder / _LOCK).unlink()
        with suppress(FileNotFoundError):  # somebody swept up the empty folder
            self.folder.rmdir()

    def free(self) -> None:
        """Give the right up."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def begin_run(root: Path, clock: Clock) -> RunLock:
    """Make the folder of a new run.

    Raises:
        JournalError: It cannot be made.
    """
    with translated(f"no journal can be kept in {root}; see that the folder may be written to"):
        make_folder(root)
        name = f"{datetime.fromtimestamp(clock.now(), UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"
        # Nobody looks at it until it is locked: others would take it for one that was left behind, and remove it.
        hidden, folder = root / f".{name}", root / name
        with _held(root, fcntl.LOCK_SH):
            hidden.mkdir(mode=0o700)
            descriptor = os.open(hidden / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hidden.rename(folder)
                flush_folder(root)
            except OSError:
                os.close(descriptor)
                raise
    return RunLock(folder, descriptor)


def sweep(root: Path) -> None:
    """Remove what is left where a run was not begun to the end: its maker was killed on the way, or the disk failed."""
    # While somebody makes one nothing is removed. What cannot be is in nobody's way, and the next look tries again.
    with suppress(OSError):
        if left := [path for path in root.iterdir() if _HIDDEN.fullmatch(path.name)]:
            with _held(root, fcntl.LOCK_EX | fcntl.LOCK_NB):
                for folder in left:
                    (folder / _LOCK).unlink(missing_ok=True)
                    _remove_empty(folder)


@contextmanager
def _held(root: Path, how: int) -> Iterator[None]:
    """Have the right to make runs, together with others, or alone that to remove what is left of making them."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


class AbandonedRun:
    """A run whose worker is gone, and which is now ours.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, lock: RunLock) -> None:
        self.folder = lock.folder
        self._lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def records(self, after: int = 0) -> Iterator[Record | Damage]:
        """Return what it holds, as ``records.read`` does.

        Some of what was released may be among it: who ships a record twice must notice.
        """
        return read(self.folder, max(after, self._lock.noted()))

    def remove(self) -> None:
        """Delete it, now that all of it was shipped, and let go of it.

        Raises:
            JournalError: It could not be deleted; it will be adopted again.
        """
        try:
            with translated(f"the journal in {self.folder} was shipped but cannot be removed"):
                self._lock.remove()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of it; as long as it is there somebody may adopt it again."""
        self._lock.free()


def runs(root: Path) -> list[Path]:
    """Return the folders of all runs, the oldest first, the living ones' too: whose it is shows when it is adopted.

    Raises:
        JournalError: The folder cannot be looked into.
    """
    with translated(f"the journals in {root} cannot be listed"):
        if not root.is_dir():
            return []
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def adopt(folder: Path) -> AbandonedRun | None:
    """Take over a run whose worker is gone; None where it lives, also in this process, or another was faster.

    Raises:
        JournalError: It is there, but may not be taken.
    """
    with translated(f"the journal in {folder} cannot be adopted"):
        lock = _lock(folder)
        return None if lock is None else AbandonedRun(lock)


def _lock(folder: Path) -> RunLock | None:
    """Take the lock of a folder, if it is free and there.

    Raises:
        OSError: It is there, but may not be opened.
    """
    path = folder / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        _remove_empty(folder)
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file may have been deleted between being opened and being locked: then the lock is one of nothing.
        if path.stat().st_ino == os.fstat(descriptor).st_ino:
            lock, descriptor = RunLock(folder, descriptor), -1
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _remove_empty(folder: Path) -> None:
    """Remove an empty folder: of one who removed all but it, or made nothing but it."""
    with suppress(OSError):  # not empty, or gone: nothing to do for us
        folder.rmdir()
