"""AWS event streams (``application/vnd.amazon.eventstream``): messages of headers and a payload, with checksums.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from genai_spine.errors import MalformedResponseError

__all__ = ["EventMessage", "EventMessages", "HeaderValue", "encode_message"]

MAX_HEADER_BYTES: Final = 128 * 1024
MAX_PAYLOAD_BYTES: Final = 24 * 1024 * 1024
"""The limits of AWS's own clients."""

HeaderValue: TypeAlias = bool | int | bytes | str
"""A timestamp is read as its milliseconds since the epoch, a UUID as its 16 bytes."""

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">H")
_OVERHEAD: Final = _PRELUDE.size + _CRC.size

# The types of header values, as their first byte tells them.
_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_INTEGER, _LONG = 4, 5
_NUMBERS: Final = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    _INTEGER: struct.Struct(">i"),
    _LONG: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
_UUID_BYTES: Final = 16


class EventMessage(Struct, frozen=True):
    """One message; ``raw`` is the whole of it as it came."""

    headers: dict[str, HeaderValue]
    payload: bytes
    raw: bytes = b""

    def text(self, name: str) -> str:
        """Return a header that is text; empty if there is none."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class EventMessages:
    """Cuts bytes, however they arrive, into whole messages whose checksums hold."""

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        # Bytes that the message at the head of the buffer has; 0 before its prelude has been read.
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[EventMessage]:
        """Yield the messages that ``data`` completes.

        Raises:
            MalformedResponseError: A checksum or length is wrong, or a message grows past all reason. Those before it
                have been yielded.
        """
        self._buffer += data
        while True:
            if not self._needed:
                if len(self._buffer) < _PRELUDE.size:
                    return
                self._needed = _total_length(self._buffer)
            if len(self._buffer) < self._needed:
                return
            raw = bytes(self._buffer[: self._needed])
            del self._buffer[: self._needed]
            self._needed = 0
            yield _message(raw)


def _malformed(what: str) -> MalformedResponseError:
    return MalformedResponseError(f"the provider's event stream is malformed: {what}")


def _total_length(buffer: bytearray) -> int:
    """Check the prelude at the head of the buffer; return its message's length."""
    total, headers, checksum = _PRELUDE.unpack_from(buffer)
    if checksum != crc32(buffer[:8]):
        fault = _malformed("a message's head does not match its checksum")
        raise fault
    payload = total - headers - _OVERHEAD
    if headers > MAX_HEADER_BYTES or not 0 <= payload <= MAX_PAYLOAD_BYTES:
        fault = _malformed(f"a message of {total} bytes, {headers} of them headers")
        raise fault
    return int(total)


def _message(raw: bytes) -> EventMessage:
    if _CRC.unpack_from(raw, len(raw) - _CRC.size)[0] != crc32(raw[: -_CRC.size]):
        fault = _malformed("a message does not match its checksum")
        raise fault
    end = _PRELUDE.size + int(_PRELUDE.unpack_from(raw)[1])
    try:
        headers = dict(_headers(raw[_PRELUDE.size : end]))
    except (struct.error, UnicodeDecodeError, IndexError, KeyError) as error:
        fault = _malformed("a message's headers cannot be read")
        raise fault from error
    return EventMessage(headers, raw[end : -_CRC.size], raw)


def _headers(data: bytes) -> Iterator[tuple[str, HeaderValue]]:
    place = 0
    seen: set[str] = set()
    while place < len(data):
        length = data[place]
        name = data[place + 1 : place + 1 + length].decode()
        kind = data[place + 1 + length]
        place += 2 + length
        if name in seen:
            fault = _malformed(f"the header {name} stands twice in a message")
            raise fault
        seen.add(name)
        value: HeaderValue
        if kind in {_TRUE, _FALSE}:
            value = kind == _TRUE
        elif kind in {_BYTES, _STRING, _UUID}:
            size = _UUID_BYTES
            if kind != _UUID:
                size = int(_LENGTH.unpack_from(data, place)[0])
                place += _LENGTH.size
            value = data[place : place + size]
            if len(value) < size:
                raise IndexError
            place += size
            if kind == _STRING:
                value = value.decode()
        else:
            number = _NUMBERS[kind]
            value = int(number.unpack_from(data, place)[0])
            place += number.size
        yield name, value


def encode_message(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """Return a message.

    Raises:
        ValueError: A name, a value or the whole is longer than a message may be.
    """
    head = b"".join(_header(name, value) for name, value in headers.items())
    if len(head) > MAX_HEADER_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        message = f"a message of {len(head)} bytes of headers and {len(payload)} of payload is too long"
        raise ValueError(message)
    sizes = struct.pack(">II", _OVERHEAD + len(head) + len(payload), len(head))
    whole = sizes + _CRC.pack(crc32(sizes)) + head + payload
    return whole + _CRC.pack(crc32(whole))


def _header(name: str, value: HeaderValue) -> bytes:
    encoded = name.encode()
    if not 0 < len(encoded) < 256:
        message = f"a header's name must have 1 to 255 bytes, not {len(encoded)}"
        raise ValueError(message)
    start = bytes([len(encoded)]) + encoded
    match value:
        case bool():
            return start + bytes([_TRUE if value else _FALSE])
        case int():
            kind = _INTEGER if -(2**31) <= value < 2**31 else _LONG
            try:
                return start + bytes([kind]) + _NUMBERS[kind].pack(value)
            except struct.error as error:
                message = f"the header {name} is a number of more than 64 bits"
                raise ValueError(message) from error
        case _:
            kind, data = (_STRING, value.encode()) if isinstance(value, str) else (_BYTES, value)
            if len(data) > 0x7FFF:
                message = f"the header {name} has {len(data)} bytes, more than 32767"
                raise ValueError(message)
            return start + bytes([kind]) + _LENGTH.pack(len(data)) + data
