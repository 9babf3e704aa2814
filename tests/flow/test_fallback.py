"""A request moves on to another provider where it may, and stays where it must."""

from __future__ import annotations

from typing import Any, Final

import pytest

from genai_spine.testing.upstream import Scripted, json_reply
from tests.flow.fleets import HELLO, Fleet, failure, fleet, told

THREE: Final = ("ollama", "openai", "anthropic")
CHAIN: Final = {"GENAI_FALLBACK_CHAIN": "openai,anthropic"}
DOWN: Final = {"OLLAMA_API_URL": "http://127.0.0.1:9"}
TOO_LONG: Final = json_reply(
    {
        "error": {
            "message": "This model's maximum context length is 131072 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    },
    400,
)
FILTERED: Final = failure(400, "content_filter")


def overloaded() -> Scripted:
    """An error for which nobody waits where another can be asked."""
    return json_reply({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded."}}, 529)


@pytest.mark.parametrize("stream", [False, True])
async def test_from_the_machine_outwards(*, stream: bool) -> None:
    """Nothing listens where Ollama should be: OpenAI is asked, and when it fails too, Anthropic; headers tell it."""
    async with fleet(*THREE, environ={**CHAIN, **DOWN}) as running:
        answer = await running.ask("auto", stream=stream)
        assert (200, "openai", "true") == (*told(answer)[:2], told(answer)[3])
        assert "gpt-4o-mini" == answer.headers["x-spine-model"]
        assert b"Hello" in answer.body
        assert {"openai": 1} == running.called

        running.script("openai", *[failure(500)] * 3)
        answer = await running.ask("auto", stream=stream)
        assert (200, "anthropic", "true") == (*told(answer)[:2], told(answer)[3])
        assert answer.headers["x-spine-model"].startswith("claude")
        assert {"openai": 4, "anthropic": 1} == running.called


async def test_each_call_on_the_way_is_recorded() -> None:
    """Numbers go on from provider to provider, and each record tells why its provider was asked."""
    async with fleet("openai", "anthropic", environ=CHAIN) as running:
        running.script("openai", *[failure(500)] * 3)
        answer = await running.ask("gpt-4o-mini")
        assert (200, "anthropic", "4", "true") == told(answer)
        assert [
            *[(number, "openai", "error", "error") for number in (1, 2, 3)],
            (4, "anthropic", "success", ""),
        ] == running.attempts
        attempts = running.gateway.recorder.attempts
        assert [False, True, True, False] == [one.retry for one in attempts]
        assert 2 == len({one.reason for one in attempts})
        assert 2 == len({one.key for one in attempts})
        (record,) = running.gateway.recorder.records
        assert ("gpt-4o-mini", "local_first", True) == (record.asked_model, record.strategy, record.fallback)


@pytest.mark.parametrize(
    ("model", "recorded"),
    [("no-such-model", "no-such-model"), ("sk-canary-0123456789", "[redacted]"), ("x" * 9999, "x" * 255)],
    ids=["unknown", "a key", "a book"],
)
async def test_who_asks_for_nobody_is_recorded_too(model: str, recorded: str) -> None:
    """With the name that was asked for, as far as a log may show it, and no strategy: there was nothing to order."""
    async with fleet("openai") as running:
        assert 404 == (await running.ask(model)).status
        (record,) = running.gateway.recorder.records
        assert (recorded, "", False) == (record.asked_model, record.strategy, record.fallback)


async def test_all_fail() -> None:
    """The caller is told the failure of one that was asked, not that another rests."""
    async with fleet("openai", "anthropic", environ=CHAIN) as running:
        running.script("openai", *[failure(500)] * 3)
        running.script("anthropic", *[overloaded()] * 3)
        answer = await running.ask("gpt-4o-mini")
        assert (503, "anthropic") == told(answer)[:2]
        assert {"openai": 3, "anthropic": 3} == running.called


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "openai/gpt-4o-mini"},
        {"model": "gpt-4o-mini", "provider": "openai"},
        {"model": "gpt-4o-mini", "fallback": False},
    ],
)
async def test_who_asks_for_one_gets_no_other(fields: dict[str, Any]) -> None:
    """A named provider, or ``fallback: false``: its failure is the answer, though there is a chain."""
    async with fleet(*THREE, environ=CHAIN) as running:
        running.script("openai", *[failure(500)] * 3)
        answer = await running.ask(**fields)
        assert (502, "openai") == told(answer)[:2]
        assert {"openai": 3} == running.called


@pytest.mark.parametrize("others", [(), ("openai",)])
async def test_the_same_model_elsewhere(others: tuple[str, ...]) -> None:
    """It is asked there without being told to, under its name there; not where only a price list has it."""
    async with fleet("groq", "cerebras", *others) as running:
        running.script("groq", *[failure(500)] * 3)
        running.script("cerebras", *[failure(500)] * 3)
        assert 502 == (await running.ask("gpt-oss-120b")).status
        assert {"groq": 3, "cerebras": 3} == running.called
        asked = {
            name: service.received[0].json()["model"] for name, service in running.services.items() if service.received
        }
        assert {"groq": "openai/gpt-oss-120b", "cerebras": "gpt-oss-120b"} == asked


@pytest.mark.parametrize(
    ("reply", "status"),
    [(failure(400, "invalid_value"), 400), (failure(413), 413), (failure(422, "invalid_value"), 422), (FILTERED, 400)],
    ids=["400", "413", "422", "filtered"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_wrong_request_never_moves(reply: Scripted, status: int, *, stream: bool) -> None:
    """It would be wrong elsewhere too: one call, and its failure is the answer."""
    async with fleet("openai", "anthropic", environ=CHAIN) as running:
        running.script("openai", reply)
        answer = await running.ask("gpt-4o-mini", stream=stream, fallback=True)
        assert status == answer.status
        assert {"openai": 1} == running.called


@pytest.mark.parametrize(
    ("first", "second", "moves"),
    [("openai/gpt-4o-mini", "openai/gpt-4.1", True), ("openai/gpt-4.1", "openai/gpt-4o-mini", False)],
)
async def test_too_long_a_conversation(first: str, second: str, *, moves: bool) -> None:
    """It moves only to a model that is known to read a longer one."""
    async with fleet("openai") as running:
        running.script("openai", TOO_LONG)
        answer = await running.ask(first, fallback=[second])
        if moves:
            assert (200, "openai", "2", "true") == told(answer)
            assert "gpt-4.1" == answer.headers["x-spine-model"]
        else:
            assert (400, "context_length_exceeded") == (answer.status, answer.json()["error"]["code"])
            assert {"openai": 1} == running.called


async def test_nobody_waits_where_another_can_be_asked() -> None:
    """A long rest, an overloaded model, an open circuit: the next is asked at once."""
    async with fleet("openai", "anthropic", environ=CHAIN) as running:
        running.script("openai", failure(429, "rate_limit_exceeded", {"retry-after": "60"}))
        assert (200, "anthropic", "2", "true") == told(await running.ask("gpt-4o-mini"))
        # The key rests: it is not even tried, and the healthy one comes first.
        assert "anthropic" == told(await running.ask("gpt-4o-mini"))[1]
        assert {"openai": 1, "anthropic": 2} == running.called
        running.script("anthropic", overloaded())
        await running.call("POST", "/v1/admin/providers/openai/reset")
        answer = await running.ask("claude-haiku-4-5")
        assert (200, "openai", "2", "true") == told(answer)
        assert HELLO == answer.json()["choices"][0]["message"]["content"]


async def _down(running: Fleet) -> None:
    guard = running.gateway.spine.guards.of(running.gateway.spine.registry.get("openai"))
    for _ in range(5):
        guard.circuit.enter().failure("provider")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_open_circuit_sends_requests_on(*, stream: bool) -> None:
    """Nothing goes to the one that is left alone; the other serves."""
    async with fleet("openai", "anthropic", environ=CHAIN) as running:
        await _down(running)
        assert (200, "anthropic", "1") == told(await running.ask("gpt-4o-mini", stream=stream))[:3]
        assert {"anthropic": 1} == running.called
