"""The requests that are being answered: a gateway that stops waits for them, and cuts those that take too long."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from genai_spine.errors import StoppingError
from genai_spine.gateway.context import Call

__all__ = ["UnderWay"]

_STOPPING: Final = "the gateway is stopping; send the request again"
RETRY_AFTER: Final = 1.0
"""Another of its kind may answer at once; one that starts again takes about so many seconds."""


class UnderWay:
    """Knows which task answers which request.

    Attributes:
        stopping: No new requests are wanted.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._calls: dict[asyncio.Task[object], Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def answering(self, call: Call) -> _Answering:
        """Return a context in which the task that runs answers ``call``."""
        return _Answering(self._calls, call)

    def cut(self) -> None:
        """End them all: each tells its caller in its own dialect, as far as he can still be told, and is recorded."""
        for task, call in self._calls.items():
            call.cut = StoppingError(_STOPPING, retry_after=RETRY_AFTER)
            task.cancel()


class _Answering:
    __slots__ = ("_call", "_calls", "_task")

    def __init__(self, calls: dict[asyncio.Task[object], Call], call: Call) -> None:
        self._calls = calls
        self._call = call

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is not None:
            self._calls[self._task] = self._call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._calls.pop(self._task, None)
