"""Who is calling."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["ANYBODY", "Principal"]


class Principal(Struct, frozen=True):
    """The authenticated caller.

    Attributes:
        key: The fingerprint of the gateway key presented; empty where none is needed.
    """

    key: str


ANYBODY = Principal("")
