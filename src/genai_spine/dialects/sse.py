"""Server-sent events: the framing of the HTML standard, cut into frames and written.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import Final, NamedTuple

from genai_spine.errors import MalformedResponseError

__all__ = ["Frame", "Frames", "frame", "parse_frame"]

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
# The standard allows one at the head of a stream.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event: its name (empty where none was given) and its data, lines joined."""

    event: str
    data: bytes


class Frames:
    """Cuts bytes, however they arrive, into whole frames."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes, without their blank line.

        Raises:
            MalformedResponseError: A frame grows past all reason.
        """
        if self._tail:
            data = self._tail + data
        if b"\r" in data:
            # A lone \r at the end may be half of \r\n: it waits for the next byte.
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        frames = data.split(b"\n\n")
        self._tail = frames.pop() + held
        if len(self._tail) > MAX_FRAME_BYTES:
            message = f"the provider sent a stream frame of more than {MAX_FRAME_BYTES} bytes"
            raise MalformedResponseError(message)
        return frames

    @property
    def tail(self) -> bytes:
        """What has come of a frame that is not complete yet."""
        return self._tail


def parse_frame(raw: bytes) -> Frame | None:
    """Return the event in ``raw``; None for one that holds only comments."""
    if raw.startswith(b"data: ") and b"\n" not in raw:
        return Frame("", raw[6:])
    event, lines = "", []
    for line in raw.split(b"\n"):
        name, _, value = line.removeprefix(BYTE_ORDER_MARK).partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            lines.append(value)
        elif name == b"event":
            event = value.decode(errors="replace")
    if not lines and not event:
        return None
    return Frame(event, b"\n".join(lines))


def frame(data: bytes, event: str = "") -> bytes:
    """Return the bytes of one event whose data is one line."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data
