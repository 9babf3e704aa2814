"""API keys: how they are made, where they may stand in a request, and what is kept of them: never the key itself.

A key is ``spine-<twelve letters and digits>-<secret>``. What comes before the secret is its prefix, by which people
recognise it and the database finds it. The keys of the environment may be of any form.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from genai_spine.redact import Secret
from genai_spine.storage.records import SecretRecord
from genai_spine.types.principal import SCOPES_OF, Principal

__all__ = ["KeyRing", "is_secret", "new_key", "prefix_of", "presented_key", "secret_of"]

_FORM: Final = re.compile(r"(spine-[a-z2-7]{12})-[A-Za-z0-9_-]{43}", re.ASCII)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_SECRET_BYTES: Final = 32
_PERSON: Final = b"spine api key"


def new_key() -> Secret:
    """Return a key that nobody has."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(12))
    return Secret(f"spine-{letters}-{secrets.token_urlsafe(_SECRET_BYTES)}")


def prefix_of(key: str) -> str | None:
    """Return how a key begins; None where it is not of the form of those in the database."""
    found = _FORM.fullmatch(key)
    return found and found[1]


def secret_of(key: Secret) -> SecretRecord:
    """Return what is kept of a key that ``new_key`` made. The secret is random, so a fast hash keeps it safe."""
    salt = secrets.token_bytes(16)
    text = key.reveal()
    return SecretRecord(prefix_of(text) or "", salt, _hashed(text, salt))


def is_secret(presented: str, kept: SecretRecord) -> bool:
    """Return whether a key is the one that something was kept of; the time that it takes tells nothing."""
    return hmac.compare_digest(_hashed(presented, kept.salt), kept.hash)


def _hashed(key: str, salt: bytes) -> bytes:
    return hashlib.blake2b(key.encode(), salt=salt, person=_PERSON, digest_size=32).digest()


class KeyRing:
    """The keys that the operator named where the gateway was started; they are good for everything.

    Attributes:
        known: Who presents them, by ``digest``.
        open_to_all: Nobody is asked for a key.
    """

    def __init__(self, keys: Iterable[Secret] = (), *, open_to_all: bool = False) -> None:
        # The hash is keyed by a secret of this process, so that what is kept is of no use elsewhere, and how long it
        # takes to look for one tells nothing.
        self._hash = hashlib.blake2s(key=secrets.token_bytes(32))
        self.open_to_all = open_to_all
        self.known: Mapping[bytes, Principal] = {
            self.digest(key.reveal()): Principal(key.fingerprint, role="admin", scopes=SCOPES_OF["admin"])
            for key in keys
        }

    def digest(self, key: str) -> bytes:
        """Return that by which this process remembers a key."""
        hashed = self._hash.copy()
        hashed.update(key.encode("utf-8", "surrogatepass"))
        return hashed.digest()


def presented_key(headers: Mapping[str, str], query: str = "") -> str | None:
    """Return the key that a request presents, in any of the places where the official clients put theirs.

    Args:
        headers: By lower-case name.
        query: The query string, where Gemini's clients may put it as ``key``.
    """
    given = headers.get("authorization")
    if given is not None and given[:7].lower() == "bearer " and (token := given[7:].strip()):
        return token
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if key := headers.get(name, "").strip():
            return key
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if name == "key" and value:
            return unquote(value)
    return None
