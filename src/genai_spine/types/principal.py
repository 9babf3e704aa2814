"""Who is calling."""

from __future__ import annotations

from msgspec import Struct

from genai_spine.types.ledger import NOBODY, Caller

__all__ = ["ANYBODY", "Principal"]


class Principal(Struct, frozen=True):
    """The authenticated caller.

    Attributes:
        key: The fingerprint of the gateway key presented; empty where none is needed.
    """

    key: str

    @property
    def caller(self) -> Caller:
        """The same as records name him."""
        return NOBODY if not self.key else Caller(fingerprint=self.key)


ANYBODY = Principal("")
