"""Metrics for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from genai_spine.telemetry.base import Observer
from genai_spine.telemetry.events import RequestEnded

__all__ = ["PrometheusObserver"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_LABELS = ("door", "provider")


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
    """Counts requests and tokens, and measures how long answers take.

    The numbers are kept plain and turned into the client library's metrics when they are asked for: all are counted on
    one thread, so the library's locks would only cost time.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._series: dict[tuple[str, str], _Series] = {}

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

    @override
    def collect(self) -> Iterator[Metric]:
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
        yield from (requests, tokens, durations, first_tokens)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
