"""What several workers each have a copy of: a key, or a circuit. What one finds out of it the others are told."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Shared"]


class Shared(ABC):
    """A worker's copy.

    Attributes:
        version: Of the note on it that is in effect here; empty where none is.
        by_hand: What was done to it last was an operator's doing, which counts over what others found out.
    """

    version: str = ""
    by_hand: bool = False

    @property
    @abstractmethod
    def ill(self) -> bool:
        """Whether it is held back, or would soon be; of what is as it was at first nobody need be told."""

    @property
    def asking(self) -> bool:
        """Whether all wait for this worker's call, so that they must be told for as long as it lasts."""
        return False

    @property
    def asked_elsewhere(self) -> bool:
        """Whether another worker's call is waited for, so that what there is to tell is his to tell."""
        return False

    @abstractmethod
    def note(self) -> bytes:
        """Return how it stands, for the others."""

    @abstractmethod
    def follow(self, note: bytes, age: float) -> None:
        """Stand as another worker's copy did so many seconds ago.

        Raises:
            msgspec.DecodeError: The note is none, or one of another version of the project.
        """

    def outweighs(self, note: bytes) -> bool:  # noqa: ARG002  # for those that can
        """Return whether what was found out here counts over what another told at the same time; raises as above."""
        return False
