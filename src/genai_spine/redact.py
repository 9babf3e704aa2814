"""Secrets that cannot be printed by accident, and the scrubbing of text that may hold one."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from typing_extensions import override

__all__ = ["MASK", "Secret", "scrub"]

MASK: Final = "[redacted]"
SHORTEST: Final = 8

# Shapes in which keys turn up in foreign text: well-known prefixes, headers echoed back, `key=` in addresses.
_SHAPES: Final = re.compile(
    r"""
    \b(?:sk|pk|gsk|xai|r8|fw|csk|tgp|hf|nvapi|spine)[-_][A-Za-z0-9_\-*]{6,}
    | \bAIza[A-Za-z0-9_\-]{10,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{12,}
    | \bBearer\s+[^\s"',}]+
    | (?<=[?&]key=)[^&\s"']+
    | (?<=api[_-]key["':=\s])["':=\s]*[A-Za-z0-9_\-]{8,}
    """,
    re.VERBOSE | re.IGNORECASE,
)


class Secret:
    """A string whose text shows only where ``reveal`` is called."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself, for the header that carries it."""
        return self._text

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits by which logs tell one key from another."""
        return hashlib.blake2b(self._text.encode(), digest_size=4).hexdigest()

    @override
    def __repr__(self) -> str:
        return f"Secret({self.fingerprint})"

    __str__ = __repr__

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    @override
    def __hash__(self) -> int:
        return hash(self._text)

    @override
    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        # Pickled or copied into a report, it is a mask like any other.
        return (str, (MASK,))


def scrub(text: str, *secrets: Secret) -> str:
    """Return ``text`` without the given secrets and without anything shaped like a key."""
    for secret in secrets:
        revealed = secret.reveal()
        # A dummy such as `none` hides nothing, and would blot out words.
        if len(revealed) >= SHORTEST:
            text = text.replace(revealed, MASK)
    return _SHAPES.sub(MASK, text)
