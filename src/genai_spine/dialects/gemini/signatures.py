"""Gemini: whether the calls in a request are signed, which the service's newer models demand."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

__all__ = ["holds_unsigned_call"]


_NOTHING: Final = Raw()


class _Part(Struct):
    functionCall: Raw = _NOTHING  # noqa: N815  # the service's own name
    function_call: Raw = _NOTHING
    thoughtSignature: Raw = _NOTHING  # noqa: N815  # the service's own name
    thought_signature: Raw = _NOTHING

    @property
    def calls(self) -> bool:
        """A call is its payload."""
        return len(self.functionCall) + len(self.function_call) > 0

    @property
    def signed(self) -> bool:
        """A signature stands beside it."""
        return len(self.thoughtSignature) + len(self.thought_signature) > 0


class _Content(Struct):
    parts: list[_Part] = []


class _Body(Struct):
    contents: list[_Content] = []


_CALLS: Final = (b'"functionCall"', b'"function_call"')
_decode: Final = msgspec.json.Decoder(_Body).decode


def holds_unsigned_call(body: bytes) -> bool:
    """Return whether a step's first call has no signature: another model made it, or a client has lost it."""
    if not any(name in body for name in _CALLS):
        return False
    try:
        contents = _decode(body).contents
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # What is wrong with it the service tells better.
        return False
    firsts = (next((part for part in content.parts if part.calls), None) for content in contents)
    return any(first is not None and not first.signed for first in firsts)
