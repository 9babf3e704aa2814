"""What is kept between requests, for a time: the contract of the places that keep it.

A place may lose what it keeps (it is full, it was started anew): whoever puts something there goes on without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["SharedState"]


class SharedState(ABC):
    """Bytes by key."""

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None where there is nothing, or nothing any more."""

    @abstractmethod
    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep ``value`` under ``key`` for so many seconds, in the place of what was kept there."""

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Keep nothing under ``key`` any more; return whether something was."""

    async def close(self) -> None:  # noqa: B027  # memory has nothing to let go of
        """Let go of what the place holds open."""
