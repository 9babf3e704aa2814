"""Where the beginning of a conversation may still lie in a prompt cache: at the place and under the key that served it.

A conversation is known by what it begins with: its instructions and the user's first words. One that begins has no
cache to come back to, so only one that goes on is looked for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from genai_spine.clock import Clock
from genai_spine.dialects.base import Envelope
from genai_spine.routing.options import Option
from genai_spine.types.principal import Principal

__all__ = ["Affinities", "Home", "at_home"]

MOST_REMEMBERED: Final = 8192
SECONDS: Final = 3600.0
"""The longest that providers keep a prompt which is used again and again."""
_TURNS: Final = ("messages", "contents", "input")
_INSTRUCTIONS: Final = ("system", "systemInstruction", "instructions", "tools")


class Home(Struct, frozen=True):
    """Who served a conversation last: ``provider/model``, and the key's fingerprint."""

    name: str
    key: str


class _Turn(Struct):
    role: str = ""


_turns: Final = msgspec.json.Decoder(list[Raw])
_turn: Final = msgspec.json.Decoder(_Turn)


class Affinities:
    """The homes of conversations, of late."""

    def __init__(self, clock: Clock) -> None:
        """Begin without any; ``clock`` tells when one is too old."""
        self._clock = clock
        self._homes: OrderedDict[bytes, tuple[float, Home]] = OrderedDict()

    def find(self, principal: Principal, envelope: Envelope) -> tuple[bytes | None, Home | None]:
        """Return by what a conversation is known, and its home if it goes on and has one."""
        found = _beginning(envelope)
        if found is None:
            return None, None
        begins, goes_on = found
        name = hashlib.blake2b(b"\n".join((principal.owner.encode(), *begins)), digest_size=16).digest()
        at, home = self._homes.get(name, (0.0, None))
        if not goes_on or home is None or self._clock.monotonic() - at > SECONDS:
            return name, None
        return name, home

    def note(self, name: bytes, home: Home) -> None:
        """Note who served a conversation."""
        self._homes[name] = (self._clock.monotonic(), home)
        self._homes.move_to_end(name)
        if len(self._homes) > MOST_REMEMBERED:
            self._homes.popitem(last=False)


def _beginning(envelope: Envelope) -> tuple[list[bytes], bool] | None:
    """What a conversation begins with, and whether it goes on; None where there is no telling."""
    raw = next((envelope.fields[name] for name in _TURNS if name in envelope.fields), None)
    try:
        turns = _turns.decode(raw) if raw is not None else []
        begins = [bytes(envelope.fields[name]) for name in _INSTRUCTIONS if name in envelope.fields]
        for place, turn in enumerate(turns):
            begins.append(bytes(turn))
            if _turn.decode(turn).role == "user":
                return begins, place + 1 < len(turns)
    except msgspec.DecodeError:
        pass  # Responses takes a mere text, and whatever else is wrong here is told where the request is read
    return None


def at_home(options: Sequence[Option], home: Home) -> Sequence[Option]:
    """Return places with a conversation's home first, if it is among those that serve the model which was named."""
    place = next((place for place, option in enumerate(options) if option.name == home.name), 0)
    if not place or options[place].same_model != options[0].same_model:
        return options
    return [options[place], *options[:place], *options[place + 1 :]]
