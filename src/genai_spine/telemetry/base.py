"""Who is told of what happens: an observer, called once for each record, off the caller's path."""

from __future__ import annotations

from typing import Protocol

from genai_spine.telemetry.events import RequestEnded

__all__ = ["Observer"]


class Observer(Protocol):
    """Takes records. It must not block: it is called on the event loop."""

    def request_ended(self, record: RequestEnded) -> None:
        """Take the record of a request that is over."""
        ...
