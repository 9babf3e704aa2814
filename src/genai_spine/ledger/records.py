"""What the journal's records hold: numbers for their kinds, and how each is written and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from genai_spine.types.ledger import AuditEvent, CallBegun, CallEnded, RequestDone

__all__ = ["AUDIT", "BEGUN", "ENDED", "REQUEST", "Batch", "Entry", "decoded", "encoded", "tamed"]

BEGUN: Final = 1
ENDED: Final = 2
REQUEST: Final = 3
AUDIT: Final = 4
"""The kinds."""

Entry: TypeAlias = CallBegun | CallEnded | RequestDone | AuditEvent

_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final[dict[int, Callable[[bytes], Entry]]] = {
    BEGUN: msgspec.msgpack.Decoder(CallBegun).decode,
    ENDED: msgspec.msgpack.Decoder(CallEnded).decode,
    REQUEST: msgspec.msgpack.Decoder(RequestDone).decode,
    AUDIT: msgspec.msgpack.Decoder(AuditEvent).decode,
}
# Whole numbers beyond this fit neither the format nor a column; of longer texts the database keeps less anyway.
_MOST: Final = 2**62
_LONG: Final = 1 << 14
_LONGEST_TEXT: Final = 1000


class Batch(NamedTuple):
    """What is complete, and goes into the database together."""

    calls: list[tuple[CallBegun, CallEnded]]
    requests: list[RequestDone]
    events: list[tuple[str, AuditEvent]]

    def __bool__(self) -> bool:
        return bool(self.calls or self.requests or self.events)

    @property
    def size(self) -> int:
        """How many rows it makes."""
        return len(self.calls) + len(self.requests) + len(self.events)


def encoded(record: Entry) -> bytes:
    """Return the bytes of a record; what providers and callers put into it may be odd or long, and must not lose it."""
    try:
        payload = _encoder.encode(record)
    except (OverflowError, UnicodeEncodeError):
        payload = b""
    if 0 < len(payload) <= _LONG:
        return payload
    return _encoder.encode(tamed(record))


def decoded(kind: int, payload: bytes) -> Entry:
    """Return a record.

    Raises:
        ValueError: The bytes are not one, or of a kind that this version does not know.
    """
    if kind not in _decoders:
        message = f"records of kind {kind} are not known"
        raise ValueError(message)
    try:
        return _decoders[kind](payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def tamed(record: object) -> Any:
    """Return what can be written of a record: numbers within bounds, texts of whole characters."""
    return _tamed(msgspec.to_builtins(record, builtin_types=(bytes,)))


def _tamed(value: Any) -> Any:
    match value:
        case bool():
            return value
        case int():
            return min(max(value, -_MOST), _MOST)
        case str():
            return value[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
        case list() | tuple():
            return [_tamed(item) for item in value]
        case dict():
            return {_tamed(name): _tamed(item) for name, item in value.items()}
        case _:
            return value
