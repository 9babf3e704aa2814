"""One file of a run: its place on the disk is taken when it is made, so that what was promised room has it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from genai_spine.journal.records import segment_name

__all__ = ["Segment", "flush_folder", "make_folder"]


class Segment:
    """A file that is written to from its beginning on, never beyond the size that it was made with.

    Attributes:
        base: The run's position at which it begins.
        position: The run's position up to which it is written.
        size: What it takes on the disk.
    """

    __slots__ = ("_descriptor", "_entered", "base", "path", "position", "size")

    def __init__(self, folder: Path, base: int, size: int) -> None:
        """Make the file.

        Raises:
            OSError: It could not be made, or its place on the disk not be taken; nothing is left of it.
        """
        self.path = folder / segment_name(base)
        self.base = self.position = base
        self.size = size
        self._entered = False
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _allocate(self._descriptor, size)
        except OSError:
            self.close()
            self.path.unlink()
            raise

    def write(self, record: bytes) -> None:
        """Write a record behind the others, whole or not at all.

        Raises:
            OSError: It could not be written.
        """
        position, size = self.position, len(record)
        written = os.pwrite(self._descriptor, record, position - self.base)
        if written != size:
            self._write_rest(record, written)
        self.position = position + size

    def grow(self, size: int) -> None:
        """Take more place.

        Raises:
            OSError: There is no more.
        """
        _allocate(self._descriptor, size)
        self.size = max(self.size, size)

    def flush(self) -> None:
        """Put on disk what was written so far; may be called in any thread, while others write.

        Raises:
            OSError: It is not known what is on disk. Asked again, the system might say that all is well, for it forgets
                what it could not write: nothing in this file is to be trusted any more.
        """
        _flush_data(self._descriptor)
        if not self._entered:
            flush_folder(self.path.parent)
            self._entered = True

    def seal(self) -> None:
        """Give back the place that was not used; nothing is written any more.

        Raises:
            OSError: The file stays as long as it is.
        """
        os.ftruncate(self._descriptor, self.position - self.base)
        self.size = self.position - self.base

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write_rest(self, record: bytes, written: int) -> None:
        """Write on where a write fell short, so that the system says why it did; blank what cannot be completed."""
        start = self.position - self.base
        try:
            while written < len(record):
                written += os.pwrite(self._descriptor, record[written:], start + written)
        except OSError:
            os.pwrite(self._descriptor, bytes(written), start)
            raise


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it, to survive the machine.

    Raises:
        OSError: It could not be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Put a folder's own list of names on disk.

    Raises:
        OSError: It could not be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "darwin":
    import fcntl

    def _flush_data(descriptor: int) -> None:
        """Put a file's bytes on disk; ``fsync`` leaves them in the drive's memory there."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

    def _allocate(descriptor: int, size: int) -> None:
        """Take place on the disk, by filling it: the system has no other way that Python knows of."""
        for offset in range(0, size, 1 << 20):
            os.pwrite(descriptor, bytes(min(1 << 20, size - offset)), offset)

else:

    def _flush_data(descriptor: int) -> None:
        """Put a file's bytes on disk."""
        os.fdatasync(descriptor)

    def _allocate(descriptor: int, size: int) -> None:
        """Take place on the disk."""
        os.posix_fallocate(descriptor, 0, size)
