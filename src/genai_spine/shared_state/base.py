"""What is kept between requests, for a time, and among all who share it: the contract of the places that keep it.

A place may lose what it keeps (it is full, it was started anew): whoever puts bytes there goes on without them, and
whoever writes notes or counts there tells it anew; of what is counted ``shared_state/meters.py`` says how.

Where a place cannot be reached, its methods raise ``SharedStateUnavailableError``, soon, and those that settle do not
raise at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct
from typing_extensions import override

from genai_spine.shared_state.meters import Claim, Gap, Hold, Meter, Reading, Refused, Taken, Unseeded

__all__ = ["DONE", "Listener", "Meters", "Note", "SharedState", "Told"]

Listener: TypeAlias = Callable[[bytes | None], None]
"""Told of each message; of None where some may have been missed, so that it looks for itself. It must not raise."""

Told: TypeAlias = Callable[[str], None]
"""Told why a place cannot be reached, when that begins; and nothing, when it is over. It must not raise."""


class Note(Struct, frozen=True):
    """What stands on a board under a name.

    Attributes:
        age: Seconds since it was written, by the place's own clock.
        version: Another with each note that is written.
    """

    text: bytes
    age: float
    version: str


class Meters(Protocol):
    """Meters in this process: who asks has the answer at once. Both are like those of ``SharedState``.

    What is settled is not looked at again: it must be what can be counted.
    """

    def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        """Set amounts aside."""
        ...

    def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        """Count what was really used."""
        ...


class _Done(Awaitable[None]):
    @override
    def __await__(self) -> Generator[None, None, None]:
        yield from ()


DONE: Final[Awaitable[None]] = _Done()
"""What is returned to be awaited where everything is done already."""


class SharedState(ABC):
    """Bytes by key, messages by topic, notes on boards, and meters."""

    meters: Meters | None = None
    """The meters, where the place is this process: nobody shares it, and a request needs no coroutine to ask them."""

    @property
    def trouble(self) -> str:
        """Why the place cannot be reached now; empty where it can be, as far as anybody tried."""
        return ""

    @property
    def concern(self) -> str:
        """What must be looked at there, though the place can be reached; empty where nothing must."""
        return ""

    async def look(self) -> None:  # noqa: B027  # memory is always there
        """Look whether the place is there, and tell of it.

        Raises:
            ConfigurationError: It is, and does not let us in.
        """

    @abstractmethod
    async def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None where there is nothing, or nothing any more."""

    @abstractmethod
    async def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep ``value`` under ``key`` for so many seconds, in the place of what was kept there."""

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """Keep nothing under ``key`` any more; return whether something was."""

    @abstractmethod
    async def publish(self, topic: str, message: bytes) -> None:
        """Tell all who listen to ``topic`` now, this process included; where a connection breaks, perhaps twice."""

    @abstractmethod
    async def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` told of what is published on ``topic``; return what ends it."""

    @abstractmethod
    async def notes(self, board: str) -> dict[str, Note]:
        """Return all that stands on a board, by name."""

    @abstractmethod
    async def write(self, board: str, name: str, text: bytes, seconds: float, over: str) -> str | None:
        """Write a note, if what stands there is what the writer knows: of several who know the same one succeeds.

        Args:
            board: Where; few names stand there at a time, for they are read together.
            name: Under which it stands.
            text: What it says.
            seconds: For how long it stands.
            over: The version of the note that it takes the place of; empty where none stands.

        Returns the note's version; None where another stands, and nothing was written.
        """

    @abstractmethod
    async def take(self, hold_id: str, claims: Sequence[Claim], seconds: float) -> Taken | Refused | Unseeded:
        """Set amounts aside on all meters, or on none.

        Args:
            hold_id: Unique; taken again while it is held, nothing changes.
            claims: On different meters.
            seconds: For how long the hold stays in flight if nobody settles it; longer than anything takes.

        Raises:
            SharedStateUnavailableError: The place cannot be reached, or is in the first moments of an epoch.
            ValueError: An amount cannot be counted.
        """

    @abstractmethod
    async def settle(self, hold: Hold, amounts: Sequence[int]) -> bool:
        """Count what was really used, one amount for each stake, in the place of what was held; more counts in full.

        Returns whether it counts now: False where it was settled before. Where the place cannot be reached it is told
        as soon as it can be. A task that is cancelled meanwhile undoes nothing.
        """

    def settling(self, hold: Hold, amounts: Sequence[int]) -> Awaitable[object]:
        """Settle what can be counted; return what is to be awaited: ``DONE``, where the meters are in this process."""
        if self.meters is None:
            return self.settle(hold, amounts)
        self.meters.settle(hold, amounts)
        return DONE

    async def release(self, hold: Hold) -> bool:
        """Hold it no more, for nothing was used; otherwise like ``settle``."""
        return await self.settle(hold, (0,) * len(hold.stakes))

    @abstractmethod
    async def abandon(self, owner: str) -> int:
        """Hold no more what somebody has set aside who is gone for good; return how many holds that were.

        Args:
            owner: What the ids of his holds begin with, up to a ``-``. What of them can be settled, because it is known
                what was used, is to be settled before.

        Raises:
            SharedStateUnavailableError: The place cannot be reached.
        """

    @abstractmethod
    async def seed(self, gap: Gap, used: int, counted: Iterable[str]) -> bool:
        """Tell a meter what was used of it.

        Args:
            gap: As ``take`` told it.
            used: All that the ledger counts from the gap's beginning on.
            counted: The ids of holds in that figure, of all that may yet be settled.

        Returns whether this was what it needed: False where another was first, or the window is over.
        """

    @abstractmethod
    async def read(self, meters: Sequence[Meter]) -> tuple[Reading, ...]:
        """Return how meters stand."""

    async def close(self) -> None:  # noqa: B027  # memory has nothing to let go of
        """Let go of what the place holds open."""
