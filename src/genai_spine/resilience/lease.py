"""Something lent for one call, and given back exactly once with how the call ended."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from genai_spine.errors import SpineError
from genai_spine.resilience.deadline import Deadline
from genai_spine.resilience.faults import PERMANENT, Fault, Patterns, fault_of

__all__ = ["Lease"]


class Lease(ABC):
    """A key, or the right to call.

    In a ``with`` block it settles itself: success where the block ends well, a failure where it ends with an error of
    the project's, and neither where it ends otherwise, for a caller who hung up says nothing of the provider. One that
    is lost unsettled is given back when it is collected, with a ``ResourceWarning``.
    """

    __slots__ = ("_deadline", "_settled")

    def __init__(self, deadline: Deadline | None = None) -> None:
        """Make a lease.

        Args:
            deadline: The request's own, if it has one: a call that outlasts it does not fail by the provider's fault.
        """
        self._settled = False
        self._deadline = deadline

    @property
    def settled(self) -> bool:
        """Whether it has been given back."""
        return self._settled

    def success(self) -> None:
        """Give it back: the call went well.

        Raises:
            RuntimeError: It was given back before.
        """
        self._once()
        self._succeed()

    def failure(self, fault: Fault, retry_after: float | None = None) -> None:
        """Give it back: the call failed.

        Args:
            fault: Whose fault it was.
            retry_after: For how many seconds the upstream asked to be left alone.

        Raises:
            RuntimeError: It was given back before.
        """
        self._once()
        self._fail(fault, retry_after)

    def release(self) -> None:
        """Give it back without a word on how the call went.

        Raises:
            RuntimeError: It was given back before.
        """
        self._once()
        self._free()

    @abstractmethod
    def _succeed(self) -> None:
        """Note a success."""

    @abstractmethod
    def _fail(self, fault: Fault, retry_after: float | None) -> None:
        """Note a failure."""

    @abstractmethod
    def _free(self) -> None:
        """Note that it is back, and no more."""

    def _patterns(self) -> Patterns:
        return PERMANENT

    def _once(self) -> None:
        if self._settled:
            message = f"{self!r} was settled twice"
            raise RuntimeError(message)
        self._settled = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._settled:
            return
        if error is None:
            self.success()
        elif isinstance(error, SpineError):
            late = self._deadline is not None and self._deadline.expired
            self.failure(fault_of(error, self._patterns(), out_of_time=late), error.retry_after)
        else:
            self.release()

    def __del__(self) -> None:
        # Not even set where the constructor failed.
        if getattr(self, "_settled", True):
            return
        self.release()
        warnings.warn(f"{self!r} was never settled", ResourceWarning, stacklevel=1)
