"""What this process has set aside at a server: to be held again there, or settled again, when the server forgets."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from genai_spine.clock import Clock
from genai_spine.shared_state.meters import Hold

__all__ = ["Debt", "Holds", "Live"]


class Live(Struct, frozen=True):
    """A hold that is not settled, its age, and when it will have it by this process' clock."""

    hold: Hold
    seconds: float
    until: float


class Debt(Struct, frozen=True):
    """What a hold is to be settled with.

    Attributes:
        doubtful: Nobody knows whether it was taken, so it must not be taken later either.
    """

    hold: Hold
    amounts: tuple[int, ...]
    doubtful: bool = False


class Holds:
    """The holds of a process: live; owed, where the server is still to be told; and settled of late."""

    def __init__(self, clock: Clock, remembered_seconds: float) -> None:
        """Remember nothing yet.

        Args:
            clock: Whose ``monotonic`` counts.
            remembered_seconds: For how long what was settled is remembered: longer than the ledger needs to have it.
        """
        self._clock = clock
        self._remembered = remembered_seconds
        self._live: dict[str, Live] = {}
        self._owed: dict[str, Debt] = {}
        self._settled: deque[tuple[float, Debt]] = deque()

    @property
    def idle(self) -> bool:
        """Whether a server that forgets would forget nothing of ours."""
        return not (self._live or self._owed or self._settled)

    def take(self, hold: Hold, seconds: float) -> None:
        """Note that it was taken."""
        self._live[hold.id] = Live(hold, seconds, self._clock.monotonic() + seconds)

    def owe(self, hold: Hold, amounts: Sequence[int], *, doubtful: bool = False) -> Debt:
        """Note that it is to be settled; return what is owed."""
        self._live.pop(hold.id, None)
        debt = self._owed[hold.id] = Debt(hold, tuple(amounts), doubtful)
        return debt

    def paid(self, debt: Debt) -> None:
        """Note that the server was told."""
        if self._owed.get(debt.hold.id) is not debt:
            # It was told again, or by two at once.
            return
        del self._owed[debt.hold.id]
        if any(debt.amounts) and any(stake.meter.accounted for stake in debt.hold.stakes):
            self._settled.append((self._clock.monotonic(), debt))
            self._forget_settled()

    def live(self, epoch: str) -> list[Live]:
        """Return those that were taken in an older epoch."""
        return [one for one in self._live.values() if one.hold.epoch != epoch]

    def owed(self) -> list[Debt]:
        """Return what the server is still to be told."""
        return list(self._owed.values())

    def settled(self, epoch: str) -> list[Debt]:
        """Return what was settled of late and taken in an older epoch."""
        self._forget_settled()
        return [debt for _, debt in self._settled if debt.hold.epoch != epoch]

    def forget(self) -> None:
        """Drop what has had its time."""
        self._forget_settled()
        now = self._clock.monotonic()
        for hold_id in [hold_id for hold_id, one in self._live.items() if one.until <= now]:
            del self._live[hold_id]

    def _forget_settled(self) -> None:
        oldest = self._clock.monotonic() - self._remembered
        while self._settled and self._settled[0][0] < oldest:
            self._settled.popleft()
