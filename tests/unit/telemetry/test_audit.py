"""What happens becomes events of the audit."""

from __future__ import annotations

from typing import Any, Final

import pytest
from msgspec.structs import replace

from genai_spine.telemetry.audit import AuditObserver
from genai_spine.telemetry.events import AttemptEnded, CircuitChanged, KeyFailed
from genai_spine.testing.clock import ManualClock
from genai_spine.types.ledger import AuditEvent
from genai_spine.types.usage import Usage

NOW: Final = 1_800_000_000
CALL: Final = AttemptEnded(
    request_id="q", number=1, provider="openai", model="m", key="0123abcd", reason="cheapest", retry=False,
    outcome="success", error="", seconds=1, first_token_seconds=None, usage=Usage(input_tokens=5, output_tokens=2),
)  # fmt: skip
KEY: Final = KeyFailed(provider="openai", key="0123abcd", fault="rate_limit", status="healthy", usable_in=0)
CIRCUIT: Final = CircuitChanged(provider="openai", model="", before="closed", after="open", reason="5 failures")


@pytest.fixture
def told() -> list[AuditEvent]:
    """What the audit was told."""
    return []


@pytest.fixture
def observer(told: list[AuditEvent]) -> AuditObserver:
    """An observer at a set time."""
    return AuditObserver(told.append, ManualClock(NOW))


@pytest.mark.parametrize(
    ("changes", "events"),
    [
        ({}, []),
        ({"outcome": "cancelled"}, []),
        ({"outcome": "error", "error": "overloaded"}, [("llm_error", "overloaded")]),
        ({"outcome": "timeout", "error": "timeout"}, [("llm_error", "timeout")]),
        ({"outcome": "interrupted", "error": "stream_interrupted"}, [("llm_error", "stream_interrupted")]),
        ({"number": 2, "retry": True}, [("llm_retry", "cheapest")]),
        ({"number": 2}, [("llm_fallback", "cheapest")]),
        ({"number": 3, "outcome": "error", "error": "e"}, [("llm_fallback", "cheapest"), ("llm_error", "e")]),
    ],
)
def test_calls(observer: AuditObserver, told: list[AuditEvent], changes: Any, events: list[tuple[str, str]]) -> None:
    """A call that goes well at the first try is no event; one made again, made elsewhere, or failed is."""
    observer.attempt_ended(replace(CALL, **changes))
    assert events == [(one.event, one.reason) for one in told]
    number, outcome = str(changes.get("number", 1)), changes.get("outcome", "success")
    for one in told:
        assert (NOW * 1_000_000, "q", "openai/m", 5, 2) == (
            one.at, one.request_id, one.model, one.input_tokens, one.output_tokens,
        )  # fmt: skip
        assert {"number": number, "outcome": outcome, "key": "0123abcd"} == one.details


def test_circuits(observer: AuditObserver, told: list[AuditEvent]) -> None:
    """Opening and closing are events; letting one call ask is not."""
    observer.circuit_changed(CIRCUIT)
    observer.circuit_changed(replace(CIRCUIT, before="open", after="half_open"))
    # Who found it out has told it.
    observer.circuit_changed(replace(CIRCUIT, elsewhere=True))
    observer.circuit_changed(replace(CIRCUIT, model="m", before="half_open", after="closed", reason="it answered"))
    assert [("circuit_open", "", "5 failures"), ("circuit_close", "openai/m", "it answered")] == [
        (one.event, one.model, one.reason) for one in told
    ]


def test_keys(observer: AuditObserver, told: list[AuditEvent]) -> None:
    """A failure is an event; that the key rests since is another, with how long."""
    observer.key_failed(KEY)
    observer.key_failed(replace(KEY, status="cooling", usable_in=60.0))
    assert [("key_failure", None), ("key_failure", None), ("key_cooldown", "60.000")] == [
        (one.event, one.details.get("seconds")) for one in told
    ]
    assert all("0123abcd" == one.details["key"] for one in told)
