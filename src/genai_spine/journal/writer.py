"""The journal of one worker: what it began and what came of it, on disk before it counts as told.

It knows nothing of models or databases: payloads are bytes with a number for their kind. What is promised:

- A record that was appended survives the process: whatever ends it, the record is read back, once.
- A record up to which was synced survives the machine, as far as its disk keeps what it says it keeps.
- A record that was promised room has it: its place on the disk was taken before. (A file system that copies what it
  overwrites may still have none.) No more than ``max_bytes`` are used, but for records longer than they were promised.
- What cannot be promised is refused at once: ``JournalFullError`` while there is no room, ``JournalError`` once the
  disk has failed.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from genai_spine.clock import Clock
from genai_spine.errors import JournalError, JournalFullError, SpineError
from genai_spine.journal.failures import FULL, reason, translated
from genai_spine.journal.records import HEADER_BYTES, MOST_PAYLOAD, Damage, Record, Seal, read
from genai_spine.journal.runs import begin_run
from genai_spine.journal.segments import Segment
from genai_spine.journal.syncing import Group, Syncer

__all__ = ["Journal"]

_TYPICAL: Final = 4096
"""What an intent and its outcome take at most, usually."""


class Journal:
    """An append-only record in a folder of its own, for as long as this worker lives.

    Not for several threads, and not to be taken along into a forked process. All but ``sync`` and ``close`` happen in
    one step that no other task sees half done.

    Attributes:
        run: The name of the run, unlike that of any other.
    """

    def __init__(self, root: Path, clock: Clock, *, segment_bytes: int = 1 << 24, max_bytes: int = 1 << 30) -> None:
        """Begin a run.

        Args:
            root: Where the folders of all runs are; on a local disk.
            clock: Whose time names the run.
            segment_bytes: The size of a file; so much is taken at once.
            max_bytes: How much the run may take in all.

        Raises:
            JournalError: The folder cannot be written to.
            JournalFullError: There is no room for a first segment.
        """
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._lock = begin_run(root, clock)
        self.run = self.folder.name
        self._seal = Seal(self.run)
        self._released = 0
        # What was promised to records to come, and what of the segment is left beside it.
        self._promised = 0
        self._room = segment_bytes
        self._segments: deque[Segment] = deque()
        # No more written to, but not on disk yet.
        self._sealed: list[Segment] = []
        # Whether the disk failed while the present segment was written.
        self._distrusted = False
        self._closed = False
        self._syncer = Syncer(self._gather, self._synced)
        try:
            self._segment = self._begin_segment(0, 0, max_bytes)
        except SpineError:
            self._lock.remove()
            self._lock.free()
            raise
        self._segments.append(self._segment)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._lock.folder

    @property
    def position(self) -> int:
        """Where the last record ends."""
        return self._segment.position

    @property
    def released(self) -> int:
        """The position up to which everything was shipped."""
        return self._released

    @property
    def size(self) -> int:
        """The bytes on disk."""
        return sum(segment.size for segment in self._segments)

    @property
    def broken(self) -> str | None:
        """Why nothing may be begun any more in this run, if so: the disk failed. Another run may do better."""
        return self._syncer.failure

    @property
    def has_room(self) -> bool:
        """Whether something may be begun now, as far as can be told without trying."""
        if self.broken is not None:
            return False
        if self._room >= _TYPICAL:
            return True
        needed = max(self._segment_bytes, self._promised + _TYPICAL)
        if self.size + needed > self._max_bytes:
            return False
        try:
            disk = os.statvfs(self.folder)
        except OSError:
            return False  # whatever is wrong there, nothing can be made in it
        return disk.f_bavail * disk.f_frsize >= needed

    def append(self, kind: int, payload: bytes, *, reserve: int = 0, reserved: int = 0, sync: bool = False) -> int:
        """Write a record; when this returns, it survives the process.

        Args:
            kind: What the payload is, 0 to 255.
            payload: At most ``MOST_PAYLOAD`` bytes.
            reserve: Something is begun with this record: promise so many bytes to the record of its outcome, header
                included. ``forgo`` gives back what will not be used.
            reserved: This is an outcome, to which so many bytes were promised.
            sync: Put it on disk soon, though nobody waits for it yet; needs a running event loop.

        Returns:
            The position of its end.

        Raises:
            JournalFullError: There is no room; nothing was written.
            JournalError: The disk failed, now or, where something is to be begun, before.
        """
        if len(payload) > MOST_PAYLOAD:
            message = f"a record of {len(payload)} bytes is too long for the journal"
            raise ValueError(message)
        if reserve and self._syncer.failure is not None:
            raise JournalError(self._syncer.failure)
        promised = reserve - reserved
        taken = len(payload) + HEADER_BYTES + promised
        if self._distrusted or taken > self._room:
            self._roll(taken + reserved, reserved)
        segment = self._segment
        try:
            segment.write(self._seal.record(segment.position, kind, payload))
        except OSError as error:
            raise self._unwritten(error) from error
        self._promised += promised
        self._room -= taken
        if sync:
            self._syncer.soon()
        return segment.position

    def forgo(self, reserved: int) -> None:
        """Give back what was promised to a record that will not come."""
        self._promised -= reserved
        self._room += reserved

    def durable(self, position: int) -> bool:
        """Whether everything up to a position survives the machine."""
        return position <= self._syncer.durable

    async def sync(self, position: int) -> None:
        """Return when everything up to a position survives the machine; many who wait are served together.

        Raises:
            JournalError: The disk failed. What was not on disk then never counts as being there, and the run is broken.
        """
        await self._syncer.sync(position)

    def records(self, after: int = 0) -> Iterator[Record | Damage]:
        """Return what was appended so far, after a position: for those to come, ask again after the last."""
        return read(self.folder, after, self.position)

    def release(self, position: int) -> None:
        """Note that everything up to a position was shipped; segments without anything else are deleted.

        Raises:
            JournalError: A segment cannot be deleted; the next release tries again.
        """
        self._released = max(self._released, position)
        self._syncer.reached(self._released)
        with suppress(OSError):  # then more of it is shipped again after a crash than need be
            self._lock.note(self._released)
        with translated(f"shipped records in {self.folder} cannot be deleted"):
            while len(self._segments) > 1 and self._segments[1].base <= self._released:
                self._segments[0].path.unlink(missing_ok=True)
                self._segments.popleft()

    async def close(self) -> None:
        """Put everything on disk and give the run up; its folder stays where not everything in it was released.

        Raises:
            JournalError: Not everything is on disk, or what was released cannot be deleted.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self.sync(self.position)
        finally:
            self._syncer.stop()
            try:
                with translated(f"the journal in {self.folder} cannot be closed"):
                    if self._released >= self.position:
                        self._lock.remove()
                    else:
                        self._segment.seal()
            finally:
                for segment in (*self._sealed, self._segment):
                    segment.close()
                self._lock.free()

    def _roll(self, needed: int, reserved: int) -> None:
        """Go on in a new segment, with room for a record and all that was promised to others.

        Raises:
            JournalFullError: There is no room for one.
            JournalError: It cannot be made.
        """
        old = self._segment
        try:
            # What was promised is kept, whatever the bound.
            most = None if reserved else self._max_bytes
            segment = self._begin_segment(self.position, needed + self._promised - reserved, most)
        except SpineError:
            if needed <= reserved:
                return  # it has its room in the old one
            raise
        if segment is not old:
            with suppress(OSError):  # then its unused place is given back when it is deleted
                old.seal()
            self._sealed.append(old)
            self._segments.append(segment)
            self._segment = segment
        self._room = segment.size - self._promised
        self._distrusted = False

    def _begin_segment(self, base: int, least: int, most: int | None) -> Segment:
        """Make a segment, or the present one larger where it is empty.

        Raises:
            JournalFullError: There is no room for one.
            JournalError: It cannot be made.
        """
        size = max(self._segment_bytes, least)
        old = self._segments[-1] if self._segments and self._segments[-1].base == base else None
        taken = self.size - (old.size if old else 0)
        if most is not None and taken + size > most:
            message = (
                f"the journal in {self.folder} has reached its bound of {most} bytes, for what it holds could not be"
                " shipped to the database; see that the database is there"
            )
            raise JournalFullError(message)
        try:
            if old is None:
                return Segment(self.folder, base, size)
            old.grow(size)
        except OSError as error:
            if error.errno in FULL:
                raise self._disk_full(error) from error
            message = f"the journal in {self.folder} cannot go on: {reason(error)}"
            raise JournalError(message) from error
        return old

    def _gather(self) -> Group:
        """Return what there is to put on disk; in the syncer's thread, so what is written to is looked at first."""
        segment = self._segment
        return Group(segment.position, tuple(self._sealed), segment)

    def _synced(self, group: Group, failure: str | None) -> None:
        """Let go of what is on disk for good; in the syncer's thread."""
        if failure is not None:
            self._distrusted = True
            return
        for segment in group.sealed:
            segment.close()
            self._sealed.remove(segment)

    def _unwritten(self, error: OSError) -> SpineError:
        """Return what it means that a record could not be written."""
        if error.errno in FULL:
            return self._disk_full(error)
        failure = f"the journal in {self.folder} cannot be written: {reason(error)}"
        self._distrusted = True
        self._syncer.fail(failure)
        return JournalError(failure)

    def _disk_full(self, error: OSError) -> JournalFullError:
        return JournalFullError(f"the disk has no room for the journal in {self.folder} ({reason(error)}); make some")
