"""Several observers as one: each is told what it wants to know, whatever becomes of the others."""

from __future__ import annotations

from typing import cast

import pytest
from typing_extensions import override

from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, RequestEnded
from genai_spine.telemetry.observers import Observers
from genai_spine.testing.gateway import Recorder
from tests.unit.telemetry.records import OPENED
from tests.unit.telemetry.test_logging import ATTEMPT, RECORD

FAILED = KeyFailed(provider="openai", key="0011aabb", fault="refused", status="refused", usable_in=None)


def tell(observer: Observer) -> None:
    """Tell one record of each kind."""
    observer.request_ended(RECORD)
    observer.attempt_ended(ATTEMPT)
    observer.circuit_changed(OPENED)
    observer.key_failed(FAILED)


def all_of(recorder: Recorder) -> list[RequestEnded | AttemptEnded | CircuitChanged | KeyFailed]:
    """What a recorder was told."""
    return [*recorder.records, *recorder.attempts, *recorder.circuits, *recorder.keys]


def test_each_is_told_all() -> None:
    """In every kind of record."""
    one, other = Recorder(), Recorder()
    tell(Observers([one, other]))
    assert [RECORD, ATTEMPT, OPENED, FAILED] == all_of(one)
    assert all_of(one) == all_of(other)


def test_one_that_fails_keeps_nothing_from_the_others() -> None:
    """Its fault is logged, and raised to nobody."""

    class Faulty(Observer):
        """Fails whatever it is told."""

        @override
        def request_ended(self, record: RequestEnded) -> None:
            raise RuntimeError

        @override
        def attempt_ended(self, record: AttemptEnded) -> None:
            raise RuntimeError

        @override
        def circuit_changed(self, record: CircuitChanged) -> None:
            raise RuntimeError

        @override
        def key_failed(self, record: KeyFailed) -> None:
            raise RuntimeError

    recorder = Recorder()
    tell(Observers([Faulty(), recorder]))
    assert 4 == len(all_of(recorder))


def test_one_that_knows_requests_alone(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that derives from nothing, and lacks the other methods, is told of requests; no fault is logged."""

    class Old:
        """Counts requests."""

        def __init__(self) -> None:
            self.count = 0

        def request_ended(self, record: RequestEnded) -> None:
            """Count it."""
            self.count += record.attempts

    old = Old()
    tell(Observers([cast("Observer", old), Observer()]))
    assert (RECORD.attempts, "") == (old.count, caplog.text)
