"""Metrics: every request that is over is counted once, under who served it and how it ended."""

from __future__ import annotations

import msgspec

from genai_spine.telemetry.events import KeyFailed
from genai_spine.telemetry.prometheus import PrometheusObserver
from tests.unit.telemetry.records import ATTEMPT, OPENED, RECORD, WHO, ended, samples, within


def test_nothing_yet() -> None:
    """Before the first request the page tells its metrics' names and counts nothing."""
    page = PrometheusObserver().page().decode()
    assert "# TYPE genai_requests_total counter" in page
    assert "# TYPE genai_request_duration_seconds histogram" in page
    assert {} == samples(PrometheusObserver())


def test_requests_are_counted_by_their_end() -> None:
    """Outcomes have series of their own; durations and tokens add up over them."""
    observer = PrometheusObserver()
    observer.request_ended(RECORD)
    observer.request_ended(RECORD)
    observer.request_ended(msgspec.structs.replace(RECORD, outcome="error", first_token_seconds=None, output_tokens=0))
    found = samples(observer)
    assert (2, 1) == (found[ended("success")], found[ended("error")])
    assert (9, 8) == (
        found[f'genai_tokens_total{{direction="input",{WHO}}}'],
        found[f'genai_tokens_total{{direction="output",{WHO}}}'],
    )
    assert (3, 0, 3) == (
        found[f"genai_request_duration_seconds_count{{{WHO}}}"],
        found[within("0.25")],
        found[within("0.5")],
    )
    assert found[f"genai_time_to_first_token_seconds_count{{{WHO}}}"] == 2


def test_two_observers_are_apart() -> None:
    """Several engines in one process do not count into each other's metrics."""
    one, other = PrometheusObserver(), PrometheusObserver()
    one.request_ended(RECORD)
    assert {} == samples(other)


def test_attempts_and_retries_are_counted_by_provider() -> None:
    """Each call counts once by its end; one that repeats a call to its provider counts as a retry too."""
    observer = PrometheusObserver()
    observer.attempt_ended(msgspec.structs.replace(ATTEMPT, outcome="error"))
    observer.attempt_ended(msgspec.structs.replace(ATTEMPT, number=2, retry=True))
    observer.attempt_ended(msgspec.structs.replace(ATTEMPT, provider="groq"))
    assert {
        'genai_attempts_total{outcome="error",provider="openai"}': 1,
        'genai_attempts_total{outcome="success",provider="openai"}': 1,
        'genai_attempts_total{outcome="success",provider="groq"}': 1,
        'genai_retries_total{provider="openai"}': 1,
    } == samples(observer)


def test_circuits_show_how_they_stand() -> None:
    """A provider's circuit is a gauge; its models', whose names callers choose, are no series."""
    observer = PrometheusObserver()
    gauge = 'genai_circuit_state{provider="openai"}'
    for after, expected in (("open", 2), ("half_open", 1), ("closed", 0)):
        observer.circuit_changed(msgspec.structs.replace(OPENED, after=after))
        observer.circuit_changed(msgspec.structs.replace(OPENED, model="gpt-4o"))
        assert {gauge: expected} == samples(observer)


def test_failures_of_keys_are_counted_by_fault() -> None:
    """Which key it was is told in the log; the series tell what was wrong."""
    observer = PrometheusObserver()
    for fault, key in (("limited", "a"), ("limited", "b"), ("refused", "a")):
        observer.key_failed(KeyFailed(provider="openai", key=key, fault=fault, status="cooling", usable_in=1.0))
    assert {
        'genai_key_failures_total{fault="limited",provider="openai"}': 2,
        'genai_key_failures_total{fault="refused",provider="openai"}': 1,
    } == samples(observer)


def test_models_and_keys_are_no_labels() -> None:
    """What callers choose freely does not become a series, or they could fill the memory with them."""
    observer = PrometheusObserver()
    for number in range(100):
        observer.request_ended(msgspec.structs.replace(RECORD, model=f"m{number}", key=f"k{number}"))
    assert len(samples(observer)) < 60
