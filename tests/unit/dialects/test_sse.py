"""Frames are cut as the HTML standard says, however the bytes arrive."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genai_spine.dialects.sse import MAX_FRAME_BYTES, Frame, Frames, frame, parse_frame
from genai_spine.errors import MalformedResponseError


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends(end: bytes) -> None:
    """Lines end in LF, CRLF or CR."""
    frames = Frames()
    found = frames.feed(end.join([b"event: a", b"data: 1", b"", b"data: 2", b"", b"x"]))
    assert [b"event: a\ndata: 1", b"data: 2"] == found
    assert frames.tail == b"x"


@settings(deadline=None)
@given(
    end=st.sampled_from([b"\n", b"\r\n"]),
    cuts=st.sets(st.integers(1, 40), max_size=8),
)
def test_cuts_make_no_difference(end: bytes, cuts: set[int]) -> None:
    """The frames are the same wherever the bytes are cut, between the two halves of a CRLF too."""
    body = end.join([b": hello", b"", b"data: 1", b"data: 2", b"", b"event: x", b"data: 3", b"", b""])
    whole = Frames().feed(body)
    frames = Frames()
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[begin:stop] for begin, stop in pairwise(places)]
    assert whole == [found for piece in pieces for found in frames.feed(piece)]


def test_an_endless_frame_is_refused() -> None:
    """A frame that never ends does not fill the memory."""
    with pytest.raises(MalformedResponseError):
        Frames().feed(b"x" * (MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: {}", Frame("", b"{}")),
        (b"data:{}", Frame("", b"{}")),
        (b"data:  {}", Frame("", b" {}")),
        (b"data: 1\ndata: 2", Frame("", b"1\n2")),
        (b"event: error\ndata: {}", Frame("error", b"{}")),
        (b"id: 7\nretry: 10\ndata: {}", Frame("", b"{}")),
        (b"\xef\xbb\xbfdata: {}", Frame("", b"{}")),
        (b": OPENROUTER PROCESSING", None),
        (b"", None),
        (b"event: ping", Frame("ping", b"")),
    ],
)
def test_parse(raw: bytes, expected: Frame | None) -> None:
    """Fields other than event and data are ignored, a comment is nothing, one space after the colon is not data."""
    assert expected == parse_frame(raw)


def test_what_is_written_is_read() -> None:
    """A written frame is read as it was."""
    assert [Frame("done", b"{}")] == [parse_frame(raw) for raw in Frames().feed(frame(b"{}", "done"))]
    assert [Frame("", b"{}")] == [parse_frame(raw) for raw in Frames().feed(frame(b"{}"))]
