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
    """Cuts bytes, however they arrive, into whole frames. Each byte is looked at once, however small the pieces."""

    __slots__ = ("_held", "_skip")

    def __init__(self) -> None:
        self._held = bytearray()
        # What came last ended in \r, which has ended a line: a \n right behind it belongs to it.
        self._skip = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that ``data`` completes, without their blank line.

        Raises:
            MalformedResponseError: A frame grows past all reason.
        """
        if self._skip or b"\r" in data:
            data = self._plain(data)
        if not self._held and data.endswith(b"\n\n") and not data.endswith(b"\n\n\n"):
            # How it nearly always comes: whole frames, and nothing held back.
            return data[:-2].split(b"\n\n")
        # A blank line can begin with the last byte that is held, not before it.
        start = max(0, len(self._held) - 1)
        self._held += data
        if self._held.find(b"\n\n", start) < 0:
            frames = []
        else:
            frames = bytes(self._held).split(b"\n\n")
            self._held = bytearray(frames.pop())
        if len(self._held) > MAX_FRAME_BYTES:
            message = f"the provider sent a stream frame of more than {MAX_FRAME_BYTES} bytes"
            raise MalformedResponseError(message)
        return frames

    @property
    def tail(self) -> bytes:
        """What has come of a frame that is not complete yet."""
        return bytes(self._held)

    def _plain(self, data: bytes) -> bytes:
        r"""Return ``data`` with all its lines ended by \n."""
        if self._skip and data:
            data = data.removeprefix(b"\n")
            self._skip = False
        if data:
            self._skip = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


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
