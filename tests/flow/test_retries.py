"""A call that failed is made again at the same provider, whole answers and streams alike."""

from __future__ import annotations

import json
from typing import Final

import pytest

from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import Received, Scripted, json_reply, sse_reply
from genai_spine.types.json import JsonObject
from tests.flow.answers import PROVIDERS, Said
from tests.flow.callers import Answer
from tests.flow.fleets import HELLO, Fleet, answer_of, failure, fleet, told
from tests.flow.said import sse_event

OPENAI: Final = PROVIDERS["openai"]
ANTHROPIC: Final = PROVIDERS["anthropic"]
FAULT: Final[JsonObject] = {"message": "It failed.", "type": "server_error", "param": None, "code": "server_error"}
DOORS_OF_STREAMS: Final = [("openai", "openai"), ("openai", "anthropic"), ("anthropic", "anthropic")]
"""Pairs of a door and a provider: one passes through, one is translated, one passes through in another dialect."""


def model_of(provider: str) -> str:
    """A model there, with the provider's name before it."""
    return f"{provider}/{PROVIDERS[provider].model}"


def early_deaths(provider: str) -> dict[str, Scripted]:
    """Streams that end before the model has said a word, each in another way."""
    spoken = PROVIDERS[provider].stream(Said(text=HELLO)).chunks
    opening = spoken[:1]
    if provider == "openai":
        fault = sse_event({"error": FAULT})
    else:
        fault = sse_event({"type": "error", "error": {"type": "api_error", "message": "It failed."}}, "error")
    return {
        "cut at once": sse_reply([], cut=True),
        "nothing in it": sse_reply([]),
        "cut after its opening": sse_reply(opening, cut=True),
        "ended after its opening": sse_reply(opening),
        "an error first": sse_reply([fault]),
        "an error after its opening": sse_reply([*opening, fault]),
        "a status": failure(500) if provider == "openai" else json_reply({"type": "error", "error": FAULT}, 500),
    }


def words(answer: Answer) -> str:
    """What a stream said, in OpenAI's dialect or Anthropic's."""
    said = ""
    for line in answer.body.decode().splitlines():
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            for choice in event.get("choices", []):
                said += choice["delta"].get("content") or ""
            if event.get("type") == "content_block_delta":
                said += event["delta"]["text"]
    return said


def openings(answer: Answer) -> int:
    """How many times a stream begins."""
    text = answer.body.decode()
    return text.count('"type":"message_start"') + text.count('"type": "message_start"') + text.count('"role":"assi')


async def test_two_failures_and_an_answer() -> None:
    """The caller sees the answer; each call is recorded with its number, its key and how it ended."""
    async with fleet("openai") as running:
        running.script("openai", failure(500), failure(502), answer_of("openai"))
        answer = await running.ask()
        assert (200, "openai", "3", "false") == told(answer)
        assert HELLO == answer.json()["choices"][0]["message"]["content"]
        assert {"openai": 3} == running.called
        assert [
            (1, "openai", "error", "error"),
            (2, "openai", "error", "error"),
            (3, "openai", "success", ""),
        ] == running.attempts
        attempts = running.gateway.recorder.attempts
        assert [False, True, True] == [one.retry for one in attempts]
        assert 1 == len({(one.request_id, one.key, one.reason) for one in attempts})
        assert all(one.key and one.reason for one in attempts)
        assert [None, None, 21] == [one.usage and one.usage.input_tokens for one in attempts]


@pytest.mark.parametrize("stream", [False, True])
async def test_attempts_have_an_end(*, stream: bool) -> None:
    """After three calls the failure is told with the provider's status, never in a stream."""
    async with fleet("openai") as running:
        running.script("openai", *[failure(500)] * 4)
        answer = await running.ask(stream=stream)
        assert (502, "openai") == told(answer)[:2]
        assert {"openai": 3} == running.called


