"""What is read of a run whose files are cut, changed or missing: all that is readable, and how much is not."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from genai_spine.errors import JournalError
from genai_spine.journal.records import HEADER_BYTES, Damage, Record, Seal, read, segment_name
from tests.journals import payloads

RUN = "20270101T000000Z-0011223344556677"
SPACE = 64
"""Bytes of a segment that were taken and not used yet."""


def made(root: Path, *contents: list[bytes]) -> tuple[Path, list[Record]]:
    """A run of segments with these payloads, the last of them with space left, and its records."""
    folder = root / RUN
    folder.mkdir()
    seal, position, records = Seal(RUN), 0, list[Record]()
    for content in contents:
        base, data = position, b""
        for payload in content:
            data += seal.record(position, len(payload) % 256, payload)
            position = base + len(data)
            records.append(Record(position, len(payload) % 256, payload))
        (folder / segment_name(base)).write_bytes(data + (bytes(SPACE) if content is contents[-1] else b""))
    return folder, records


def start(record: Record) -> int:
    """The position at which a record starts."""
    return record.position - HEADER_BYTES - len(record.payload)


FIRST = [b"", b"a", bytes(40), b"bc" * 30]
SECOND = [b"d" * 20, b"e\0\0", b"fgh"]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Each record once, in order, whatever its payload; from a position on those after it, up to one those before."""
    folder, records = made(tmp_path, FIRST, SECOND)
    assert records == list(read(folder))
    for number, record in enumerate(records):
        assert records[number + 1 :] == list(read(folder, record.position))
        assert records[: number + 1] == list(read(folder, until=record.position))
    assert [] == list(read(folder, records[-1].position, records[-1].position))


def test_every_cut(tmp_path: Path) -> None:
    """However much of the last record's end is missing, those before it are read, and what there is of it is torn."""
    folder, records = made(tmp_path, FIRST, SECOND)
    path = folder / segment_name(records[3].position)
    whole = path.read_bytes()
    begin = start(records[-1]) - records[3].position
    for kept in range(begin, len(whole) - SPACE):
        for space in (b"", bytes(SPACE)):
            path.write_bytes(whole[:kept] + space)
            found = list(read(folder))
            assert records[:-1] == found[: len(records) - 1]
            torn = [] if kept == begin else [Damage(records[3].position + kept, kept - begin, torn=True)]
            # A cut after a zero leaves a shorter rest: unused space is zeros too.
            if whole[:kept].endswith(b"\0") and torn:
                assert all(isinstance(rest, Damage) and rest.torn and rest.size < kept - begin for rest in found[6:])
            else:
                assert torn == found[6:]


def test_every_bit(tmp_path: Path) -> None:
    """Wherever a bit is flipped, the record that it is in is told as damage, and all others are read."""
    folder, records = made(tmp_path, FIRST, SECOND)
    for path in sorted(folder.iterdir()):
        whole, base = path.read_bytes(), int(path.stem)
        for place in range(len(whole) * 8):
            position = base + place // 8
            changed = bytearray(whole)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            found = list(read(folder))
            hurt = [record for record in records if start(record) <= position < record.position]
            assert [record for record in records if record not in hurt] == [
                record for record in found if isinstance(record, Record)
            ]
            (damage,) = (rest for rest in found if isinstance(rest, Damage))
            assert damage.position - damage.size <= position < damage.position
            # Only behind the last readable record may it be what was never whole.
            assert damage.torn == (position >= start(records[-1]))
            if hurt and not damage.torn:
                assert Damage(hurt[0].position, hurt[0].position - start(hurt[0]), torn=False) == damage
        path.write_bytes(whole)


def test_a_run_that_is_known_to_go_further(tmp_path: Path) -> None:
    """Where it is known how far a run went, nothing of it is taken for never written."""
    folder, records = made(tmp_path, FIRST, SECOND)
    last = records[-1].position
    with (folder / segment_name(records[3].position)).open("r+b") as file:
        file.truncate(start(records[-1]) + 5 - records[3].position)
    assert [*records[:-1], Damage(last, last - start(records[-1]), torn=False)] == list(read(folder, until=last))


def test_missing_pieces(tmp_path: Path) -> None:
    """A segment missing between others is damage of its size; at the front it was shipped, and is no damage."""
    folder, records = made(tmp_path, FIRST, SECOND, FIRST)
    (folder / segment_name(records[3].position)).unlink()
    size = records[6].position - records[3].position
    assert [*records[:4], Damage(records[6].position, size, torn=False), *records[7:]] == list(read(folder))
    (folder / segment_name(0)).unlink()
    assert records[7:] == list(read(folder))


def test_a_hole_in_the_middle(tmp_path: Path) -> None:
    """Zeros before a readable record are no end: a machine that stops may have written what came later alone."""
    folder, records = made(tmp_path, FIRST, SECOND)
    path = folder / segment_name(0)
    data = bytearray(path.read_bytes())
    data[: start(records[2])] = bytes(start(records[2]))
    path.write_bytes(data)
    assert [Damage(start(records[2]), start(records[2]), torn=False), *records[2:]] == list(read(folder))


def test_a_record_inside_a_record(tmp_path: Path) -> None:
    """A payload that holds the bytes of a record is not read as one, though what holds it is damaged."""
    seal = Seal(RUN)
    forged = [seal.record(position, 7, b"forged") for position in (0, 13, 77)]
    elsewhere = Seal("another-run").record(HEADER_BYTES + 3 * len(forged[0]), 7, b"forged")
    folder, records = made(tmp_path, [b"".join(forged) + elsewhere, b"real"])
    path = folder / segment_name(0)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert [Damage(records[0].position, records[0].position, torn=False), records[1]] == list(read(folder))


def test_another_name(tmp_path: Path) -> None:
    """A folder under another name than its own is damage from end to end."""
    folder, records = made(tmp_path, FIRST)
    other = folder.rename(tmp_path / "other")
    assert [Damage(records[-1].position, records[-1].position, torn=True)] == list(read(other))


def test_damage_longer_than_what_is_held_in_memory(tmp_path: Path) -> None:
    """Megabytes of noise between two records are told as what they are, and the second is found."""
    noise = random.Random(7).randbytes(1_000_000)  # noqa: S311  # noise, not a secret
    folder, records = made(tmp_path, [b"before", noise, b"behind"])
    path = folder / segment_name(0)
    data = bytearray(path.read_bytes())
    data[records[0].position] ^= 255
    path.write_bytes(data)
    size = records[1].position - records[0].position
    assert [records[0], Damage(records[1].position, size, torn=False), records[2]] == list(read(folder))
    os.truncate(path, records[1].position - 1)
    assert [records[0], Damage(records[1].position - 1, size - 1, torn=True)] == list(read(folder))


def test_other_files_in_the_folder(tmp_path: Path) -> None:
    """They are no segments."""
    folder, _ = made(tmp_path, FIRST)
    (folder / "notes.segment").write_bytes(b"x")
    (folder / "lock").touch()
    assert FIRST == payloads(read(folder))


def test_a_segment_that_cannot_be_read(tmp_path: Path) -> None:
    """What cannot be opened is an error, not nothing."""
    folder, _ = made(tmp_path, FIRST)
    (folder / segment_name(0)).unlink()
    (folder / segment_name(0)).mkdir()
    with pytest.raises(JournalError, match="cannot be read: Is a directory"):
        list(read(folder))
