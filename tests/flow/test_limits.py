"""Budgets and rate limits at the front door: what is refused, how it is told, and what stands when all is over."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import pytest

from genai_spine.errors import BudgetExceededError
from genai_spine.shared_state.meters import Meter
from genai_spine.storage.records import KeyFacts, Rates
from genai_spine.testing.clock import ManualClock
from genai_spine.testing.upstream import json_reply
from genai_spine.types.json import JsonObject
from genai_spine.types.principal import ANYBODY
from tests.flow.answers import PROVIDERS, Said
from tests.flow.fleets import HELLO, Fleet, answer_of, failure, fleet
from tests.flow.replicas import ADMIN, change, look, replicas_over

HOUR: Final = Meter("usd:hour:global:", "hour", accounted=True)
CALL: Final[dict[str, Any]] = {"max_tokens": 100}
CHAT: Final[JsonObject] = {"messages": [{"role": "user", "content": "Hi"}]}
GEMINI: Final[JsonObject] = {"contents": [{"parts": [{"text": "Hi"}]}]}
# gpt-4o-mini: 0.15 and 0.60 USD per million tokens.
NANO_IN: Final = 150
NANO_OUT: Final = 600


def dear_answer(**usage: int) -> JsonObject:
    """An answer that used as much as is said."""
    body: JsonObject = msgspec.json.decode(PROVIDERS["openai"].whole(Said(text=HELLO)).chunks[0])
    return {**body, "usage": {"prompt_tokens": 8, **usage}}


async def standing(running: Fleet) -> tuple[int, int]:
    """What of the hour's budget is used and held, in nanodollars."""
    (reading,) = await running.gateway.spine.books.state.read([HOUR])
    return reading.used, reading.held


async def test_a_budget_refuses_what_it_does_not_cover() -> None:
    """The refusal is a 402 that tells the budget, what is used of it and when it begins anew; nobody is asked."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "0.00001"}) as running:
        answer = await running.ask(**CALL)
        assert 402 == answer.status
        error = answer.json()["error"]
        assert ("budget_exceeded", "insufficient_quota") == (error["code"], error["type"])
        assert "the gateway's budget of 0.00001 USD an hour" in error["message"]
        assert "begins anew at 20" in error["message"]
        assert {} == running.called
        assert (0, 0) == await standing(running)
        record = running.gateway.recorder.records[-1]
        assert (402, 0, "budget_exceeded") == (record.status, record.attempts, record.error)


@pytest.mark.parametrize(
    ("environ", "status"),
    [({"GENAI_BUDGET_HOURLY": "0.000001"}, 402), ({"GENAI_RATE_LIMIT_TOKENS_PER_MINUTE": "5"}, 429)],
)
async def test_fewer_than_no_tokens_make_nothing_cheaper(environ: dict[str, str], status: int) -> None:
    """A request that sets its answer a limit below 0 still counts for what it reads."""
    async with fleet("openai", environ=environ) as running:
        assert status == (await running.ask(max_tokens=-1_000_000)).status
        assert {} == running.called


@pytest.mark.parametrize("stream", [False, True])
async def test_what_was_used_is_committed(stream: bool) -> None:  # noqa: FBT001  # pytest's parameter
    """After an answer the budget stands at what it did cost, and nothing is held."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "1"}) as running:
        running.script("openai", answer_of("openai", stream=stream))
        answer = await running.ask(stream=stream, **CALL)
        assert 200 == answer.status
        await running.gateway.recorder.until(1)
        record = running.gateway.recorder.records[0]
        spent = record.input_tokens * NANO_IN + record.output_tokens * NANO_OUT
        assert spent
        assert (spent, 0) == await standing(running)


async def test_what_failed_is_released() -> None:
    """A failed call leaves nothing held, and its retry is reserved anew."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "1"}) as running:
        running.script("openai", failure(500), failure(400))
        assert 400 == (await running.ask(**CALL)).status
        assert (0, 0) == await standing(running)


async def test_many_at_once_never_pass_the_limit() -> None:
    """Of requests at once just as many are let in as the budget covers; the others are refused before any call."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "0.001"}) as running:
        dear = json_reply(dear_answer(completion_tokens=100))
        running.script("openai", *[dear] * 40)
        answers = await asyncio.gather(*(running.ask(**CALL) for _ in range(40)))
        statuses = [answer.status for answer in answers]
        assert {200, 402} == set(statuses)
        assert statuses.count(200) == running.called["openai"]
        used, held = await standing(running)
        assert 0 == held
        assert statuses.count(200) * (8 * NANO_IN + 100 * NANO_OUT) == used <= 1_000_000


async def test_an_answer_without_a_limit_gets_one() -> None:
    """A caller with a budget whose request sets no limit has one sent with it; one without a budget has none."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "1", "GENAI_BUDGET_OUTPUT_TOKENS": "77"}) as running:
        assert 200 == (await running.ask()).status
        assert 77 == running.services["openai"].received[0].json()["max_completion_tokens"]
    async with fleet("openai") as running:
        assert 200 == (await running.ask()).status
        assert "max_completion_tokens" not in running.services["openai"].received[0].json()


@pytest.mark.parametrize("other", [1_000_000, -1])
async def test_of_two_limits_the_weaker_counts(other: int) -> None:
    """Nobody knows by which of both names a service goes: what is set aside is enough for either."""
    budget = {"GENAI_BUDGET_HOURLY": "0.01", "GENAI_BUDGET_OUTPUT_TOKENS": "1000000"}
    async with fleet("openai", environ=budget) as running:
        assert 402 == (await running.ask("openai/gpt-4o-mini", max_completion_tokens=1, max_tokens=other)).status
        assert 402 == (await running.ask("openai/gpt-4o-mini", max_completion_tokens=other, max_tokens=1)).status
        assert {} == running.called
        assert 200 == (await running.ask("openai/gpt-4o-mini", max_completion_tokens=1, max_tokens=2)).status


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_below_0_is_none(name: str) -> None:
    """In its place a caller with a budget has one sent, under one name; one without a budget has his own sent."""
    none: dict[str, Any] = {name: -1}
    budget = {"GENAI_BUDGET_HOURLY": "1", "GENAI_BUDGET_OUTPUT_TOKENS": "77"}
    for environ, limits in ((budget, {"max_completion_tokens": 77}), ({}, none)):
        async with fleet("openai", environ=environ) as running:
            assert 200 == (await running.ask("openai/gpt-4o-mini", **none)).status
            sent = running.services["openai"].received[0].json()
            assert limits == {each: sent[each] for each in sent if each.startswith("max_")}


@pytest.mark.parametrize(
    ("path", "body", "provider", "name"),
    [
        ("/v1/chat/completions", CHAT, "anthropic", "max_tokens"),
        ("/v1/completions", {"prompt": "Hi"}, "openai", "max_completion_tokens"),
        ("/v1/responses", {"input": "Hi"}, "openai", "max_output_tokens"),
        (
            "/v1beta/models/{}:generateContent",
            GEMINI,
            "openai",
            "max_completion_tokens",
        ),
        (
            "/v1beta/models/{}:generateContent",
            {**GEMINI, "generation_config": {"top_k": 3}},
            "openai",
            "max_completion_tokens",
        ),
        (
            "/api/chat",
            {**CHAT, "options": None},
            "openai",
            "max_completion_tokens",
        ),
        ("/api/generate", {"prompt": "Hi", "options": {"seed": 1}, "stream": False}, "anthropic", "max_tokens"),
        ("/v1/generate", {"prompt": "Hi", "provider": "anthropic"}, "anthropic", "max_tokens"),
    ],
)
async def test_every_door_sends_the_limit_on(path: str, body: JsonObject, provider: str, name: str) -> None:
    """The limit reaches the provider in its own words."""
    model = f"{provider}/{PROVIDERS[provider].model}"
    async with fleet(provider, environ={"GENAI_BUDGET_HOURLY": "1", "GENAI_BUDGET_OUTPUT_TOKENS": "77"}) as running:
        named = {} if path == "/v1/generate" else {"model": model}
        await running.call("POST", path.format(model), json={**body, **named})
        assert 77 == running.services[provider].received[0].json()[name]


async def test_a_budget_that_warns_lets_through() -> None:
    """The answer comes, with a warning."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "0.00001", "GENAI_BUDGET_ACTION": "warn"}) as running:
        answer = await running.ask(**CALL)
        assert 200 == answer.status
        assert "budget of 0.00001 USD an hour is exceeded" in answer.headers["x-spine-warnings"]


async def test_a_budget_that_falls_back_goes_to_a_free_candidate() -> None:
    """Where the request may move, the next free candidate answers; else it is refused."""
    limits = {"GENAI_BUDGET_HOURLY": "0.00001", "GENAI_BUDGET_ACTION": "fallback"}
    async with fleet("openai", "anthropic", "ollama", environ=limits) as running:
        answer = await running.ask(fallback=["anthropic", "ollama"], **CALL)
        assert (200, "ollama", "true") == (
            answer.status,
            answer.headers["x-spine-provider"],
            answer.headers["x-spine-fallback"],
        )
        assert {"ollama": 1} == running.called
        assert 402 == (await running.ask(fallback=False, **CALL)).status


async def test_free_calls_are_never_refused() -> None:
    """A budget of nothing leaves what costs nothing."""
    async with fleet("ollama", environ={"GENAI_BUDGET_HOURLY": "0", "GENAI_BUDGET_PER_REQUEST": "0"}) as running:
        assert 200 == (await running.ask("ollama/llama3.2:latest")).status


async def test_a_budget_begins_anew_with_its_window() -> None:
    """What was spent in one hour does not burden the next."""
    clock = ManualClock()
    async with fleet("openai", clock=clock, environ={"GENAI_BUDGET_HOURLY": "0.0001"}) as running:
        running.script("openai", json_reply(dear_answer(completion_tokens=100)))
        assert 200 == (await running.ask(**CALL)).status
        assert 402 == (await running.ask(**CALL)).status
        clock.advance(3600)
        assert 200 == (await running.ask(**CALL)).status


async def test_more_than_was_held_is_counted_in_full() -> None:
    """A provider that reports more than was set aside is believed, and the next call refused."""
    async with fleet("openai", environ={"GENAI_BUDGET_HOURLY": "0.001"}) as running:
        running.script("openai", json_reply(dear_answer(prompt_tokens=1000, completion_tokens=10_000)))
        assert 200 == (await running.ask(**CALL)).status
        assert (1000 * NANO_IN + 10_000 * NANO_OUT, 0) == await standing(running)
        assert 402 == (await running.ask(**CALL)).status


# Rates.


async def test_requests_per_minute() -> None:
    """The third of two is told how long to wait; each answer tells what is left; the refused one took nothing."""
    clock = ManualClock(1_700_000_000.0)
    async with fleet("openai", clock=clock, environ={"GENAI_RATE_LIMIT_REQUESTS_PER_MINUTE": "2"}) as running:
        first, second, third = [await running.ask(**CALL) for _ in range(3)]
        assert [200, 200, 429] == [one.status for one in (first, second, third)]
        assert ["1", "0", "0"] == [one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)]
        assert 0 < int(third.headers["retry-after"]) <= 60
        assert "rate_limit_exceeded" == third.json()["error"]["code"]
        clock.advance(60)
        assert 200 == (await running.ask(**CALL)).status


async def test_tokens_per_minute_are_settled_with_the_truth() -> None:
    """A request holds what it may use, and leaves what it did."""
    async with fleet("openai", environ={"GENAI_RATE_LIMIT_TOKENS_PER_MINUTE": "300"}) as running:
        for _ in range(3):
            assert 200 == (await running.ask(**CALL)).status
        left = int((await running.ask(**CALL)).headers["x-ratelimit-remaining-tokens"])
        used = sum(record.input_tokens + record.output_tokens for record in running.gateway.recorder.records[:3])
        assert 0 < used < 300 - left
        assert 429 == (await running.ask(max_tokens=1000)).status


@pytest.mark.parametrize(("reported", "then"), [(-500, 200), (10**17, 429)])
async def test_tokens_that_nobody_can_have_used(reported: int, then: int) -> None:
    """Where a provider reports fewer than none, or more than can be counted, its answer is the caller's."""
    clock = ManualClock(1_700_000_000.0)
    async with fleet("openai", clock=clock, environ={"GENAI_RATE_LIMIT_TOKENS_PER_MINUTE": "200"}) as running:
        running.script("openai", json_reply(dear_answer(completion_tokens=reported)), answer_of("openai"))
        assert [200, then] == [(await running.ask(**CALL)).status for _ in range(2)]


