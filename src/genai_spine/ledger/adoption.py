"""What dead workers left behind: it is shipped, what they were cut off from is told as such, and then it is removed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from genai_spine.catalog.prices import Cost
from genai_spine.errors import JournalError, SharedStateUnavailableError
from genai_spine.journal.runs import AbandonedRun, adopt, runs, sweep
from genai_spine.ledger.delivery import SLICE, Delivery, Replay
from genai_spine.ledger.matching import Matcher
from genai_spine.ledger.records import Batch
from genai_spine.money import nanodollars_up
from genai_spine.shared_state.base import SharedState
from genai_spine.shared_state.meters import Hold
from genai_spine.telemetry.logging import logger
from genai_spine.types.ledger import CallBegun, CallEnded, RequestDone
from genai_spine.types.limits import MOST
from genai_spine.types.usage import Usage

__all__ = ["STOPPED", "Adopter", "Price"]

Price: TypeAlias = Callable[[str, str, Usage], Cost]
"""Returns what tokens of a provider's model cost."""

STOPPED: Final = "gateway_stopped"
"""The code of what went wrong where a worker ended before its call did."""

MICROSECONDS: Final = 1_000_000

SETTLED_AGAIN: Final = 300 * MICROSECONDS
"""Of how many microseconds before a worker's end what it settled is settled again, for it may not have got through."""


