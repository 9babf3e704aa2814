"""Records as the journal holds them: what is written is read, by this version and by what an earlier one wrote."""

from __future__ import annotations

import msgspec
import pytest

from genai_spine.ledger.records import AUDIT, BEGUN, ENDED, REQUEST, Entry, decoded, encoded
from genai_spine.types.ledger import AuditEvent
from genai_spine.types.usage import CostByKind
from tests.ledgers import call, request

BEGINNING, END = call("c1", by_kind=CostByKind(input=20, output=7))


@pytest.mark.parametrize(
    ("kind", "record"),
    [(BEGUN, BEGINNING), (ENDED, END), (REQUEST, request("r1")), (AUDIT, AuditEvent(at=1, event="nav"))],
)
def test_what_is_written_is_read(kind: int, record: Entry) -> None:
    """Each kind of record comes back as it was."""
    assert record == decoded(kind, encoded(record))


def test_an_end_of_an_earlier_version() -> None:
    """One that does not tell a cost by kind is read as one of which nobody tells."""
    fields = msgspec.msgpack.decode(encoded(END))
    assert msgspec.structs.replace(END, by_kind=None) == decoded(ENDED, msgspec.msgpack.encode(fields[:-1]))


@pytest.mark.parametrize(("kind", "payload"), [(99, b""), (ENDED, b"\xff"), (BEGUN, b"\x90"), (BEGUN, b"\x91\xa1\xff")])
def test_what_is_no_record(kind: int, payload: bytes) -> None:
    """An unknown kind, and bytes that are none of its kind, are told as such."""
    with pytest.raises(ValueError, match=r"."):
        decoded(kind, payload)
