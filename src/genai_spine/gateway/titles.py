"""By which names workers tell each other of keys and circuits: the same for all who call the same service.

A title holds no key, but its fingerprint, and no address, for that may hold a password.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from genai_spine.providers.base import Provider
from genai_spine.redact import scrub

__all__ = ["Title", "is_tellable", "place_of"]

_LONGEST_MODEL: Final = 200


class Title(NamedTuple):
    """What a note is about.

    Attributes:
        kind: ``key`` or ``circuit``.
        place: The service, as ``place_of`` tells it.
        what: The key's fingerprint; or the model whose circuit it is, empty for the provider's own.
    """

    kind: str
    place: str
    what: str

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.place.rpartition("@")[0]

    def text(self) -> str:
        """Return it as a note's name."""
        return f"{self.kind}:{self.place}/{self.what}"

    @classmethod
    def read(cls, text: str) -> Title | None:
        """Return the title of a note; None where it is none."""
        kind, _, rest = text.partition(":")
        place, slash, what = rest.partition("/")
        return cls(kind, place, what) if slash else None


def place_of(provider: Provider, machine: str) -> str:
    """Return what tells a service from all others; one on the machine itself is another on each machine."""
    where = provider.address
    if provider.local or _is_loopback(where):
        where = f"{machine} {where}"
    return f"{provider.name}@{hashlib.blake2b(where.encode(), digest_size=8).hexdigest()}"


def is_tellable(model: str) -> bool:
    """Return whether others may be told of a model: callers write the names, and may have put a key there."""
    return len(model) <= _LONGEST_MODEL and model.isprintable() and scrub(model) == model


def _is_loopback(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
