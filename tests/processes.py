"""``spine serve`` as a process of its own, for tests of what only processes show."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["SPINE", "WAIT", "Running", "environ_for", "refused", "serving"]

SPINE: Final = (str(Path(sys.executable).with_name("spine")),)
WAIT: Final = 60


def environ_for(data: Path) -> dict[str, str]:
    """Return an environment with a data folder of its own."""
    own = {"PATH", "HOME", "PYTHONPATH"}
    kept = {name: value for name, value in os.environ.items() if name in own or name.startswith("COV")}
    return {**kept, "GENAI_DATA_DIR": str(data), "GENAI_PROBE_LOCAL": "false"}


class Running:
    """A gateway that has told that it is up.

    Attributes:
        lines: What it told.
        log: What it wrote to standard error so far, it and those that it started.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._news = threading.Condition()
        self.lines: list[str] = []
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("    -d"):
                break
        self.summary = "\n".join(self.lines)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.log.append(line)
                self._news.notify_all()

    @property
    def command(self) -> str:
        """The command line that is shown to be tried."""
        start = next(number for number, line in enumerate(self.lines) if line.startswith("  curl "))
        return "\n".join(self.lines[start:])

    @property
    def url(self) -> str:
        """Its address."""
        return self.lines[0].split(" at ")[1].split(" ")[0]

    @property
    def workers(self) -> dict[str, int]:
        """The processes that serve, by name."""
        died = {line["worker"] for line in self.logged("a worker died")}
        serve = {str(line["worker"]): line["pid"] for line in self.logged("a worker serves")}
        return {name: pid for name, pid in serve.items() if name not in died and isinstance(pid, int)}

    def logged(self, event: str) -> list[dict[str, object]]:
        """The log's lines of an event, oldest first."""
        return [line for line in map(json.loads, list(self.log)) if line["event"] == event]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that the log tells."""
        with self._news:
            assert self._news.wait_for(holds, WAIT), "".join(self.log)

    def tell(self, sign: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(sign)

    def end(self) -> tuple[int, str]:
        """Wait until it has ended, and all that it started; return its status and its log."""
        status = self._process.wait(WAIT)
        self._reader.join(WAIT)
        assert not self._reader.is_alive(), "somebody still holds the standard error"
        return status, "".join(self.log)

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Tell it to stop, and wait for its end."""
        self.tell(sign)
        return self.end()


@contextlib.contextmanager
def serving(environ: Mapping[str, str], folder: Path, *arguments: str) -> Iterator[Running]:
    """Serve on a free port."""
    with subprocess.Popen(  # noqa: S603  # the command under test
        [*SPINE, "serve", "--port", "0", *arguments],
        env=environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running = Running(process)
        try:
            yield running
        finally:
            process.kill()
            running.end()


def refused(environ: Mapping[str, str], folder: Path, *arguments: str) -> str:
    """What is told when it does not even start; the status is 2, and there is no stack trace."""
    done = subprocess.run(  # noqa: S603  # the command under test
        [*SPINE, "serve", *arguments],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr
