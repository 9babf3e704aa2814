"""Lives of a worker with a journal, each a program of its own: ``journal_worker.py LIFE ROOT``.

What it has appended it tells on its standard output, a line each, once ``append`` has returned.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from genai_spine.clock import SystemClock
from genai_spine.errors import JournalFullError
from genai_spine.journal.runs import adopt, begin_run, runs
from genai_spine.journal.writer import Journal


def tell(line: str) -> None:
    """Say a line, in one piece and at once."""
    os.write(1, line.encode() + b"\n")


def append(root: Path) -> None:
    """Append until it is killed."""
    journal, number = Journal(root, SystemClock(), segment_bytes=4096), 0
    while True:
        journal.append(number % 256, b"%d" % number + bytes(number % 97))
        tell(str(number))
        number += 1


def work(root: Path) -> None:
    """Append and sync and release with several tasks, until it is killed."""
    journal = Journal(root, SystemClock(), segment_bytes=4096)
    ended: list[int] = []

    async def call(task: int) -> None:
        number = 0
        while True:
            position = journal.append(1, b"%d" % (number * 4 + task), reserve=100, sync=True)
            tell(str(number * 4 + task))
            await journal.sync(position)
            ended.append(journal.append(2, b"%d" % (number * 4 + task), reserved=100))
            number += 1

    async def calls() -> None:
        await asyncio.gather(*(call(task) for task in range(4)))

    asyncio.run(calls())


def begin(root: Path) -> None:
    """Begin a run, and be killed just before the step that is named: an operation of the system on the run's own."""
    step = sys.stdin.readline().strip()

    def kill(event: str, args: tuple[Any, ...]) -> None:  # Any: whatever belongs to an event
        # The right to make runs at all is had before, on the folder of all.
        if event == step and args[1] != fcntl.LOCK_SH and args[0] != str(root):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    begin_run(root, SystemClock())
    tell("begun")


def take(root: Path) -> None:
    """Adopt what can be adopted, tell which it was, and keep it until told to go."""
    tell("ready")
    sys.stdin.readline()
    adopted = [run for folder in runs(root) if (run := adopt(folder)) is not None]
    tell(" ".join(run.folder.name for run in adopted))
    sys.stdin.readline()


def fill(root: Path) -> None:
    """Go on while files may not grow as they should, and tell what happens."""
    journal = Journal(root, SystemClock(), segment_bytes=4096)
    # The next segment cannot be made.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
    begun = 0
    try:
        while True:
            journal.append(1, bytes(100), reserve=200)
            begun += 1
    except JournalFullError as error:
        tell(error.message.rpartition("(")[2])
    for _ in range(begun):
        journal.append(2, bytes(100), reserved=200)
    # A record is cut in its middle.
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.position + 50, resource.RLIM_INFINITY))
    try:
        journal.append(3, b"x" * 100)
    except JournalFullError as error:
        tell(error.message.rpartition("(")[2])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    tell(str(len(list(journal.records()))))
    journal.append(4, b"room")
    tell(str(2 * begun + 1))


LIVES: Final[dict[str, Callable[[Path], None]]] = {
    "append": append,
    "work": work,
    "begin": begin,
    "take": take,
    "fill": fill,
}

if __name__ == "__main__":
    LIVES[sys.argv[1]](Path(sys.argv[2]))
