"""Several processes that serve, kept alive by one that does not.

Each has a socket of its own on the same address, so that the kernel spreads callers evenly: where all wait at one
socket, whoever wakes first takes a whole burst of connections, and keeps them. The sockets belong to this process: who
waits at one whose worker died is served by the next worker there.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from genai_spine.errors import ConfigurationError
from genai_spine.server.listening import listen, listen_too
from genai_spine.telemetry.logging import logger

__all__ = ["FINISH", "HURRY", "Listeners", "Post", "Supervisor"]

FINISH: Final = b"f"
"""Tells a worker to stop in good order."""
HURRY: Final = b"h"
"""Tells a worker that stops to cut what is under way."""
START_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""Who lived so long did not die of how it was started."""
LONGEST_WAIT: Final = 30.0
FAILED_STARTS: Final = 5
MOST_DEATHS: Final = 16
"""Those beyond are not counted: the wait has long been the longest."""
DEATHS_WAITED_FOR: Final = 2
"""Callers at the socket of a worker that died so often are kept for its successor; then they better go elsewhere."""


class Post(NamedTuple):
    """What a worker is started with: a name of its own, and descriptors of its sockets."""

    name: str
    listening: int
    control: int


class Listeners:
    """The sockets where callers come in, by a worker's number."""

    def __init__(self, host: str, port: int, count: int) -> None:
        """Take the address.

        Raises:
            ConfigurationError: It cannot be had.
        """
        # This one does not share: it fails where somebody else listens.
        alone = listen(host, port)
        self.host, self.port = alone.getsockname()[:2]
        # Elsewhere than on Linux sockets that share an address do not share the callers.
        self._shared = sys.platform == "linux"
        self._sockets = [alone] * count
        if self._shared:
            alone.close()
            self._sockets = [listen_too(self.host, self.port) for _ in range(count)]

    def of(self, number: int) -> socket.socket:
        """Return the socket of a worker."""
        if self._sockets[number].fileno() < 0:
            self._sockets[number] = listen_too(self.host, self.port, begin=False)
        return self._sockets[number]

    def leave(self, number: int) -> None:
        """Let no more callers come in at a socket until somebody serves there again."""
        if self._shared:
            self._sockets[number].close()

    def close(self) -> None:
        """Let nobody in any more."""
        for listening in self._sockets:
            listening.close()