async def test_requests_at_once() -> None:
    """One that is under way keeps the next out, and lets it in when it is over, however it ends."""
    async with fleet("openai", environ={"GENAI_RATE_LIMIT_CONCURRENT": "1"}) as running:
        answers = await asyncio.gather(*(running.ask(**CALL) for _ in range(5)))
        assert 1 <= [one.status for one in answers].count(200) < 5
        running.script("openai", failure(400))
        assert 400 == (await running.ask(**CALL)).status
        assert 200 == (await running.ask(**CALL)).status


# While it runs.

SETTINGS: Final = f"{ADMIN}/settings"


async def test_the_limits_of_the_settings_change_while_it_runs() -> None:
    """What the database says of them goes before environment and file on all gateways, null included, until deleted."""
    async with replicas_over("sqlite") as replicas:
        one, two = [await replicas.start("openai", GENAI_BUDGET_DAILY="0.00001") for _ in range(2)]

        async def statuses() -> list[int]:
            await look(two)
            return [(await gateway.ask(**CALL)).status for gateway in (one, two)]

        assert [402, 402] == await statuses()
        await change(one, "PUT", f"{SETTINGS}/budget_daily", {"value": None})
        assert [200, 200] == await statuses()
        await change(one, "PUT", f"{SETTINGS}/budget_hourly", {"value": 0.00001})
        assert [402, 402] == await statuses()
        await change(two, "PUT", f"{SETTINGS}/budget_action", {"value": "warn"})
        await look(one)
        assert [200, 200] == await statuses()
        await change(two, "PUT", f"{SETTINGS}/budget_output_tokens", {"value": 77})
        assert 200 == (await two.ask()).status
        assert 77 == two.services["openai"].received[-1].json()["max_completion_tokens"]
        for name in ("budget_action", "budget_hourly", "budget_daily"):
            await change(one, "DELETE", f"{SETTINGS}/{name}")
        assert [402, 402] == await statuses()


async def test_the_rates_of_the_settings_change_while_it_runs() -> None:
    """They count for keys that were let in before, of the environment or the database; not where a key has its own."""
    async with fleet("openai", clock=ManualClock()) as running:
        office = running.gateway.spine.office
        _, plain = await office.create_key(ANYBODY, KeyFacts(name="plain"))
        _, rated = await office.create_key(ANYBODY, KeyFacts(name="rated", rates=Rates(requests_per_minute=100)))
        keys = [running.gateway.key, plain.reveal(), rated.reveal()]

        async def statuses() -> list[int]:
            return [(await running.ask(headers={"authorization": f"Bearer {key}"}, **CALL)).status for key in keys]

        assert [200] * 3 == await statuses()
        await change(running, "PUT", f"{SETTINGS}/rate_limit_requests_per_minute", {"value": 1})
        assert [200] * 3 == await statuses()
        assert [429, 429, 200] == await statuses()
        await change(running, "DELETE", f"{SETTINGS}/rate_limit_requests_per_minute")
        assert [200] * 3 == await statuses()


async def test_everybodys_budgets_bind_the_library() -> None:
    """What the database says that all may spend binds a program's own calls, as what the settings say does."""
    async with fleet("openai") as running:
        spine = running.gateway.spine

        async def said() -> str:
            return (await spine.complete("Hi", model="openai/gpt-4o-mini", max_tokens=100)).content

        assert HELLO == await said()
        budget = {"scope": "global", "window": "hour", "limit_usd": 0.00001}
        made = await change(running, "PUT", "/v1/budgets", budget)
        await look(running)
        with pytest.raises(BudgetExceededError):
            await said()
        await change(running, "DELETE", f"/v1/budgets/{made['id']}")
        await change(running, "PUT", f"{SETTINGS}/budget_hourly", {"value": 0.00001})
        with pytest.raises(BudgetExceededError):
            await said()
        await change(running, "DELETE", f"{SETTINGS}/budget_hourly")
        assert HELLO == await said()
