"""Who looks after workers: small programs stand for them, each dying in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import pytest

from genai_spine.cli.supervisor import Listeners, Post, Supervisor
from genai_spine.errors import ConfigurationError

PATIENT: Final = 1000.0
# What each program begins with: it is given its name and the descriptors of its sockets.
BEGIN: Final = (
    "import os, signal, socket, sys, threading; control = socket.socket(fileno=int(sys.argv[2]))\n"
    "listening = socket.socket(fileno=int(sys.argv[3])); listening.setblocking(True)\n"
    "def answer():\n"
    "    listening.listen()\n"
    "    while True:\n"
    "        with listening.accept()[0] as caller: caller.sendall(sys.argv[1].encode())\n"
)
SERVES: Final = "control.sendall(sys.argv[1].encode() + b'\\n')\n"
ANSWERS: Final = "threading.Thread(target=answer, daemon=True).start()\n"
OBEYS: Final = "control.recv(1)\n"
DIES: Final = "os.kill(os.getpid(), signal.SIGKILL)\n"
FAILS: Final = "sys.exit(3)\n"
NEVER_ENDS: Final = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()\n"


class Watched:
    """A supervisor, and what it told.

    Attributes:
        posts: What workers were started with, oldest first.
        ups: What was said when all served.
        died: The names of those that are no more.
    """

    def __init__(self, *programs: str, count: int = 1, patience: float = PATIENT) -> None:
        """Watch a supervisor whose workers run these programs, by the order of starts; the last one ever again."""
        self.posts: list[Post] = []
        self.ups: list[bytes] = []
        self.died: list[str] = []
        self.listeners = Listeners("127.0.0.1", 0, count)
        self._programs = programs
        self._changed = asyncio.Event()
        self.supervisor = Supervisor(
            self._launch,
            self.listeners,
            count,
            patience=patience,
            up=lambda said: self._note(self.ups.append, said),
            died=lambda name: self._note(self.died.append, name),
            first_wait=0.001,
        )

    def _note(self, note: Callable[[str], None] | Callable[[bytes], None], item: object) -> None:
        note(item)  # type: ignore[arg-type]  # each list gets what it holds
        self._changed.set()

    def _launch(self, post: Post) -> Sequence[str]:
        program = self._programs[min(len(self.posts), len(self._programs) - 1)]
        self.posts.append(post)
        self._changed.set()
        return [sys.executable, "-I", "-S", "-c", BEGIN + program, post.name, str(post.control), str(post.listening)]

    @property
    def names(self) -> list[str]:
        """The names of the workers that were started, oldest first."""
        return [post.name for post in self.posts]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what it told."""
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    @contextlib.asynccontextmanager
    async def running(self, status: int = 0) -> AsyncIterator[None]:
        """Let it run, and stop it; it must end with this status."""
        running = asyncio.create_task(self.supervisor.run())
        try:
            yield
        finally:
            self.supervisor.stop()
            assert status == await running
        with pytest.raises(ConnectionRefusedError):
            await self.ask()

    async def ask(self) -> bytes:
        """Call the workers, and return what the one that answered said."""
        reader, writer = await asyncio.open_connection(self.listeners.host, self.listeners.port)
        try:
            return await reader.read()
        finally:
            writer.close()


async def test_all_are_started_and_stopped() -> None:
    """The first serves before the others are started; when all do, it is told once; told to stop, all end."""
    watched = Watched(SERVES + OBEYS, count=3)
    async with watched.running():
        await watched.until(lambda: bool(watched.ups))
        assert ["1-1", "2-1", "3-1"] == sorted(watched.names)
        assert "1-1" == watched.names[0]
        assert [] == watched.died
    assert ["1-1", "2-1", "3-1"] == sorted(watched.died)
    assert 1 == len(watched.ups)