@pytest.mark.parametrize("death", early_deaths("openai"))
@pytest.mark.parametrize(("door", "provider"), DOORS_OF_STREAMS)
async def test_a_stream_that_dies_before_its_first_words(door: str, provider: str, death: str) -> None:
    """It is begun again, and the caller sees one clean stream."""
    async with fleet(provider) as running:
        running.script(provider, early_deaths(provider)[death])
        answer = await running.ask(model_of(provider), door=door, stream=True)
        assert (200, provider, "2", "false") == told(answer)
        assert HELLO == words(answer)
        assert b"error" not in answer.body
        clean = await running.ask(model_of(provider), door=door, stream=True)
        assert openings(clean) == openings(answer)
        assert {provider: 3} == running.called
        assert ["error", "success", "success"] == [one.outcome for one in running.gateway.recorder.attempts]


@pytest.mark.parametrize(("door", "provider"), DOORS_OF_STREAMS)
async def test_a_stream_that_dies_after_its_first_words(door: str, provider: str) -> None:
    """The failure is told in it, and nobody is called again."""
    async with fleet(provider, "ollama") as running:
        running.script(provider, PROVIDERS[provider].stream_failure("It broke."))
        answer = await running.ask(model_of(provider), door=door, stream=True, fallback=True)
        assert (200, provider, "1", "false") == told(answer)
        assert words(answer)
        assert b'"error"' in answer.body
        assert {provider: 1} == running.called
        await running.gateway.recorder.until(1)
        assert ["interrupted"] == [one.outcome for one in running.gateway.recorder.attempts]
        assert ["interrupted"] == [one.outcome for one in running.gateway.recorder.records]


async def _wait_asked_for(running: Fleet, seconds: int, headers: dict[str, str]) -> Answer:
    running.script("openai", failure(503, "unavailable", {"retry-after": str(seconds)}))
    return await running.ask(headers=headers)


async def test_what_the_caller_has_no_time_for_is_not_waited_for() -> None:
    """The provider asks for more seconds than the caller allows: its failure is told at once."""
    async with fleet("openai") as running:
        answer = await _wait_asked_for(running, 30, {"x-spine-timeout": "20"})
        assert (503, "30") == (answer.status, answer.headers["retry-after"])
        assert {"openai": 1} == running.called


async def test_the_deadline_holds_over_all_attempts() -> None:
    """Once the caller's time is over, nobody is called: neither the same provider nor another."""
    clock = ManualClock()

    def slowly(_: Received) -> Scripted:
        clock.advance(3)
        return failure(500)

    async with fleet("openai", "ollama", clock=clock) as running:
        running.services["openai"]._answer = slowly
        answer = await running.ask(headers={"x-spine-timeout": "4"}, fallback=["ollama"])
        assert (502, "openai") == told(answer)[:2]
        assert {"openai": 2} == running.called


async def test_a_provider_that_never_answers_gets_no_more_than_the_callers_time() -> None:
    """It is no failure of the provider's: a caller in a hurry says nothing of it."""
    async with fleet("openai") as running:
        running.script("openai", Scripted(silent_before=True))
        answer = await running.ask(headers={"x-spine-timeout": "0.1"})
        assert 504 == answer.status
        assert {"openai": 1} == running.called
        assert ["timeout"] == [one.outcome for one in running.gateway.recorder.attempts]
        health = (await running.call("GET", "/providers/openai/health?probe=false")).json()
        assert 0 == health["circuit"]["failures"]


async def test_retries_have_a_budget() -> None:
    """A provider that only fails sees its first calls, ten retries and a fifth of the calls as further ones."""
    async with fleet("openai", environ={"GENAI_CIRCUIT_FAILURES": "1000000"}) as running:
        running.services["openai"]._answer = lambda _: failure(500)
        for _ in range(20):
            await running.ask()
        assert 20 + 10 <= running.called["openai"] <= 20 + 10 + 20 // 5 + 2
