"""A provider that fails again and again is left alone, and asked with one call whether it is back."""

from __future__ import annotations

import asyncio
import io
import json

import pytest

from genai_spine.telemetry.logging import LineWriter, LogObserver
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import json_reply
from tests.flow.fleets import Fleet, failure, fleet, told

ONCE = {"GENAI_RETRY_ATTEMPTS": "1"}


async def state_of(running: Fleet) -> tuple[str, int, float]:
    """The circuit's state, the failures in a row and the seconds until the next call may pass, all over HTTP."""
    health = (await running.call("GET", "/providers/openai/health?probe=false")).json()["circuit"]
    return health["state"], health["failures"], health["retry_after"]


async def metric(running: Fleet) -> str:
    """What the metrics say of it."""
    text = (await running.call("GET", "/metrics")).body.decode()
    return next((line for line in text.splitlines() if line.startswith("genai_circuit_state{")), "")


async def test_five_failures_open_it_and_one_probe_closes_it() -> None:
    """While it is open nothing is sent; when its time is over exactly one of a hundred callers asks."""
    clock = ManualClock()
    async with fleet("openai", clock=clock, environ=ONCE) as running:
        running.script("openai", *[failure(500)] * 5)
        assert [502] * 5 == [(await running.ask()).status for _ in range(5)]
        assert ("open", 5, 300) == await state_of(running)
        assert 'genai_circuit_state{provider="openai"} 2' == (await metric(running)).removesuffix(".0")

        clock.advance(100)
        answer = await running.ask()
        assert (503, "circuit_open") == (answer.status, answer.json()["error"]["code"])
        assert ("200", 5) == (answer.headers["retry-after"], running.called["openai"])

        clock.advance(200)
        running.script("openai", failure(500))
        answers = await asyncio.gather(*[running.ask() for _ in range(100)])
        assert (99, 1) == tuple([answer.status for answer in answers].count(status) for status in (503, 502))
        assert 6 == running.called["openai"]
        assert "open" == (await state_of(running))[0]

        clock.advance(300)
        assert (200, "openai", "1", "false") == told(await running.ask())
        assert ("closed", 0, 0) == await state_of(running)
        assert 'genai_circuit_state{provider="openai"} 0' == (await metric(running)).removesuffix(".0")
        assert ["open", "half_open", "open", "half_open", "closed"] == [
            change.after for change in running.gateway.recorder.circuits
        ]


@pytest.mark.parametrize(("status", "model"), [(500, ""), (529, "gpt-4o-mini")])
async def test_the_log_of_a_circuit(status: int, model: str) -> None:
    """The provider's opens, or that of an overloaded model: a warning with its reason; how it closes is told too."""
    clock, stream = ManualClock(), io.StringIO()
    writer = LineWriter(stream)
    environ = {**ONCE, "GENAI_CIRCUIT_FAILURES": "2"}
    async with fleet("openai", clock=clock, environ=environ, observers=[LogObserver(writer)]) as running:
        running.script("openai", *[failure(status)] * 2)
        for _ in range(2):
            await running.ask()
        clock.advance(300)
        assert 200 == (await running.ask()).status
    writer.close()
    lines = [line for text in stream.getvalue().splitlines() if (line := json.loads(text))["event"] == "circuit"]
    assert [
        ("warning", "closed", "open", "2 failures in a row"),
        ("info", "open", "half_open", "the next call asks whether it is back"),
        ("info", "half_open", "closed", "the call that asked went well"),
    ] == [(line["level"], line["before"], line["after"], line["reason"]) for line in lines]
    assert [("openai", model)] * 3 == [(line["provider"], line["model"]) for line in lines]


@pytest.mark.parametrize(("status", "expected"), [(400, 400), (404, 404), (413, 413), (422, 422)])
async def test_wrong_requests_never_count(status: int, expected: int) -> None:
    """However many there are."""
    async with fleet("openai", environ=ONCE) as running:
        running.script("openai", *[failure(status, "wrong")] * 8)
        assert {expected} == {(await running.ask()).status for _ in range(8)}
        assert ("closed", 0, 0) == await state_of(running)
        assert 8 == running.called["openai"]


async def test_a_success_between_failures() -> None:
    """Only failures in a row count."""
    async with fleet("openai", environ=ONCE) as running:
        for _ in range(3):
            running.script("openai", *[failure(500)] * 4)
            for _ in range(5):
                await running.ask()
        assert ("closed", 0, 0) == await state_of(running)


async def test_an_overloaded_model_is_left_alone_by_itself() -> None:
    """The provider's other models are asked as before."""
    async with fleet("openai", environ=ONCE) as running:
        busy = json_reply({"error": {"message": "Overloaded.", "type": "overloaded_error", "code": "overloaded"}}, 503)
        running.script("openai", *[busy] * 5)
        assert [503] * 6 == [(await running.ask()).status for _ in range(6)]
        assert 5 == running.called["openai"]
        assert 200 == (await running.ask("openai/gpt-4o")).status
        assert "closed" == (await state_of(running))[0]
