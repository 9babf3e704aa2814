"""Server-sent events: the framing of the HTML standard, cut into frames and written.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import Final, NamedTuple

from genai_spine.errors import MalformedResponseError

__all__ = ["Frame", "Frames", "frame", "is_comment", "parse_frame"]

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
# The standard allows one at the head of a stream.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event: its name (empty where none was given) and its data, lines joined."""

    event: str
    data: bytes


class Frames:
    """Cuts bytes, however they arrive, into whole frames."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes, without their blank line.

        Raises:
            MalformedResponseError: A frame grows past all reason.
        """
        if not self._pieces and data.endswith(b"\n\n") and b"\r" not in data:
            # How it nearly always comes: whole frames, and nothing held back.
            return data[:-2].split(b"\n\n")
        if self._goes_on(data):
            # Joined only once a line ends: a long frame in small pieces would else be copied with each.
            self._keep(data)
            return []
        if self._pieces:
            data = b"".join([*self._pieces, data])
        if b"\r" in data:
            # A lone \r at the end may be half of \r\n: it waits for the next byte.
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        frames = data.split(b"\n\n")
        self._pieces, self._size = [], 0
        self._keep(frames.pop() + held)
        return frames

    @property
    def tail(self) -> bytes:
        """What has come of a frame that is not complete yet."""
        return b"".join(self._pieces)

    def _goes_on(self, data: bytes) -> bool:
        """Whether ``data`` is in the midst of a line, so that it cannot complete a frame."""
        return b"\n" not in data and b"\r" not in data and not (self._pieces and self._pieces[-1].endswith(b"\r"))

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._size += len(data)
        if self._size > MAX_FRAME_BYTES:
            message = f"the provider sent a stream frame of more than {MAX_FRAME_BYTES} bytes"
            raise MalformedResponseError(message)


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


def is_comment(raw: bytes) -> bool:
    """Whether ``raw``, in which there is no event, is a sign of life rather than a page or other junk."""
    return raw.lstrip(b"\n").startswith(b":")


def frame(data: bytes, event: str = "") -> bytes:
    """Return the bytes of one event whose data is one line."""
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data
