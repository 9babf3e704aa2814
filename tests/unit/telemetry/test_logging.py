"""Logs: JSON lines without secrets, written without ever holding up who logs."""

from __future__ import annotations

import io
import json
import logging
import threading
from datetime import datetime

import msgspec
import pytest
from msgspec.structs import replace
from typing_extensions import override

from genai_spine.telemetry.events import KeyFailed, Outcome
from genai_spine.telemetry.logging import (
    MAX_WAITING_LINES,
    WHOLE_BYTES,
    LineWriter,
    LogObserver,
    configure_logging,
    logger,
)
from genai_spine.types.usage import Usage
from tests.unit.telemetry import records
from tests.unit.telemetry.records import OPENED

RECORD = replace(records.RECORD, seconds=1.23456, first_token_seconds=0.25, cost_usd="0.0001")
ATTEMPT = replace(
    records.ATTEMPT,
    number=2,
    retry=True,
    outcome="timeout",
    error="provider_timeout",
    seconds=1.23456,
    first_token_seconds=None,
    usage=Usage(input_tokens=3),
)


class StuckStream(io.StringIO):
    """A reader that takes nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.released = threading.Event()

    @override
    def write(self, text: str) -> int:
        self.entered.set()
        self.released.wait(timeout=30)
        return super().write(text)


class PiecesStream(io.StringIO):
    """Keeps apart what is written at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    @override
    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


class GoneStream(io.StringIO):
    """A reader that has left, and may come back."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = True
        self.tried = threading.Event()

    @override
    def write(self, text: str) -> int:
        if self.gone:
            self.tried.set()
            raise BrokenPipeError
        return super().write(text)


def lines(log: tuple[io.StringIO, LineWriter]) -> list[dict[str, object]]:
    """All that was logged, once it is written."""
    log[1].close()
    return [json.loads(line) for line in log[0].getvalue().splitlines()]


def test_lines_are_written_in_order() -> None:
    """What was taken before the close is there after it, in order."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    for number in range(1000):
        writer.msg(str(number))
    writer.close()
    assert [str(number) for number in range(1000)] == stream.getvalue().splitlines()


def test_lines_of_several_workers_do_not_mix() -> None:
    """What is written at once are whole lines, as many as a pipe takes in one piece; a longer one is alone."""
    stream = PiecesStream()
    writer = LineWriter(stream)
    expected = ["é" * length for length in (1, 2000, 40, 3000, 2047, 1, *range(200))]
    for line in expected:
        writer.msg(line)
    writer.close()
    assert expected == "".join(stream.pieces).splitlines()
    assert all(piece.endswith("\n") for piece in stream.pieces)
    assert all(len(piece.encode()) <= WHOLE_BYTES or piece.count("\n") == 1 for piece in stream.pieces)
    assert len(stream.pieces) < len(expected) / 4


def test_a_stuck_reader_stops_nobody() -> None:
    """Lines are taken though nobody reads; what is too much is dropped, the newest first, and its number told."""
    stream = StuckStream()
    writer = LineWriter(stream)
    writer.msg("first")
    assert stream.entered.wait(timeout=30)
    for number in range(MAX_WAITING_LINES + 7):
        writer.msg(str(number))
    stream.released.set()
    writer.close()
    written = stream.getvalue().splitlines()
    assert written[:2] == ["first", "0"]
    assert str(MAX_WAITING_LINES - 1) == written[-2]
    assert {"level": "warning", "event": "log lines dropped", "count": 7} == json.loads(written[-1])


def test_a_reader_who_left() -> None:
    """What could not be written is counted, and told to whoever reads later; who logs never notices."""
    stream = GoneStream()
    writer = LineWriter(stream)
    writer.msg("lost")
    assert stream.tried.wait(timeout=30)
    stream.gone = False
    writer.msg("found")
    writer.close()
    written = stream.getvalue().splitlines()
    assert "found" in written
    assert "lost" not in written
    assert {"level": "warning", "event": "log lines dropped", "count": 1} == json.loads(written[-1])


def test_a_line_of_the_log(log: tuple[io.StringIO, LineWriter]) -> None:
    """One JSON object: time, level, event, and the fields as they were given."""
    logger.info("started", port=8100, address=None)
    (line,) = lines(log)
    assert ("started", "info", 8100, None) == (line["event"], line["level"], line["port"], line["address"])
    assert str(line["time"]).endswith("Z")


def test_no_secret_is_logged(log: tuple[io.StringIO, LineWriter]) -> None:
    """What is shaped like a key is masked wherever in the line it stands, in traces of failures too."""
    logger.warning("called with sk-canary-0123456789", headers={"authorization": "Bearer canary.token"})
    try:
        int("sk-canary-0123456789")
    except ValueError:
        logger.exception("failed")
    logged = lines(log)
    assert "canary" not in log[0].getvalue()
    assert "ValueError: invalid literal for int() with base 10: '[redacted]'" in str(logged[1]["exception"])


