"""Who is calling."""

from __future__ import annotations

from msgspec import Struct

from genai_spine.types.ledger import NOBODY, Caller
from genai_spine.types.limits import Limit

__all__ = ["ANYBODY", "Principal"]


class Principal(Struct, frozen=True):
    """The authenticated caller.

    Attributes:
        key: The fingerprint of the gateway key presented; empty where none is needed.
        limits: What he may use, his own limits and those that he shares; none where nobody set any.
    """

    key: str
    limits: tuple[Limit, ...] = ()

    @property
    def caller(self) -> Caller:
        """The same as records name him."""
        return NOBODY if not self.key else Caller(fingerprint=self.key)


ANYBODY = Principal("")
