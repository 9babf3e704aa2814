"""What happened, for tests of metrics, and how a page tells it."""

from __future__ import annotations

from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, RequestEnded
from genai_spine.telemetry.prometheus import PrometheusObserver

__all__ = ["ATTEMPT", "OPENED", "RECORD", "WHO", "ended", "samples", "within"]

RECORD = RequestEnded(
    request_id="req_1",
    door="openai_chat",
    asked_model="fast",
    provider="openai",
    model="gpt-4o-mini",
    strategy="local_first",
    affinity=False,
    fallback=False,
    key="0011aabb",
    outcome="success",
    status=200,
    error="",
    stream=True,
    passthrough=True,
    attempts=1,
    seconds=0.3,
    first_token_seconds=0.02,
    input_tokens=3,
    output_tokens=4,
    cost_usd="",
)
ATTEMPT = AttemptEnded(
    request_id="req_1",
    number=1,
    provider="openai",
    model="gpt-4o-mini",
    key="0011aabb",
    reason="its provider was named",
    retry=False,
    outcome="success",
    error="",
    seconds=0.3,
    first_token_seconds=0.02,
    usage=None,
)
OPENED = CircuitChanged(provider="openai", model="", before="closed", after="open", reason="5 failures in a row")
WHO = 'door="openai_chat",provider="openai"'


def ended(outcome: str) -> str:
    """The series of requests that ended so."""
    return f'genai_requests_total{{door="openai_chat",outcome="{outcome}",provider="openai"}}'


def within(bound: str) -> str:
    """The series of durations of at most so many seconds."""
    return f'genai_request_duration_seconds_bucket{{door="openai_chat",le="{bound}",provider="openai"}}'


def samples(observer: PrometheusObserver) -> dict[str, float]:
    """The page, by name and labels."""
    page = observer.page().decode()
    pairs = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}
