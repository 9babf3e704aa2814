"""A caller who leaves: the server says so only to who asks, so somebody must."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive

__all__ = ["HungUp", "WhileThere"]


class HungUp(Exception):  # noqa: N818  # no error: a caller may leave
    """The caller has gone; there is nobody to answer."""


class WhileThere:
    """Cancels what runs in its ``async with`` when the caller hangs up, and then raises ``HungUp``.

    The body of the request must have been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        # It knows nothing of this object, which knows it: a circle would be left to the garbage collector.
        self._watcher = asyncio.create_task(_watch(self._receive, self._task))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._watcher.done() and not self._watcher.cancelled()
        self._watcher.cancel()
        if left and kind is asyncio.CancelledError and self._task is not None and self._task.uncancel() == 0:
            raise HungUp from None


async def _watch(receive: Receive, task: asyncio.Task[object] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()