async def test_one_that_dies_is_replaced() -> None:
    """Another takes its place under another name, again and again, and the others are left alone."""
    watched = Watched(SERVES + OBEYS, SERVES + DIES, SERVES + DIES, SERVES + OBEYS, count=2)
    async with watched.running():
        await watched.until(lambda: len(watched.posts) == 4)
        await watched.until(lambda: len(watched.died) == 2)
        assert ["1-1", "2-1", "2-2", "2-3"] == watched.names
        assert ["2-1", "2-2"] == watched.died


async def test_who_waits_at_a_dead_one() -> None:
    """A caller whose worker died before it let him in is served by the next one."""
    watched = Watched(SERVES + OBEYS + DIES, SERVES + ANSWERS + OBEYS)
    async with watched.running():
        await watched.until(lambda: bool(watched.ups))
        asking = asyncio.create_task(watched.ask())
        (worker,) = watched.supervisor._workers.values()  # what makes it die is no part of the contract
        worker.tell(b"!")
        assert b"1-2" == await asking


@pytest.mark.parametrize(("program", "status"), [(FAILS, 3), (DIES, 1)])
async def test_one_that_never_serves(program: str, status: int) -> None:
    """Where the very first does not start, nothing is tried again: the service ends with its status."""
    watched = Watched(program, count=3)
    assert status == await watched.supervisor.run()
    assert ["1-1"] == watched.names
    assert [] == watched.ups


async def test_nobody_comes_up_again() -> None:
    """Where nobody serves any more and five starts in a row fail, the service ends; so it does not only look alive."""
    watched = Watched(SERVES + FAILS, FAILS)
    assert 3 == await watched.supervisor.run()
    assert [f"1-{start}" for start in range(1, 7)] == watched.names


async def test_one_that_fails_beside_others() -> None:
    """As long as another serves, it is started again and again, and callers do not come to where nobody is."""
    watched = Watched(SERVES + ANSWERS + OBEYS, FAILS, count=2)
    async with watched.running():
        await watched.until(lambda: len(watched.died) >= 8)
        assert [] == watched.ups
        assert {b"1-1"} == {await watched.ask() for _ in range(20)}


async def test_one_that_does_not_stop() -> None:
    """It is killed when patience is over, and the status tells."""
    watched = Watched(SERVES + OBEYS, SERVES + NEVER_ENDS, count=2, patience=0.2)
    async with watched.running(status=1):
        await watched.until(lambda: bool(watched.ups))
    assert ["1-1", "2-1"] == sorted(watched.died)


async def test_told_twice() -> None:
    """Workers learn that it is to go fast; what they were told first is to stop in good order."""
    told = SERVES + "assert control.recv(1) == b'f'\nassert control.recv(1) == b'h'\n"
    watched = Watched(told, count=2)
    async with watched.running():
        await watched.until(lambda: bool(watched.ups))
        watched.supervisor.stop()
    assert ["1-1", "2-1"] == sorted(watched.died)


async def test_stopped_while_it_starts() -> None:
    """Who is only starting when all are to stop ends too."""
    watched = Watched("signal.pause()\n", count=2)
    async with watched.running():
        await watched.until(lambda: bool(watched.posts))
    assert ["1-1"] == watched.names
    assert ["1-1"] == watched.died


async def test_signals() -> None:
    """Either signal of an operator stops it."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        watched = Watched(SERVES + OBEYS)
        running = asyncio.create_task(watched.supervisor.run())
        await watched.until(lambda: bool(watched.ups))  # noqa: B023  # it is awaited in the same round
        signal.raise_signal(sign)
        assert 0 == await running


def test_an_address_that_is_taken() -> None:
    """Several workers share an address among themselves, and with nobody else."""
    listeners = Listeners("127.0.0.1", 0, 2)
    with pytest.raises(ConfigurationError, match="choose another"):
        Listeners("127.0.0.1", listeners.port, 2)
    listeners.close()
    with socket.create_server(("127.0.0.1", listeners.port)), pytest.raises(ConfigurationError):
        Listeners("127.0.0.1", listeners.port, 2)