def test_what_is_no_json_is_written_as_text(log: tuple[io.StringIO, LineWriter]) -> None:
    """A field of any type can be logged."""
    logger.info("odd", value=ValueError("x"), kind={1, 2})
    (line,) = lines(log)
    assert line["value"] == "x"


def test_libraries_log_to_the_same_place(log: tuple[io.StringIO, LineWriter]) -> None:
    """Records of the standard library come with their logger's name; debug chatter of theirs does not."""
    logging.getLogger("some.library").warning("careful with %s", "this")
    logging.getLogger("some.library").debug("chatter")
    logging.getLogger("some.library").log(35, "between the levels")
    logging.getLogger("some.library").critical("gone")
    logging.getLogger("uvicorn.access").info("GET /?key=canary")
    found = [(line["event"], line["logger"], line["level"]) for line in lines(log)]
    assert ("careful with this", "some.library", "warning") in found
    assert len(found) == 3
    assert "canary" not in log[0].getvalue()


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level(log: tuple[io.StringIO, LineWriter], level: str, expected: int) -> None:
    """Only what is at least of the set level is written."""
    stream = io.StringIO()
    writer = configure_logging(level, stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("x")
    writer.close()
    assert expected == len(stream.getvalue().splitlines())
    assert log[0].getvalue() == ""


def test_a_request_that_is_over(log: tuple[io.StringIO, LineWriter]) -> None:
    """Its line holds the whole record, with time, level and event, and no prompt, for there is none to tell."""
    LogObserver(log[1]).request_ended(RECORD)
    (line,) = lines(log)
    assert datetime.fromisoformat(str(line.pop("time"))).tzinfo is not None
    assert {"event": "request", "level": "info", **msgspec.to_builtins(RECORD)} == line


@pytest.mark.parametrize(("level", "expected"), [("debug", 2), ("info", 2), ("warning", 1), ("error", 0)])
def test_the_level_counts_for_requests_too(log: tuple[io.StringIO, LineWriter], level: str, expected: int) -> None:
    """A successful request is of level info, a failed one a warning; below the set level neither is written."""
    observer = LogObserver(log[1], level)
    observer.request_ended(RECORD)
    observer.request_ended(msgspec.structs.replace(RECORD, outcome="error"))
    assert expected == len(lines(log))


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        ("success", "info"),
        ("cancelled", "info"),
        ("error", "warning"),
        ("timeout", "warning"),
        ("interrupted", "warning"),
    ],
)
def test_failures_are_warnings(log: tuple[io.StringIO, LineWriter], outcome: Outcome, level: str) -> None:
    """A caller who left is no failure; all other ends but success are."""
    LogObserver(log[1]).request_ended(msgspec.structs.replace(RECORD, outcome=outcome, first_token_seconds=None))
    (line,) = lines(log)
    assert (level, None) == (line["level"], line["first_token_seconds"])


def test_a_call_to_a_provider(log: tuple[io.StringIO, LineWriter]) -> None:
    """One that failed is a warning with all that its record holds; one that went well is told with its request."""
    observer = LogObserver(log[1])
    observer.attempt_ended(ATTEMPT)
    observer.attempt_ended(msgspec.structs.replace(ATTEMPT, outcome="success"))
    (line,) = lines(log)
    del line["time"]
    assert {"event": "attempt", "level": "warning", **msgspec.to_builtins(ATTEMPT)} == line


def test_every_call_for_who_debugs(log: tuple[io.StringIO, LineWriter]) -> None:
    """At the level debug the calls that went well have lines too."""
    LogObserver(log[1], "debug").attempt_ended(msgspec.structs.replace(ATTEMPT, outcome="success"))
    assert ["debug"] == [line["level"] for line in lines(log)]


def test_a_circuit_and_a_key(log: tuple[io.StringIO, LineWriter]) -> None:
    """A circuit that opens and a key that fails are warnings; a circuit that closes is good news."""
    observer = LogObserver(log[1])
    failed = KeyFailed(provider="openai", key="0011aabb", fault="refused", status="refused", usable_in=None)
    observer.circuit_changed(OPENED)
    observer.circuit_changed(msgspec.structs.replace(OPENED, before="half_open", after="closed"))
    observer.key_failed(failed)
    told = lines(log)
    assert [("circuit", "warning"), ("circuit", "info"), ("key failure", "warning")] == [
        (line["event"], line["level"]) for line in told
    ]
    assert msgspec.to_builtins(OPENED).items() <= told[0].items()
    assert msgspec.to_builtins(failed).items() <= told[2].items()