class Adopter:
    """Looks for runs whose worker is gone, and brings them to an end."""

    def __init__(self, root: Path, delivery: Delivery, state: SharedState, price: Price) -> None:
        """Look in a folder.

        Args:
            root: Where the folders of all runs are.
            delivery: The way into the database.
            state: Where calls had something set aside.
            price: Says what a call that was cut off may have cost.
        """
        self._root = root
        self._delivery = delivery
        self._state = state
        self._price = price
        self._estates: list[_Estate] = []
        self._gone: set[str] = set()
        self._untakeable: set[Path] = set()
        self._stopping = False
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Take what is left behind, and return when all of it is in the database and removed; one at a time.

        Raises:
            DatabaseDownError: The database cannot be reached. What was taken is kept, and goes on with the next look.
        """
        async with self._looking:
            if taken := await asyncio.to_thread(self._take):
                logger.info("what a worker left behind is shipped", runs=[run.folder.name for run in taken])
                self._estates.append(_Estate(taken, self._delivery, self._state, self._price))
            while self._estates and not self._stopping:
                if await self._estates[0].ended(lambda: self._stopping):
                    self._gone |= self._estates.pop(0).names
            await self._abandon()

    def stop(self) -> None:
        """Have a look that is going on end soon."""
        self._stopping = True

    def release(self) -> None:
        """Let go of what was taken and is not in the database: somebody else will take it. Nobody may be looking."""
        for estate in self._estates:
            estate.release()
        self._estates.clear()
        self._stopping = False

    async def _abandon(self) -> None:
        """Set nothing aside any more for those who are gone.

        Their calls are settled. What is left was set aside for requests that were under way, and for calls that the
        worker was killed just before it wrote down.
        """
        with suppress(SharedStateUnavailableError):  # the next look does it
            while self._gone:
                await self._state.abandon(next(iter(self._gone)))
                self._gone.pop()

    def _take(self) -> list[AbandonedRun]:
        """Take the runs that are left behind: a worker leaves several where a disk failed, and they belong together."""
        taken = []
        sweep(self._root)
        for folder in runs(self._root):
            try:
                run = adopt(folder)
            except JournalError as error:
                if folder not in self._untakeable:
                    self._untakeable.add(folder)
                    logger.error("a journal was left behind that cannot be taken", reason=error.message)
                continue
            if run is not None:
                taken.append(run)
        return taken


class _Estate:
    """Runs that were left behind, until they are removed; what stops that on its way is gone on with, or begun anew.

    Attributes:
        names: Of the runs.
    """

    def __init__(self, runs_: list[AbandonedRun], delivery: Delivery, state: SharedState, price: Price) -> None:
        self.names = frozenset(run.folder.name for run in runs_)
        self._runs = runs_
        self._replay = Replay(delivery, self._shipped)
        self._state = state
        self._price = price
        # What was set aside, for calls that are over: when, and what they cost.
        self._held: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    async def ended(self, stopping: Callable[[], bool]) -> bool:
        """Ship all of it, and remove it; return False where it was to stop before.

        Raises:
            DatabaseDownError: The database cannot be reached.
            JournalError: A run cannot be read or removed.
        """
        for run in self._runs:
            while await self._replay.step(run.folder.name, run.records):
                if stopping():
                    return False
        await self._replay.ship()
        matcher = self._replay.matcher
        while matcher.calls or matcher.requests:
            self._cut_off(matcher)
            await self._replay.ship()
            if stopping():
                return False
        while self._held:
            hold, (at, cost) = next(iter(self._held.items()))
            if at >= matcher.latest - SETTLED_AGAIN:
                await self._settle(hold, cost)
            del self._held[hold]
        while self._runs:
            self._runs.pop().remove()
        return True

    def release(self) -> None:
        """Let go of it."""
        for run in self._runs:
            run.close()

    def _cut_off(self, matcher: Matcher) -> None:
        """Bring some of what is open to its end; first calls, then the requests that made them."""
        for id_ in list(islice(matcher.calls, SLICE)):
            _, begun = matcher.calls.pop(id_)
            matcher.end(begun, self._interrupted(begun, matcher.latest))
        if not matcher.calls:
            for id_ in list(islice(matcher.requests, SLICE)):
                matcher.batch.requests.append(_cut(matcher.requests.pop(id_).calls, matcher.latest))

    def _interrupted(self, begun: CallBegun, latest: int) -> CallEnded:
        """The end of a call of which nobody knows: it lasted as long as its worker is known to have lived."""
        usage = Usage(input_tokens=begun.input_tokens, output_tokens=begun.output_tokens, estimated=True)
        cost = self._price(begun.provider, begun.model, usage)
        return CallEnded(
            id=begun.id,
            at=latest,
            outcome="interrupted",
            error=STOPPED,
            usage=usage,
            cost=cost.picodollars,
            price_known=cost.known,
            cost_estimated=True,
            over_held=False,
            seconds=(latest - begun.at) / MICROSECONDS,
            first_token_seconds=None,
            by_kind=cost.by_kind,
        )

    def _shipped(self, batch: Batch) -> None:
        """Note what was set aside for calls that are in the database now."""
        for begun, ended in batch.calls:
            if begun.hold:
                _, cost = self._held.get(begun.hold, (0, 0))
                self._held[begun.hold] = (ended.at, cost + ended.cost)
                self._held.move_to_end(begun.hold)
        while self._held and next(iter(self._held.values()))[0] < self._replay.matcher.latest - SETTLED_AGAIN:
            self._held.popitem(last=False)

    async def _settle(self, encoded: bytes, cost: int) -> None:
        try:
            hold = msgspec.msgpack.decode(encoded, type=Hold)
        except msgspec.MsgspecError as error:
            logger.error("what was set aside for a call cannot be read", reason=str(error))
            return
        await self._state.settle(hold, (min(nanodollars_up(cost), MOST),) * len(hold.stakes))


def _cut(calls: Sequence[tuple[CallBegun, CallEnded]], latest: int) -> RequestDone:
    """The end of a request of which nobody knows, put together from its calls."""
    first, last = calls[0][0], calls[-1][0]
    usages = [ended.usage for _, ended in calls if ended.usage is not None]
    return RequestDone(
        id=first.request,
        request_id=first.request_id,
        at=first.at,
        door=first.door,
        caller=first.caller,
        asked_model="",
        provider=last.provider,
        model=last.model,
        outcome="interrupted",
        status=0,
        error=STOPPED,
        attempts=max(begun.number for begun, _ in calls),
        fallback=any(begun.fallback for begun, _ in calls),
        strategy=last.strategy,
        affinity=False,
        stream=last.stream,
        passthrough=False,
        usage=reduce(Usage.__add__, usages) if usages else None,
        cost=sum(ended.cost for _, ended in calls),
        price_known=all(ended.price_known for _, ended in calls),
        cost_estimated=any(ended.cost_estimated for _, ended in calls),
        seconds=(latest - first.at) / MICROSECONDS,
        first_token_seconds=None,
    )
