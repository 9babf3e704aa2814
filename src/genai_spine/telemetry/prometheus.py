"""Metrics for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from genai_spine.telemetry.events import RequestEnded

__all__ = ["PrometheusObserver"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class _Series:
    """The metrics of one (door, provider, outcome), looked up once: finding them costs more than counting."""

    def __init__(self, metrics: PrometheusObserver, door: str, provider: str, outcome: str) -> None:
        self.requests = metrics.requests.labels(door, provider, outcome)
        self.durations = metrics.durations.labels(door, provider)
        self.first_tokens = metrics.first_tokens.labels(door, provider)
        self.input_tokens = metrics.tokens.labels(door, provider, "input")
        self.output_tokens = metrics.tokens.labels(door, provider, "output")


class PrometheusObserver:
    """Counts requests and tokens, and measures how long answers take."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("door", "provider")
        self.requests = Counter(
            "genai_requests", "Requests, by how they ended.", (*labels, "outcome"), registry=self.registry
        )
        self.durations = Histogram(
            "genai_request_duration_seconds",
            "From a request's arrival to its end.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.first_tokens = Histogram(
            "genai_time_to_first_token_seconds",
            "From a request's arrival to the first piece of its answer.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "genai_tokens", "Tokens that providers reported.", (*labels, "direction"), registry=self.registry
        )
        self._series: dict[tuple[str, str, str], _Series] = {}

    def request_ended(self, record: RequestEnded) -> None:
        """Count a request that is over."""
        key = (record.door, record.provider, record.outcome)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(self, *key)
        series.requests.inc()
        series.durations.observe(record.seconds)
        if record.first_token_seconds is not None:
            series.first_tokens.observe(record.first_token_seconds)
        if record.input_tokens:
            series.input_tokens.inc(record.input_tokens)
        if record.output_tokens:
            series.output_tokens.inc(record.output_tokens)

    def page(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
