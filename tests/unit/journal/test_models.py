"""A journal beside a model of it: whatever happens in whatever order, both say the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from genai_spine.errors import JournalFullError
from genai_spine.journal.records import HEADER_BYTES, Damage, Record, read
from genai_spine.journal.runs import adopt, runs
from genai_spine.journal.writer import Journal
from genai_spine.testing.clock import ManualClock

SEGMENT: Final = 512
BOUND: Final = 4 * SEGMENT


class Journals(RuleBasedStateMachine):
    """A worker's journal, and what earlier lives of it left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="journal-"))
        self.loop = asyncio.Runner()
        self.clock = ManualClock()
        # What each run holds, as far as it was not released.
        self.kept: dict[Path, list[Record]] = {}
        self.synced = 0
        self.promised: list[int] = []

    @initialize()
    def begin(self) -> None:
        """A worker starts."""
        self.clock.advance(1)
        self.journal = Journal(self.root, self.clock, segment_bytes=SEGMENT, max_bytes=BOUND)
        self.kept[self.journal.folder] = []
        self.synced = 0
        self.promised = []

    @property
    def records(self) -> list[Record]:
        """What the journal should hold."""
        return self.kept[self.journal.folder]

    def appended(self, position: int, kind: int, payload: bytes) -> None:
        """It was told that this was written."""
        assert position == self.journal.position
        self.records.append(Record(position, kind, payload))

    @rule(payload=st.binary(max_size=200), reserve=st.integers(0, 200))
    def intend(self, payload: bytes, reserve: int) -> None:
        """Something begins, if there is room; else nothing is written."""
        before = self.journal.position
        had_room = self.journal.has_room
        try:
            position = self.journal.append(1, payload, reserve=reserve)
        except JournalFullError:
            assert not had_room
            assert before == self.journal.position
            return
        self.appended(position, 1, payload)
        self.promised.append(reserve)

    @precondition(lambda self: self.promised)
    @rule(data=st.data())
    def come_out(self, data: st.DataObject) -> None:
        """What was begun comes out, and always fits where enough room was promised."""
        reserved = self.promised.pop(data.draw(st.integers(0, len(self.promised) - 1)))
        if reserved < HEADER_BYTES:
            self.journal.forgo(reserved)
            return
        payload = data.draw(st.binary(max_size=reserved - HEADER_BYTES))
        self.appended(self.journal.append(2, payload, reserved=reserved), 2, payload)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def sync(self, data: st.DataObject) -> None:
        """Everything up to some record is put on disk."""
        position = data.draw(st.sampled_from(self.records)).position
        self.loop.run(self.journal.sync(position))
        assert self.journal.durable(position)
        self.synced = max(self.synced, position)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """Everything up to some record is shipped."""
        place = data.draw(st.integers(0, len(self.records) - 1))
        self.journal.release(self.records[place].position)
        del self.records[: place + 1]

    @rule()
    def end(self) -> None:
        """The worker stops in good order, and another starts; only what was not shipped stays."""
        self.loop.run(self.journal.close())
        assert bool(self.records) == self.journal.folder.exists()
        if not self.records:
            del self.kept[self.journal.folder]
        self.begin()

    @rule()
    def crash(self) -> None:
        """The worker is killed, and another starts: what a copy of its files would hold is what is left."""
        copy = self.root / self.journal.folder.name
        aside = shutil.copytree(self.journal.folder, self.root.with_name(self.root.name + "-copy"))
        records = self.records
        self.loop.run(self.journal.close())
        shutil.rmtree(copy, ignore_errors=True)
        aside.rename(copy)
        self.kept[copy] = records
        self.begin()

    @precondition(lambda self: len(self.kept) > 1)
    @rule(remove=st.booleans())
    def take_over(self, remove: bool) -> None:  # noqa: FBT001  # Hypothesis passes it by name
        """What others left behind is adopted, once; the living one's is not."""
        for folder in runs(self.root):
            run = adopt(folder)
            if folder == self.journal.folder:
                assert run is None
                continue
            assert run is not None
            assert adopt(folder) is None
            self.compare(list(run.records()), self.kept[folder])
            if remove:
                run.remove()
                del self.kept[folder]
            else:
                run.close()

    def compare(self, found: list[Record | Damage], kept: list[Record]) -> None:
        """What is read ends with what was kept; before it may stand what was shipped from a segment still there."""
        assert all(isinstance(record, Record) for record in found)
        assert kept == found[len(found) - len(kept) :]
        assert len({record.position for record in found}) == len(found)

    @invariant()
    def same(self) -> None:
        """Both hold the same, from any place on, within the bound."""
        if not self.kept:
            return
        self.compare(list(self.journal.records()), self.records)
        self.compare(list(read(self.journal.folder)), self.records)
        for number, record in enumerate(self.records[-3:], max(len(self.records) - 3, 0)):
            assert self.records[number + 1 :] == list(self.journal.records(record.position))
        assert self.journal.size <= BOUND
        assert self.journal.durable(self.synced)
        assert set(self.kept) == set(runs(self.root))

    @override
    def teardown(self) -> None:
        if self.kept:
            self.loop.run(self.journal.close())
        self.loop.close()
        shutil.rmtree(self.root)


Journals.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestJournals = Journals.TestCase
TestJournals.__doc__ = "Journals behave as the model does."
