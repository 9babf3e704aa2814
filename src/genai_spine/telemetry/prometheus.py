"""Metrics for Prometheus."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed, LedgerFault, RequestEnded
from genai_spine.telemetry.logging import logger
from genai_spine.telemetry.metric_files import HighestGauge, MetricFiles

__all__ = ["PrometheusObserver"]

WRITE_SECONDS = 0.5
"""How old what other processes see of this one's numbers may be."""

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LABELS = ("door", "provider")
_NOT_LET_IN = 401
_STATES = {"closed": 0, "half_open": 1, "open": 2}


class _Histogram:
    """Observations by bucket, not yet cumulated."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(_BUCKETS, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, float]]:
        reached = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self.counts, strict=True):
            reached += count
            buckets.append((bound, reached))
        return buckets


class _Series:
    """The numbers of one door and provider."""

    __slots__ = ("durations", "first_tokens", "input_tokens", "outcomes", "output_tokens")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.durations = _Histogram()
        self.first_tokens = _Histogram()
        self.input_tokens = 0
        self.output_tokens = 0


class PrometheusObserver(Observer, Collector):
    """Counts requests, calls and tokens, measures how long answers take, and shows circuits.

    The numbers are kept plain and turned into the client library's metrics when they are asked for: all are counted on
    one thread, so the library's locks would only cost time.
    """

    def __init__(self, files: MetricFiles | None = None) -> None:
        """Count.

        Args:
            files: Where one of several processes writes its numbers down; then the page tells those of all.
        """
        self._files = files
        self._unwritten = False
        self._due: asyncio.TimerHandle | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._series: dict[tuple[str, str], _Series] = {}
        self._strangers: Counter[str] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._retries: Counter[str] = Counter()
        self._key_failures: Counter[tuple[str, str]] = Counter()
        self._circuits: dict[str, int] = {}
        self._ledger_faults: Counter[str] = Counter()

    @override
    def request_ended(self, record: RequestEnded) -> None:
        key = (record.door, record.provider)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.outcomes[record.outcome] = series.outcomes.get(record.outcome, 0) + 1
        series.durations.observe(record.seconds)
        if record.first_token_seconds is not None:
            series.first_tokens.observe(record.first_token_seconds)
        series.input_tokens += record.input_tokens
        series.output_tokens += record.output_tokens
        if record.status == _NOT_LET_IN and not record.attempts:
            self._strangers[record.error] += 1
        self._changed()

    @override
    def attempt_ended(self, record: AttemptEnded) -> None:
        self._attempts[record.provider, record.outcome] += 1
        if record.retry:
            self._retries[record.provider] += 1
        self._changed()

    @override
    def circuit_changed(self, record: CircuitChanged) -> None:
        # Callers choose the models: a series for each could fill the memory.
        if not record.model:
            self._circuits[record.provider] = _STATES[record.after]
            self._changed()

    @override
    def key_failed(self, record: KeyFailed) -> None:
        self._key_failures[record.provider, record.fault] += 1
        self._changed()

    @override
    def ledger_failed(self, record: LedgerFault) -> None:
        self._ledger_faults[record.kind] += record.count
        self._changed()

    def _changed(self) -> None:
        """See to it that the others learn of it soon: one write for many changes."""
        if self._files is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._write)

    def _write(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._files is None:
            return
        try:
            self._files.write(self.collect())
        except OSError as error:
            if not self._unwritten:
                logger.error("metrics cannot be written down; each worker tells its own", reason=error.strerror)
            self._unwritten = True
        else:
            self._unwritten = False

    @override
    def collect(self) -> Iterator[Metric]:
        yield from self._of_requests()
        yield from self._of_providers()
        faults = CounterMetricFamily(
            "genai_ledger_faults", "What of the ledger is lost or must be looked at, by kind.", labels=("kind",)
        )
        for kind, count in self._ledger_faults.items():
            faults.add_metric((kind,), count)
        yield faults

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("genai_requests", "Requests, by how they ended.", labels=(*_LABELS, "outcome"))
        tokens = CounterMetricFamily("genai_tokens", "Tokens that providers reported.", labels=(*_LABELS, "direction"))
        durations = HistogramMetricFamily(
            "genai_request_duration_seconds", "From a request's arrival to its end.", labels=_LABELS
        )
        first_tokens = HistogramMetricFamily(
            "genai_time_to_first_token_seconds",
            "From a request's arrival to the first piece of its answer.",
            labels=_LABELS,
        )
        for key, series in self._series.items():
            for outcome, count in series.outcomes.items():
                requests.add_metric((*key, outcome), count)
            tokens.add_metric((*key, "input"), series.input_tokens)
            tokens.add_metric((*key, "output"), series.output_tokens)
            durations.add_metric(key, series.durations.cumulated(), series.durations.total)
            first_tokens.add_metric(key, series.first_tokens.cumulated(), series.first_tokens.total)
        strangers = CounterMetricFamily(
            "genai_unauthenticated_requests", "Requests refused for their key, by reason.", labels=("reason",)
        )
        for reason, count in self._strangers.items():
            strangers.add_metric((reason,), count)
        yield from (requests, tokens, durations, first_tokens, strangers)

    def _of_providers(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "genai_attempts", "Calls to providers, by how they ended.", labels=("provider", "outcome")
        )
        for who, count in self._attempts.items():
            attempts.add_metric(who, count)
        retries = CounterMetricFamily(
            "genai_retries", "Calls to a provider that the same request had called before.", labels=("provider",)
        )
        for provider, count in self._retries.items():
            retries.add_metric((provider,), count)
        key_failures = CounterMetricFamily(
            "genai_key_failures", "Calls that failed by a key's fault, or with it.", labels=("provider", "fault")
        )
        for what, count in self._key_failures.items():
            key_failures.add_metric(what, count)
        circuits = HighestGauge(
            "genai_circuit_state",
            "0 closed, 1 half open, 2 open; nothing for a circuit that never opened.",
            labels=("provider",),
        )
        for provider, state in self._circuits.items():
            circuits.add_metric((provider,), state)
        yield from (attempts, retries, key_failures, circuits)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format; only this worker's, where they cannot be written down."""
        self._write()
        if self._files is None or self._unwritten:
            return generate_latest(self.registry)
        return self._files.page()

    def close(self) -> None:
        """Write down what is not yet."""
        self._write()
        if self._files is not None:
            self._files.close()