class _Worker:
    """One process."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.name = name
        self.process = process
        self.serves = False
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, name: str, listening: socket.socket, launch: Callable[[Post], Sequence[str]]) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = (listening.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                *launch(Post(name, *descriptors)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                # Else Ctrl-C would reach it twice: from the terminal, and from here.
                start_new_session=True,
            )
        return cls(name, process, *await asyncio.open_unix_connection(sock=ours))

    async def report(self) -> bytes:
        """Return what it says when it serves; nothing where it does not come so far."""
        said = b""
        try:
            # Where it ends before, so does what can be read.
            said = await asyncio.wait_for(self._reader.readline(), START_SECONDS)
        except TimeoutError:
            self.kill()
        self.serves = bool(said)
        return said

    def tell(self, order: bytes) -> None:
        """Tell it what to do; one that is only starting just ends."""
        if self.serves:
            self._writer.write(order)
        elif self.process.returncode is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            self.process.kill()

    async def end(self) -> int:
        """Wait until it has ended; return its status."""
        status = await self.process.wait()
        self._writer.close()
        return status


class Supervisor:
    """Starts workers, starts another where one died, and stops them all in good order."""

    def __init__(
        self,
        launch: Callable[[Post], Sequence[str]],
        listeners: Listeners,
        count: int,
        *,
        patience: float,
        up: Callable[[bytes], None],
        died: Callable[[str], None],
        first_wait: float = 1.0,
    ) -> None:
        """Prepare to start workers.

        Args:
            launch: Returns the command line of a worker.
            listeners: Where they listen.
            count: How many.
            patience: Seconds after which one that was told to stop, and has not, is killed.
            up: Told once, when all serve, what one of them said.
            died: Told the name of each that is no more.
            first_wait: Seconds before a worker that died for the second time is replaced; each further time twice as
                long.
        """
        self._launch = launch
        self._listeners = listeners
        self._count = count
        self._patience = patience
        self._first_wait = first_wait
        self._up: Callable[[bytes], None] | None = up
        self._died = died
        self._workers: dict[int, _Worker] = {}
        self._first = asyncio.Event()
        self._over = asyncio.Event()
        self.status = 0

    async def run(self) -> int:
        """Serve until told to stop; return the status to leave with."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self.stop)
        keepers = [asyncio.create_task(self._keep(number)) for number in range(self._count)]
        over = asyncio.create_task(self._over.wait())
        # None of them ends before but by a fault of ours, which must not leave half a service.
        await asyncio.wait({over, *keepers}, return_when=asyncio.FIRST_COMPLETED)
        if not self._over.is_set():
            self.stop()
        self._listeners.close()
        for worker in self._workers.values():
            worker.tell(FINISH)
        loop.call_later(self._patience, self._kill)
        for fault in await asyncio.gather(*keepers, return_exceptions=True):
            if fault is not None:
                raise fault
        return self.status

    def stop(self) -> None:
        """Stop in good order; told again, without waiting for what is under way."""
        if self._over.is_set():
            for worker in self._workers.values():
                worker.tell(HURRY)
        self._over.set()
        self._first.set()

    def _kill(self) -> None:
        for worker in self._workers.values():
            logger.error("a worker did not stop in time and is killed", worker=worker.name)
            self.status = 1
            worker.kill()

    async def _keep(self, number: int) -> None:
        """Have a worker serve at one of the sockets, and the next one where it dies."""
        if number:
            # The first alone makes what all need, and what is wrong with the settings is told once.
            await self._first.wait()
        deaths, failed_starts, starts = 0, 0, 0
        loop = asyncio.get_running_loop()
        while not self._over.is_set():
            starts += 1
            began = loop.time()
            served, status = await self._life(number, f"{number + 1}-{starts}")
            failed_starts = 0 if served else failed_starts + 1
            deaths = 1 if loop.time() - began > STEADY_SECONDS else min(deaths + 1, MOST_DEATHS)
            if self._over.is_set():
                return
            if not served and self._hopeless(failed_starts):
                logger.error("workers do not start, so the gateway ends", worker=number + 1, status=status)
                self.status = status if status > 0 else 1
                self.stop()
            elif deaths > 1:
                if deaths > DEATHS_WAITED_FOR:
                    self._listeners.leave(number)
                with contextlib.suppress(TimeoutError):
                    wait = min(self._first_wait * 2.0 ** (deaths - 2), LONGEST_WAIT)
                    await asyncio.wait_for(self._over.wait(), wait)

    async def _life(self, number: int, name: str) -> tuple[bool, int]:
        """Have one worker serve until it ends; return whether it came so far, and its status."""
        try:
            worker = await self._begin(number, name)
        except (OSError, ConfigurationError) as error:
            logger.error("a worker cannot be started", worker=name, reason=str(error))
            return False, 1
        status = await worker.end()
        del self._workers[number]
        self._died(name)
        if not self._over.is_set():
            logger.error("a worker died", worker=name, status=status, served=worker.serves)
        return worker.serves, status

    async def _begin(self, number: int, name: str) -> _Worker:
        worker = self._workers[number] = await _Worker.start(name, self._listeners.of(number), self._launch)
        if self._over.is_set():
            worker.tell(FINISH)
        said = await worker.report()
        if worker.serves and self._over.is_set():
            worker.tell(FINISH)
        elif worker.serves:
            logger.info("a worker serves", worker=name, pid=worker.process.pid)
            self._first.set()
            if self._up is not None and sum(one.serves for one in self._workers.values()) == self._count:
                self._up(said)
                self._up = None
        return worker

    def _hopeless(self, failed_starts: int) -> bool:
        """Whether to give up: nobody ever served, or nobody does and nobody comes up."""
        others = any(worker.serves for worker in self._workers.values())
        return not self._first.is_set() or (failed_starts >= FAILED_STARTS and not others)
