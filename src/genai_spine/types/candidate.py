"""A provider and model that could serve a request."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Candidate"]


class Candidate(Struct, frozen=True):
    """One of the places that a request may go to.

    Attributes:
        provider: Its name.
        model: The id as the provider knows it.
        reason: The rule that brought it here, for people to read.
    """

    provider: str
    model: str
    reason: str

    @property
    def name(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"
