"""The server: it takes requests until it is told to stop, and then stops in good order.

::

    stop ──▶ no new connections ──▶ what is under way ends ──▶ what takes too long is cut ──▶ the engine closes
                                    within ``stop_seconds``     and recorded
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from typing_extensions import override

from genai_spine.assembly import Spine
from genai_spine.identity.api_keys import KeyRing
from genai_spine.server.app import create_app
from genai_spine.server.listening import CUT_SECONDS
from genai_spine.server.underway import UnderWay
from genai_spine.telemetry.logging import logger

__all__ = ["Server"]

LAST_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.02


class Server(uvicorn.Server):
    """uvicorn, with an end of our own: what it cuts is told to its caller and recorded before the engine closes."""

    def __init__(self, spine: Spine, keys: KeyRing, ready: Callable[[], None]) -> None:
        """Make a server.

        Args:
            spine: The engine, which is started and closed with the server.
            keys: Those of callers.
            ready: Called once, when requests are taken.
        """
        self._spine = spine
        self._ready = ready
        self._seconds = spine.settings.values.stop_seconds
        self._under_way = UnderWay()
        self._told = asyncio.Event()
        self._hurry = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                create_app(spine, keys, self._under_way),
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                lifespan="on",
                ws="none",
            )
        )

    def stop(self) -> None:
        """Stop in good order; told a second time, without waiting for what is under way."""
        if self._under_way.stopping:
            self._hurry.set()
        self.finish()

    def finish(self) -> None:
        """Stop in good order, however often it is told."""
        self.should_exit = self._under_way.stopping = True
        self._told.set()

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop.

        uvicorn's own would raise the signal again at the end, and the process would die before its log is written.
        """
        # A signal does not wake the loop by itself.
        self._loop.call_soon_threadsafe(self.stop)

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so; raises as the engine's ``start`` does."""
        # The application would do it too, but what is wrong would be told with a stack trace.
        await self._spine.__aenter__()
        await super().startup(sockets)
        if self.started:
            self._ready()

    @override
    async def main_loop(self) -> None:
        """Wait to be told; uvicorn's own would look ten times a second."""
        await self.on_tick(0)
        await self._told.wait()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in good order; see the module."""
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        # Who was let in just now is about to ask: one look at what has come in, before idle connections are closed.
        await asyncio.sleep(LOOK_SECONDS)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if not await self._ended(self._seconds):
            logger.warning("answers are cut", count=len(self._under_way), stop_seconds=self._seconds)
            self._under_way.cut()
            self._hurry.clear()
            await self._ended(CUT_SECONDS)
        if left := set(self.server_state.tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=LAST_SECONDS)
        try:
            await asyncio.wait_for(self.lifespan.shutdown(), CUT_SECONDS)
        except TimeoutError:
            logger.error("the engine did not close in time")

    async def _ended(self, seconds: float) -> bool:
        """Wait until all answers have left, at most so long, or until told to hurry; return whether they have."""
        state = self.server_state
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (state.connections or state.tasks) and not self._hurry.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), LOOK_SECONDS)
        return not state.tasks
