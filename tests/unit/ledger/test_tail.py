"""The newest records in memory: in their order, each once, and none where one before it is missing."""

from __future__ import annotations

from genai_spine.ledger.tail import Tail
from tests.ledgers import request


def noted(count: int, *, most: int) -> Tail:
    """A tail that was told of so many records of ten bytes."""
    tail = Tail(most=most)
    for number in range(count):
        tail.note(10 * number, 10 * number + 10, request(f"r{number}"))
    return tail


def ends(tail: Tail, after: int, most: int = 100) -> list[int]:
    """Where the records end that are taken."""
    return [end for _, end, _ in tail.take(after, most)]


def test_it_gives_what_follows() -> None:
    """So many as are asked for, from where it was read up to; what was read elsewhere meanwhile is not given."""
    tail = noted(6, most=100)
    assert [10, 20] == ends(tail, 0, 2)
    assert [40, 50] == ends(tail, 30, 2)
    assert [60] == ends(tail, 50)
    assert [] == ends(tail, 60)


def test_nothing_is_left_out() -> None:
    """What is too much goes, and until that was read elsewhere nothing is given."""
    tail = noted(13, most=5)
    assert [] == ends(tail, 0)
    assert [] == ends(tail, 90)
    assert [110, 120, 130] == ends(tail, 100)


def test_a_position_inside_a_record_is_none() -> None:
    """Whoever has read up to where no record ends reads on by himself."""
    tail = noted(3, most=5)
    assert [] == ends(tail, 15)
