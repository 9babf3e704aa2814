"""Structured logs: one JSON object a line, written by a thread of its own: a slow reader never stops the loop."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

import msgspec
import structlog
from msgspec import Struct
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger
from typing_extensions import override

from genai_spine.redact import scrub
from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, RequestEnded

__all__ = ["LineWriter", "LogObserver", "configure_logging", "logger"]

MAX_WAITING_LINES: Final = 20_000
GATHER_SECONDS: Final = 0.05
# The least that a pipe must take without mixing it with what others write (POSIX: PIPE_BUF); Linux's is so much.
WHOLE_BYTES: Final = 4096
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_NO_FAILURES: Final = frozenset({"success", "cancelled"})


class LineWriter:
    """Takes lines at once and writes them soon. If the reader stops, the newest are dropped and counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._wake = threading.Event()
        self._pause = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Take a line."""
        if len(self._lines) >= MAX_WAITING_LINES:
            self._dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    log = debug = info = warning = error = critical = exception = msg

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait()
            # Lines come in crowds; one wake for many of them spares the loop the change of threads.
            self._pause.wait(GATHER_SECONDS)
            self._wake.clear()
            self._drain()
        # What came in between the last look and the close.
        self._drain()

    def _drain(self) -> None:
        while self._lines:
            batch = [self._lines.popleft() for _ in range(len(self._lines))]
            if self._dropped:
                batch.append(f'{{"level":"warning","event":"log lines dropped","count":{self._dropped}}}')
                self._dropped = 0
            try:
                for text in _together(batch):
                    self._stream.write(text)
                    self._stream.flush()
            except (OSError, ValueError):
                # The reader is gone; the gateway goes on without a log rather than not at all.
                self._dropped += len(batch)
                return

    def close(self) -> None:
        """Write what waits, and stop; what is logged after that goes where it went before logging was configured."""
        if _sink.writer is self:
            _sink.writer = None
        self._closing = True
        self._pause.set()
        self._wake.set()
        self._thread.join(timeout=2)


def _together(lines: Iterable[str]) -> Iterator[str]:
    """Yield whole lines, as many at once as the system writes in one piece: other workers write to the same place."""
    text, size = "", 0
    for line in lines:
        more = len(line.encode(errors="surrogatepass")) + 1
        if size and size + more > WHOLE_BYTES:
            yield text
            text, size = "", 0
        text += line + "\n"
        size += more
    if text:
        yield text


class _Sink:
    """Where the project's own lines go: to the writer, once there is one, else to the standard library's logging.

    A program that uses the library without a server configures the logger ``genai_spine`` as any other.
    """

    def __init__(self) -> None:
        self.writer: LineWriter | None = None
        self.level = LEVELS["info"]

    def msg(self, line: str) -> None:
        """Take a line that has passed the filter."""
        if self.writer is not None:
            self.writer.msg(line)
        else:
            logging.getLogger("genai_spine").warning(line)

    log = debug = info = warning = error = critical = exception = msg


_sink: Final = _Sink()


def _filter(_: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if LEVELS.get(name, LEVELS["error"]) < _sink.level:
        raise structlog.DropEvent
    return event


def _render(_: WrappedLogger, __: str, event: EventDict) -> str:
    return scrub(msgspec.json.encode(event, enc_hook=str).decode())


# Made whole here rather than by `structlog.configure`: its default would print the values of a failing function, keys
# and prompts among them, to whoever runs the library without configuring anything.
logger: Final[FilteringBoundLogger] = structlog.wrap_logger(
    _sink,
    processors=[
        _filter,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
        structlog.processors.format_exc_info,
        _render,
    ],
    wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
)


def configure_logging(level: str, stream: TextIO | None = None) -> LineWriter:
    """Send all logs, those of libraries too, to ``stream`` (by default standard error) from ``level`` on.

    Returns:
        The writer, to be closed at the end.
    """
    _sink.writer = writer = LineWriter(stream or sys.stderr)
    _sink.level = LEVELS[level]
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(max(LEVELS[level], logging.INFO))
    # Its access log would print `?key=`; the gateway logs each request itself.
    logging.getLogger("uvicorn.access").disabled = True
    # Its start and stop are told by the command itself.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # A revision of the database is told of where it fails; each step of it is nobody's news.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return writer


class _Bridge(logging.Handler):
    """Hands the records of libraries to the same log."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        name = logging.getLevelName(record.levelno).lower()
        getattr(logger, name if name in LEVELS else "info")(
            record.getMessage(), logger=record.name, exc_info=record.exc_info or None
        )


class LogObserver(Observer):
    """Logs each record, a line with its fields, written without structlog's detours."""

    def __init__(self, writer: LineWriter, level: str = "info") -> None:
        """Log to ``writer`` what is at least of ``level``.

        Failures and open circuits are warnings. A call that went well is told with its request, and again only for
        ``debug``. The rest is ``info``.
        """
        self._writer = writer
        self._level = LEVELS[level]
        self._second, self._stamp = -1, ""

    @override
    def request_ended(self, record: RequestEnded) -> None:
        self._write("request", "info" if record.outcome in _NO_FAILURES else "warning", record)

    @override
    def attempt_ended(self, record: AttemptEnded) -> None:
        self._write("attempt", "debug" if record.outcome in _NO_FAILURES else "warning", record)

    @override
    def circuit_changed(self, record: CircuitChanged) -> None:
        self._write("circuit", "warning" if record.after == "open" else "info", record)

    @override
    def key_failed(self, record: KeyFailed) -> None:
        self._write("key failure", "warning", record)

    def _write(self, event: str, level: str, record: Struct) -> None:
        if LEVELS[level] < self._level:
            return
        now = time.time()
        if (second := int(now)) != self._second:
            # Formatted once a second: it would cost more than all the rest of the line.
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        stamp = f"{self._stamp}.{int(now % 1 * 1000):03d}Z"
        fields = msgspec.json.encode(record).decode()
        self._writer.msg(f'{{"time":"{stamp}","level":"{level}","event":"{event}",{fields[1:]}')
