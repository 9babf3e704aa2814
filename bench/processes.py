"""Processes that the benchmark starts, each in a session of its own, and always stops, by its id."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from bench.load import Plan, Tally
from bench.measure import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "LoadGenerator",
    "complete",
    "environment",
    "free_port",
    "load_generator",
    "started",
    "upstream",
    "wait_ready",
]

_ROOT = Path(__file__).resolve().parent.parent
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.005


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment: nothing of the caller's shell but where programs and caches are found, then ``extra``."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", **(extra or {})}


def complete(*argv: str) -> str:
    """Runs a command to its end and returns what it printed, errors too.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    return done.stdout.strip()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and everything in its session: asked first, killed after ten seconds."""
    members = tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()


@contextlib.contextmanager
def started(
    argv: Sequence[str], env: Mapping[str, str], log: Path, *, piped: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process; its output goes to ``log``, or with ``piped`` only its errors do."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=_ROOT,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)


def wait_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path, seconds: float) -> None:
    """Returns at the first 200 from ``path``.

    Raises:
        RuntimeError: the process ended, or ``seconds`` passed; the message has the end of its log.
    """
    deadline = time.perf_counter() + seconds
    while process.poll() is None and time.perf_counter() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            pass  # not listening yet
        finally:
            connection.close()
        time.sleep(_POLL_SECONDS)
    state = "did not become ready" if process.poll() is None else f"ended with {process.returncode}"
    last_lines = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    message = f"{process.args!r} {state}:\n{last_lines}"
    raise RuntimeError(message)


class LoadGenerator:
    """The load generator's process, spoken to in lines of JSON."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """``process`` runs ``bench.load`` with both ends piped."""
        self._to, self._from = _pipes(process)

    def run(self, plan: Plan) -> Tally:
        """Carries out the plan.

        Raises:
            RuntimeError: the load generator is gone.
        """
        self._to.write(msgspec.json.encode(plan) + b"\n")
        self._to.flush()
        line = self._from.readline()
        if not line:
            message = "the load generator ended; see load.log in the run's folder"
            raise RuntimeError(message)
        return msgspec.json.decode(line, type=Tally)

    @contextlib.contextmanager
    def hold(self, plan: Plan) -> Iterator[Tally]:
        """Opens the plan's streams and keeps them while the block runs."""
        yield self.run(msgspec.structs.replace(plan, hold=True))
        self._to.write(b"\n")
        self._to.flush()


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        message = "the process was started without pipes"
        raise RuntimeError(message)
    return process.stdin, process.stdout


@contextlib.contextmanager
def load_generator(folder: Path) -> Iterator[LoadGenerator]:
    """A running load generator; it logs to ``folder``."""
    argv = [sys.executable, "-m", "bench.load"]
    with started(argv, environment(), folder / "load.log", piped=True) as process:
        yield LoadGenerator(process)


@contextlib.contextmanager
def upstream(folder: Path) -> Iterator[tuple[int, int]]:
    """A running scripted upstream: its process id and its port.

    Raises:
        RuntimeError: it did not start.
    """
    argv = [sys.executable, "-m", "bench.upstream"]
    log = folder / "upstream.log"
    with started(argv, environment(), log, piped=True) as process:
        line = _pipes(process)[1].readline()
        if not line:
            message = f"the upstream did not start:\n{log.read_text(errors='replace')}"
            raise RuntimeError(message)
        yield process.pid, int(line)
