"""An event loop in which waiting takes no time: its clock leaps to the next timer as soon as nothing else is due."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from typing_extensions import override

__all__ = ["run"]

T = TypeVar("T")


class _Leap(selectors.DefaultSelector):
    """Waits for nothing; what it would have waited is added to ``passed``."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            message = "everybody waits for something that no timer brings"
            raise RuntimeError(message)
        self.passed += max(0.0, timeout)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    @override
    def time(self) -> float:
        return self._leap.passed


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, float]:
    """Run a coroutine that needs no network, and return its result and the seconds that it believes to have waited."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        result = runner.run(main())
        return result, runner.get_loop().time()
