"""AWS event streams: what is written is read, however it is cut, as AWS's own client does; what is broken is told."""

from __future__ import annotations

import struct
from binascii import crc32

import pytest
from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]  # it has no types
from hypothesis import given
from hypothesis import strategies as st

from genai_spine.dialects.eventstream import (
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    EventMessage,
    EventMessages,
    HeaderValue,
    encode_message,
)
from genai_spine.errors import MalformedResponseError

HEADERS: dict[str, HeaderValue] = {":event-type": "messageStart", ":message-type": "event"}
BODY = b'{"role":"assistant"}'

_names = st.text(min_size=1, max_size=20).filter(lambda name: len(name.encode()) < 256)
_values: st.SearchStrategy[HeaderValue] = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), st.text(max_size=20)
)
_contents = st.tuples(st.dictionaries(_names, _values, max_size=4), st.binary(max_size=60))


def read(*pieces: bytes) -> list[EventMessage]:
    """The messages of a stream that comes in these pieces."""
    messages = EventMessages()
    return [message for piece in pieces for message in messages.feed(piece)]


def framed(headers: bytes, payload: bytes = b"") -> bytes:
    """A message whose headers are given as bytes, its checksums right."""
    sizes = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    whole = sizes + struct.pack(">I", crc32(sizes)) + headers + payload
    return whole + struct.pack(">I", crc32(whole))


@given(st.lists(_contents, min_size=1, max_size=3), st.data())
def test_what_is_written_is_read(contents: list[tuple[dict[str, HeaderValue], bytes]], data: st.DataObject) -> None:
    """Headers of every type and any payload come back, wherever the bytes are cut."""
    parts = [encode_message(headers, payload) for headers, payload in contents]
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    expected = [EventMessage(headers, payload, raw) for (headers, payload), raw in zip(contents, parts, strict=True)]
    assert expected == read(stream[:cut], stream[cut:])


@given(_contents)
def test_the_official_client_reads_what_is_written(content: tuple[dict[str, HeaderValue], bytes]) -> None:
    """AWS's botocore is the oracle: it finds the same headers and the same payload."""
    headers, payload = content
    buffer = EventStreamBuffer()
    buffer.add_data(encode_message(headers, payload))
    assert [(headers, payload)] == [(message.headers, message.payload) for message in buffer]


def test_cut_at_every_byte() -> None:
    """Two messages cut in two at any byte, or into single bytes, are the same two messages."""
    stream = encode_message(HEADERS, BODY) + encode_message({":message-type": "event"}, b"")
    whole = read(stream)
    assert [BODY, b""] == [message.payload for message in whole]
    for cut in range(len(stream) + 1):
        assert whole == read(stream[:cut], stream[cut:])
    assert whole == read(*(stream[place : place + 1] for place in range(len(stream))))


def test_the_start_of_a_message_is_none() -> None:
    """Nothing is told of a message that has not come whole."""
    stream = encode_message(HEADERS, BODY)
    for cut in range(len(stream)):
        assert [] == read(stream[:cut])


@pytest.mark.parametrize("place", range(len(encode_message(HEADERS, BODY))))
def test_a_changed_bit_is_found(place: int) -> None:
    """Whichever bit is changed, one of the two checksums tells; botocore agrees."""
    stream = bytearray(encode_message(HEADERS, BODY))
    stream[place] ^= 1
    with pytest.raises(MalformedResponseError, match="checksum"):
        read(bytes(stream))
    buffer = EventStreamBuffer()
    buffer.add_data(bytes(stream))
    with pytest.raises(Exception, match="Checksum mismatch"):
        list(buffer)


def test_good_messages_before_a_broken_one_are_told() -> None:
    """What was whole before the fault has been yielded when it is raised."""
    messages = EventMessages().feed(encode_message(HEADERS, BODY) + b"\0" * 16)
    assert BODY == next(messages).payload
    with pytest.raises(MalformedResponseError):
        next(messages)


def test_every_type_of_header() -> None:
    """The types that only a service writes are read too: small numbers, timestamps, UUIDs."""
    headers = (
        b"\x01a\x00"
        b"\x01b\x01"
        b"\x01c\x02\xff"
        b"\x01d\x03\x01\x00"
        b"\x01e\x04\x00\x00\x00\x05"
        b"\x01f\x05\x00\x00\x00\x00\x00\x00\x00\x06"
        b"\x01g\x06\x00\x02\x07\x08"
        b"\x01h\x07\x00\x03\xe2\x82\xac"
        b"\x01i\x08\x00\x00\x00\x00\x00\x00\x03\xe8"
        b"\x01j\x09" + bytes(range(16))
    )
    expected = {
        "a": True,
        "b": False,
        "c": -1,
        "d": 256,
        "e": 5,
        "f": 6,
        "g": b"\x07\x08",
        "h": "€",
        "i": 1000,
        "j": bytes(range(16)),
    }
    message = read(framed(headers, b"x"))[0]
    assert expected == message.headers
    assert ("€", "", "") == (message.text("h"), message.text("e"), message.text("none"))


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05ab",  # a name that ends too early
        b"\x01a",  # no type
        b"\x01a\x0a",  # an unknown type
        b"\x01a\x04\x00",  # a number that ends too early
        b"\x01a\x07\x00",  # no length
        b"\x01a\x07\x00\x05abc",  # text that ends too early
        b"\x01a\x09abc",  # a UUID that ends too early
        b"\x01a\x07\x00\x01\xff",  # text that is not UTF-8
        b"\x01a\x00\x01a\x01",  # a name given twice
    ],
)
def test_headers_that_cannot_be_read(headers: bytes) -> None:
    """Checksums that hold do not make headers good."""
    with pytest.raises(MalformedResponseError, match="header"):
        read(framed(headers))


@pytest.mark.parametrize(
    ("total", "headers"),
    [(16 + MAX_PAYLOAD_BYTES + 1, 0), (16 + MAX_HEADER_BYTES + 1, MAX_HEADER_BYTES + 1), (15, 0), (20, 5)],
)
def test_sizes_beyond_reason(total: int, headers: int) -> None:
    """A message too long, or shorter than its own frame, is refused by its head, before any of it is kept."""
    sizes = struct.pack(">II", total, headers)
    with pytest.raises(MalformedResponseError, match=f"a message of {total} bytes"):
        read(sizes + struct.pack(">I", crc32(sizes)))


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({"": "x"}, b""),
        ({"n" * 256: "x"}, b""),
        ({"a": "x" * 32768}, b""),
        ({"a": 2**63}, b""),
        ({str(number): "x" * 32767 for number in range(5)}, b""),
        ({}, bytes(MAX_PAYLOAD_BYTES + 1)),
    ],
)
def test_what_does_not_fit_is_not_written(headers: dict[str, HeaderValue], payload: bytes) -> None:
    """Names, values and wholes beyond the limits raise ValueError."""
    with pytest.raises(ValueError, match=r"long|bytes|64 bits"):
        encode_message(headers, payload)
